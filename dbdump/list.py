"""`invoke list`: what is stored, the newest first, and beside it what is no dump."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain

from rich.filesize import decimal

from .asked import Asked, asked_jobs
from .catalog import printable
from .ending import end
from .errors import NothingMatched
from .place import Place
from .plan import is_directory_of, matches
from .report import error_text, exit_code
from .spans import age, ago
from .stored import Stored, Stray
from .survey import survey
from .writers.base import Store


@dataclass(frozen=True)
class _Dump:
    stored: Stored
    store: Store


@dataclass(frozen=True)
class _Leftover:
    host: str
    recipe: str
    stray: Stray


def show_list(asked: Asked) -> int:
    """Print the dumps that are asked for, and return the exit status. Raises NothingMatched where there is none."""
    jobs, errors = asked_jobs(asked)

    seen = survey(jobs, partial(_look, asked.databases), here=asked.here)
    dumps = [each for each in seen.found if isinstance(each, _Dump)]
    dumps.sort(key=lambda each: each.stored.manifest.begun, reverse=True)
    leftovers = [each for each in seen.found if isinstance(each, _Leftover)]
    code = exit_code(seen.failures, broken_files=bool(errors), signal=seen.signal)
    if not (dumps or leftovers or code):
        first = "invoke dump makes the first one; invoke recipes says where it goes."
        raise NothingMatched("no dump matches", "Without --database, all are listed." if asked.databases else first)
    wrong = [*(line for each in seen.failures for line in each.lines), *map(error_text, errors)]
    return end(
        "list", code, bugs=[each.bug for each in seen.failures],
        lines=[*(() if asked.as_json else _lines(dumps, leftovers)), *wrong],
        items=chain(map(_dump_item, dumps), map(_stray_item, leftovers), (each.item for each in seen.failures)),
        errors=errors, as_json=asked.as_json,
    )  # fmt: skip


def _look(databases: Sequence[str], place: Place) -> Iterable[_Dump | _Leftover]:
    host, recipe = place.job.host.name, place.job.recipe
    listing = place.listing()
    for each in listing.dumps:
        if not databases or matches(each.manifest.database, databases):
            yield _Dump(each, place.store)
    for stray in listing.strays:
        if not databases or is_directory_of(stray.directory, databases):
            yield _Leftover(host, recipe, stray)


def _lines(dumps: Iterable[_Dump], leftovers: Iterable[_Leftover]) -> Iterable[str]:
    now = datetime.now(UTC)
    yield from (_line(each, now) for each in dumps)
    yield from map(_stray_line, leftovers)


def verdict(stored: Stored, now: datetime) -> str:
    """Return what verify said of a dump last, in a few words."""
    record = stored.record
    if record is None:
        return "never verified"
    when = ago(record.at, now)
    return f"FAILED verify {when}: {record.fault}" if record.fault else f"verified {record.level} {when}"


def _line(each: _Dump, now: datetime) -> str:
    stored = each.stored
    wrapped = "".join(stored.wrapped) or "plain"
    signed = ", signed" if stored.signed else ""
    old = age((now - stored.manifest.begun).total_seconds())
    return (
        f"{stored.name.stamp}  {old:>8}  {decimal(stored.size):>9}  {stored.name.id}  {wrapped}{signed}, "
        f"{printable(verdict(stored, now))}"
    )


def _stray_line(each: _Leftover) -> str:
    kind = "BAD" if each.stray.bad else "uncommitted"
    path = f"{each.host}/{each.recipe}/{printable(each.stray.path)}"
    return f"{kind}  {path}  {decimal(each.stray.size)}  {printable(each.stray.why)}"


def dump_item(stored: Stored, location: str) -> dict[str, object]:
    """Return what a JSON document says of one stored dump."""
    manifest = stored.manifest
    return {
        "host": manifest.host, "recipe": manifest.recipe, "database": manifest.database, "stamp": stored.name.stamp,
        "location": location, "started": manifest.started, "finished": manifest.finished,
        "stored_bytes": stored.size, "raw_bytes": manifest.raw_bytes, "sha256": manifest.sha256,
        "backend": manifest.backend, "wrapped": list(stored.wrapped), "signer": manifest.signer,
        "recipients": list(manifest.recipients),
        "record": None if stored.record is None else asdict(stored.record),
    }  # fmt: skip


def _dump_item(each: _Dump) -> dict[str, object]:
    return {"status": "committed", **dump_item(each.stored, each.store.location(each.stored.name))}


def _stray_item(each: _Leftover) -> dict[str, object]:
    return {
        "status": "bad" if each.stray.bad else "uncommitted", "host": each.host, "recipe": each.recipe,
        "database": None, "path": each.stray.path, "stored_bytes": each.stray.size, "message": each.stray.why,
    }  # fmt: skip
