"""What a MySQL dump fails by, beside what it would lose: asked, and judged, before anything is dumped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..catalog import GLOBALS
from ..findings import Finding
from .mysql_loss import account
from .mysql_probe import Tools, Version
from .mysql_server import Server
from .names import from_hex

# A view whose tables or columns are gone has no columns itself in MariaDB, and says so in a comment in MySQL.
BROKEN = """\
SELECT HEX(table_schema), HEX(table_name) FROM information_schema.views v
  WHERE NOT EXISTS (SELECT 1 FROM information_schema.columns c
    WHERE c.table_schema = v.table_schema AND c.table_name = v.table_name)
UNION SELECT HEX(table_schema), HEX(table_name) FROM information_schema.tables
  WHERE table_type = 'VIEW' AND table_comment LIKE 'View%references invalid%'"""

# mysqldump writes the one with six digits, and knows one of two backslashes in the other; a FLOAT(M,D) is exact.
INEXACT = """\
SELECT HEX(c.table_schema), HEX(c.table_name), HEX(column_name), data_type FROM information_schema.columns c
  JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
  WHERE table_type <> 'VIEW' AND (data_type = 'float' AND numeric_scale IS NULL OR character_set_name = 'sjis')
  ORDER BY 1, 2, 3"""

# Of what MariaDB has granted to everybody, mariadb-dump (seen in 10.11) writes nothing among the users.
PUBLIC = """\
SELECT (SELECT COUNT(*) FROM mysql.db WHERE User = 'PUBLIC')
  + (SELECT COUNT(*) FROM mysql.tables_priv WHERE User = 'PUBLIC')
  + (SELECT COUNT(*) FROM mysql.procs_priv WHERE User = 'PUBLIC')"""
_SYSTEM = ("mysql", "sys", "performance_schema", "information_schema")


def findings(  # noqa: PLR0913  each is another thing
    tools: Tools, server: Server, ask: Callable[[str], str], wanted: Callable[[str], bool], ignored: Collection[str],
    *, accounts: bool,
) -> Iterator[Finding]:  # fmt: skip
    """Yield all that is found: `ask` runs SQL, `accounts` says whether the globals are dumped."""
    yield from other_version(tools, server.version)
    yield from unnoticed(server)
    yield from broken_views(ask(BROKEN), server, wanted, ignored)
    yield from inexact(ask(INEXACT), wanted, ignored)
    if accounts:
        yield from globals_grants(server)
        if server.version.is_mariadb and server.grants.has("SELECT", "mysql"):
            yield from public_grants(ask(PUBLIC))


def other_version(tools: Tools, server: Version) -> Iterator[Finding]:
    """Yield a warning where the dump program is of another make than the server, or of an older major.minor.

    Neither refuses to dump, unlike pg_dump; what is known to be lost is refused for each database.
    """
    is_, of_server = f"{tools.dump} is {tools.version.text}", f"the server is {server.text}"
    if tools.version.is_mariadb != server.is_mariadb:
        make = "MariaDB" if server.is_mariadb else "MySQL"
        yield Finding(
            "warning", tools.dump, f"{is_}, and {of_server}, of another make: not all that it writes may load there",
            f"Install the client programs of {make}, and no others.",
        )  # fmt: skip
    elif tools.version.number[:2] < server.number[:2]:
        yield Finding(
            "warning", tools.dump, f"{is_}, and {of_server}: what is new there may be lacking in a dump, or not load",
            "Install the client programs of the server's version, or newer ones, and put them first in PATH.",
        )  # fmt: skip


def unnoticed(server: Server) -> Iterator[Finding]:
    """Yield a warning where the user may not see by what mysql_swap knows one table of MariaDB from another."""
    if server.version.is_mariadb and not server.grants.everywhere("PROCESS"):
        yield Finding(
            "warning", "grants", f"user {server.grants.user} has no PROCESS privilege: a table that is emptied and "
            "filled, or exchanged with a partition, while it is dumped may lack rows unnoticed",
            f"GRANT PROCESS ON *.* TO {account(server.grants.user)};",
        )  # fmt: skip


def broken_views(
    answer: str, server: Server, wanted: Callable[[str], bool], ignored: Collection[str]
) -> Iterator[Finding]:
    """Yield the views that the answer to BROKEN names, of databases whose views the user may see."""
    for line in answer.splitlines():
        database, view = map(from_hex, line.split("\t"))
        # Without SELECT, nobody sees the columns of any view.
        if wanted(database) and f"{database}.{view}" not in ignored and server.grants.has("SELECT", database):
            yield Finding(
                "error", "views", f"the view {view} refers to what is not there, or may not be used by its definer",
                "Mend the view, drop it, or name it in ignore_tables.", database,
            )  # fmt: skip


def globals_grants(server: Server) -> Iterator[Finding]:
    """Yield what the user lacks to dump users and roles."""
    if not server.grants.has("SELECT", "mysql"):
        yield Finding(
            "error", "grants", f"user {server.grants.user} has no SELECT privilege on mysql, which has the accounts",
            "GRANT SELECT ON mysql.*, or give globals=False.", GLOBALS,
        )  # fmt: skip


def public_grants(answer: str) -> Iterator[Finding]:
    """Yield a warning where the answer to PUBLIC says that something is granted to it."""
    if int(answer):
        yield Finding(
            "warning", "grants", "what is granted to PUBLIC is not dumped with the users",
            "Write it down: SHOW GRANTS FOR PUBLIC; it is in the dump of mysql, too, as rows.", GLOBALS,
        )  # fmt: skip


def inexact(answer: str, wanted: Callable[[str], bool], ignored: Collection[str]) -> Iterator[Finding]:
    """Yield, for each database, the columns in the answer to INEXACT whose values a dump does not keep exactly."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in answer.splitlines():
        *digits, kind = line.split("\t")
        database, table, column = map(from_hex, digits)
        if database not in _SYSTEM and wanted(database) and f"{database}.{table}" not in ignored:
            found.setdefault((database, kind), []).append(f"{table}.{column}")
    for (database, kind), columns in found.items():
        which = ", ".join(columns[:3]) + (f", and {len(columns) - 3} more" if columns[3:] else "")
        told, hint = (
            ("FLOAT is dumped with six digits, and what has more is rounded", "Make it DOUBLE, which is exact.")
            if kind == "float" else
            ("backslashes in sjis are dumped as wide ones", "Make it cp932, or utf8mb4.")
        )  # fmt: skip
        yield Finding("warning", "columns", f"{told}: {which}", hint, database)
