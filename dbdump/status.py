"""`invoke status`: how old the last good dump of each database is, and whether that is all right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from rich.filesize import decimal

from .asked import Asked, asked_jobs
from .catalog import GLOBALS, is_cut, printable
from .ending import end
from .errors import BadDump, DbdumpError, NothingMatched, UsageError, with_hint
from .monitor import nagios as nagios_line
from .monitor import write_metrics
from .place import Place
from .plan import Job, is_glob, matches, selected
from .progress import Plain
from .report import Result, error_text, exit_code
from .retention import SHRINK_ALARM
from .spans import age, ago, parse_span
from .standing import WORST_FIRST, Rule, Standing, own_fault, standings
from .survey import survey
from .unwrap import signing

_MAX_AGE = "26h"  # a day, and time for a dump that takes longer than yesterday's


def status(asked: Asked, max_age: str | None, *, nagios: bool, prometheus: str | None) -> int:
    """Print how each database that is asked for stands, and return the exit status.

    Raises UsageError, RecipeError, and NothingMatched where there is nothing to look at.
    """
    if nagios and asked.as_json:
        raise UsageError("--nagios and --json: each wants stdout for itself", "Leave out one of them.")
    span, now = parse_span("--max-age", max_age or _MAX_AGE), datetime.now(UTC)
    jobs, broken = asked_jobs(asked)

    def look(place: Place) -> Iterable[Standing]:
        """Yield how each database of one recipe stands, and the recipe itself where none that it wants is stored."""
        job, alarm = place.job, getattr(place.job.dump.keep, "shrink_alarm", SHRINK_ALARM)
        rule = Rule(now, span, alarm, signed=signing(job.dump.wrap or ()) is not None)
        theirs = [_if_wanted(each, job) for each in standings(job.host.name, job.recipe, place.listing(), rule)]
        yield from theirs
        if all(each.state == "excluded" for each in theirs):
            yield Standing(job.host.name, job.recipe, None, "missing", "no dump of what the recipe does not leave out")

    seen = survey(jobs, look, here=asked.here)
    found = [*seen.found, *map(_unknown, seen.failures)]
    found = [*_asked_for(found, asked.databases), *_missing(jobs, found, asked.databases)]
    found.sort(key=lambda each: (WORST_FIRST.index(each.state), each.host, each.recipe or "", each.database or ""))
    if not found and not broken and seen.signal is None:
        raise NothingMatched("no dump matches", "invoke list shows what is stored, and invoke recipes what could be.")
    # Who was interrupted has not looked at all of it: what is there says more.
    errors = [
        *broken,
        *(write_metrics(found, len(broken), prometheus, now) if prometheus and seen.signal is None else []),
    ]
    code = exit_code(seen.failures, broken_files=bool(errors), signal=seen.signal)
    if seen.signal is None and any(not each.fine and each.state != "unknown" for each in found):
        code = BadDump.exit_code
    bugs = [each.bug for each in seen.failures if each.bug]
    if nagios:
        for bug in bugs:
            Plain(to_stderr=True).say(bug)
        return nagios_line(found, span, errors, seen.signal)
    return end(
        "status", code, bugs=bugs, lines=_lines(found, errors, now),
        items=map(_item, found), errors=errors, as_json=asked.as_json,
    )  # fmt: skip


def _if_wanted(each: Standing, job: Job) -> Standing:
    """Return how a database stands for a recipe: one that it leaves out by now may be as old as it likes."""
    name = each.database
    if name in (None, GLOBALS) or selected(name, job.dump.backend) or (not each.dumps and is_cut(name)):
        return each
    return replace(each, state="excluded", message="; ".join(filter(None, ["left out by the recipe", each.message])))


def _unknown(failure: Result) -> Standing:
    host, recipe = failure.id.split("/", 1)
    return Standing(host, recipe, None, "unknown", failure.text, failure.hint)


def _asked_for(found: Iterable[Standing], databases: Sequence[str]) -> list[Standing]:
    """Return those of the `databases`, and the recipes that have none or could not be looked at."""
    if not databases:
        return list(found)
    globs = any(map(is_glob, databases))
    return [
        each
        for each in found
        if (matches(each.database, databases) if each.database is not None else each.state == "unknown" or globs)
    ]


def _missing(jobs: Sequence[Job], found: Iterable[Standing], databases: Sequence[str]) -> Iterable[Standing]:
    """Yield the `databases` that have a name, no glob, and no dump on a host of which all could be looked at."""
    recipes: dict[str, list[str]] = {}
    for job in jobs:
        recipes.setdefault(job.host.name, []).append(job.recipe)
    for host, theirs in recipes.items():
        there = [each for each in found if each.host == host]
        if any(each.state == "unknown" for each in there):
            continue
        for name in dict.fromkeys(each for each in databases if not is_glob(each)):
            if not any(each.database == name for each in there):
                recipe = theirs[0] if len(theirs) == 1 else None
                yield Standing(host, recipe, name, "missing", "no dump at all")


def _lines(found: Sequence[Standing], errors: Sequence[DbdumpError], now: datetime) -> Iterable[str]:
    for each in found:
        yield from with_hint(_line(each, now), each.hint)
    counts = {state: sum(each.state == state for each in found) for state in ("ok", *WORST_FIRST)}
    yield ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "ok")
    yield from map(error_text, errors)


def _line(each: Standing, now: datetime) -> str:
    head = f"{each.state if each.fine else each.state.upper():<8}  {each.id}"
    if each.good is None or each.age is None:
        return f"{head}: {printable(each.message)}"
    usual = f" (usual {decimal(round(each.usual_bytes))})" if each.usual_bytes else ""
    parts = [
        head,
        f"{age(each.age)} old",
        f"{decimal(each.good.size)}{usual}",
        _verified(each, now),
        _drilled(each, now),
    ]
    return "  ".join([*parts, *([printable(each.message)] if each.message else [])])


def _verified(each: Standing, now: datetime) -> str:
    if each.record is None:
        return "never verified"
    when = ago(each.record.at, now)
    return f"FAILED verify {when}" if own_fault(each.record) else f"verified {each.record.level} {when}"


def _drilled(each: Standing, now: datetime) -> str:
    if each.drill is None:
        return "no drill"
    when = ago(each.drill.at, now)
    return f"FAILED drill {when}" if each.drill.fault else f"drill {when}: {each.drill.seconds:.1f} s"


def _item(each: Standing) -> dict[str, object]:
    good, verified, drilled = each.good, each.verified, each.drilled
    return {
        "status": each.state, "host": each.host, "recipe": each.recipe, "database": each.database,
        "message": each.message, "hint": each.hint, "dumps": each.dumps, "stamp": good and good.name.stamp,
        "age_seconds": each.age, "stored_bytes": good and good.size, "usual_bytes": each.usual_bytes,
        "verified": verified and each.record and {
            "stamp": verified.name.stamp, "at": each.record.at, "level": each.record.level, "fault": each.record.fault,
        },
        "drill": drilled and each.drill and {"stamp": drilled.name.stamp, **asdict(each.drill)},
    }  # fmt: skip
