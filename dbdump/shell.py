"""What a shell of any machine is: scripts with byte streams, that can be ended."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .errors import Interrupted
from .script import Said

GRACE_SECONDS = 8.0  # the script's own watchdog sends KILL after 5


class Stalled(Exception):  # noqa: N818  told to the pump, which says which database it was
    """No byte came for as long as the caller would wait."""


class Asker(Protocol):
    """Runs a command that answers a question, on one machine and as one user, and gives its stdout."""

    def __call__(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout; raises StageError unless it exits 0."""
        ...


class Questioned(Protocol):
    """A program that is kept running, and answers one question after the other; see Talk."""

    over: bool

    def ask(self, question: bytes, end: bytes) -> bytes | None:
        """Return what it answers before `end`, or None where it is over."""
        ...

    def close(self) -> None:
        """End it."""
        ...


@runtime_checkable
class Keeper(Protocol):
    """An Asker that can keep a command running, too."""

    def keep(self, argv: Sequence[str]) -> Questioned:
        """Start `argv`, and return what asks it."""
        ...


class Running(Protocol):
    """One script under way: its output, and the ways it ends."""

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes of stdout into `buffer` and return their number, 0 at the end.

        stderr is drained meanwhile. Raises Stalled after `timeout` seconds without a byte on either.
        """
        ...

    def wait(self) -> int:
        """Return the exit status of the script, negative for a signal, after its output has ended.

        Raises ConnectionLost where the connection to its machine ended before it did.
        """
        ...

    def write(self, piece: memoryview, timeout: float) -> None:
        """Write all of `piece` to the script's stdin, after its secrets.

        Raises OSError where nobody reads it any more, Stalled after `timeout` seconds in which nobody did.
        """
        ...

    @property
    def ended(self) -> bool:
        """Whether the script is known to have ended."""
        ...

    def hang_up(self) -> None:
        """Close the script's stdin: its watchdog ends it, wherever and as whomever it runs."""
        ...

    def kill(self) -> None:
        """End the script, without waiting."""
        ...

    def end(self) -> None:
        """End the script and all it started, now; harmless when it has ended."""
        ...


class Shell(Protocol):
    """A way to run sh scripts on one machine."""

    here: bool  # whether it is of this machine

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        ...

    def start(self, script: str, secrets: Sequence[str], said: Said) -> Running:
        """Start `script`, give it `secrets` on stdin, a line each, and feed its stderr to `said`."""
        ...

    def end(self) -> None:
        """End every script that runs, and start no more."""
        ...


class Scripts:
    """Scripts under way on one machine, which can be ended all at once; see Shell."""

    here = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Running] = set()
        self.ended = False

    def start(self, script: str, secrets: Sequence[str], said: Said) -> Running:
        """Start `script`. Raises Interrupted after `end`."""
        if self.ended:
            raise Interrupted("not started: the run was ended")
        # Not under the lock: on another machine this takes its time, and `end` must not wait for it.
        running = self.begin(script, secrets, said)
        with self._lock:
            self._running = {each for each in self._running if not each.ended} | {running}
            late = self.ended
        if late:
            running.end()
            raise Interrupted("ended before it began: the run was ended")
        return running

    def begin(self, script: str, secrets: Sequence[str], said: Said) -> Running:
        """Start `script` in the way of this kind of machine."""
        raise NotImplementedError

    def end(self) -> None:
        """End every script that runs, and start no more."""
        with self._lock:
            self.ended = True
            running = [each for each in self._running if not each.ended]
        self.ending(running)
        # Where a watchdog was killed itself, nobody hears of it.
        rest = threading.Timer(GRACE_SECONDS, _kill_those, [running])
        rest.daemon = True
        rest.start()

    def close(self) -> None:
        """End every script that still runs, and wait for it."""
        for each in tuple(self._running):
            each.end()

    def ending(self, running: Sequence[Running]) -> None:
        """Tell those that run to end."""
        for each in running:
            each.hang_up()


def _kill_those(running: Sequence[Running]) -> None:
    for each in running:
        if not each.ended:
            each.kill()
