"""`invoke verify`: read dumps back from where they are stored, say how good they are, and note it beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from .aside import prints_aside
from .asked import Asked, asked_jobs
from .attempt import attempt
from .catalog import printable
from .elsewhere import job_there, jobs_at
from .ending import end
from .errors import ConnectionLost, DbdumpError, NothingMatched, StageError, UsageError
from .examine import Examined, examine
from .place import Place
from .plan import Job, is_directory_of, is_glob, known_secrets, matches
from .progress import Plain, display
from .report import Result, error_text
from .stored import Listing, Stored, Stray, remembered
from .survey import survey
from .verdicts import Verdict, dump_name, exit_of, of_dump, of_future, of_nothing, of_stray, summary


def verify(asked: Asked, *, every: bool, drill: bool, to: str | None) -> int:
    """Verify the dumps that are asked for, and return the exit status.

    `every` means not only the latest of each database; with `drill` each is restored too, `to` that host. Raises
    UsageError, RecipeError or NothingMatched before anything is read.
    """
    if to and not drill:
        raise UsageError("--to is of --restore", "Add --restore, or leave --to out.")
    began = time.monotonic()
    jobs, errors = asked_jobs(asked)
    there = _jobs_there(asked, jobs, to) if to else {}
    with display(eta=True, to_stderr=asked.as_json) as shown, ThreadPoolExecutor(asked.slots, "verify") as pool:
        run = _Run(asked.databases, shown, pool, every, drill, there)
        with prints_aside(promised=asked.as_json):
            seen = survey(jobs, run.recipe, here=asked.here)
    verdicts = [each for each in seen.found if isinstance(each, Verdict)]
    failures = [*seen.failures, *(each for each in seen.found if isinstance(each, Result))]
    if not failures and seen.signal is None:
        verdicts += [of_nothing(None, None, each) for each in run.missing]
    if not (verdicts or failures or errors) and seen.signal is None:
        raise NothingMatched("no dump matches", f"Asked for: {', '.join(asked.databases)}.")
    code = exit_of(verdicts, failures, broken_files=bool(errors), signal=seen.signal)
    return end(
        "verify", code, bugs=[each.bug for each in failures],
        lines=[*summary(verdicts, failures, time.monotonic() - began), *map(error_text, errors)],
        items=[*(each.item for each in verdicts), *(each.item for each in failures)],
        errors=errors, as_json=asked.as_json,
    )  # fmt: skip


def _jobs_there(asked: Asked, jobs: Sequence[Job], to: str) -> Mapping[str, Job]:
    """Return which job each is restored by; none where that needs no server."""
    there = jobs_at(asked, to)
    return {each.id: job_there(there, each) for each in jobs if not each.dump.backend.is_file}


@dataclass
class _Run:
    """One run of verify: what it was asked for, and what the recipes share."""

    wanted: Sequence[str]
    shown: Plain
    pool: ThreadPoolExecutor
    every: bool
    drill: bool
    there: Mapping[str, Job]  # by the ids of the jobs: where --to has them restored
    seen: set[str] = field(default_factory=set)

    @property
    def missing(self) -> Sequence[str]:
        """The names, and no globs, that were asked for, and of which no recipe has a dump."""
        return [each for each in self.wanted if each not in self.seen and not is_glob(each)]

    def recipe(self, place: Place) -> Iterator[Verdict | Result]:
        """Verify the dumps of one recipe, several at once; nobody removes one meanwhile."""
        host, recipe = place.job.host.name, place.job.recipe
        with place.held():
            listing = place.listing()
            chosen, ahead = self._chosen(listing)
            futures = [self.pool.submit(self._one, place, each) for each in chosen]
            yield from (self._said(of_future(each)) for each in ahead)
            for stray in listing.strays:
                if stray.bad or stray.lost:
                    if self._is_wanted(stray):
                        yield self._said(of_stray(host, recipe, stray))
                elif not self.wanted:
                    self.shown.notice(f"uncommitted: {host}/{recipe}/{printable(stray.path)}, {printable(stray.why)}")
            for future in futures:
                yield future.result()
            if self.drill:
                from .drill import end_drills  # noqa: PLC0415  as below

                end_drills(place)
        if not (self.wanted or listing.dumps):
            yield self._said(of_nothing(host, recipe, None))

    def _chosen(self, listing: Listing) -> tuple[list[Stored], list[Stored]]:
        """Return the dumps that are asked for, the newest first: all, or the latest of each database.

        And those of databases that have no other than from the future.
        """
        wanted, now = [each for each in listing.dumps if self._matches(each.manifest.database)], datetime.now(UTC)
        if self.every:
            return wanted, []
        latest = {each.manifest.database: each for each in reversed(wanted) if not each.is_future(now)}
        ahead = {each.manifest.database: each for each in reversed(wanted) if each.is_future(now)}
        for each in (each for database, each in ahead.items() if database in latest):
            self.shown.notice(f"{each.name.id}: {each.future_note}")
        return list(latest.values()), [each for database, each in ahead.items() if database not in latest]

    def _matches(self, database: str) -> bool:
        self.seen |= {each for each in self.wanted if matches(database, [each])}
        return not self.wanted or matches(database, self.wanted)

    def _is_wanted(self, stray: Stray) -> bool:
        names = [each for each in self.wanted if is_directory_of(stray.directory, [each])]
        self.seen |= set(names)
        return not self.wanted or bool(names)

    def _one(self, place: Place, stored: Stored) -> Verdict | Result:
        name, began = dump_name(stored), time.monotonic()
        self.shown.started(name, stored.size)
        found: list[Examined] = []
        hint = place.job.dump.backend.hint
        secrets = known_secrets(place.job.dump.backend)
        failure = attempt(stored.name.id, secrets, lambda: found.append(self._examined(place, stored)), hint)
        if failure:
            failure = replace(failure, text=f"{stored.name.stamp}: {failure.text}", database=stored.manifest.database)
            self.shown.ended(name, failure.line)
            return failure
        return self._said(of_dump(stored, place.store.location(stored.name), found[0], time.monotonic() - began))

    def _said(self, verdict: Verdict) -> Verdict:
        self.shown.ended(verdict.name, verdict.line)
        return verdict

    def _examined(self, place: Place, stored: Stored) -> Examined:
        """Read one dump back, and note what was found; with the drill after it, if that is asked for."""
        examined = self._looked(place, stored)
        told = self._noted(place, stored, examined)
        if self.drill and not examined.record.fault:
            told = self._noted(place, stored, self._drilled(place, stored, examined))
        return told

    def _looked(self, place: Place, stored: Stored) -> Examined:
        """Look at one dump, from its beginning again where the connection to where it is stored was lost."""
        name = dump_name(stored)
        advanced = partial(self.shown.advanced, name)
        try:
            return examine(place, stored, advanced)
        except ConnectionLost as error:
            if place.machines.local.ended:
                raise
            self.shown.notice(f"{name}: {error.message}; once more")
        self.shown.started(name, stored.size)
        return examine(place, stored, advanced)

    def _drilled(self, place: Place, stored: Stored, examined: Examined) -> Examined:
        from .drill import drill, why_not  # noqa: PLC0415  most runs need no scratch servers

        to = self.there.get(place.job.id)
        if reason := why_not(stored, to):
            return replace(examined, notes=(*examined.notes, reason))
        if examined.record.level == "bytes":
            raise StageError(
                "drill", f"cannot be restored here: {'; '.join(examined.notes)}", "Do it where the key is."
            )
        name = dump_name(stored)
        self.shown.started(name, stored.size)
        done = drill(place, stored, examined.marks, to, partial(self.shown.advanced, name))
        record = replace(examined.record, drill=done)
        if not done.fault:
            return replace(examined, record=replace(record, level="restored"))
        return replace(examined, record=replace(record, fault=f"drill: {done.fault}"), hint="See what the server says.")

    def _noted(self, place: Place, stored: Stored, examined: Examined) -> Examined:
        """Note what was found, and return it; what was found before, and has not been refuted, is so still."""
        record = remembered(stored.record, examined.record)
        if record.fault and not examined.record.fault:
            examined = replace(examined, record=record, hint=f"Found {record.at}. Verify it where as much can be read.")
        try:
            place.store.note(stored.name, examined.record.to_json())
        except DbdumpError as error:
            self.shown.notice(f"{dump_name(stored)}: not noted: {printable(error.message)}")
        return examined
