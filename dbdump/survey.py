"""Do something with what is stored of each of many recipes, several at once; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from .attempt import attempt
from .machines import Machines
from .place import Place, reading
from .plan import Job, known_secrets
from .report import Result
from .signals import Signals

_AT_ONCE = 16  # recipes: each mostly waits for another machine

Found = TypeVar("Found")


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
        done = signals.all_of(futures, machines.end)
    found = list(chain.from_iterable(each for each, _ in done))
    return Surveyed(found, [failure for _, failure in done if failure], signals.received)


def _one(job: Job, machines: Machines, work: Callable[[Place], Iterable[Found]]) -> tuple[list[Found], Result | None]:
    found: list[Found] = []

    def all_of_it() -> None:
        """Reach the place, and do the work. Raises what either raises."""
        if job.dump.to is None:
            raise RuntimeError("a job is looked at before its defaults are filled in")
        with reading():
            store = job.dump.to.bound(machines.reach(job))
        found.extend(work(Place(job, store, machines)))

    return found, attempt(job.id, known_secrets(job.dump.backend), all_of_it)
