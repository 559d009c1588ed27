"""A real PostgreSQL server on a unix socket."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.process import STARTING, as_user, give, program, served, stop, wait_for

_PLACES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_wal_size": "2GB",
    "autovacuum": "off",
}
_HBA = "local all guarded scram-sha-256\nlocal all all trust\n"


def identifier(name: str) -> str:
    """Return a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Postgres:
    """A server that runs: where its socket is, and ways to ask it."""

    host: str
    port: int = 5432

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead libpq to it, as its superuser."""
        return {**os.environ, "PGHOST": self.host, "PGUSER": "postgres", "PGPORT": str(self.port)}

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL in `database`, and return what it prints, rows by line and columns by `|`."""
        done = subprocess.run(
            ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", conninfo(database)],
            input=text.encode(), env=self.environment, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def create(self, database: str) -> None:
        """Make an empty database."""
        self.sql(f"CREATE DATABASE {identifier(database)}")

    def drop(self, *databases: str) -> None:
        """Drop databases, with whoever is connected to them."""
        for database in databases:
            self.sql(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE)")

    def clients(self) -> list[str]:
        """Return the names of the programs that are connected, other than this query's."""
        return self.sql(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).splitlines()


def conninfo(database: str) -> str:
    """Return a connection string that names `database` whatever is in its name."""
    return "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole session."""
    with tempfile.TemporaryDirectory(prefix="dbdump-pg-", dir="/tmp") as top:
        Path(top).chmod(0o755)
        directory = give(Path(top) / "data", "postgres")
        who = as_user("postgres")
        subprocess.run(
            [program("initdb", "postgresql", *_PLACES), "-D", directory, "-U", "postgres", "-E", "UTF8",
             "--locale=C.UTF-8", "--lc-messages=C", "--no-sync", "-A", "trust"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **who,
        )  # fmt: skip
        (directory / "pg_hba.conf").write_text(_HBA)
        sockets = give(Path(top) / "run", "postgres")
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (Path(top) / "log").open("wb") as log:
            process = served(subprocess.Popen(
                [program("postgres", "postgresql", *_PLACES), "-D", directory, f"-k{sockets}", *settings],
                env={**os.environ, "LANGUAGE": "fr"},  # which C has none of, but C.UTF-8, where lc_messages says so
                cwd="/", stdout=log, stderr=log, stdin=subprocess.DEVNULL, **who,
            ))  # fmt: skip
        try:
            server = Postgres(str(sockets))
            wait_for(lambda: (sockets / ".s.PGSQL.5432").exists() and _answers(server), "PostgreSQL", STARTING)
            yield server
        finally:
            stop(process, signal.SIGINT)


def _answers(server: Postgres) -> bool:
    return subprocess.run(["pg_isready", "-q"], env=server.environment, check=False).returncode == 0


@pytest.fixture
def role(postgres: Postgres) -> Iterator[Callable[[str, str], None]]:
    """Make a role of that name, as CREATE ROLE has it; it is dropped at the end, since all tests share the server."""
    made: list[str] = []

    def make(name: str, how: str) -> None:
        postgres.sql(f"CREATE ROLE {identifier(name)} {how}")
        made.append(name)

    yield make
    for name in made:
        postgres.sql(f"DROP ROLE {identifier(name)}")
