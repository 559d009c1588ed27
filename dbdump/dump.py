"""`invoke dump`: dump what is asked for, and tell what became of it; or with --dry-run print what would be run."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .aside import prints_aside
from .asked import Asked, asked_jobs
from .catalog import printable
from .ending import end
from .errors import DbdumpError, NothingMatched, UsageError
from .plan import Job, Plan, Planned, Refused, Skipped, matches
from .progress import Plain, display
from .redact import redact
from .report import Result, error_text, exit_code, summary
from .runner import dry_run, run

_DRY_TOKEN = "status"  # noqa: S105  no secret: a run has a random one


def dump(asked: Asked) -> int:
    """Dump what is asked for, tell what became of it, and return the exit status.

    Raises UsageError, RecipeError or NothingMatched before anything runs.
    """
    began = time.monotonic()
    jobs, broken = asked_jobs(asked)
    _refuse_one_machine(asked, jobs)
    errors: list[DbdumpError] = [*broken]
    with display(to_stderr=asked.as_json) as shown, prints_aside(promised=asked.as_json):
        results, signal = run(jobs, asked.databases, asked.slots, shown, here=asked.here)
    if not results and not errors and signal is None:
        raise NothingMatched("no database matches", f"Asked for: {', '.join(asked.databases)}.")
    code = exit_code(results, broken_files=bool(errors), signal=signal)
    if not code and (nobody := _unmatched(asked.databases, results)):
        errors.append(NothingMatched(f"no database matches {nobody[0]!r}", "What else was asked for was dumped."))
        code = NothingMatched.exit_code
    return end(
        "dump", code, bugs=[each.bug for each in results],
        lines=[*summary(results, time.monotonic() - began), *map(error_text, errors)],
        items=(each.item for each in results), errors=errors, as_json=asked.as_json,
    )  # fmt: skip


def _refuse_one_machine(asked: Asked, jobs: Sequence[Job]) -> None:
    """Raise UsageError where --here would have the databases of this machine stored as those of several hosts."""
    hosts = list(dict.fromkeys(job.host.name for job in jobs if not job.host.is_local))
    if asked.here and len(hosts) > 1:
        raise UsageError(
            f"--here is this machine, and these are {len(hosts)}: {', '.join(hosts)}",
            f"Say which of them it is: --host={hosts[0]}.",
        )


def _unmatched(globs: Sequence[str], results: Sequence[Result]) -> list[str]:
    """Return which of `globs` no database matches."""
    names = [result.database for result in results if result.database is not None]
    return [each for each in globs if not any(matches(name, [each]) for name in names)]


def show_dry_run(asked: Asked) -> int:
    """Print the script of each dump that is asked for, and return the exit status; nothing is dumped.

    Raises what `dump` raises.
    """
    if asked.as_json:
        raise UsageError("--dry-run prints scripts, and no JSON", "Leave out --json, or --dry-run.")
    jobs, errors = asked_jobs(asked)
    _refuse_one_machine(asked, jobs)
    plain, failed, matched = Plain(), False, False
    for job in jobs:
        plans, failure = dry_run(job, asked.databases, here=asked.here)
        for each in plans:
            plain.say(_script_of(each))
            matched = True
            failed = failed or isinstance(each, Refused)
        if failure:
            failed = True
            for line in [*failure.bug.splitlines(), *failure.lines]:
                plain.say(f"# {line}")
    for error in errors:
        plain.say(error_text(error))
    if not (matched or failed or errors):
        raise NothingMatched("no database matches", f"Asked for: {', '.join(asked.databases)}.")
    failed = failed or bool(plain.lost)
    return 1 if failed else exit_code([], broken_files=bool(errors), signal=None)


def _script_of(plan: Plan) -> str:
    match plan:
        case Skipped(name, reason):
            return f"# {name.id}: skipped, {reason}\n"
        case Refused(name, error):
            return f"# {name.id}: {error.stage}: {error_text(error)}\n"
        case Planned(name, pipeline=pipeline, store=store, wrapping=wrapping):
            script = redact(pipeline.script(_DRY_TOKEN), pipeline.values.values())
            if wrapping is not None:
                script = f"{script}\n# and its bytes, on this machine, through\n{wrapping.script(_DRY_TOKEN)}"
            return f"# {name.id} -> {store.location(name)}\n{_printable_lines(script)}\n"


def _printable_lines(text: str) -> str:
    """Return `text` with what is no text, or would play with a terminal, escaped; line ends stay."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)
