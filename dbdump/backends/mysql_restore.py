"""Make a MySQL or MariaDB database of a raw dump on stdin: the programs that run where it is restored, pure.

A dump names its database where it makes it and begins to use it. Under another name these lines are rewritten; one that
still begins to use another database becomes an error, for what follows it would replace what is there. Events of a
copy are disabled: they may name the database that they are of. One that cannot be becomes an error too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# $1 edits what is read; the rest is the client. What cannot be read or edited to its end becomes an error of SQL.
_RENAMED = """\
edit=$1; shift
{ LC_ALL=C sed "$edit" || echo 'it could not be edited;'; } | "$@"
"""
_EDIT = """\
s/^CREATE DATABASE \\(\\/\\*[^*]*\\*\\/ \\)\\{0,1\\}OLD /CREATE DATABASE \\1NEW /
s/^ALTER DATABASE OLD CHARACTER SET /ALTER DATABASE NEW CHARACTER SET /
s/^USE OLD;$/USE NEW;/
/^USE `.*`;$/{
/^USE SAME;$/!s/.*/it uses another database than the one it is of;/
}
/^\\/\\*!50106 CREATE.* EVENT `/{
s/ ON COMPLETION \\(NOT \\)\\{0,1\\}PRESERVE ENABLE / ON COMPLETION \\1PRESERVE DISABLE /
/ PRESERVE DISABLE /!s/.*/it has an event that cannot be disabled;/
}
"""

_CONTENTS = """\
SELECT COUNT(*) FROM information_schema.schemata WHERE HEX(schema_name) = 'DIGITS';
SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE HEX(table_schema) = 'DIGITS')
  + (SELECT COUNT(*) FROM information_schema.routines WHERE HEX(routine_schema) = 'DIGITS')
  + (SELECT COUNT(*) FROM information_schema.events WHERE HEX(event_schema) = 'DIGITS')"""


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def renaming(database: str, into: str, client: Sequence[str]) -> list[str] | None:
    """Return the argv that has `client` make `into` of a dump of `database`; None where it cannot be renamed."""
    if "\n" in database:  # such a name does not stand in one line of the dump
        return None
    texts = {"OLD": _pattern(identifier(database)), "NEW": _replacement(identifier(into))}
    edit = re.sub("OLD|NEW|SAME", lambda match: (texts | {"SAME": _pattern(identifier(into))})[match[0]], _EDIT)
    return ["sh", "-c", _RENAMED, "sh", edit, *client]


def contents_question(database: str) -> str:
    """Return the question how many databases of that name there are, and how many things one has."""
    digits = database.encode("utf-8", "surrogateescape").hex().upper()
    return _CONTENTS.replace("DIGITS", digits)


def read_contents(answer: str) -> int | None:
    """Return how many things it has, or None where it is not there."""
    there, count = map(int, answer.split())
    return count if there else None


def _pattern(text: str) -> str:
    return re.sub(r"([][\\.^$*/])", r"\\\1", text).replace("\n", "\\n")


def _replacement(text: str) -> str:
    return re.sub(r"([\\/&\n])", r"\\\1", text)
