"""What a MySQL dump fails by, beside what it would lose: asked, and judged, before anything is dumped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..catalog import GLOBALS
from ..findings import Finding
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
