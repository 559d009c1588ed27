"""What a MySQL dump would lack without a word said: refused before it begins.

mysqldump exits 0 without the tables, triggers and routines that its user may not see: rows 18 to 20 of
tests/FAULTS.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..errors import StageError
from .mysql_probe import Tools
from .mysql_server import Server
from .names import back_quoted

_KINDS = frozenset({"triggers", "events", "routines"})
_OBJECTS = {"SELECT": "tables", "SHOW VIEW": "views", "TRIGGER": "triggers", "EVENT": "events"}

# What mysql_real_escape_string changes. To dump events, mysqldump (seen in 10.11) selects the database by its
# escaped name: it fails, or takes the collation, and then the events, of the one that is called so.
_ESCAPED = frozenset("\0\n\r\x1a\\'\"")


@dataclass(frozen=True)
class Lack:
    """A privilege that is missing, what it has to be granted on, and what would be left out without it.

    One that the user `has`, by a looser pattern of names, would be missing after a grant on a closer one.
    """

    privilege: str
    on: str
    objects: str
    has: bool = False


def refuse_loss(tools: Tools, server: Server, database: str, omitted: AbstractSet[str], *, locks: bool) -> None:
    """Raise StageError where the dump of `database` would lack something, other than what is `omitted`."""
    kinds = _KINDS - omitted
    if lacks := missing(server, database, kinds, locks=locks):
        raise StageError("grants", *told(server.grants.user, database, lacks))
    if "events" in kinds and database in server.events and _ESCAPED & set(database):
        raise StageError(
            tools.dump,
            f"it cannot dump the events of {database}, with a quote, a backslash or a line end in its name",
            "Rename the database, or leave its events out: --skip-events in mysqldump_options.",
        )
    version = tools.version
    if "routines" in kinds and database in server.packages and not (version.is_mariadb and version.number >= (10, 3)):
        whose = version.text if version.is_mariadb else "that of MySQL"
        raise StageError(
            tools.dump,
            f"{whose} would silently leave out the packages of {database}",
            "Install the server's mariadb-dump, or leave the routines out: --skip-routines in mysqldump_options.",
        )


def refuse_generated(tools: Tools, database: str, tables: Sequence[str]) -> None:
    """Raise StageError where MariaDB's program would dump `tables` of MySQL, with generated columns.

    It writes their values, and MySQL takes none when they are loaded: error 3105.
    """
    if tables:
        raise StageError(
            tools.dump,
            f"MySQL could not load what it writes of tables with generated columns: {', '.join(sorted(tables)[:3])}"
            f"{', …' if len(tables) > 3 else ''} of {database}",  # noqa: PLR2004  enough to find the others
            "Install MySQL's mysqldump and mysql, and no programs of MariaDB, or name the tables in ignore_tables.",
        )


def history_flags(tools: Tools, server: Server, database: str, omitted: AbstractSet[str]) -> list[str]:
    """Return the flag that has the rows' history dumped too, where system-versioned tables keep one.

    Raises StageError where program or server are older than it, 10.11, and the history is not `omitted`.
    """
    if database not in server.history or "dump-history" in omitted:
        return []
    if "dump-history" in tools.flags and server.keeps_history:
        return ["--dump-history"]
    raise StageError(
        tools.dump,
        f"{tools.version.text} would silently leave out the history of the tables of {database}",
        "Update program and server to 10.11, or leave it out: --skip-dump-history in mysqldump_options.",
    )


def missing(server: Server, database: str, kinds: AbstractSet[str], *, locks: bool) -> list[Lack]:
    """Return what the user lacks to dump `database` with all of its `kinds`: triggers, events, routines."""
    pattern = as_pattern(database)
    place = f"{back_quoted(pattern)}.*"
    grants = server.grants
    wanted = ["SELECT", "SHOW VIEW", *(each for each in ("TRIGGER", "EVENT") if _OBJECTS[each] in kinds)]
    wanted += ["LOCK TABLES"] if locks else []
    lacks = [Lack(each, place, _OBJECTS.get(each, "")) for each in wanted if not grants.has(each, database)]
    if "routines" in kinds and (lack := _routines(server, database, place)):
        lacks.append(lack)
    if not any(each.on == place for each in lacks):
        return lacks
    return [Lack(each, place, "", has=True) for each in wanted if grants.hidden_by(pattern, each, database)] + lacks


def _routines(server: Server, database: str, place: str) -> Lack | None:
    """Return the one privilege that would show routines, where the user has none of those that do."""
    grants, version = server.grants, server.version
    if not version.is_mariadb and version.number >= (8,):
        has = grants.everywhere("SELECT") or grants.everywhere("SHOW_ROUTINE")
        lack = Lack("SHOW_ROUTINE" if version.number >= (8, 0, 20) else "SELECT", "*.*", "routines")
    elif version.is_mariadb and version.number >= (11, 3):
        has = grants.has("SHOW CREATE ROUTINE", database) or grants.on_table("SELECT", "mysql", "proc")
        lack = Lack("SHOW CREATE ROUTINE", place, "routines")
    else:
        has = grants.on_table("SELECT", "mysql", "proc")
        lack = Lack("SELECT", "mysql.proc", "routines")
    return None if has else lack


def told(user: str, database: str, lacks: Sequence[Lack]) -> tuple[str, str]:
    """Return a message that says what is missing, and a hint with the statements that grant it."""
    missed = [each for each in lacks if not each.has]
    objects = ", ".join(each.objects for each in missed if each.objects)
    lost = f": its {objects} would be silently left out" if objects else ""
    places: dict[str, list[str]] = {}
    for each in lacks:
        places.setdefault(each.on, []).append(each.privilege)
    names = [each.privilege if each.on.startswith("`") else f"{each.privilege} ON {each.on}" for each in missed]
    statements = (f"GRANT {', '.join(listed)} ON {on} TO {account(user)};" for on, listed in places.items())
    return f"user {user} has no {', '.join(names)} privilege on {database}{lost}", " ".join(statements)


def account(user: str) -> str:
    """Return a user, as the server writes it, as a statement takes it."""
    return "@".join(map(back_quoted, user.rsplit("@", 1)))


def as_pattern(database: str) -> str:
    """Return the pattern of database names, as GRANT takes one, that only `database` matches."""
    return re.sub(r"([\\_%])", r"\\\1", database)
