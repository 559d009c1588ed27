"""What became of each database: results, the lines that tell it, and the exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.filesize import decimal

STORED, FAILED, USAGE = 0, 1, 2  # the others are in errors.py, and 128 + the signal


@dataclass(frozen=True)
class Result:
    """What became of one database, or of a recipe that did not get as far as one.

    `text` is where it is stored, why it was skipped, or what failed: `STAGE: CAUSE`; `seconds` it took.
    `bug` is a traceback, of an error that no operator can cause.
    """

    id: str
    status: Literal["stored", "skipped", "failed"]
    text: str
    hint: str = ""
    stored_bytes: int = 0
    seconds: float = 0.0
    bug: str = ""

    @property
    def line(self) -> str:
        """The one line that says it."""
        if self.status == "stored":
            return f"stored   {self.id}  {decimal(self.stored_bytes)}  {self.seconds:.1f} s  {self.text}"
        if self.status == "skipped":
            return f"skipped  {self.id}  {self.text}"
        return f"FAILED   {self.id}: {self.text}"

    @property
    def lines(self) -> list[str]:
        """The line, and the hint where there is one."""
        return [self.line, f"         hint: {self.hint}"] if self.hint else [self.line]


def summary(results: Sequence[Result], seconds: float) -> list[str]:
    """Return the last lines of a run: each of several hosts, then all, and last each failure with its hint."""
    hosts: dict[str, list[Result]] = {}
    for result in results:
        hosts.setdefault(result.id.partition("/")[0], []).append(result)
    lines = [f"{host}: {_counts(theirs)}" for host, theirs in hosts.items()] if len(hosts) > 1 else []
    lines.append(f"{_counts(results)} in {seconds:.1f} s")
    for result in results:
        if result.status == "failed":
            lines += result.lines
    return lines


def _counts(results: Sequence[Result]) -> str:
    count = Counter(result.status for result in results)
    size = decimal(sum(result.stored_bytes for result in results))
    return ", ".join(f"{count[status]} {status}" for status in ("stored", "skipped", "failed")) + f"; {size}"


def exit_code(results: Sequence[Result], *, broken_files: bool, signal: int | None) -> int:
    """Return the exit status of a run; a failed dump outweighs a broken recipe file beside it."""
    if signal is not None:
        return 128 + signal
    if any(result.status == "failed" for result in results):
        return FAILED
    return USAGE if broken_files else STORED
