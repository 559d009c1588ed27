"""The command lines that are measured on MariaDB: dbdump, and what is written by hand."""

from __future__ import annotations

from pathlib import Path

from .contenders import Contender, console, line
from .workload import LARGE

_DUMP = f"mariadb-dump --single-transaction --quick {LARGE}"


def large(out: Path, defaults: str) -> tuple[Contender, ...]:
    """Return dbdump, the line written by hand, what most people type, and the original's way for MySQL."""
    flags = (f"--defaults={defaults}", f"--database={LARGE}", f"--datadir={out}")
    return (
        console("dbdump", "dbdump", "--backend=mysql", *flags),
        console("dbdump, no check", "dbdump", "--backend=mysql", *flags, "--option", "check_stream=no"),
        line("by hand", f"{_DUMP} | zstd -T0 | tee {out}/dump.zst | sha256sum > {out}/dump.sha256"),
        line("mariadb-dump | gzip", f"{_DUMP} | gzip > {out}/dump.gz"),
        line("mariadb-dump | pigz -1", f"{_DUMP} | pigz -1 > {out}/dump.gz"),
        line("mariadb-dump | gzip -9 | sha256sum", f"{_DUMP} | gzip -9 | tee {out}/dump.gz | sha256sum > {out}/sum"),
    )
