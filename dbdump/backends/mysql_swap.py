"""Whether a table became another one while it was dumped in one transaction: the dump may lack its rows then.

The transaction sees rows as of its begin, but finds a table by its name when it comes to it. Where that is another
table by then (RENAME TABLE t TO old, new TO t; EXCHANGE PARTITION), the rows that came into it meanwhile are not seen:
mysqldump writes none of them, its end marker, and exits 0. It loses those of a partition that is dropped, too. So the
tables are looked at before the dump, and after it. What was dropped for good is no fault: mysqldump fails, or has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import StageError
from .base import Obstacle
from .mysql_server import Server
from .names import from_hex, to_hex

# InnoDB's numbers grow, and stay with a table that is renamed. A name is a file's there: DATABASE/TABLE#P#PARTITION.
_NUMBERS = """\
SELECT 'newest', MAX(table_id), COUNT(*) > @@table_definition_cache FROM information_schema.innodb_sys_tables;
SELECT 'table', table_id, HEX(CONVERT(CAST(CAST(
    SUBSTRING_INDEX(SUBSTRING_INDEX(name, '/', -1), '#', 1)
    AS BINARY) AS CHAR CHARACTER SET filename) USING utf8mb4)) FROM information_schema.innodb_sys_tables
  WHERE CAST(SUBSTRING_INDEX(name, '/', 1) AS BINARY) = CAST(CONVERT({database} USING filename) AS BINARY)"""

# Who may not see them sees these. In MySQL's dictionary they stay with a table that is renamed, and tell as much. Else
# they are those of a file: a rename makes them new, and so does any ALTER; TRUNCATE and EXCHANGE PARTITION do not.
_TIMES = """\
SET time_zone = '+00:00';
SELECT 'newest', UNIX_TIMESTAMP(), {of_files};
SELECT 'table', UNIX_TIMESTAMP(create_time), HEX(table_name) FROM information_schema.tables
  WHERE table_schema = {database} AND table_type <> 'VIEW' AND create_time IS NOT NULL"""

_TOLD = "another one than when the dump began"
_MOST_NAMED = 3


@dataclass(frozen=True)
class Moment:
    """The tables of a database at one moment: by name, what identifies a table, or each of its partitions.

    What is made later has a number above `newest`, and who dumps it fails by error 1412, unless the server `forgets`:
    InnoDB knows when a table was made only as long as it need not make room for others in its memory.
    """

    tables: Mapping[str, frozenset[int]]
    newest: int
    forgets: bool


def question(server: Server, database: str) -> str:
    """Return SQL that asks for the `Moment` of a database, in the best way that the user may ask."""
    quoted = f"_utf8mb4 x'{to_hex(database)}'"
    if _sees_numbers(server):
        return _NUMBERS.format(database=quoted)
    return _TIMES.format(database=quoted, of_files=int(not _has_dictionary(server)))


def read_moment(answer: str) -> Moment:
    """Return what the answer to `question` says."""
    rows = [line.split("\t") for line in answer.splitlines()]
    tables: dict[str, set[int]] = {}
    for kind, number, digits in rows:
        if kind == "table" and digits:  # without a name it is one of InnoDB's own, for a while
            tables.setdefault(from_hex(digits), set()).add(int(number))
    ((newest, forgets),) = ((number, flag) for kind, number, flag in rows if kind == "newest")
    return Moment({name: frozenset(each) for name, each in tables.items()}, int(newest), forgets == "1")


def replaced(before: Moment, after: Moment) -> list[str]:
    """Return the tables that were others meanwhile, so that the dump may not have their rows."""
    left = {name for name, each in before.tables.items() if each - after.tables.get(name, frozenset())}
    return sorted(name for name in left & after.tables.keys() if not _is_rebuilt(name, left, before, after))


def _is_rebuilt(name: str, left: set[str], before: Moment, after: Moment) -> bool:
    """Whether a table was only made anew, by TRUNCATE or OPTIMIZE TABLE: who had come to it then would have failed.

    Not where another table has `left` its name, too: it may have been this one for a while.
    """
    made = after.tables[name] - before.tables[name]
    return bool(made) and min(made) > before.newest and left == {name} and not (before.forgets or after.forgets)


def watching(
    dump: str, server: Server, database: str, ignored: Sequence[str], ask: Callable[[str], str]
) -> Callable[[], None]:
    """Look at the tables of `database`, and return what looks again; it raises StageError where one was replaced."""
    asked = question(server, database)
    before = read_moment(ask(asked))

    def look() -> None:
        """Compare, and say which."""
        found = [each for each in replaced(before, read_moment(ask(asked))) if f"{database}.{each}" not in ignored]
        if found:
            which = ", ".join(found[:_MOST_NAMED]) + (", …" if found[_MOST_NAMED:] else "")
            raise StageError(dump, f"its rows may be missing, as it is {_TOLD}: table {which}", _hint(server))

    return look


def anew(message: str) -> Obstacle | None:
    """Return that nothing is in the way of another dump, where one failed by what `watching` raises."""
    return Obstacle(f"{message}; begins anew", lambda: False) if _TOLD in message else None


def _hint(server: Server) -> str:
    """Return what to do about a table that is replaced in each dump."""
    hint = "Dump it when nobody swaps, alters or rebuilds it, or name it in ignore_tables."
    if _sees_numbers(server):
        return f"{hint} No rebuild matters where table_definition_cache is larger than the number of tables."
    return hint if _has_dictionary(server) else f"{hint} With the PROCESS privilege ALTER is known from a swap."


def _sees_numbers(server: Server) -> bool:
    return server.version.is_mariadb and server.grants.everywhere("PROCESS")


def _has_dictionary(server: Server) -> bool:
    return not server.version.is_mariadb and server.version.number >= (8,)
