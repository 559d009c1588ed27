"""What verify found, dump by dump: its lines, its JSON, its summary, its exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.filesize import decimal

from .catalog import printable
from .errors import BadDump, with_hint
from .examine import Examined
from .list import dump_item
from .report import Result, exit_code
from .stored import Record, Stored, Stray

Status = Literal["good", "bad", "missing"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one dump, or of one that should be there: `name` is how lines call it."""

    status: Status
    name: str
    text: str
    hint: str
    item: dict[str, object]
    stored_bytes: int = 0

    @property
    def line(self) -> str:
        """The one line that says it."""
        if self.status == "good":
            return f"good     {self.name}  {self.text}"
        return f"{'BAD' if self.status == 'bad' else 'MISSING':<8} {self.name}: {self.text}"

    @property
    def lines(self) -> list[str]:
        """The line, and the hint where there is one."""
        return with_hint(self.line, self.hint)


def dump_name(stored: Stored) -> str:
    """Return how lines call a dump."""
    return f"{stored.name.id} {stored.name.stamp}"


def of_dump(stored: Stored, location: str, examined: Examined, seconds: float) -> Verdict:
    """Return the verdict on a dump that was read back."""
    record = examined.record
    bad = bool(record.fault)
    text = printable(record.fault) if bad else _good(stored, examined, seconds)
    item = {
        "status": "bad" if bad else "good", **dump_item(replace(stored, record=record), location),
        "message": record.fault, "hint": examined.hint, "notes": list(examined.notes), "seconds": round(seconds, 3),
    }  # fmt: skip
    return Verdict("bad" if bad else "good", dump_name(stored), text, examined.hint, item, stored.size)


def _good(stored: Stored, examined: Examined, seconds: float) -> str:
    said = [f"{examined.record.level}", f"{decimal(stored.size)} in {seconds:.1f} s"]
    if examined.signer:
        said.append(f"signed by …{examined.signer[-16:]}")
    if examined.record.level == "restored":
        said.append(_drilled(examined.record))
    return "  ".join([*said, *(f"({printable(note)})" for note in examined.notes)])


def _drilled(record: Record) -> str:
    drill = record.drill
    if drill is None:
        return ""
    return f"restored in {drill.seconds:.1f} s: {drill.tables} tables, {drill.rows} rows"


def of_stray(host: str, recipe: str, stray: Stray) -> Verdict:
    """Return the verdict on files that were changed or moved, or of which one is gone."""
    if stray.lost:
        text, hint = "its dump is gone, the manifest is there", "Who removed it? What prune began, prune ends."
        status: Status = "missing"
    else:
        text, hint = printable(stray.why), "Somebody changed files where it is stored: take another dump."
        status = "bad"
    name = f"{host}/{recipe}/{printable(stray.path)}"
    item: dict[str, object] = {
        "status": status, "host": host, "recipe": recipe,
        "database": stray.lost.manifest.database if stray.lost else None,
        "path": stray.path, "stored_bytes": stray.size, "message": text, "hint": hint,
    }  # fmt: skip
    return Verdict(status, name, text, hint, item)


def of_nothing(host: str | None, recipe: str | None, database: str | None) -> Verdict:
    """Return the verdict on a recipe, or on a database of any recipe, of which there is no dump at all."""
    name = f"{host}/{recipe}" if database is None else printable(database)
    text, hint = "no dump of it is stored", "Was it ever dumped? See invoke list, and invoke dump."
    item: dict[str, object] = {
        "status": "missing", "host": host, "recipe": recipe, "database": database, "message": text, "hint": hint,
    }  # fmt: skip
    return Verdict("missing", name, text, hint, item)


def of_future(stored: Stored) -> Verdict:
    """Return the verdict on a database whose latest dump is wanted, and that has only dumps from the future."""
    text, hint = "no dump but from the future: a clock is wrong", "Take another dump; --all verifies those as well."
    name = stored.name
    item: dict[str, object] = {
        "status": "missing", "host": name.host, "recipe": name.recipe, "database": name.database, "message": text,
        "hint": hint,
    }  # fmt: skip
    return Verdict("missing", name.id, text, hint, item)


def summary(verdicts: Sequence[Verdict], failures: Sequence[Result], seconds: float) -> list[str]:
    """Return the last lines: the counts, and whatever is not good, each with its hint."""
    count = Counter[str](each.status for each in verdicts) + Counter[str](each.status for each in failures)
    told = ["good", "bad", *(each for each in ("missing", "failed", "locked") if count[each])]
    size = decimal(sum(each.stored_bytes for each in verdicts))
    lines = [f"{', '.join(f'{count[each]} {each}' for each in told)}; {size} in {seconds:.1f} s"]
    wrong: Iterable[Verdict | Result] = [*(each for each in verdicts if each.status != "good"), *failures]
    for each in wrong:
        lines += each.lines
    return lines


def exit_of(verdicts: Sequence[Verdict], failures: Sequence[Result], *, broken_files: bool, signal: int | None) -> int:
    """Return the exit status: a dump that is bad or missing outweighs one that could not be looked at."""
    if signal is None and any(each.status != "good" for each in verdicts):
        return BadDump.exit_code
    return exit_code(failures, broken_files=broken_files, signal=signal)
