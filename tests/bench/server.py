"""A PostgreSQL server in a directory that is thrown away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.postgres import Postgres
from servers.process import as_user, give, program, wait_for

from .process import reap, running

_PLACES = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
_SETTINGS = {
    "autovacuum": "off",  # nothing but the contenders shall run
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_wal_size": "4GB",
    "shared_buffers": "128MB",
}


@contextmanager
def server(top: Path) -> Iterator[Postgres]:
    """Run a server on a socket below `top`, and stop it at the end."""
    directory, sockets, log = (
        give(top / "data", "postgres"),
        give(top / "run", "postgres"),
        top / "server.log",
    )
    how = {"cwd": "/", **as_user("postgres")}
    _make(directory, log, how)
    postgres = program("postgres", "postgresql", *_PLACES)
    settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    argv = [postgres, "-D", str(directory), "-k", str(sockets), *settings]
    with running(argv, log, how, stop_by=signal.SIGINT):
        wait_for(lambda: "ready to accept connections" in log.read_text(), "PostgreSQL")
        yield Postgres(str(sockets))


def _make(directory: Path, log: Path, how: dict[str, object]) -> None:
    initdb = program("initdb", "postgresql", *_PLACES)
    flags = ["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"]
    with running([initdb, "-D", str(directory), *flags], log, how) as making:
        reap(making)
    if making.returncode:
        raise RuntimeError(f"initdb: {log.read_text()}")
