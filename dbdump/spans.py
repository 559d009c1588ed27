"""Spans of time, as people read them and as flags say them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from .errors import UsageError

_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN = (("d", 86400, 2, 0), ("h", 3600, 1.5, 1), ("min", 60, 0, 0))  # unit, its seconds, from how many on, digits


def parse_span(flag: str, text: str) -> timedelta:
    """Return the time that `text` says: 90m, 26h, 3d or 2w. Raises UsageError."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageError(f"{flag}={text}: not a time", f"Write for example {flag}=26h, or 90m, 3d, 2w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def age(seconds: float) -> str:
    """Return a time span for people: `5 min`, `3.2 h`, `12 d`."""
    for unit, size, least, digits in _SHOWN:
        if seconds >= size * least:
            return f"{seconds / size:.{digits}f} {unit}"
    return "in the future"


def ago(when: str, now: datetime) -> str:
    """Return how long before `now` it was `when`, in ISO 8601: `3.2 h ago`."""
    seconds = (now - datetime.fromisoformat(when)).total_seconds()
    return age(seconds) if seconds < 0 else f"{age(seconds)} ago"
