"""The host that `--to` names, and how a dump of another one is restored there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .asked import Asked, asked_jobs
from .errors import NothingMatched
from .host import localhost
from .plan import Job


def jobs_at(asked: Asked, host: str) -> Sequence[Job]:
    """Return the jobs of the host that --to names; localhost need have none. Raises NothingMatched for another."""
    try:
        jobs, _ = asked_jobs(replace(asked, hosts=(host,), recipes=(), tags=()))
    except NothingMatched:
        jobs = []
    jobs = jobs if asked.backend else [each for each in jobs if each.host.name == host]
    if not jobs and host != localhost.name:
        raise NothingMatched(f"no recipe is for host {host!r}", "--to takes the name of a host of the recipes.")
    return jobs


def job_there(there: Sequence[Job], own: Job) -> Job:
    """Return the job that says how to reach the server there: the only one of that kind, or the dump's own."""
    if any(each.host.name == own.host.name for each in there):
        return own
    alike = [each for each in there if each.dump.backend.name == own.dump.backend.name]
    return alike[0] if len(alike) == 1 else replace(own, host=there[0].host if there else localhost)
