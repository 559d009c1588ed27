"""What became of each database: results, the lines that tell it, and the exit status."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.filesize import decimal

from .catalog import printable
from .errors import DbdumpError, Locked, WriteError, with_hint

STORED, FAILED, USAGE = 0, 1, 2  # the others are in errors.py, and 128 + the signal
DOCUMENT_SCHEMA = 1
UNREAD = "Who reads it has ended, or its disk is full."
COMMANDS = ("dump", "list", "verify", "status", "check")  # that have a JSON document


@dataclass(frozen=True)
class Result:
    """What became of one database, or of a recipe that did not get as far as one.

    `text` is where it is stored, why it was skipped, or what failed: `STAGE: CAUSE`; `seconds` it took.
    `bug` is a traceback, of an error that no operator can cause. `database` is its name as it is, where `id` has
    one that a line can hold.
    """

    id: str
    status: Literal["stored", "skipped", "failed", "locked"]
    text: str
    hint: str = ""
    stored_bytes: int = 0
    seconds: float = 0.0
    bug: str = ""
    database: str | None = None

    @property
    def line(self) -> str:
        """The one line that says it."""
        if self.status == "stored":
            return f"stored   {self.id}  {decimal(self.stored_bytes)}  {self.seconds:.1f} s  {self.text}"
        if self.status == "skipped":
            return f"skipped  {self.id}  {self.text}"
        return f"{self.status.upper():<8} {self.id}: {self.text}"

    @property
    def lines(self) -> list[str]:
        """The line, and the hint where there is one."""
        return with_hint(self.line, self.hint)

    @property
    def item(self) -> dict[str, object]:
        """What a JSON document says of it."""
        host, recipe, *database = self.id.split("/", 2)
        return {
            "status": self.status, "host": host, "recipe": recipe,
            "database": self.database if self.database is not None or not database else database[0],
            "message": self.text, "hint": self.hint, "stored_bytes": self.stored_bytes, "seconds": self.seconds,
        }  # fmt: skip


def error_text(error: DbdumpError) -> str:
    """Return an error in words, with its hint on a line of its own."""
    return "\n".join(with_hint(printable(error.message), error.hint))


def document(
    command: str, code: int, results: Sequence[Mapping[str, object]], errors: Sequence[DbdumpError] = ()
) -> str:
    """Return the JSON document of a task: what README calls `--json`, and dbdump/schema.json describes."""
    told = [{"message": error.message, "hint": error.hint} for error in errors]
    return json.dumps(
        {"schema": DOCUMENT_SCHEMA, "command": command, "exit": code, "results": results, "errors": told}, indent=2
    )


def hand_over(text: str) -> None:
    """Print what stdout was promised. Raises WriteError where it does not take it: then no more is printed there."""
    try:
        print(text, flush=True)  # noqa: T201
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  what Python flushes at its end
        reason = os.strerror(error.errno or 0).lower()
        raise WriteError(f"stdout: {reason}", UNREAD) from error


def summary(results: Sequence[Result], seconds: float) -> list[str]:
    """Return the last lines of a run: each of several hosts, then all, and last each failure with its hint."""
    hosts: dict[str, list[Result]] = {}
    for result in results:
        hosts.setdefault(result.id.partition("/")[0], []).append(result)
    lines = [f"{host}: {_counts(theirs)}" for host, theirs in hosts.items()] if len(hosts) > 1 else []
    lines.append(f"{_counts(results)} in {seconds:.1f} s")
    for result in results:
        if result.status in ("failed", "locked"):
            lines += result.lines
    return lines


def _counts(results: Sequence[Result]) -> str:
    count = Counter[str](result.status for result in results)
    size = decimal(sum(result.stored_bytes for result in results))
    told = ["stored", "skipped", "failed", *(["locked"] if count["locked"] else [])]
    return ", ".join(f"{count[status]} {status}" for status in told) + f"; {size}"


def exit_code(results: Sequence[Result], *, broken_files: bool, signal: int | None) -> int:
    """Return the exit status of a run; a failed dump outweighs a broken recipe file beside it."""
    if signal is not None:
        return 128 + signal
    if any(result.status == "failed" for result in results):
        return FAILED
    if any(result.status == "locked" for result in results):
        return Locked.exit_code
    return USAGE if broken_files else STORED
