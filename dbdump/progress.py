"""What is seen while a run goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from .errors import WriteError
from .report import UNREAD, Result

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    """Is told what happens, by any thread."""

    def started(self, name: str, total: int | None = None) -> None:
        """Say that work on a database begins; `total` bytes of it, where that is known."""
        ...

    def advanced(self, name: str, size: int) -> None:
        """Say that `size` more bytes of it were done."""
        ...

    def finished(self, result: Result) -> None:
        """Say what became of it."""
        ...

    def notice(self, text: str) -> None:
        """Say something that is no error."""
        ...

    def say(self, text: str) -> None:
        """Say a line, or more, as they are."""
        ...

    def hand_over(self, text: str) -> None:
        """Say what has to be said before something is done. Raises WriteError where nobody takes it."""
        ...


class Plain:
    """One line for each database when it is done; for cron, logs and pipes.

    A reader that went away, or a full disk under the log, does not end a dump: the rest is not said.
    """

    def __init__(self, *, to_stderr: bool = False) -> None:
        self._lock = threading.Lock()
        self._name, self._stream = ("stderr", sys.stderr) if to_stderr else ("stdout", sys.stdout)
        self.lost = ""  # which stream takes no more, and why

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        pass

    def started(self, name: str, total: int | None = None) -> None:
        """Nothing: the line comes when it is done."""

    def advanced(self, name: str, size: int) -> None:
        """Nothing."""

    def finished(self, result: Result) -> None:
        """Print the result's line."""
        self.ended(result.id, result.line)

    def ended(self, name: str, text: str) -> None:  # noqa: ARG002  those that are live know it by its name
        """Print what became of it."""
        self.say(text)

    def notice(self, text: str) -> None:
        """Print it."""
        self.say(f"notice   {text}")

    def say(self, text: str) -> None:
        """Print one line, or more, at once."""
        with self._lock:
            try:
                self._print(text)
            except OSError as error:
                self.lost = f"{self._name}: {os.strerror(error.errno or 0).lower()}"
                if self._name == "stdout" and error.errno != errno.EPIPE:  # nobody asked for the rest
                    with contextlib.suppress(OSError):
                        sys.stderr.write(f"dbdump: {self.lost}\n")
                # As good as the one that is gone; it is also what Python flushes at its end.
                nothing = open(os.devnull, "w")  # noqa: PTH123, SIM115
                if self._name == "stdout":
                    sys.stdout = nothing
                self._stream = nothing

    def hand_over(self, text: str) -> None:
        """Print what has to be said before something is done. Raises WriteError where that, or the last, was lost."""
        self.say(text)
        if self.lost:
            raise WriteError(self.lost, UNREAD)

    def _print(self, text: str) -> None:
        print(text, flush=True, file=self._stream)


class Live(Plain):
    """On a terminal: what runs, with bytes, speed and time, below the lines of what is done.

    With `eta` all bytes are known before, and there is a bar, and the time that is left. On stderr it leaves stdout,
    and what is printed there, alone.
    """

    def __init__(self, *, eta: bool = False, to_stderr: bool = False) -> None:
        super().__init__(to_stderr=to_stderr)
        from rich import console, progress  # noqa: PLC0415  0.1 s that cron need not pay

        self._progress: Progress = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            *([progress.BarColumn()] if eta else []),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeElapsedColumn(),
            *([progress.TimeRemainingColumn()] if eta else []),
            console=console.Console(stderr=to_stderr),
            transient=True,
            redirect_stdout=not to_stderr,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._progress.stop()

    def started(self, name: str, total: int | None = None) -> None:
        """Add it to those that run; from the beginning, where it does already."""
        if (task := self._tasks.pop(name, None)) is not None:
            self._progress.remove_task(task)
        self._tasks[name] = self._progress.add_task(name, total=total)

    def advanced(self, name: str, size: int) -> None:
        """Move its figures."""
        self._progress.advance(self._tasks[name], size)

    def ended(self, name: str, text: str) -> None:
        """Print what became of it above those that run."""
        if (task := self._tasks.pop(name, None)) is not None:
            self._progress.remove_task(task)
        super().ended(name, text)

    def _print(self, text: str) -> None:
        # Above those that run; each line as long as it is.
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def display(*, eta: bool = False, to_stderr: bool = False) -> Plain:
    """Return the display for where it goes, stdout or stderr: live on a terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Live(eta=eta, to_stderr=to_stderr) if stream.isatty() else Plain(to_stderr=to_stderr)
