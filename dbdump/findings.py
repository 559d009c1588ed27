"""What a check finds: what was looked at, and whether a dump would fail by it. Pure: nothing is asked here."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .catalog import printable
from .errors import DbdumpError, DumpError, Interrupted, with_hint

Severity = Literal["ok", "warning", "error"]

WARN_DAYS = 30  # before a key expires
MOST_SKEW = 60.0  # seconds that a clock may be off
_DAY = 86400
_WORDS = {"ok": "ok", "warning": "warning", "error": "ERROR"}
_STATUSES = {"ok": "ok", "warning": "warning", "error": "failed"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `stage` names it, `message` says how it is, `hint` what to do about it.

    `database` is empty where it is about the whole recipe; `host` and `recipe` are filled in by who asked. `bug` is
    a traceback, of an error that no operator can cause.
    """

    severity: Severity
    stage: str
    message: str
    hint: str = ""
    database: str = ""
    host: str = ""
    recipe: str = ""
    bug: str = ""

    @property
    def lines(self) -> list[str]:
        """The line that says it, and the hint where there is one."""
        name = "/".join(filter(None, [self.host, self.recipe, printable(self.database)]))
        line = f"{_WORDS[self.severity]:<8} {name}  {self.stage}: {printable(self.message)}"
        return with_hint(line, printable(self.hint))

    @property
    def item(self) -> dict[str, object]:
        """What a JSON document says of it."""
        return {
            "status": _STATUSES[self.severity], "host": self.host, "recipe": self.recipe,
            "database": self.database or None, "stage": self.stage, "message": self.message, "hint": self.hint,
        }  # fmt: skip


def error_of(error: DbdumpError, stage: str, database: str = "", hint: Callable[[str], str] = lambda _: "") -> Finding:
    """Return the finding that an error is; `stage` is where it does not say itself, `hint` makes one for a message."""
    stage = error.stage if isinstance(error, DumpError) else stage
    return Finding("error", stage, error.message, error.hint or hint(error.message), database)


def guarded(
    findings: Iterable[Finding], stage: str, database: str = "", hint: Callable[[str], str] = lambda _: ""
) -> Iterator[Finding]:
    """Yield `findings`; an error that ends them is one as well, a bug too, and what comes after is still looked at."""
    try:
        yield from findings
    except Interrupted:
        raise
    except DbdumpError as error:
        yield error_of(error, stage, database, hint)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a bug in one look must not hide the others
        text, trace = f"bug: {type(error).__name__}: {error}", traceback.format_exc()
        yield Finding("error", stage, text, "Please report it with the traceback.", database, bug=trace)


def once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield each of `findings` that says something new."""
    seen = set()
    for each in findings:
        key = each.host, each.recipe, each.database, each.stage, each.message
        if key not in seen:
            seen.add(key)
            yield each


def summary(findings: Sequence[Finding], broken_files: int) -> str:
    """Return the last line: how many errors, with those of recipe files, and how many warnings."""
    count = Counter[str](each.severity for each in findings)
    errors = count["error"] + broken_files
    return f"{_counted(errors, 'error')}, {_counted(count['warning'], 'warning')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def space(free: int | None, last: int) -> Finding:
    """Judge the free bytes of a target by those of the `last` dump of each database, 0 where there is none."""
    if free is None:
        return Finding("ok", "space", "how much is free there is not known")
    from rich.filesize import decimal  # noqa: PLC0415  a backend needs no rich

    told = f"{decimal(free)} free; the last dumps take {decimal(last)}" if last else f"{decimal(free)} free"
    if free == 0 or 2 * free < last:
        return Finding("error", "space", told, "Make room, prune, or give another datadir.")
    if free < last:
        return Finding("warning", "space", told, "The next dumps may not fit: make room, or prune.")
    return Finding("ok", "space", told)


def clock(told: float | None, before: float, after: float, where: str) -> Finding:
    """Judge a machine's clock, which was asked between `before` and `after` of ours; all in seconds since 1970."""
    if told is None:
        return Finding("ok", "clock", f"that of {where} is not known")
    off = max(before - 1 - told, told - after, 0)  # it tells whole seconds
    if off > MOST_SKEW:
        way = "behind" if told < before else "ahead of"
        return Finding(
            "warning", "clock", f"that of {where} is {off:.0f} s {way} this machine's",
            "Set both clocks by NTP: stamps, ages and pruning go by them.",
        )  # fmt: skip
    return Finding("ok", "clock", f"that of {where} goes right")


def expiry(what: str, expires: int | None, now: float) -> Finding:
    """Judge when a key expires, in seconds since 1970; `what` says which key, and what for."""
    if expires is None:
        return Finding("ok", "gpg", f"{what} never expires")
    days = int((expires - now) // _DAY)
    if expires <= now:
        return Finding("error", "gpg", f"{what} is expired", "Extend it, or name another one.")
    told = f"{what} expires in {_counted(days, 'day')}"
    if days < WARN_DAYS:
        return Finding("warning", "gpg", told, "Extend it with gpg --quick-set-expire, and import it where it is used.")
    return Finding("ok", "gpg", told)
