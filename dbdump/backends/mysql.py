"""MySQL and MariaDB: mysql or mariadb lists the databases, mysqldump or mariadb-dump dumps each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

from ..catalog import GLOBALS
from ..errors import RecipeError, Skip, StageError
from ..findings import Finding
from ..shell import Asker
from .base import Backend, Obstacle, Reader, StreamShape, option, path_on_host
from .mysql_check import findings
from .mysql_count import COUNT_WORDS, count_questions, table_question, tables_of
from .mysql_hints import HINTS
from .mysql_loss import history_flags, refuse_generated, refuse_loss
from .mysql_options import client_words, connection, dump_words, file_fault, incomplete, omitted
from .mysql_probe import SCRIPT, Tools, flavour_flags, read_tools
from .mysql_restore import contents_question, read_contents, renaming, whole_name
from .mysql_server import GENERATED, QUESTION, Server, read_generated, read_server
from .mysql_swap import anew, watching
from .mysql_talk import TALK_WORDS, Client
from .names import back_quoted
from .registry import backend

# Before the header, newer ones of MariaDB have a line that keeps the client from running commands.
_DUMP = StreamShape(
    first=(b"/*M!999999\\-", b"/*!999999\\-", b"-- MariaDB dump", b"-- MySQL dump"),
    last=b"\n-- Dump completed",
)

_SYSTEM = {"information_schema", "performance_schema", "sys"}

# The tables that have accounts in MySQL 8 (manual, 8.2.3); from them FLUSH PRIVILEGES makes users.
_ACCOUNTS = ("user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv", "global_grants",
             "role_edges", "default_roles", "password_history")  # fmt: skip
_THEN_FLUSH = '"$@" && exec "$@" --execute="FLUSH PRIVILEGES"'


@backend("mysql")
class MySQL(Backend):
    """A MySQL or MariaDB server."""

    defaults: str | None = option(default=None, help="option file of the clients, passed first; private")
    mysql_options: str | Sequence[str] = option(default=(), help="more options for mysql or mariadb")
    mysqldump_options: str | Sequence[str] = option(default=(), help="more for mysqldump or mariadb-dump")
    ignore_tables: Sequence[str] = option(default=(), help="tables to leave out, each DATABASE.TABLE")
    globals: bool = option(default=True, help="dump users, roles and grants too, as @globals")

    by_stdio = True
    globals_first = False  # a grant on a table needs the table
    hints = HINTS

    def __post_init__(self) -> None:
        self.mysql_options = client_words(self.mysql_options)
        self.mysqldump_options = dump_words(self.mysqldump_options)
        tables = self.ignore_tables
        self.ignore_tables = (tables,) if isinstance(tables, str) else tuple(tables)
        for table in self.ignore_tables:
            if not all(table.partition(".")):
                raise RecipeError(f"ignore_tables: {table!r} names no database", "Write DATABASE.TABLE.")
        if "MYSQL_HOST" in self.env:
            raise RecipeError("env: MYSQL_HOST leads the client elsewhere than mysqldump", "Say it in the option file.")
        self._seen: tuple[Tools, Server] | None = None
        self._left_out = ""
        self._begun_anew: set[str] = set()
        self._client: Client | None = None

    def on(self, ask: Asker, *, here: bool = True) -> Self:
        """Return a copy that is bound to a host; see Backend."""
        bound = super().on(ask, here=here)
        bound.defaults = None if self.defaults is None else path_on_host(self.defaults, here=here)
        return bound

    @property
    def suffix(self) -> str:
        """`.sql`."""
        return ".sql"

    @property
    def hidden_variables(self) -> Sequence[str]:
        """MariaDB's client heeds MYSQL_HOST, its dump program does not: one server would be listed, another dumped."""
        return ("MYSQL_HOST",)

    def checks_stream(self, database: str) -> bool:  # noqa: ARG002  the same for all
        """Always: the end marker is the only proof that SQL text is whole."""
        return True

    def get_db_list(self) -> list[str]:
        """Return every database, those of the server itself too.

        Raises StageError for an option file that others can read, programs that do not fit together, and
        what the client says, and ListError for an answer that is none.
        """
        tools, server = self._look()
        if self._left_out:  # no matter where a dump is only restored
            raise StageError(
                tools.dump,
                f"{self._left_out} in an option file of its would leave something out of every dump",
                "Remove it there. To leave out a table, name it in the recipe: ignore_tables.",
            )
        return list(server.databases)

    def get_command(self, database: str) -> list[str]:
        """Return the argv that dumps `database`.

        Raises Skip for what the server makes itself, and StageError where something in `database` would be
        left out without a word.
        """
        if database in _SYSTEM or database.lower() == "information_schema":
            raise Skip("made by the server itself")
        tools, server = self._seen or self._look()
        left_out = omitted(self.mysqldump_options)
        unsafe, generated = (self._dumped(database, tables) for tables in (server.unsafe, server.generated))
        refuse_generated(tools, database, generated)
        refuse_loss(tools, server, database, left_out, locks=bool(unsafe))
        return [
            *self._program(tools.dump),
            *([] if unsafe else ["--single-transaction"]),
            *("--quick", "--routines", "--events", "--triggers", "--hex-blob", "--max-allowed-packet=1G"),
            # An option file may have skip-opt, and so tables without AUTO_INCREMENT, engine and character set.
            *("--create-options", "--quote-names", "--set-charset", "--tz-utc"),
            "--skip-add-locks",  # a table whose column takes its number from a sequence could not be loaded
            *flavour_flags(tools, server.version),
            *history_flags(tools, server, database, left_out),
            *(["--flush-privileges"] if database == "mysql" else []),
            *(f"--ignore-table={each}" for each in self.ignore_tables if each.startswith(f"{database}.")),
            *self._dump_words,
            # What no transaction protects is whole only while nobody may write. Last, because the other flag wins over
            # this one, wherever either stands; in an option file, too.
            *(["--skip-single-transaction", "--lock-tables"] if unsafe else []),
            *("--databases", "--", database),
        ]

    def watch(self, database: str) -> Callable[[], None]:
        """Return what fails where a table became another one meanwhile; see Backend. Under locks none can."""
        tools, server = self._seen or self._look()
        if database == GLOBALS or self._dumped(database, server.unsafe):
            return super().watch(database)
        ask = self._client.answer if self._client else self._answer
        return watching(tools.dump, server, database, self.ignore_tables, ask)

    def obstacle(self, database: str, message: str) -> Obstacle | None:
        """Return that a table became another one, once for each database; see Backend."""
        found = None if database in self._begun_anew else anew(message)
        if found:
            self._begun_anew.add(database)
        return found

    def get_globals_command(self) -> list[str] | None:
        """Return the argv that dumps users, roles and grants, unless the recipe wants no globals.

        There is none for servers before MySQL 8 with a client that does not know --system; the dump of the
        database `mysql` has their accounts, as that of every server has.
        """
        tools, server = self._seen or self._look()
        if not self.globals:
            return None
        if "system" in tools.flags:
            # IF NOT EXISTS: root is there already, where it is restored, and so may be others.
            how = ["--insert-ignore", "--system=users"]
            return [*self._program(tools.dump), *how, *self._dump_words]
        if server.version.is_mariadb or server.version.number < (8,):
            return None
        # As the manual of mysqldump has it; not tried on a real server.
        how = ["--single-transaction", "--hex-blob", "--no-create-info", "--skip-triggers", "--replace",
               "--complete-insert", *flavour_flags(tools, server.version)]  # fmt: skip
        return [*self._program(tools.dump), *how, *self._dump_words, "--", "mysql", *_ACCOUNTS]

    def get_restore_command(self, database: str) -> list[str]:
        """Return the argv that loads a dump, which itself says which database it makes."""
        tools, _ = self._seen or self._look()
        # Else line ends in routines are changed, and commands to the client are obeyed.
        client = [*self._program(tools.client), "--binary-mode", *self.mysql_options]
        if database == GLOBALS and "system" not in tools.flags:
            return ["sh", "-c", _THEN_FLUSH, "sh", *client, "--database=mysql"]
        return client

    def get_load_command(self, database: str, into: str, jobs: int) -> list[str] | None:  # noqa: ARG002  one
        """Return the argv that makes `into` of a dump on stdin; see Backend."""
        client = self.get_restore_command(database)
        return client if into == database else renaming(database, into, client)

    def target_of(self, database: str, name: str | None) -> str:
        """Return what it is called then; see Backend."""
        return whole_name(name or database)

    def contents(self, database: str) -> int | None:
        """Return how many tables, routines and events `database` has; see Backend."""
        return read_contents(self._answer(contents_question(database)))

    def discard(self, database: str) -> None:
        """Drop `database`. Raises StageError for one that a server cannot do without."""
        if database.lower() in _SYSTEM | {"mysql"}:
            raise StageError(
                "restore", f"{database} is the server's own, and is not dropped", "Users are restored with --globals."
            )
        self._answer(f"DROP DATABASE {back_quoted(database)}")

    def count(self, database: str) -> tuple[int, int]:
        """Return how many tables `database` has, and how many rows they have, each counted."""
        tools, _ = self._seen or self._look()
        client = [*self._program(tools.client), *COUNT_WORDS, *self.mysql_options]
        tables = tables_of(self.output([*client, f"--execute={table_question(database)}"]))
        answers = [self.output([*client, f"--execute={each}"]) for each in count_questions(database, tables)]
        return len(tables), sum(int(line) for answer in answers for line in answer.split())

    def shape_of(self, database: str) -> StreamShape:  # noqa: ARG002  the same for all
        """Return what a whole dump looks like, that of the globals too."""
        return _DUMP

    @property
    def readers(self) -> Sequence[Reader]:
        """The client, for a drill; verify alone needs none."""
        return [Reader(["mariadb", "mysql"], "its dumps are not drilled here", "mariadb-client, or mysql-client")]

    def check(self, wanted: Callable[[str], bool]) -> Iterator[Finding]:
        """Yield where programs and server differ, views that are broken, what is not dumped as it is; see Backend."""
        tools, server = self._seen or self._look()
        accounts = wanted(GLOBALS) and self.get_globals_command() is not None
        yield from findings(tools, server, self._answer, wanted, self.ignore_tables, accounts=accounts)

    def versions(self) -> dict[str, str]:
        """Return the versions of the dump program and of the server."""
        tools, server = self._seen or self._look()
        return {tools.dump: tools.version.text, "server": server.version.text}

    def _look(self) -> tuple[Tools, Server]:
        """Ask the host for its programs and the server for all that is to be known; keep the answers."""
        self._check_file()
        tools = read_tools(self._asked(["sh", "-c", SCRIPT, "sh"]))
        self._compare_connections(tools)
        server = read_server(self._said(tools, QUESTION))
        if tools.version.is_mariadb and not server.version.is_mariadb:
            server = replace(server, generated=read_generated(self._said(tools, GENERATED)))
        self._client = Client(self._ask, [*self._program(tools.client), *TALK_WORDS, *self.mysql_options], self._answer)
        self._seen = tools, server
        return self._seen

    def _check_file(self) -> None:
        if self.defaults is None:
            return
        try:
            listing = self._asked(["ls", "-lLd", "--", self.defaults])
        except StageError as error:
            raise StageError("defaults", error.message, "Look at its path, and at su.") from error
        if fault := file_fault(listing):
            raise StageError(
                "defaults", f"{self.defaults} {fault}", f"It may hold a password: chmod 600 {self.defaults}"
            )

    def _compare_connections(self, tools: Tools) -> None:
        """Refuse to list one server, or ask as one user, and dump another server, or as another user."""
        of_client, of_dump = (
            self._asked([program, *self._file, "--print-defaults", *given])
            for program, given in ((tools.client, self.mysql_options), (tools.dump, self.mysqldump_options))
        )
        self._left_out = incomplete(of_dump, self.mysqldump_options)
        asked, dumped = connection(of_client), connection(of_dump)
        if asked != dumped:
            raise StageError(
                tools.dump,
                f"{tools.client} would connect to {_place(asked)}, but {tools.dump} to {_place(dumped)}",
                "Say it in the group [client] of the option file, or alike in both option strings.",
            )

    def _answer(self, statements: str) -> str:
        return self._said((self._seen or self._look())[0], statements)

    def _said(self, tools: Tools, statements: str) -> str:
        how = ["--batch", "--skip-column-names", f"--execute={statements}"]
        return self._asked([*self._program(tools.client), *how, *self.mysql_options])

    def _dumped(self, database: str, tables: Mapping[str, Sequence[str]]) -> list[str]:
        """Return those `tables` of a database that are not left out."""
        return [table for table in tables.get(database, ()) if f"{database}.{table}" not in self.ignore_tables]

    def _asked(self, argv: Sequence[str]) -> str:
        return self.output(argv).decode("utf-8", "surrogateescape")

    @property
    def _dump_words(self) -> list[str]:
        # Not every client knows this one, which is meant for us.
        words = ("--skip-dump-history", "--disable-dump-history")
        return [word for word in self.mysqldump_options if word not in words]

    @property
    def _file(self) -> list[str]:
        return [] if self.defaults is None else [f"--defaults-file={self.defaults}"]

    def _program(self, name: str) -> list[str]:
        # An option file may have `force`, which would make an error a success.
        return [name, *self._file, "--default-character-set=utf8mb4", "--skip-force"]


def _place(connection: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in connection.items()) or "the default"
