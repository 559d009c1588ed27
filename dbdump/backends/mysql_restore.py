"""Make a MySQL or MariaDB database of a raw dump on stdin: the programs that run where it is restored, pure.

A dump names its database where it makes it and begins to use it. Under another name these lines are rewritten; one that
still begins to use another database becomes an error, for what follows it would replace what is there. Events of a
copy are disabled: they may name the database that they are of. One that cannot be becomes an error too. A column's
default names the database of its sequence, in no text there, for that would stand in quotes. Where the
server of a copy stands in somebody's replication is not for the dump to say: what it says of that is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UsageError
from .names import back_quoted, to_hex

_LONGEST = 64  # characters of a name

# $1 edits what is read; the rest is the client. What cannot be read or edited to its end becomes an error of SQL.
_RENAMED = """\
edit=$1; shift
{ LC_ALL=C sed "$edit" || echo 'it could not be edited;'; } | "$@"
"""
_EDIT = """\
/^DELIMITER ;;$/,/^DELIMITER ;$/!{
/^CHANGE MASTER /d
/^CHANGE REPLICATION SOURCE /d
/^SET GLOBAL gtid_slave_pos=/d
/^STOP \\(ALL \\)\\{0,1\\}SLAVES\\{0,1\\};$/d
/^START \\(ALL \\)\\{0,1\\}SLAVES\\{0,1\\};$/d
/^STOP REPLICA;$/d
/^START REPLICA;$/d
:default
s/^\\(  `[^']*val(\\)OLD\\./\\1NEW./
tdefault
}
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

# Where a server folds names, which is its lower_case_table_names of 1 or 2, `Shop` is `shop`.
_CONTENTS = """\
SET @name = IF(@@lower_case_table_names, LOWER(CONVERT(X'DIGITS' USING utf8mb4)), CONVERT(X'DIGITS' USING utf8mb4));
SELECT COUNT(*) FROM information_schema.schemata WHERE SAME(schema_name);
SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE SAME(table_schema))
  + (SELECT COUNT(*) FROM information_schema.routines WHERE SAME(routine_schema))
  + (SELECT COUNT(*) FROM information_schema.events WHERE SAME(event_schema))"""
_SAME = r"HEX(IF(@@lower_case_table_names, LOWER(\1), \1)) = HEX(@name)"


def renaming(database: str, into: str, client: Sequence[str]) -> list[str] | None:
    """Return the argv that has `client` make `into` of a dump of `database`; None where it cannot be renamed."""
    if "\n" in database:  # such a name does not stand in one line of the dump
        return None
    texts = {"OLD": _pattern(back_quoted(database)), "NEW": _replacement(back_quoted(into))}
    edit = re.sub("OLD|NEW|SAME", lambda match: (texts | {"SAME": _pattern(back_quoted(into))})[match[0]], _EDIT)
    return ["sh", "-c", _RENAMED, "sh", edit, *client]


def whole_name(name: str) -> str:
    """Return a database's name. Raises UsageError for one that the server would not take."""
    if len(name) > _LONGEST:
        raise UsageError(
            f"{name}: a name of {len(name)} letters, and the server takes {_LONGEST}", "Give a shorter one: --as."
        )
    return name


def contents_question(database: str) -> str:
    """Return the question how many databases of that name there are, and how many things one has."""
    digits = to_hex(database).upper()
    return re.sub(r"SAME\((\w+)\)", _SAME, _CONTENTS).replace("DIGITS", digits)


def read_contents(answer: str) -> int | None:
    """Return how many things it has, or None where it is not there."""
    there, count = map(int, answer.split())
    return count if there else None


def _pattern(text: str) -> str:
    return re.sub(r"([][\\.^$*/])", r"\\\1", text).replace("\n", "\\n")


def _replacement(text: str) -> str:
    return re.sub(r"([\\/&\n])", r"\\\1", text)
