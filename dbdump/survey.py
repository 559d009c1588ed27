"""Do something with what is stored of each of many recipes, several at once; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Generic, TypeVar

from .attempt import attempt
from .errors import Gone, StageError, WriteError
from .machines import Machines
from .plan import Job, known_secrets
from .report import Result
from .signals import Signals
from .stored import Listing, Stored, read_listing
from .writers.base import Store

_AT_ONCE = 16  # recipes: each mostly waits for another machine

Found = TypeVar("Found")


@dataclass(frozen=True)
class Place:
    """Where the dumps of one job are, and the machines that it reaches."""

    job: Job
    store: Store
    machines: Machines

    def listing(self) -> Listing:
        """Return what is stored of the job.

        While a dump is committed its manifest may be seen without it, as a directory is not read at once. Where one is
        lost all is looked at once more, and one is only lost that was so both times.
        """
        first = self._listing()
        lost = {each.path for each in first.strays if each.lost}
        if not lost:
            return first
        second = self._listing()
        strays = [each for each in second.strays if not each.lost or each.path in lost]
        return replace(second, strays=tuple(strays))

    def read(self, stored: Stored) -> Iterator[bytes]:
        """Yield the bytes of a dump.

        Raises Gone where it was removed since it was listed, StageError where it cannot be read, and ConnectError.
        """
        try:
            yield from self.store.read(stored.name)
        except WriteError as error:  # what a store says of any file
            if all(each.name != stored.name for each in self._listing().dumps):
                told = f"{stored.name.id} {stored.name.stamp}: gone since it was listed"
                raise Gone(told, "Somebody removed it, perhaps a prune: invoke list says what there is.") from error
            hint = "Look at that disk, and whether the user who reads may read there."
            raise StageError("read", error.message, hint) from error

    def _listing(self) -> Listing:
        host, recipe = self.job.host.name, self.job.recipe
        return read_listing(host, recipe, self.store.entries(host, recipe))


@dataclass(frozen=True)
class Surveyed(Generic[Found]):
    """What was found, job by job; a result for each job that failed; the signal that ended it all, if one did."""

    found: list[Found]
    failures: list[Result]
    signal: int | None


def survey(jobs: Sequence[Job], work: Callable[[Place], Iterable[Found]], *, here: bool) -> Surveyed[Found]:
    """Do `work` for each job; what it returns before it raises is found, and the rest of it is a failure."""
    with (
        Signals() as signals,
        closing(Machines(here=here)) as machines,
        ThreadPoolExecutor(_AT_ONCE, "survey") as pool,
    ):
        futures = [pool.submit(_one, job, machines, work) for job in jobs]
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=0.1)
            if signals.received is not None:
                machines.end()
        done = [future.result() for future in futures]
    found = list(chain.from_iterable(each for each, _ in done))
    return Surveyed(found, [failure for _, failure in done if failure], signals.received)


def _one(job: Job, machines: Machines, work: Callable[[Place], Iterable[Found]]) -> tuple[list[Found], Result | None]:
    found: list[Found] = []

    def all_of_it() -> None:
        if job.dump.to is None:
            raise RuntimeError("a job is looked at before its defaults are filled in")
        try:
            found.extend(work(Place(job, job.dump.to.bound(machines.reach(job)), machines)))
        except WriteError as error:
            error.stage = "read"  # nothing is stored here
            raise

    return found, attempt(job.id, known_secrets(job.dump.backend), all_of_it)
