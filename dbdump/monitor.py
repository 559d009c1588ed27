"""How databases stand, as Nagios and Prometheus read it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from .catalog import printable
from .errors import DbdumpError, UsageError, WriteError
from .paths import absolute
from .report import hand_over
from .spans import age
from .standing import WORST_FIRST, Standing
from .stored import Drill, Record

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_CODES = {"ok": OK, "excluded": OK, "shrunken": WARNING}  # all others are critical
_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_WORST_FIRST = (CRITICAL, UNKNOWN, WARNING, OK)
_MOST_NAMED = 3  # of those that are not fine, in the one line that somebody gets by SMS
_ESCAPED = {ord(char): f"%{ord(char):02x}" for char in "%'=|"}

_LABELS = ("host", "recipe", "database")


def nagios(found: Sequence[Standing], max_age: timedelta, errors: Sequence[DbdumpError], signal: int | None) -> int:
    """Print one line, and return the exit status, as the guidelines for plugins want them."""
    codes = {_CODES.get(each.state, CRITICAL) for each in found} | ({UNKNOWN} if errors else set())
    code = UNKNOWN if signal is not None else next(each for each in _WORST_FIRST if each in codes)
    told = (
        [f"ended by signal {signal}"] if signal is not None else [_summary(found), *(each.message for each in errors)]
    )
    data = " ".join(_performance(found, max_age))
    say(code, "; ".join(told), data)
    return code


def unknown(message: str) -> int:
    """Print the line for an error that ended it all, and return its exit status, also where nobody takes that line."""
    with suppress(WriteError):
        say(UNKNOWN, message)
    return UNKNOWN


def say(code: int, text: str, data: str = "") -> None:
    """Print the line of a plugin."""
    line = printable(text).replace("|", "/")
    hand_over(f"DBDUMP {_NAMES[code]} - {line}{' | ' if data else ''}{data}")


def _summary(found: Sequence[Standing]) -> str:
    bad = [each for each in found if not each.fine]
    ages = [each.age for each in found if each.age is not None and each.state != "excluded"]
    number = sum(each.database is not None for each in found)
    databases = f"{number} database{'' if number == 1 else 's'}"
    oldest = f", oldest {age(max(ages))}" if ages else ""
    if not bad:
        return f"{databases}{oldest}"
    counts = {state: sum(each.state == state for each in bad) for state in WORST_FIRST}
    counted = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    named = "; ".join(f"{each.id} {each.state}: {each.message}" for each in bad[:_MOST_NAMED])
    more = f"; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    return f"{counted} of {databases}{oldest}: {named}{more}"


def _performance(found: Sequence[Standing], max_age: timedelta) -> list[str]:
    limit = round(max_age.total_seconds())
    data = []
    for each in found:
        if each.good is not None and each.age is not None:
            label = each.id.translate(_ESCAPED)
            data += [f"'{label} age'={round(each.age)}s;{limit};{limit};0", f"'{label} size'={each.good.size}B;;;0"]
    return data


def write_metrics(found: Sequence[Standing], broken: int, path: str, now: datetime) -> list[UsageError]:
    """Write the file `path` for Prometheus' textfile collector, at once and whole; return why it could not be.

    `broken` is how many recipes or their files could not be used: of what they dump there is no other metric.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415  40 ms that others need not pay

    registry = CollectorRegistry()
    for name, (text, value) in _METRICS.items():
        gauge = Gauge(name, text, _LABELS, registry=registry)
        for each in found:
            if (measured := value(each)) is not None:
                gauge.labels(*(printable(label or "") for label in (each.host, each.recipe, each.database))).set(
                    measured
                )
    Gauge("dbdump_broken_recipes", "Recipes, or their files, that cannot be used.", registry=registry).set(broken)
    Gauge("dbdump_status_timestamp_seconds", "When it was looked.", registry=registry).set(now.timestamp())
    try:
        _replace(absolute(path), generate_latest(registry))
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        hint = "Name a file in the directory that the node exporter's --collector.textfile.directory names."
        return [UsageError(f"--prometheus={path}: {reason}", hint)]
    return []


def _replace(path: Path, text: bytes) -> None:
    """Put `text` at `path` for all to read, in place of what is there; nothing else is left, whatever fails.

    prometheus_client's own function leaves the mode to the umask, and follows a link that is in the way.
    """
    descriptor, part = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(descriptor, 0o644)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(part).unlink()
        raise


def _at(what: Record | Drill | None) -> float | None:
    return None if what is None else datetime.fromisoformat(what.at).timestamp()


# Each with what it means, and its value; None: it has none, and is left out.
_METRICS: Mapping[str, tuple[str, Callable[[Standing], float | None]]] = {
    "dbdump_ok": ("1 where the database is dumped as it should be, else 0.", lambda each: float(each.fine)),
    "dbdump_last_success_timestamp_seconds": (
        "When the last good dump began.",
        lambda each: each.good.manifest.begun.timestamp() if each.good else None,
    ),
    "dbdump_last_size_bytes": ("Size of the last good dump.", lambda each: each.good.size if each.good else None),
    "dbdump_last_verified_timestamp_seconds": (
        "When a dump was last verified, well or not.",
        lambda each: _at(each.record),
    ),
    "dbdump_last_drill_timestamp_seconds": (
        "When a dump was last restored to try it, well or not.",
        lambda each: _at(each.drill),
    ),
    "dbdump_last_drill_seconds": ("How long that took.", lambda each: each.drill.seconds if each.drill else None),
}
