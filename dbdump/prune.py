"""`invoke prune`: delete the dumps that their recipe does not keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from rich.filesize import decimal

from .asked import Asked, asked_jobs
from .ending import end
from .errors import NothingMatched
from .locks import only_run
from .place import Place
from .plan import matches
from .progress import Plain
from .pruning import Pruned, prune_place
from .report import error_text, exit_code
from .survey import survey


def prune(asked: Asked, *, dry_run: bool) -> int:
    """Prune what is asked for, and return the exit status; with `dry_run` only say what would go.

    Raises NothingMatched where there is no dump of what is asked for.
    """
    jobs, errors = asked_jobs(asked)
    plain = Plain()
    keeping = [job for job in jobs if job.dump.keep is not None]
    for job in jobs:
        if job.dump.keep is None:
            plain.notice(f"{job.id}: the recipe has no keep: nothing is pruned")

    def named(database: str) -> bool:
        """Whether a database is one that was asked for."""
        return matches(database, asked.databases)

    def work(place: Place) -> Iterable[Pruned]:
        """Prune one place, and nobody dumps there meanwhile."""
        with contextlib.nullcontext() if dry_run else only_run(place.job):
            return prune_place(place, named if asked.databases else None, plain.hand_over, dry_run=dry_run)

    seen = survey(keeping, work, here=asked.here)
    failures = [*seen.failures, *(each.failure for each in seen.found if each.failure)]
    complete = len(keeping) == len(jobs) or (keeping and asked.databases)  # else it was said why there is nothing
    if not (seen.found or failures or errors) and complete and seen.signal is None:
        raise NothingMatched("no dump matches", "invoke list says what is stored.")
    done = [_summary(seen.found, dry_run=dry_run)] if seen.found else []
    code = exit_code(failures, broken_files=bool(errors), signal=seen.signal)
    wrong = [*(line for each in failures for line in each.lines), *map(error_text, errors)]
    return end("prune", code, bugs=[each.bug for each in failures], lines=[*done, *wrong], aside=bool(plain.lost))


def _summary(pruned: Sequence[Pruned], *, dry_run: bool) -> str:
    cuts = [each.cut for each in pruned]
    kept = sum(len(each.kept) + len(each.ignored) for each in cuts)
    if dry_run:
        would = [dump for each in cuts for dump in (*each.lost, *each.pruned)]
        return f"{len(would)} would be pruned, {kept} kept; {decimal(sum(dump.size for dump in would))}"
    count = sum(each.count for each in pruned)
    return f"{count} pruned, {kept} kept; {decimal(sum(each.size for each in pruned))}"
