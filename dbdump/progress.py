"""What is seen while a run goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from .report import Result

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    """Is told what happens, by any thread."""

    def started(self, name: str) -> None:
        """Say that a database's dump begins."""
        ...

    def advanced(self, name: str, size: int) -> None:
        """Say that `size` more bytes of it were stored."""
        ...

    def finished(self, result: Result) -> None:
        """Say what became of it."""
        ...

    def notice(self, text: str) -> None:
        """Say something that is no error."""
        ...


class Plain:
    """One line for each database when it is done; for cron, logs and pipes.

    A reader that went away, or a full disk under the log, does not end a dump: the rest is not said.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        pass

    def started(self, name: str) -> None:
        """Nothing: the line comes when it is done."""

    def advanced(self, name: str, size: int) -> None:
        """Nothing."""

    def finished(self, result: Result) -> None:
        """Print the result's line."""
        self.say(result.line)

    def notice(self, text: str) -> None:
        """Print it."""
        self.say(f"notice   {text}")

    def say(self, text: str) -> None:
        """Print one line, or more, at once."""
        with self._lock:
            try:
                self._print(text)
            except OSError:
                sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  as good as the one that is gone

    def _print(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201  this is where things are said


class Live(Plain):
    """On a terminal: the dumps that run, with bytes, speed and time, below the lines of those done."""

    def __init__(self) -> None:
        super().__init__()
        from rich import progress  # noqa: PLC0415  0.1 s that cron need not pay

        self._progress: Progress = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeElapsedColumn(),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._progress.stop()

    def started(self, name: str) -> None:
        """Add it to those that run; from the beginning, where it does already."""
        if (task := self._tasks.pop(name, None)) is not None:
            self._progress.remove_task(task)
        self._tasks[name] = self._progress.add_task(name, total=None)

    def advanced(self, name: str, size: int) -> None:
        """Move its figures."""
        self._progress.advance(self._tasks[name], size)

    def finished(self, result: Result) -> None:
        """Print its line above those that run."""
        if (task := self._tasks.pop(result.id, None)) is not None:
            self._progress.remove_task(task)
        super().finished(result)

    def _print(self, text: str) -> None:
        # Above those that run; each line as long as it is.
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def display() -> Plain:
    """Return the display for where stdout goes."""
    return Live() if sys.stdout.isatty() else Plain()
