"""PostgreSQL: psql lists the databases, pg_dump dumps each, pg_dumpall the globals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Literal, Self

from ..catalog import GLOBALS
from ..errors import RecipeError, Skip, StageError
from ..findings import Finding
from .base import Backend, Obstacle, Reader, StreamShape, option
from .postgresql_count import COUNT_WORDS, counted
from .postgresql_hints import DETAIL, HINTS
from .postgresql_locks import LOCKED, TOO_LONG, LockWait
from .postgresql_options import PG_DUMP_WITH_VALUE, connection_words, conninfo, refuse_diverting
from .postgresql_restore import (
    MAINTENANCE,
    UNHINDERED,
    contents,
    discard,
    let_go,
    loading_custom,
    loading_globals,
    loading_plain,
    whole_name,
)
from .postgresql_rights import Rights, asked_of
from .postgresql_server import QUESTIONS, Listed, pg_dump_version, read_server
from .postgresql_trial import trying
from .registry import backend
from .words import words

_CUSTOM = StreamShape(first=(b"PGDMP",))  # how long it has to be is only known to pg_restore
_PLAIN = StreamShape(first=(b"--\n-- PostgreSQL database dump",), last=b"PostgreSQL database dump complete")
_GLOBALS = StreamShape(
    first=(b"--\n-- PostgreSQL database cluster dump",), last=b"PostgreSQL database cluster dump complete"
)

PATIENCE = "SET statement_timeout = 0"  # whatever is set for the role or the database; the tools do it, too

_TEMPLATES = ("template0", "template1")


@backend("postgresql")
class PostgreSQL(Backend):
    """A PostgreSQL server."""

    host: str = option(default="", help="server's address, or the directory of its socket")
    port: int | None = option(default=None, help="server's port")
    user: str = option(default="", help="role to connect as")
    service: str = option(default="", help="section of pg_service.conf that says how to connect")
    psql_options: str | Sequence[str] = option(default=(), help="more options for psql")
    pg_dump_options: str | Sequence[str] = option(default=(), help="more options for pg_dump")
    format: Literal["custom", "plain"] = option(default="custom", help="custom, for pg_restore, or plain SQL")
    globals: bool = option(default=True, help="dump roles and tablespaces too, as @globals")
    lock_wait_timeout: float = option(default=300.0, help="seconds to wait for a locked table, then fail")

    by_stdio = True
    hints = HINTS
    detail = DETAIL

    def __post_init__(self) -> None:
        self.psql_options = words(self.psql_options)
        self.pg_dump_options = words(self.pg_dump_options)
        self._lift_connection(self.psql_options, self.pg_dump_options)
        refuse_diverting(self.psql_options, self.pg_dump_options)
        if self.format not in ("custom", "plain"):
            raise RecipeError(f"postgresql: no format {self.format!r}", 'It is "custom" or "plain".')
        self._listed: dict[str, Listed] = {}
        self._versions: dict[str, str] = {}
        self._lock_waits: dict[str, LockWait] = {}  # by database
        self._owners = True
        self._number = 0  # of the server's version

    @property
    def suffix(self) -> str:
        """`.pgdump`, for pg_restore, or `.sql`."""
        return ".pgdump" if self.format == "custom" else ".sql"

    def checks_stream(self, database: str) -> bool:
        """Plain SQL is looked at: psql restores the half of it without a word (row 130 of tests/FAULTS.md)."""
        return self.format == "plain" or database == GLOBALS

    def get_db_list(self) -> list[str]:
        """Return every database, those that cannot be dumped too.

        Raises StageError where pg_dump is older than the server, which it would refuse one by one, and ListError
        for an answer that is none.
        """
        psql = [
            "psql",
            self._connection(MAINTENANCE),
            *self.psql_options,
            *("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"),
            *("--set=ON_ERROR_STOP=1", "--field-separator= "),
            *(f"--command={each}" for each in (PATIENCE, *QUESTIONS)),
        ]
        with ThreadPoolExecutor(1, "version") as pool:  # Debian's wrapper around either takes longer than it does
            asked = pool.submit(self.output, ["pg_dump", "--version"])
            self._number, version, self._listed = read_server(self.output(psql))
        self._versions = {"server": version, "pg_dump": pg_dump_version(asked.result(), self._number, version)}
        return list(self._listed)

    def get_command(self, database: str) -> list[str]:
        """Return the argv of pg_dump; raises Skip for what is no database of anybody's."""
        if database in _TEMPLATES:
            raise Skip("template database")
        if not self._listed.get(database, Listed()).connectable:
            raise Skip("does not allow connections")
        how = ["--format=custom", "--compress=0"] if self.format == "custom" else ["--format=plain", "--create"]
        return [
            "pg_dump",
            "--no-password",
            *how,
            f"--lock-wait-timeout={round(self._lock_wait(database).seconds * 1000)}",
            *self.pg_dump_options,
            self._connection(database),
        ]

    def obstacle(self, database: str, message: str) -> Obstacle | None:
        """Return the lock of a table that pg_dump gave up to wait for; see Backend."""
        if any(each.startswith("--lock-w") for each in self.pg_dump_options):
            return None
        wait = self._lock_wait(database)
        return wait.obstacle(message, lambda: self._answer(database, LOCKED), lambda: self._said(database, *TOO_LONG))

    def get_globals_command(self) -> list[str] | None:
        """Return the argv of pg_dumpall, unless the recipe wants no globals."""
        if not self.globals:
            return None
        return ["pg_dumpall", "--no-password", "--globals-only", *self._as_dumper, self._connection(MAINTENANCE)]

    def get_restore_command(self, database: str) -> list[str]:
        """Return the argv that makes the database again, with its name and settings, from stdin."""
        psql = ["psql", self._connection(MAINTENANCE), *self._as_dumper, "--no-psqlrc", "--no-password", "--quiet"]
        if database == GLOBALS:
            return psql  # goes on after an error: the roles that every server has are there already
        heedless = UNHINDERED if self._listed.get(database, Listed()).hindered else ()
        if self.format == "plain":
            return [*heedless, *psql, "--set=ON_ERROR_STOP=1"]
        how = ["--no-password", "--exit-on-error", "--create"]
        return [*heedless, "pg_restore", self._connection(MAINTENANCE), *self._as_dumper, *how]

    def get_load_command(self, database: str, into: str, jobs: int) -> list[str]:
        """Return the argv that makes `into` of a dump on stdin; see Backend."""
        if database == GLOBALS:
            return loading_globals(self.get_restore_command(GLOBALS))
        if self.format == "plain":
            return loading_plain(self._connection, self._as_dumper, database, into)
        return loading_custom(self._connection, self._as_dumper, database, into, jobs, owners=self._owners)

    def spools(self, database: str, into: str, jobs: int) -> bool:
        """Return whether an archive is read from a file: by several at once, or under another name; see Backend."""
        return self.format == "custom" and database != GLOBALS and (jobs > 1 or into != database)

    def get_trial_command(self, database: str, into: str, jobs: int) -> list[str] | None:
        """Return the argv that looks for what restores a database; psql alone is there where it can be dropped."""
        return None if database == GLOBALS else trying(self.restorers, spools=self.spools(database, into, jobs))

    def without_owners(self) -> Self:
        """Return a copy that restores archives without owners, grants and tablespaces, which may not be there."""
        reader = copy(self)
        reader._owners = False  # noqa: SLF001  its own
        return reader

    def target_of(self, database: str, name: str | None) -> str:
        """Return what it is called then; see Backend."""
        return whole_name(name or database)

    def contents(self, database: str) -> int | None:
        """Return how many tables and other things `database` has; see Backend."""
        return contents(self._answer, database)

    def discard(self, database: str) -> None:
        """Drop `database`, and whoever is connected to it."""
        discard(self._answer, database)

    def let_go(self, database: str) -> None:
        """Take from a scratch database what would keep it from being dropped; see Backend."""
        let_go(self._answer, database)

    def count(self, database: str) -> tuple[int, int]:
        """Return how many tables `database` has, partitions too, and how many rows they have, each counted."""
        psql = ["psql", self._connection(database), *self.psql_options, "--no-psqlrc", "--no-password"]
        return counted(self.output([*psql, *COUNT_WORDS]))

    def shape_of(self, database: str) -> StreamShape:
        """Return what a whole stream of pg_dump or pg_dumpall looks like."""
        if database == GLOBALS:
            return _GLOBALS
        return _CUSTOM if self.format == "custom" else _PLAIN

    @property
    def hidden_variables(self) -> Sequence[str]:
        """PGHOSTADDR wins over any host, and what the service of PGSERVICE says over one that is given here."""
        if self.host or self.service:
            return tuple(name for name in ("PGHOSTADDR", "PGSERVICE") if name not in self.env)
        return ()

    @property
    def programs(self) -> Sequence[str]:
        """psql, pg_dump and, for globals, pg_dumpall."""
        return ("psql", "pg_dump", *(["pg_dumpall"] if self.globals else []))

    @property
    def restorers(self) -> Sequence[str]:
        """awk, which edits SQL, and for archives pg_restore."""
        return ("awk", *(["pg_restore"] if self.format == "custom" else []))

    @property
    def readers(self) -> Sequence[Reader]:
        """pg_restore, for archives; a server to throw away comes with its own programs."""
        lost = "verify does not read the structure of its dumps, and restore --force refuses them"
        return [Reader(["pg_restore"], lost, "postgresql-client")] if self.format == "custom" else []

    def check(self, wanted: Callable[[str], bool]) -> Iterator[Finding]:
        """Yield what the role that dumps may not read, in each database by a connection of its own."""
        if not self._listed:
            self.get_db_list()
        rights = Rights(self._ask_as_dumper, self._number, asked_of(self.pg_dump_options, PG_DUMP_WITH_VALUE))
        names = [name for name, each in self._listed.items() if each.connectable and name not in _TEMPLATES]
        yield from rights.of_all(filter(wanted, names), self.hint)
        if self.globals and wanted(GLOBALS):
            yield from rights.of_globals(MAINTENANCE)

    def reading(self, suffix: str) -> Self:
        """Return a copy for dumps of the format that has `suffix`; see Backend."""
        formats: dict[str, Literal["custom", "plain"]] = {".pgdump": "custom", ".sql": "plain"}
        if suffix not in formats:
            return super().reading(suffix)
        reader = copy(self)
        reader.format = formats[suffix]
        return reader

    def get_check_command(self, database: str) -> list[str] | None:
        """Return the argv that reads an archive to its end; plain SQL has an end marker instead."""
        return ["pg_restore", "--file=/dev/null"] if self.format == "custom" and database != GLOBALS else None

    def versions(self) -> dict[str, str]:
        """Return the versions of pg_dump and of the server."""
        return self._versions

    def _lift_connection(self, psql: Sequence[str], pg_dump: Sequence[str]) -> None:
        """Take host and port out of the option strings, for the tools that get neither of these strings.

        Raises RecipeError where one server would be listed and another one dumped, or a user is said twice.
        """
        asked, dumped = connection_words(psql), connection_words(pg_dump)
        for key in ("host", "port"):
            if asked.get(key) != dumped.get(key):
                raise RecipeError(
                    f"postgresql: psql would ask {key} {asked.get(key, 'default')}, but pg_dump would dump "
                    f"{key} {dumped.get(key, 'default')}",
                    f"Use the option {key}, or say it alike in psql_options and pg_dump_options.",
                )
        if self.user and (asked.get("user") or dumped.get("user")):
            raise RecipeError("postgresql: the user is given twice", "Give the option user, or -U in both strings.")
        self.host = asked.get("host", self.host)
        self.port = int(asked["port"]) if asked.get("port", "").isdecimal() else self.port

    @property
    def _as_dumper(self) -> list[str]:
        user = connection_words(self.pg_dump_options).get("user")
        return [f"--username={user}"] if user else []

    def _lock_wait(self, database: str) -> LockWait:
        return self._lock_waits.setdefault(database, LockWait(self.lock_wait_timeout))

    def _answer(self, database: str, *commands: str) -> str:
        return self._ask_as_dumper(database, commands).strip()

    def _said(self, database: str, *commands: str) -> str:
        """Return what the server says of `commands` that fail."""
        try:
            return self._answer(database, *commands)
        except StageError as error:
            return error.message.rpartition(":  ")[2]  # of `ERROR:  it`

    def _ask_as_dumper(self, database: str, commands: Sequence[str]) -> str:
        """Return what psql prints for `commands` in a database, as the role that pg_dump would be."""
        how = ("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        psql = ["psql", self._connection(database), *self._as_dumper, *how, "--field-separator= "]
        return self.output([*psql, *(f"--command={each}" for each in (PATIENCE, *commands))]).decode()

    def _connection(self, database: str) -> str:
        """Return the option that says which database, and where.

        A quoted conninfo and not PGDATABASE, because the dbname of a service file wins over that, and not
        the bare name, because one that holds `=` would be read as a conninfo (row 89 of tests/FAULTS.md).
        """
        parts = {"service": self.service, "host": self.host, "port": self.port, "user": self.user}
        given = {name: str(value) for name, value in {**parts, "dbname": database}.items() if value}
        return "--dbname=" + " ".join(f"{name}={conninfo(value)}" for name, value in given.items())
