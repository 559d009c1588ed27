"""How each database stands: when it was last dumped well, and whether that is all right. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from .catalog import MANIFEST_SUFFIX, decode, encode, printable
from .retention import SHRINK_ALARM, shrunken, usual
from .spans import ago
from .stored import Drill, Listing, Record, Stored, Stray

State = Literal["unknown", "missing", "failed", "stale", "shrunken", "ok", "excluded"]
WORST_FIRST: tuple[State, ...] = ("unknown", "missing", "failed", "stale", "shrunken", "ok", "excluded")
FINE = ("ok", "excluded")

_MISSING_HINT = "Dump it, exclude it in its recipe, or remove its directory, which has no dump."


@dataclass(frozen=True)
class Rule:
    """What is asked of a database at the time `now`: `alarm` is the fraction by which a dump may not shrink.

    With `signed` its manifest has to be signed: nobody would restore another one.
    """

    now: datetime
    max_age: timedelta
    alarm: float = SHRINK_ALARM
    signed: bool = False


@dataclass(frozen=True)
class Standing:
    """How one database stands. `database` is None of a recipe that has none, or could not be looked at.

    `good` is its last good dump: whole as far as a listing tells, not found bad since, and not from the future;
    `age` is its age in seconds, `usual_bytes` the size that those before it usually had. `verified` and
    `drilled` are the dumps that were verified and restored last, well or not. `dumps` counts all of them.
    """

    host: str
    recipe: str | None
    database: str | None
    state: State
    message: str = ""
    hint: str = ""
    good: Stored | None = None
    age: float | None = None
    usual_bytes: float | None = None
    verified: Stored | None = None
    drilled: Stored | None = None
    dumps: int = 0

    @property
    def id(self) -> str:
        """How lines for people call it."""
        names = [self.host, self.recipe or "*", *([] if self.database is None else [self.database])]
        return "/".join(map(printable, names))

    @property
    def record(self) -> Record | None:
        """What verify found last."""
        return self.verified.record if self.verified else None

    @property
    def drill(self) -> Drill | None:
        """What restoring came to last."""
        return self.drilled.record.drill if self.drilled and self.drilled.record else None

    @property
    def fine(self) -> bool:
        """Whether nobody has to be told of it."""
        return self.state in FINE


def standings(host: str, recipe: str, listing: Listing, rule: Rule) -> list[Standing]:
    """Return how each database of a recipe stands, also one that has only a directory; a recipe without any is missing.

    One that has no dump is called by its directory where that does not tell its name.
    """
    dumps: dict[str, list[Stored]] = {}
    for each in listing.dumps:
        dumps.setdefault(each.manifest.database, []).append(each)
    strays: dict[str, list[Stray]] = {each: [] for each in listing.directories}
    for stray in listing.strays:
        if stray.directory in strays or stray.path.endswith(MANIFEST_SUFFIX):
            strays.setdefault(stray.directory, []).append(stray)
    found = [_standing(theirs, strays.pop(encode(database), ()), rule) for database, theirs in dumps.items()]
    for directory, theirs in strays.items():
        found.append(_without_dump(host, recipe, decode(directory) or directory, theirs))
    return found or [Standing(host, recipe, None, "missing", "no dump at all")]


def _without_dump(host: str, recipe: str, database: str, strays: Sequence[Stray]) -> Standing:
    if odd := _of_manifests(strays):
        return Standing(host, recipe, database, "failed", _odd(odd[-1]))
    left = f", and {_odd(strays[-1])}" if strays else ""
    return Standing(host, recipe, database, "missing", f"no dump at all{left}", _MISSING_HINT)


def _standing(dumps: Sequence[Stored], strays: Sequence[Stray], rule: Rule) -> Standing:
    """Return how a database with `dumps`, the newest first, and with files of no dump, stands."""
    name, now = dumps[0].name, rule.now
    past = [each for each in dumps if not each.is_future(now)]
    good = [each for each in past if (each.signed or not rule.signed) and not fault_of(each, now)]
    age = max(0.0, (now - good[0].manifest.begun).total_seconds()) if good else None
    sizes = [each.size for each in good]
    reasons: list[tuple[State, str]] = [("failed", fault) for fault in _faults(past, now) if fault]
    newest = past[0].name.stamp if past else ""
    if rule.signed and past and not past[0].signed:
        reasons.append(("failed", f"{newest} is not signed, and the recipe signs"))
    reasons += [("failed", _odd(each)) for each in _of_manifests(strays) if each.stamp >= newest]
    if age is None or age > rule.max_age.total_seconds():
        reasons.append(("stale", "no good dump" if age is None else "its last good dump is too old"))
    if good and (smaller := shrunken(sizes, rule.alarm)):
        reasons.append(("shrunken", smaller))
    if len(past) < len(dumps):
        reasons.append(("ok", dumps[0].future_note))
    state: State = min((state for state, _ in reasons), key=WORST_FIRST.index, default="ok")
    recorded = [(each, each.record) for each in past if each.record]
    drilled = [(each, record.drill) for each, record in recorded if record.drill]
    return Standing(
        name.host, name.recipe, name.database, state, "; ".join(text for _, text in reasons), "",
        good[0] if good else None, age, usual(sizes), max(recorded, key=_when, default=(None,))[0],
        max(drilled, key=_when, default=(None,))[0], len(dumps),
    )  # fmt: skip


def fault_of(stored: Stored, now: datetime) -> str:
    """Return what is known to be wrong with a dump, from its listing alone; an empty string where nothing is.

    What verify found says more than its size does: whether it was cut, or is another one's.
    """
    return _verify_fault(stored, now) or _size_fault(stored) or _drill_fault(stored, now)


def _faults(dumps: Sequence[Stored], now: datetime) -> Iterator[str]:
    """Yield what is wrong with the newest dump, with the last one that was verified, and the last one restored.

    A dump that nobody has looked at does not mend what was found in the one before it.
    """
    yield from map(_size_fault, dumps[:1])
    yield next((_verify_fault(each, now) for each in dumps if each.record), "")
    yield next((_drill_fault(each, now) for each in dumps if each.record and each.record.drill), "")


def _size_fault(stored: Stored) -> str:
    told = stored.manifest.stored_bytes
    return "" if stored.size == told else f"{stored.name.stamp} has {stored.size} bytes, and its manifest says {told}"


def _verify_fault(stored: Stored, now: datetime) -> str:
    record = stored.record
    fault = own_fault(record) if record else ""
    return f"{stored.name.stamp} failed verify {ago(record.at, now)}: {fault}" if record and fault else ""


def own_fault(record: Record) -> str:
    """Return what reading found to be wrong; a fault that only its drill found is the drill's."""
    return "" if record.drill and record.drill.fault and record.fault.endswith(record.drill.fault) else record.fault


def _drill_fault(stored: Stored, now: datetime) -> str:
    drill = stored.record and stored.record.drill
    return f"{stored.name.stamp} failed its drill {ago(drill.at, now)}: {drill.fault}" if drill and drill.fault else ""


def _of_manifests(strays: Sequence[Stray]) -> list[Stray]:
    return [each for each in strays if each.path.endswith(MANIFEST_SUFFIX)]


def _odd(stray: Stray) -> str:
    return f"{stray.file}: {stray.why}"


def _when(pair: tuple[Stored, Record | Drill]) -> datetime:
    return datetime.fromisoformat(pair[1].at)
