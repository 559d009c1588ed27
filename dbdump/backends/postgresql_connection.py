"""Which server PostgreSQL's programs are led to: by their option words, and by a connection string. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

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
