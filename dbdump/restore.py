"""`invoke restore`: choose one dump, ask, verify it, and load it; say what was done, or what is left."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rich.filesize import decimal

from .asked import Asked
from .attempt import failed
from .catalog import GLOBALS, printable
from .choosing import Chosen, choose, choose_file
from .elsewhere import job_there, jobs_at
from .errors import DbdumpError, DumpError, Interrupted, UsageError, interrupted
from .place import Place
from .plan import Job, known_secrets
from .progress import Plain, display
from .redact import redact
from .restorer import Contents, Restorer, told_things
from .second_pass import SecondPass, verified
from .standard_output import refuse_terminal, standard_output
from .survey import survey

Value = TypeVar("Value")


@dataclass(frozen=True)
class Wanted:
    """How it is to be restored: which dump, where, under which name, from which file, and what is allowed."""

    at: str | None
    to: str | None
    as_name: str | None
    file: str | None
    force: bool
    to_stdout: bool
    yes: bool
    globals: bool


def restore(asked: Asked, wanted: Wanted) -> int:
    """Restore the dump that is asked for, tell what was done, and return the exit status.

    Raises UsageError for flags that make no sense or ask for more than one dump, BadDump where there is none, and
    what else keeps it from beginning.
    """
    _refuse_odd(asked, wanted)
    chosen = choose_file(asked, wanted.file) if wanted.file else choose(asked, wanted.at, with_globals=wanted.globals)
    for note in chosen.notes:
        Plain(to_stderr=True).say(note)
    with display(eta=True, to_stderr=wanted.to_stdout) as shown:
        if wanted.to_stdout:
            return _status_of(chosen, lambda: _alone(chosen.job, partial(_pour, chosen, shown), here=asked.here), shown)
    job = job_there(jobs_at(asked, wanted.to), chosen.job) if wanted.to else chosen.job
    restorer = Restorer(chosen, job, wanted.as_name, asked.slots, force=wanted.force)
    found = _alone(chosen.job, restorer.look, here=asked.here, there=job, ended="nothing was touched")
    if not wanted.yes:
        if not _agreed(chosen, job, found):
            raise UsageError("not restored: you did not say y")
        restorer.agreed = found
    with display(eta=True) as shown:
        restorer.shown = shown
        code = _status_of(chosen, lambda: _alone(chosen.job, restorer.work, here=asked.here, there=job), shown)
        if code:
            shown.say(f"         {_left(chosen.job, restorer, here=asked.here)}")
        if restorer.globals_fault:
            restorer.globals_fault.message = redact(restorer.globals_fault.message, known_secrets(job.dump.backend))
            shown.say("\n".join(failed(f"{chosen.job.id}/{GLOBALS}", restorer.globals_fault, ()).lines))
            code = code or restorer.globals_fault.exit_code
    return code


def _refuse_odd(asked: Asked, wanted: Wanted) -> None:
    """Raise UsageError for flags that make no sense together, and where nobody can be asked."""
    where = {"--to": wanted.to, "--as": wanted.as_name, "--force": wanted.force, "--globals": wanted.globals}
    if wanted.to_stdout and (given := [flag for flag, value in where.items() if value]):
        raise UsageError(f"{given[0]} with --to-stdout, which restores nothing", "Leave one of them out.")
    if wanted.file and (wanted.at or wanted.globals):
        flag = "--at" if wanted.at else "--globals"
        raise UsageError(f"{flag} with --file, which is one dump", "Restore each file by itself.")
    if GLOBALS in asked.databases and (wanted.as_name or wanted.globals):
        raise UsageError(f"--database={GLOBALS} is what --globals adds, and has no other name", "Leave one out.")
    if wanted.to_stdout:
        refuse_terminal()
    elif not (wanted.yes or sys.stdin.isatty()):
        what = "what is there would be dropped" if wanted.force else "a database would be made"
        raise UsageError(f"nobody to ask, and {what}", "Without a terminal, say --yes.")


def _agreed(chosen: Chosen, job: Job, found: Contents) -> bool:
    """Ask on the terminal."""
    stored = chosen.stored
    when = f"{stored.manifest.begun:%Y-%m-%d %H:%M} UTC"
    drop = f", and drop what is there ({told_things(found.things)})" if found.things else ""
    who = ", with its roles or users as they were then, their passwords too" if chosen.globals else ""
    sys.stderr.write(
        f"Restore {printable(stored.manifest.database)} of {chosen.job.id}, {when}, {decimal(stored.size)}, "
        f"on {job.host.name} as {printable(found.into)}{drop}{who}? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _pour(chosen: Chosen, shown: Plain, place: Place) -> None:
    """Write the raw dump to stdout, after all of it was verified."""
    stored = chosen.stored
    with place.held():
        dump = f"{stored.name.id} {stored.name.stamp}"
        verify, again = f"verify {dump}", f"restore {dump}"
        shown.started(verify, stored.size)
        examined = verified(place, stored, partial(shown.advanced, verify))
        for note in examined.notes:
            shown.notice(note)
        shown.ended(verify, f"verified {dump}")
        shown.started(again, stored.size)
        second = SecondPass(place, stored, examined.marks, partial(shown.advanced, again))
        second.to(standard_output(place.machines.local))


def _alone(
    job: Job,
    work: Callable[[Place], Value],
    *,
    here: bool,
    there: Job | None = None,
    ended: str = "ended before it was done",
) -> Value:
    """Do `work` with what one job reaches. Raises what it raises, and an error after a signal: it `ended` so.

    Nobody is told the secrets of `job`, nor those of `there`.
    """
    secrets = {secret for each in (job, there or job) for secret in known_secrets(each.dump.backend)}
    done: list[Value] = []
    caught: list[DbdumpError] = []

    def guarded(place: Place) -> list[None]:
        """Do the work, and keep what it returns or how it failed: survey would make a line of text of that."""
        try:
            done.append(work(place))
        except DbdumpError as error:
            error.message = redact(error.message, secrets)
            caught.append(error)
        return []

    seen = survey([job], guarded, here=here)
    if done:
        return done[0]
    if seen.signal is not None:
        raise interrupted(seen.signal, ended)
    if caught:
        raise caught[0]
    failure = seen.failures[0]
    if failure.bug:
        Plain(to_stderr=True).say(redact(failure.bug, secrets))
    raise DumpError(redact(failure.text, secrets), failure.hint)


def _status_of(chosen: Chosen, work: Callable[[], None], shown: Plain) -> int:
    """Do `work`, tell how it failed, if it did, and return the exit status."""
    try:
        work()
    except DbdumpError as error:
        shown.say("\n".join(failed(chosen.stored.name.id, error, ()).lines))
        return error.exit_code
    return 0


def _left(job: Job, restorer: Restorer, *, here: bool) -> str:
    """Ask what is left. It can be asked again, where a signal ended the rest."""
    try:
        return _alone(job, restorer.left, here=here)
    except (DumpError, Interrupted) as error:
        return f"left: perhaps a part of it, which cannot be asked: {printable(error.message)}"
