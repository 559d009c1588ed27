"""What is to go of what is stored of a recipe; it is said first, and then it goes, the oldest first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.filesize import decimal

from .attempt import attempt
from .catalog import new_stamp, printable
from .errors import DumpError, Interrupted, Locked, StageError, WriteError
from .place import Place
from .progress import Display, Plain
from .report import Result
from .retention import Dated, Keep, retain
from .signatures import Signatures
from .standing import fault_of
from .stored import Listing, Stored


@dataclass(frozen=True)
class Cut:
    """What is to be done with the dumps of one database, or why nothing is: it is `held`.

    `kept` ones are with what keeps them, `ignored` ones with why they do not count, and are not touched.
    `pruned` ones go, the oldest first; so do `lost` ones, of which a prune that was killed has left the manifest.
    """

    id: str
    kept: Sequence[tuple[Stored, str]]
    pruned: Sequence[Stored] = ()
    lost: Sequence[Stored] = ()
    ignored: Sequence[tuple[Stored, str]] = ()
    held: str = ""

    def lines(self, *, brief: bool) -> list[str]:
        """Return what is said before anything goes, the newest first; when `brief` not what is kept."""
        lines = [] if brief else [_line("keep", *each) for each in self.kept]
        if brief and self.ignored:
            newest, why = self.ignored[0]
            lines.append(f"ignored  {self.id}: {len(self.ignored)}, which do not count; {newest.name.stamp}: {why}")
        else:
            lines += [_line("ignored", *each) for each in self.ignored]
        lines += [_line("prune", each, decimal(each.size)) for each in reversed(self.pruned)]
        lines += [_line("prune", each, "its manifest, which a prune has left") for each in reversed(self.lost)]
        return [*lines, *([f"held     {self.id}: {self.held}"] if self.held else [])]


@dataclass(frozen=True)
class Pruned:
    """What became of the dumps of one database: how many went, with how many bytes, or are still there."""

    cut: Cut
    count: int = 0
    size: int = 0
    failure: Result | None = None


Faults = Callable[[Sequence[Stored]], Sequence[str]]


def cuts(
    listing: Listing, keep: Keep, now: datetime, faults: Faults, spared: Collection[str] = frozenset()
) -> Iterator[Cut]:
    """Yield what is to be done with each database that has a dump; those that are `spared` keep all they have.

    `faults` says of each dump what is wrong with its manifest's signature, or nothing. Where nothing would go, and
    nothing is held, it is not asked.
    """
    lost = [each.lost for each in listing.strays if each.lost]
    for database in sorted({each.manifest.database for each in listing.dumps}):
        cut = _cut(listing.of(database), [each for each in lost if each.manifest.database == database],
                   keep, now, faults)  # fmt: skip
        yield _spared(cut) if database in spared else cut


def left_out(dumps: Iterable[Stored], now: datetime) -> frozenset[str]:
    """Return the databases of which the newest run has stored nothing: gone from their server, or failed."""
    newest: dict[str, str] = {}
    for each in dumps:
        if each.name.stamp <= new_stamp(now):
            newest[each.name.database] = max(newest.get(each.name.database, ""), each.name.stamp)
    return frozenset(database for database, stamp in newest.items() if stamp < max(newest.values()))


def _spared(cut: Cut) -> Cut:
    if not (cut.pruned or cut.lost):
        return cut
    kept = [*cut.kept, *((each, "held") for each in cut.pruned)]
    return replace(
        cut, kept=sorted(kept, key=lambda pair: pair[0].name.stamp, reverse=True), pruned=(), lost=(),
        held="the newest run has not stored it: gone from its server, or failed; --database prunes it",
    )  # fmt: skip


def _cut(dumps: Sequence[Stored], lost: Sequence[Stored], keep: Keep, now: datetime, faults: Faults) -> Cut:
    cut = _unchecked(dumps, lost, keep, now)
    if not (cut.pruned or cut.lost or cut.held):
        return cut
    judged = list(zip(dumps, faults(dumps), strict=True))
    good = [each for each, fault in judged if not fault]
    ignored = [(each, fault) for each, fault in judged if fault]
    if not good:
        return Cut(cut.id, (), ignored=ignored, held="none has a manifest that is signed as it should be")
    return replace(_unchecked(good, lost, keep, now), ignored=ignored)


def _unchecked(dumps: Sequence[Stored], lost: Sequence[Stored], keep: Keep, now: datetime) -> Cut:
    by_name = {each.name: each for each in (*dumps, *lost)}
    there = [_dated(each, now) for each in dumps]
    plan = retain(there, keep, now)
    # A prune deletes a manifest last. One that it would delete now is its own; the others tell of a loss, as do all
    # that are newer than the newest dump that is there: no prune has begun with those.
    newest = max((each.started for each in there if not each.bad and each.started <= now), default=now)
    gone = [Dated(each.name, each.manifest.begun, each.manifest.stored_bytes) for each in lost]
    with_lost = retain([*there, *gone], keep, now)
    return Cut(
        dumps[0].name.id,
        [(each, ", ".join(plan.kept[each.name])) for each in dumps if each.name in plan.kept],
        [by_name[name] for name in plan.pruned],
        [by_name[name] for name in with_lost.pruned if by_name[name] in lost and by_name[name].manifest.begun < newest],
        held=plan.held,
    )


def _dated(stored: Stored, now: datetime) -> Dated:
    bad = bool(fault_of(stored, now))
    return Dated(stored.name, stored.manifest.begun, stored.size, stored.verified and not bad, bad)


def prune_place(
    place: Place,
    chosen: Callable[[str], bool] | None,
    say: Callable[[str], object],
    *,
    dry_run: bool = False,
    brief: bool = False,
) -> list[Pruned]:
    """Prune the databases of a recipe whose names are `chosen`, once `say` was told which dumps will go.

    Where none is chosen, all are, but for those that the newest run has not stored, which keep all they have.

    Raises Locked where somebody is at work there, and StageError where it cannot be known what may go, or said.
    """
    host, recipe, keep = place.job.host.name, place.job.recipe, place.job.dump.keep
    if keep is None:
        raise RuntimeError("nothing says what is to be kept")
    with _as_prune(), contextlib.nullcontext() if dry_run else place.store.held(host, recipe, alone=True):
        listing = place.listed_once()
        theirs = replace(
            listing, dumps=tuple(each for each in listing.dumps if chosen is None or chosen(each.manifest.database))
        )
        now = datetime.now(UTC)
        spared = left_out(listing.dumps, now) if chosen is None else frozenset[str]()
        planned = list(cuts(theirs, keep, now, Signatures(place).faults, spared))
        if lines := [line for each in planned for line in each.lines(brief=brief)]:
            say("\n".join(lines))
        return [Pruned(each) if dry_run else _carried_out(place, each) for each in planned]


def _carried_out(place: Place, cut: Cut) -> Pruned:
    deleted: list[Stored] = []

    def delete() -> None:
        """Delete what goes, the remains of lost dumps first. Raises Interrupted after a signal, and WriteError."""
        for each in (*cut.lost, *cut.pruned):
            if place.machines.local.ended:
                raise Interrupted("ended before all was pruned")
            with _as_prune():
                place.store.delete(each.name)
            deleted.append(each)

    failure = attempt(cut.id, (), delete)
    return Pruned(cut, len(deleted), sum(each.size for each in deleted), failure)


def prune_after(place: Place, databases: Collection[str], display: Display) -> list[Result]:
    """Prune the databases that have just been dumped, and return what failed; what goes is said before it does.

    Where stdout takes nothing, which is no reason not to dump, stderr has to.
    """
    pruned: list[Pruned] = []

    def say(text: str) -> None:
        """Say what goes. Raises WriteError where neither stream takes it."""
        try:
            display.hand_over(text)
        except WriteError:
            Plain(to_stderr=True).hand_over(text)

    def prune() -> None:
        """Prune what was dumped, and note what became of it."""
        pruned.extend(prune_place(place, lambda name: name in databases, say, brief=True))

    failure = attempt(place.job.id, (), prune) if databases else None
    if failure and failure.status == "locked":
        display.notice(f"{place.job.id}: not pruned: {failure.text}")
        failure = None
    failures = [each for each in (failure, *(each.failure for each in pruned)) if each]
    for each in failures:
        display.finished(each)
    return failures


@contextlib.contextmanager
def _as_prune() -> Iterator[None]:
    """Have what goes wrong inside said of pruning, so that it is not taken for a dump's."""
    try:
        yield
    except (Locked, Interrupted):
        raise
    except DumpError as error:
        program = f"{error.stage}: " if isinstance(error, StageError) else ""
        raise StageError("prune", f"{program}{error.message}", error.hint) from error


def _line(word: str, stored: Stored, text: str) -> str:
    return f"{word:<8} {stored.name.stamp}  {stored.name.id}  {printable(text)}"
