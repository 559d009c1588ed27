"""The blocks that compare what gets dumps back: verify beside sha256sum, restore beside the line by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .compare import Bench
from .contenders import Contender, console, line
from .workload import LARGE, make_large


def verifying(bench: Bench) -> None:
    """Compare on one large dump that is not encrypted."""
    kept = _dumped(bench, "plain", ())
    file = _file(kept)
    contenders = (
        line("sha256sum", f"sha256sum {file}"),
        _ours("dbdump", kept, "verify"),
    )
    medians = bench.compare("verify one large dump", contenders, "sha256sum")
    ratio = medians["sha256sum"] / medians["dbdump"]
    bench.target("at least 0.8x of the speed of sha256sum", f"{ratio:.2f}x", met=ratio >= 0.8)


def restoring(bench: Bench) -> None:
    """Compare on one large dump, signed and encrypted: verified and restored, one process or several."""
    key = bench.far.key
    kept = _dumped(bench, "encrypted", (f"--sign={key}", f"--encrypt={key}"))
    drop, unwrap = f"dropdb --if-exists {LARGE}", f"gpg -q --batch -d {_file(kept)} | zstd -q -d"
    spool = bench.top / "spool"
    load = "pg_restore --exit-on-error --create -d postgres"
    flags = (f"--database={LARGE}", "--force", "--yes", f"--sign={key}", f"--encrypt={key}")
    contenders = (
        line("by hand", f"{drop} && {unwrap} | {load}"),
        line("by hand, -j2", f"{drop} && {unwrap} > {spool} && {load} -j2 {spool}; rm {spool}"),
        _ours("dbdump --jobs=2", kept, "restore", *flags, "--jobs=2"),
        _ours("dbdump --jobs=1", kept, "restore", *flags, "--jobs=1"),
    )
    medians = bench.compare("restore one large database, signed and encrypted", contenders, "by hand")
    bench.at_most(1.05, "of the line written by hand", medians["dbdump --jobs=2"] / medians["by hand"])


def _dumped(bench: Bench, name: str, flags: Sequence[str]) -> Path:
    """Dump the large database into a directory that is not emptied before each run, and return it."""
    make_large(bench.postgres, bench.scale)
    (kept := bench.top / name).mkdir(mode=0o700)
    argv = _ours("dbdump", kept, "dump", f"--database={LARGE}", *flags).argv
    subprocess.run(argv, env=bench.environment, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return kept


def _file(kept: Path) -> Path:
    return next(each for each in kept.rglob("*") if each.is_file() and ".json" not in each.name)


def _ours(name: str, kept: Path, task: str, *flags: str) -> Contender:
    return console(name, "dbdump", task, "--backend=postgresql", f"--datadir={kept}", *flags)
