"""`invoke check`: all that would make a dump fail, found at once, with nothing written anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from .aside import prints_aside
from .asked import Asked, asked_jobs
from .check_databases import DATABASES, database_findings
from .check_host import host_findings
from .check_readers import reader_findings
from .check_target import target_findings
from .check_wrappers import wrapper_findings
from .ending import end
from .errors import NothingMatched
from .findings import Finding, guarded, once, summary
from .place import Place
from .plan import known_secrets
from .redact import redact
from .report import FAILED, Result, error_text, exit_code
from .state import look_at_locks
from .survey import survey


def check(asked: Asked) -> int:
    """Print what is found in the recipes that are asked for, and return the exit status.

    Raises UsageError, RecipeError or NothingMatched before anything is asked.
    """
    jobs, errors = asked_jobs(asked)

    def look(place: Place) -> Iterator[Finding]:
        secrets = known_secrets(place.job.dump.backend)
        for each in once(_findings(place, asked.databases)):
            message, bug = redact(each.message, secrets), redact(each.bug, secrets)
            yield replace(each, message=message, bug=bug, host=place.job.host.name, recipe=place.job.recipe)

    with prints_aside(promised=asked.as_json):
        seen = survey(jobs, look, here=asked.here)
    findings = [*seen.found, *map(_of_result, seen.failures)]
    if asked.databases and not (
        errors or any(each.stage == DATABASES or each.severity == "error" for each in findings)
    ):
        raise NothingMatched("no database matches", f"Asked for: {', '.join(asked.databases)}.")
    code = exit_code([], broken_files=bool(errors), signal=seen.signal)
    if seen.signal is None and any(each.severity == "error" for each in findings):
        code = FAILED
    broken = [f"ERROR    recipes  {error_text(error)}" for error in errors]
    return end(
        "check", code, bugs=[*(each.bug for each in seen.found), *(each.bug for each in seen.failures)],
        lines=[*(() if asked.as_json else _lines(findings)), *broken, summary(findings, len(errors))],
        items=(each.item for each in findings), errors=errors, as_json=asked.as_json,
    )  # fmt: skip


def _findings(place: Place, patterns: Sequence[str]) -> Iterator[Finding]:
    job, machines = place.job, place.machines
    databases: list[str] = []
    yield from guarded(_lock_findings(), "lock")
    yield from guarded(host_findings(job, machines.reach(job)), "host")
    yield from guarded(database_findings(job, machines.reach(job), patterns, databases), "backend")
    yield from guarded(wrapper_findings(job, machines.reach(job)), "wrap")
    yield from guarded(reader_findings(machines.local, job.dump.backend), "readers")
    yield from guarded(target_findings(place, databases), "target")


def _lock_findings() -> Iterator[Finding]:
    """Yield nothing. Raises StageError where no run could be locked."""
    look_at_locks()
    yield from ()


def _of_result(result: Result) -> Finding:
    """Return the finding that a recipe is which could not be looked at any further."""
    host, recipe = result.id.split("/", 2)[:2]
    stage, colon, message = result.text.partition(": ")
    if not colon:
        stage, message = "recipe", result.text
    return Finding("error", stage, message, result.hint, host=host, recipe=recipe)


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of all findings, recipe by recipe."""
    ordered = sorted(findings, key=lambda each: (each.host, each.recipe))  # stable: as they were found
    for index, (_, of_recipe) in enumerate(groupby(ordered, lambda each: (each.host, each.recipe))):
        yield from [""] if index else []
        for each in of_recipe:
            yield from each.lines
