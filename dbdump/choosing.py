"""Choose the one dump that is to be restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .asked import Asked, asked_jobs
from .catalog import GLOBALS, STAMP, encode, printable
from .errors import BadDump, DumpError, NothingMatched, RecipeError, UsageError, interrupted
from .local_copy import read_copy
from .place import Place
from .plan import Job, matches
from .report import Result, error_text
from .standing import fault_of
from .stored import Listing, Stored, Stray
from .survey import survey

_MOST = 10  # names in a hint


@dataclass(frozen=True)
class Chosen:
    """The dump, the job that it is of, the globals to be restored with it, and what is to be said besides."""

    job: Job
    stored: Stored
    globals: Stored | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """What is stored of one job."""

    job: Job
    listing: Listing


def choose(asked: Asked, at: str | None, *, with_globals: bool) -> Chosen:
    """Return the dump that is asked for: the latest that is not from the future, or that of the stamp `at`.

    Raises UsageError where that is more than one, and BadDump where it is none, or bad already by its manifest.
    """
    if at not in (None, "latest") and not STAMP.fullmatch(at or ""):
        raise UsageError(f"--at={at}: no stamp", "It is latest, or a stamp that invoke list shows: 20261122T203000Z.")
    jobs, errors = asked_jobs(asked)
    kept, failures = _all_kept(jobs, here=asked.here)
    one, database = _one_of(kept, asked.databases, errors)
    if failures:  # in what could not be looked at there may be one of that name as well
        raise UsageError(
            f"{failures[0].id}: {failures[0].text}; it may have a dump of {printable(database)} too",
            f"Say which: --host={one.job.host.name} --recipe={one.job.recipe} --database={printable(database)}.",
        )
    stamp, now = None if at == "latest" else at, datetime.now(UTC)
    stored = _of_stamp(one, database, stamp, now)
    ahead = [each for each in one.listing.of(database) if stamp is None and each.is_future(now)]
    notes = [f"{each.name.id}: {each.future_note}" for each in ahead[:1]]
    notes += [f"{stored.name.id}: {fault_of(stored, now)}"] if stored.record and stored.record.fault else []
    first = _globals_of(one, stored) if with_globals else None
    if first and first.name.stamp != stored.name.stamp:
        notes.append(f"{first.name.id}: that run stored none; these are of {first.name.stamp}, their passwords too")
    return Chosen(one.job, stored, first, (*notes, *map(error_text, errors)))


def choose_file(asked: Asked, path: str) -> Chosen:
    """Return the dump in the file `path`, and the job that its manifest names.

    Raises BadDump where it is none, UsageError where no recipe, and no flag, says how to restore it, or where it is of
    another than the flags say, and NothingMatched where they say none.
    """
    stored, writer = read_copy(path)
    manifest = stored.manifest
    if asked.databases and not matches(manifest.database, asked.databases):
        raise UsageError(f"{path} is a dump of {stored.name.id}", "Leave --database out.")
    if asked.backend and asked.backend != manifest.backend:
        made = printable(manifest.backend)
        raise UsageError(f"{path} is a dump of {made}, and not of {asked.backend}", f"Say --backend={made}.")
    narrowed = bool(asked.hosts or asked.recipes or asked.tags)
    try:
        jobs, errors = asked_jobs(asked)
    except NothingMatched:
        if narrowed:
            raise
        jobs, errors = [], []
    if not asked.backend:
        jobs = [each for each in jobs if each.id == f"{manifest.host}/{manifest.recipe}"]
    if not jobs and narrowed:
        raise UsageError(
            f"{path} is a dump of {stored.name.id}, which --host, --recipe or --tag leaves out",
            "Leave them out, or bring a dump of what they say.",
        )
    if len(jobs) != 1:
        raise UsageError(
            f"{path} is a dump of {stored.name.id}, and there is no such recipe",
            f"Say how to restore it: --backend={printable(manifest.backend)}, and its options.",
        )
    job = Job(jobs[0].host, jobs[0].recipe, replace(jobs[0].dump, to=writer))
    return Chosen(job, stored, None, tuple(map(error_text, errors)))


def _all_kept(jobs: Sequence[Job], *, here: bool) -> tuple[list[_Kept], list[Result]]:
    """Return what is stored of each job, and of which that cannot be told; raises DumpError where of none."""

    def look(place: Place) -> Iterator[_Kept]:
        """Yield what is stored of one job."""
        yield _Kept(place.job, place.listing())

    seen = survey(jobs, look, here=here)
    if seen.signal is not None:
        raise interrupted(seen.signal, "nothing was touched")
    if seen.failures and not seen.found:
        failure = seen.failures[0]
        raise DumpError(failure.text if not failure.bug else failure.bug, failure.hint)
    return seen.found, seen.failures


def _one_of(kept: Sequence[_Kept], wanted: Sequence[str], errors: Sequence[RecipeError]) -> tuple[_Kept, str]:
    """Return the only database that is asked for, and where it is kept."""
    found = {(each.job.id, name): (each, name) for each in kept for name in _names(each.listing, wanted)}
    if len(found) == 1:
        return next(iter(found.values()))
    ids = sorted(f"{job}/{printable(name)}" for job, name in found)
    if found:
        raise UsageError(f"more than one database: {_some(ids)}", "Say which: --host, --recipe and --database.")
    there = sorted({stored.name.id for each in kept for stored in each.listing.dumps})
    what = ", ".join(map(printable, wanted)) or "anything"
    hint = f"There is: {_some(there)}." if there else "Nothing is stored; see invoke recipes for where that would be."
    raise BadDump(f"no dump of {what} is stored", error_text(errors[0]) if errors and not there else hint)


def _names(listing: Listing, wanted: Sequence[str]) -> set[str]:
    """Return the names of the databases that are asked for, those too of which there is only what is bad.

    Globals are no database: they have to be called by their name.
    """
    names = {each.manifest.database for each in listing.dumps}
    names |= {each.lost.manifest.database for each in listing.strays if each.lost}
    names |= {name for name in wanted if any(each.directory == encode(name) for each in listing.strays if each.bad)}
    chosen = {name for name in names if not wanted or matches(name, wanted)}
    return chosen if GLOBALS in wanted else chosen - {GLOBALS}


def _of_stamp(kept: _Kept, database: str, stamp: str | None, now: datetime) -> Stored:
    """Return the latest dump of a database, or that of a stamp. Raises BadDump where it would be one that is bad."""
    listing = kept.listing
    dumps = listing.of(database)
    good = next(
        (each for each in dumps if stamp == each.name.stamp or (stamp is None and not each.is_future(now))), None
    )
    bad = [each for each in listing.strays if (each.bad or each.lost) and each.directory == encode(database)]
    newest = max(bad, key=lambda each: each.stamp, default=None)
    if newest and stamp is None and (good is None or newest.stamp > good.name.stamp):
        older = f" Or restore the last good one: --at={good.name.stamp}." if good else ""
        raise BadDump(_says(kept, newest), f"Find out who touched it.{older}")
    if good is not None and stamp is None and good.record and good.record.fault:
        sound = next((each for each in dumps if each.name.stamp < good.name.stamp and not fault_of(each, now)), None)
        raise BadDump(f"{good.name.id}: {fault_of(good, now)}", _instead(good, sound))
    if good is not None:
        return good
    for each in bad:
        if each.stamp == stamp:
            raise BadDump(_says(kept, each), "Find out who touched it, and restore another one.")
    if dumps and stamp is None:
        why = "no dump but from the future: a clock is wrong"
        raise BadDump(f"{dumps[0].name.id}: {why}", f"Restore it all the same: --at={dumps[0].name.stamp}.")
    there = _some([each.name.stamp for each in dumps])
    raise BadDump(f"{kept.job.id}/{printable(database)}: no dump of {stamp}", f"There is: {there}." if there else "")


def _instead(bad: Stored, sound: Stored | None) -> str:
    """Return what to restore where the latest dump is known to be bad; `sound` is one before it that is not."""
    older = f"the one before that is not known to be bad: --at={sound.name.stamp}" if sound else ""
    if bad.size != bad.manifest.stored_bytes:  # no stamp makes that one do
        return f"Restore {older}." if older else "No other one is there that is not known to be bad."
    return f"Restore it all the same: --at={bad.name.stamp}{', or ' if older else ''}{older}."


def _globals_of(kept: _Kept, stored: Stored) -> Stored:
    """Return the globals of the same run, or the newest before where it stored none. Raises BadDump."""
    for stray in kept.listing.strays:
        if (stray.bad or stray.lost) and stray.directory == encode(GLOBALS) and stray.stamp == stored.name.stamp:
            raise BadDump(_says(kept, stray), "Leave --globals out, or restore those of another run by themselves.")
    for each in kept.listing.of(GLOBALS):
        if each.name.stamp <= stored.name.stamp:
            return each
    raise BadDump(f"{kept.job.id}: no globals of {stored.name.stamp} or before are stored", "Leave --globals out.")


def _says(kept: _Kept, stray: Stray) -> str:
    return f"{kept.job.id}/{printable(stray.path)}: {printable(stray.why)}"


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
