"""Which dumps to keep: a pure function of what is stored, a rule and the time. Nothing is deleted here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from .catalog import DumpName
from .errors import RecipeError

_PERIODS: dict[str, Callable[[datetime], object]] = {
    "hourly": lambda when: (when.date(), when.hour),
    "daily": lambda when: when.date(),
    "weekly": lambda when: when.isocalendar()[:2],
    "monthly": lambda when: (when.year, when.month),
    "yearly": lambda when: when.year,
}
_HISTORY = 5  # dumps before the newest, whose median size it is compared with
_MOST_AHEAD = timedelta(minutes=1)  # clocks of two machines differ; check warns where it is more
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
SHRINK_ALARM = 0.5


@dataclass(frozen=True)
class Keep:
    """Which dumps of each database to keep; what no rule keeps is pruned.

    `last` keeps the newest; `hourly` to `yearly` the newest one of each of the last so many hours, days, ISO
    weeks, months and years, in UTC, that have one at all, and where there are fewer, the oldest of all as well;
    `within` ("36h", "14d", "8w") all that are no older than that before the newest. So do restic's options of these
    names. Nothing is pruned while the newest is smaller by more than `shrink_alarm`, a fraction, than the median of
    those before it.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str = ""
    shrink_alarm: float = SHRINK_ALARM

    def __post_init__(self) -> None:
        for name in ("last", *_PERIODS):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise RecipeError(f"Keep({name}={count!r}): not a number of 0 or more", f"Write Keep({name}=7).")
        if self.within and not _WITHIN.fullmatch(self.within):
            raise RecipeError(f"Keep(within={self.within!r}): not a time", 'Write Keep(within="14d"), or h or w.')
        if not 0 < self.shrink_alarm <= 1:
            raise RecipeError(
                f"Keep(shrink_alarm={self.shrink_alarm!r}): not a fraction", "Write Keep(shrink_alarm=0.5)."
            )
        if not any(getattr(self, each.name) for each in fields(self) if each.name != "shrink_alarm"):
            raise RecipeError("Keep() keeps nothing", "Write for example Keep(last=3, daily=31, monthly=12).")

    @classmethod
    def original(cls) -> Keep:
        """Return what the program that dbdump takes the place of kept."""
        return cls(last=3, hourly=24, daily=31, monthly=12, yearly=3)

    @property
    def age(self) -> timedelta:
        """What `within` says."""
        match = _WITHIN.fullmatch(self.within)
        return timedelta() if match is None else int(match[1]) * _UNITS[match[2]]


_WITHIN = re.compile(r"(\d{1,5})([hdw])")


@dataclass(frozen=True)
class Dated:
    """One committed dump as retention sees it: when it began, its size in bytes, what verify found last.

    `verified` ones were good; `bad` ones are known not to be what they should.
    """

    name: DumpName
    started: datetime
    stored_bytes: int
    verified: bool = False
    bad: bool = False


@dataclass(frozen=True)
class Retention:
    """What to do with the dumps of one database: which to keep, and why; which to prune, oldest first.

    Where `held` says why, none is pruned.
    """

    kept: dict[DumpName, tuple[str, ...]] = field(default_factory=dict)
    pruned: tuple[DumpName, ...] = ()
    held: str = ""


def is_future(begun: datetime, now: datetime) -> bool:
    """Whether a dump began after `now`, by more than clocks differ: then it counts for nothing, in any task."""
    return begun - now > _MOST_AHEAD


def retain(dumps: Sequence[Dated], keep: Keep, now: datetime) -> Retention:
    """Return what `keep` makes of the committed dumps of one database.

    The newest is always kept, and so is the newest that was verified. Two kinds count for nothing, and are
    kept: those from the future, as a clock was wrong, and nobody knows which; and bad ones, which must
    not push out what may be good.
    """
    reasons: dict[DumpName, list[str]] = {}
    past: list[Dated] = []
    for each in sorted(dumps, key=lambda each: (each.started, each.name.file), reverse=True):
        if is_future(each.started, now):
            reasons[each.name] = ["from the future"]
        elif each.bad:
            reasons[each.name] = ["bad"]
        else:
            past.append(each)
    for why, chosen in (*_always(past), *_by_count(past, keep)):
        for each in chosen:
            reasons.setdefault(each.name, []).append(why)
    kept = {name: tuple(why) for name, why in reasons.items()}
    pruned = [each for each in reversed(past) if each.name not in kept]
    if pruned and (held := shrunken([each.stored_bytes for each in past], keep.shrink_alarm)):
        return Retention(kept | {each.name: ("held",) for each in pruned}, (), held)
    return Retention(kept, tuple(each.name for each in pruned))


def usual(sizes: Sequence[int]) -> float | None:
    """Return what the dumps before the first of `sizes`, newest first, usually have; None where there is none."""
    before = sorted(sizes[1 : 1 + _HISTORY])
    if not before:
        return None
    return (before[len(before) // 2] + before[(len(before) - 1) // 2]) / 2  # statistics would be 18 ms of import


def shrunken(sizes: Sequence[int], alarm: float) -> str:
    """Return in words that the first of `sizes`, newest first, is too small beside those before it; else nothing."""
    median = usual(sizes)
    if median is None or sizes[0] >= (1 - alarm) * median:
        return ""
    return f"the newest has {sizes[0]} bytes, {1 - sizes[0] / median:.0%} less than is usual"


def _always(past: Sequence[Dated]) -> list[tuple[str, Sequence[Dated]]]:
    verified = [each for each in past if each.verified]
    return [("newest", past[:1]), ("newest verified", verified[:1])]


def _by_count(past: Sequence[Dated], keep: Keep) -> list[tuple[str, Sequence[Dated]]]:
    chosen: list[tuple[str, Sequence[Dated]]] = [
        ("last", past[: keep.last]),
        ("within", [each for each in past if keep.within and past[0].started - each.started <= keep.age]),
    ]
    for name, period in _PERIODS.items():
        newest: dict[object, Dated] = {}
        for each in past:
            newest.setdefault(period(each.started.astimezone(UTC)), each)
        count = getattr(keep, name)
        chosen.append((name, list(newest.values())[:count]))
        if len(newest) < count:  # no history is cut that there is room for
            chosen.append((f"oldest {name}", [each for each in past[-1:] if each not in newest.values()]))
    return chosen
