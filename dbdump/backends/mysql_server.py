"""What a MySQL or MariaDB server says of itself: one question, and its answer as a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ListError
from .mysql_grants import Grants, read_grants
from .mysql_probe import Version
from .names import from_hex

# Names in hex: SHOW DATABASES escapes some of them. The lines are told apart by their first column.
QUESTION = """\
SET sql_quote_show_create = 1;
SELECT 'server', VERSION(), CURRENT_USER();
SHOW GLOBAL VARIABLES WHERE Variable_name IN ('partial_revokes', 'system_versioning_insert_history');
SELECT 'database', HEX(schema_name) FROM information_schema.schemata ORDER BY schema_name;
SELECT 'unsafe', HEX(table_schema), HEX(table_name) FROM information_schema.tables
  WHERE table_type <> 'VIEW'
  AND engine NOT IN (SELECT engine FROM information_schema.engines WHERE transactions = 'YES');
SELECT DISTINCT 'history', HEX(table_schema) FROM information_schema.tables
  WHERE table_type = 'SYSTEM VERSIONED';
SELECT DISTINCT 'events', HEX(event_schema) FROM information_schema.events;
SELECT DISTINCT 'packages', HEX(routine_schema) FROM information_schema.routines
  WHERE routine_type LIKE 'PACKAGE%';
SHOW GRANTS"""

# Asked where MariaDB's program dumps another make: it writes the values of such columns, which only MariaDB takes.
GENERATED = """\
SELECT DISTINCT HEX(table_schema), HEX(table_name) FROM information_schema.columns
  WHERE generation_expression <> ''"""

_LOGS = {("mysql", "general_log"), ("mysql", "slow_log")}  # of these mysqldump writes no rows
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0"}


@dataclass(frozen=True)
class Server:
    """A server: its version, its databases, and what its user may do.

    `unsafe` are the tables, by database, that no transaction protects. `history`, `events` and `packages`
    are the databases that have such things. `generated` are the tables that have generated columns, where that
    was asked.
    """

    version: Version
    databases: tuple[str, ...]
    unsafe: Mapping[str, Sequence[str]]
    history: frozenset[str]
    events: frozenset[str]
    packages: frozenset[str]
    keeps_history: bool
    grants: Grants
    generated: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_server(answer: str) -> Server:
    """Return what the answer to QUESTION says. Raises ListError where it is not one."""
    rows: dict[str, list[list[str]]] = {}
    grants = []
    for line in answer.removesuffix("\n").split("\n"):
        first, *columns = map(unescaped, line.split("\t"))
        if first.startswith(("GRANT ", "REVOKE ", "SET DEFAULT ROLE ")):
            grants.append(first)
        else:
            rows.setdefault(first, []).append(columns)
    try:
        return _server(rows, grants)
    except (KeyError, ValueError, IndexError) as error:
        raise ListError(
            f"cannot read what the client answered: {answer[:60]!r}",
            "Look at the client's group in the option file: it must not change how it prints.",
        ) from error


def _server(rows: Mapping[str, list[list[str]]], grants: Sequence[str]) -> Server:
    ((version, user),) = rows["server"]
    partial = rows.get("partial_revokes") == [["ON"]]
    return Server(
        Version(version),
        tuple(from_hex(digits) for (digits,) in rows["database"]),
        _by_database(rows.get("unsafe", [])),
        history=frozenset(_names(rows, "history")),
        events=frozenset(_names(rows, "events")),
        packages=frozenset(_names(rows, "packages")),
        keeps_history="system_versioning_insert_history" in rows,
        grants=Grants(user, read_grants(grants), wildcards=not partial),
    )


def read_generated(answer: str) -> dict[str, list[str]]:
    """Return the tables that the answer to GENERATED names, by database."""
    return _by_database(line.split("\t") for line in answer.splitlines())


def _by_database(pairs: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Return the tables, by database, that `pairs` name in hex, without those whose rows no dump has."""
    found: dict[str, list[str]] = {}
    for digits, of_table in pairs:
        database, table = from_hex(digits), from_hex(of_table)
        if (database, table) not in _LOGS:
            found.setdefault(database, []).append(table)
    return found


def _names(rows: Mapping[str, list[list[str]]], key: str) -> Iterator[str]:
    return (from_hex(digits) for (digits,) in rows.get(key, []))


def unescaped(text: str) -> str:
    """Return a column as it was before the client escaped it for --batch."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)
