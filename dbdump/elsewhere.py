"""The host that `--to` names, and how a dump of another one is restored there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .asked import Asked, asked_jobs
from .errors import NothingMatched, UsageError
from .host import localhost
from .plan import Job


def jobs_at(asked: Asked, to: str) -> Sequence[Job]:
    """Return the jobs that --to names: those of a HOST, or the one of HOST/RECIPE; localhost need have none.

    Raises NothingMatched where there are none, and UsageError where --here would make this machine of that one.
    """
    host, _, recipe = to.partition("/")
    if asked.here and host != localhost.name and tuple(asked.hosts) != (host,):
        raise UsageError(f"--to={to} with --here, which would be this machine", "Leave --here out, or --to.")
    try:
        jobs, _ = asked_jobs(replace(asked, hosts=(host,), recipes=(), tags=()))
    except NothingMatched:
        jobs = []
    if not asked.backend:
        jobs = [each for each in jobs if each.host.name == host and recipe in ("", each.recipe)]
    if not jobs and to != localhost.name:
        raise NothingMatched(
            f"no recipe is for {to!r}" if recipe else f"no recipe is for host {host!r}",
            "--to takes the name of a host of the recipes, or HOST/RECIPE.",
        )
    return jobs


def job_there(there: Sequence[Job], own: Job) -> Job:
    """Return the job that says how to reach the server there: the dump's own, or the only one of its kind.

    A file needs no server, and is restored as the dump's own recipe says where there is no other. Raises UsageError
    where several are of that kind, and NothingMatched where none is: the dump's own would lead to its own server.
    """
    if any(each.id == own.id for each in there):
        return own
    host, kind = there[0].host if there else localhost, own.dump.backend.name
    alike = [each for each in there if each.dump.backend.name == kind]
    if len(alike) == 1:
        return alike[0]
    if alike:
        names = [each.recipe for each in alike]
        raise UsageError(
            f"{host.name} has more than one recipe of {kind}: {', '.join(names)}",
            f"Say whose server is meant: --to={host.name}/{names[0]}.",
        )
    if own.dump.backend.is_file:
        return replace(own, host=host)
    raise NothingMatched(
        f"{host.name} has no recipe of {kind}, which would say how its server is reached",
        "Write one, or name a host that has one: --to=HOST.",
    )
