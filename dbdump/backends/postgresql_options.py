"""What option words of PostgreSQL's programs may not say, and which server they lead to; connection strings. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from .words import refuse_words, spelled_out

_OF_PG_DUMP = {
    "--file": "dbdump stores what pg_dump writes to stdout; use --datadir.",
    "--format": 'Use the option format: "custom" or "plain".',
    "--dbname": "Databases are chosen with include, exclude and --database.",
    "--jobs": "Several databases are dumped at once with --jobs of dbdump.",
    "-f": "dbdump stores what pg_dump writes to stdout; use --datadir.",
    "-F": 'Use the option format: "custom" or "plain".',
    "-d": "Databases are chosen with include, exclude and --database.",
    "-j": "Several databases are dumped at once with --jobs of dbdump.",
}

# Of psql: its last --dbname replaces all that was said of the connection before.
_OF_PSQL = {
    "--dbname": "Which server is asked, host, port, user and service say.", "-d": "As --dbname.",
    "--command": "dbdump has to read what psql answers.", "-c": "As --command.",
    "--file": "dbdump has to read what psql answers.", "-f": "As --file.",
}  # fmt: skip

_PSQL_WITH_VALUE = "cdfhFLopPRTUv"  # its short flags whose value may be joined to them
PG_DUMP_WITH_VALUE = "deEfFhjnNpStTUZ"  # so of pg_dump


def refuse_diverting(psql: Sequence[str], pg_dump: Sequence[str]) -> None:
    """Raise RecipeError for a word that leads elsewhere what a dump, or an answer, is."""
    refuse_words("psql_options", spelled_out(psql, _PSQL_WITH_VALUE), _OF_PSQL)
    refuse_words("pg_dump_options", spelled_out(pg_dump, PG_DUMP_WITH_VALUE), _OF_PG_DUMP)


_CONNECTION = {"-h": "host", "-p": "port", "-U": "user", "--host": "host", "--port": "port", "--username": "user"}


def connection_words(given: Sequence[str]) -> dict[str, str]:
    """Return host, port and user as option words say them, joined to their flag or after it."""
    said: dict[str, str] = {}
    for word, following in pairwise([*given, ""]):
        flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
        if flag in _CONNECTION:
            said[_CONNECTION[flag]] = value if equals or value else following
    return said


def conninfo(value: str) -> str:
    """Return `value` as libpq wants it in a connection string (libpq manual, 34.1.1.1)."""
    if re.fullmatch(r"[\w./-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
