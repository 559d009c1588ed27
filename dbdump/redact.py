"""Keep secrets out of whatever is shown or stored: by value where it is known, by shape where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"
_SHORTEST = 4  # characters; a shorter value would mask half of an innocent text

_SHAPES = (
    re.compile(r"(?i)(pass(?:word|wd)?\s*=\s*)('(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s'\"&]+)"),
    re.compile(r"(?i)((?:PGPASSWORD|MYSQL_PWD)=)('[^']*'|\S+)"),
    re.compile(r"(?<=\w)(://[^/\s:@]*:)([^@/\s]+)(?=@)"),
)


def redact(text: str, values: Iterable[str] = ()) -> str:
    """Return `text` with every one of `values`, and what looks like a password, replaced by `***`."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, MASK)
    for shape in _SHAPES:
        text = shape.sub(rf"\1{MASK}", text)
    return text


def looks_secret(text: str) -> bool:
    """Whether `text` holds what `redact` would hide by its shape."""
    return any(shape.search(text) for shape in _SHAPES)
