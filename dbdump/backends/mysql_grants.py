"""What a MySQL or MariaDB user may do, from the lines of SHOW GRANTS. Pure: nothing is asked here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

_QUOTED = re.compile(r"`((?:[^`]|``)*)`|\"((?:[^\"]|\"\")*)\"|'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_GRANT = re.compile(r"(GRANT|REVOKE) (.+?) ON (\*|\0\d+)\.(\*|\0\d+) (?:TO|FROM) (\S+)")
_ON_COLUMNS = re.compile(r"[A-Z ]+\([^)]*\)")
_PIECE = re.compile(r"\\.|.", re.DOTALL)


@dataclass(frozen=True)
class Grant:
    """One line of SHOW GRANTS: privileges on everything, on a pattern of databases, or on one table."""

    grantee: str
    database: str
    table: str
    privileges: frozenset[str]
    revoked: bool = False


def read_grants(lines: Iterable[str]) -> tuple[Grant, ...]:
    """Return the grants in the lines of SHOW GRANTS; on routines, proxies and roles there are none to know.

    What active roles grant is among the lines, with the role as the grantee (MariaDB) or the user (MySQL).
    """
    return tuple(_read(lines))


def _read(lines: Iterable[str]) -> Iterator[Grant]:
    for line in lines:
        quoted: list[str] = []

        def name(text: str, quoted: list[str] = quoted) -> str:
            return "" if text == "*" else re.sub(r"\0(\d+)", lambda match: quoted[int(match[1])], text)

        def take(match: re.Match[str], quoted: list[str] = quoted) -> str:
            quoted.append((match[1] or match[2] or match[3] or "").replace("``", "`"))
            return f"\0{len(quoted) - 1}"

        # Without the names, there is no ` ON ` that is a part of one.
        if match := _GRANT.match(_QUOTED.sub(take, line)):
            whole = _ON_COLUMNS.sub("", match[2]).split(",")
            privileges = frozenset(each.strip() for each in whole) - {""}
            yield Grant(name(match[5]), name(match[3]), name(match[4]), privileges, match[1] == "REVOKE")


@dataclass(frozen=True)
class Grants:
    """All that a user was granted; `wildcards` is whether `_` and `%` in a database's name are ones."""

    user: str
    rows: tuple[Grant, ...]
    wildcards: bool = True

    def everywhere(self, privilege: str, database: str = "") -> bool:
        """Whether the user has `privilege` on everything, and it was not revoked for `database`."""
        given = any(not row.database and _gives(row, privilege) for row in self.rows if not row.revoked)
        taken = any(row.revoked and row.database == database and _gives(row, privilege) for row in self.rows)
        return given and not taken

    def has(self, privilege: str, database: str) -> bool:
        """Whether the user has `privilege` on all that is in `database`."""
        grantees = {row.grantee for row in self.rows}
        return self.everywhere(privilege, database) or any(
            privilege in rights or "ALL PRIVILEGES" in rights
            for rights in (self._rights(grantee, database) for grantee in grantees)
        )

    def on_table(self, privilege: str, database: str, table: str) -> bool:
        """Whether the user has `privilege` on one table."""
        return self.has(privilege, database) or any(
            (row.database, row.table) == (database, table) and _gives(row, privilege) for row in self.rows
        )

    def hidden_by(self, pattern: str, privilege: str, database: str) -> bool:
        """Whether any grant to the user on `pattern`, which only `database` matches, would take `privilege` away."""
        closer = Grant(self.user, pattern, "", frozenset())
        return self.has(privilege, database) and not replace(self, rows=(*self.rows, closer)).has(privilege, database)

    def _rights(self, grantee: str, database: str) -> frozenset[str]:
        """Return what a grantee's rows on patterns give: the server takes one of them alone, the closest.

        The name itself is. Which of several wildcards is closer differs: only what all of them give counts.
        """
        rows = [row for row in self.rows if row.grantee == grantee and row.database and not row.table]
        rows = [row for row in rows if not row.revoked]
        exact = [row.privileges for row in rows if self._literal(row.database) == database]
        loose = [row.privileges for row in rows if self.wildcards and _matches(row.database, database)]
        return frozenset().union(*exact) if exact else reduce(frozenset.intersection, loose or [frozenset()])

    def _literal(self, pattern: str) -> str | None:
        """Return the one name that a pattern stands for, or None where it is one of many."""
        pieces = _PIECE.findall(pattern)
        if self.wildcards and {"%", "_"} & set(pieces):
            return None
        return "".join(piece[-1] for piece in pieces)


def _matches(pattern: str, database: str) -> bool:
    pieces = _PIECE.findall(pattern)
    regex = "".join({"%": ".*", "_": "."}.get(piece, re.escape(piece[-1])) for piece in pieces)
    return re.fullmatch(regex, database, re.DOTALL) is not None


def _gives(row: Grant, privilege: str) -> bool:
    return privilege in row.privileges or "ALL PRIVILEGES" in row.privileges
