"""Whether a recipe's databases can be dumped: the programs, the login, the list, and what the user may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from .bound import Bound
from .catalog import GLOBALS, new_stamp
from .findings import Finding, error_of, guarded
from .links import Reach
from .plan import Job, Plan, Planned, Refused, Skipped, matches, selected
from .probe import PROGRAMS
from .redact import redact

DATABASES = "databases"


def database_findings(job: Job, reach: Reach, patterns: Sequence[str], names: list[str]) -> Iterator[Finding]:
    """Yield what there is to say of the databases of a job that match one of `patterns`, if there are any.

    The names of those that would be dumped are added to `names`. Raises StageError where the host cannot become the
    user whom the backend wants, and ConnectError.
    """
    bound = Bound(replace(job, dump=replace(job.dump, wrap=[])), reach, new_stamp())

    def wanted(name: str) -> bool:
        return (name == GLOBALS or selected(name, bound.backend)) and (not patterns or matches(name, patterns))

    missing, restorers = _missing(bound)
    for program in missing:
        yield Finding("error", program, "not found on the PATH of the user who runs it", f"Install {program} there.")
    for program in restorers if not missing else ():
        yield Finding(
            "warning", program, "not found on the PATH of the user who runs it, who could not restore there",
            f"Install {program} there; dumps are made without it.",
        )  # fmt: skip
    hint = bound.backend.hint
    questions = (_plans(bound, patterns, names), _checked(bound, wanted))
    for each in (each for question in questions for each in guarded(question, "backend", hint=hint)):
        if each.stage not in missing and not any(f"{program}: not found" in each.message for program in missing):
            yield replace(each, message=redact(each.message, bound.secrets))


def _missing(bound: Bound) -> tuple[Sequence[str], Sequence[str]]:
    """Return the programs that are not there: those that a dump needs, and those that only a restore does.

    Who reads a dump back on this machine is looked for as well, see reader_findings.
    """
    backend = bound.backend
    seen = {name for each in backend.readers for name in each.names} if bound.shell.here else ()
    wanted, restorers = backend.programs, [each for each in backend.restorers if each not in seen]
    both = [*wanted, *restorers]
    found = backend.output(["sh", "-c", PROGRAMS, "sh", *both]).decode().split("\n") if both else []
    return [each for each in wanted if each not in found], [each for each in restorers if each not in found]


def _plans(bound: Bound, patterns: Sequence[str], names: list[str]) -> Iterator[Finding]:
    plans = bound.plan(patterns)
    names += [each.name.database for each in plans if isinstance(each, Planned)]
    if versions := bound.backend.versions():
        yield Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for each in plans:
        if isinstance(each, Refused):
            yield error_of(each.error, "command", each.name.database, bound.backend.hint)
    if plans:
        yield Finding("ok", DATABASES, _counted(plans))


def _checked(bound: Bound, wanted: Callable[[str], bool]) -> Iterator[Finding]:
    yield from bound.backend.check(wanted)  # which may raise before it yields


def _counted(plans: Sequence[Plan]) -> str:
    count = Counter(type(each) for each in plans)
    told = [f"{count[Planned]} to dump", f"{count[Skipped]} left out", f"{count[Refused]} refused"]
    return ", ".join(each for each in told if not each.startswith("0 ")) or "none"
