"""What is known of the way to a machine: that nobody was there a moment ago, and how many are on it just now."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from .errors import ConnectError, ConnectionLost

LONGEST_PAUSE = 30.0  # seconds before a lost connection is looked for again
_DOWN_SECONDS = 60.0  # for so long a machine that was not there is not asked again
_AT_ONCE = 8  # that log in: from the tenth that has not yet, sshd drops some (MaxStartups 10:30:100)
_LOGIN_SECONDS = 5.0  # who takes longer holds up nobody: it is the machine behind this one that does not answer


class Absent(ConnectError):  # noqa: N818  what it is
    """Nobody answers there, for now."""


class Down:
    """The last failure to reach a machine: who comes soon after it fails at once, and waits no timeout again.

    One that was there before may come back: it is asked again after a second, then after two, four and so on, and
    what fails meanwhile is a lost connection.
    """

    def __init__(self) -> None:
        self._error: ConnectError | None = None
        self._until = 0.0
        self._reached = False
        self._in_vain = 0

    def over(self) -> None:
        """Note that it was reached."""
        self._error, self._reached, self._in_vain = None, True, 0

    @property
    def there(self) -> bool:
        """Whether it was reached, and nothing is known against it since."""
        return self._reached and self._error is None

    def note(self, error: ConnectError) -> ConnectError:
        """Remember `error`, and return what to raise."""
        if isinstance(error, Absent) and self._reached:
            error = ConnectionLost(error.message, error.hint)
        seconds = _DOWN_SECONDS
        if isinstance(error, ConnectionLost):
            seconds = pause(self._in_vain)
            self._in_vain += 1
        self._error, self._until = error, time.monotonic() + seconds
        return error

    def check(self) -> None:
        """Raise the failure that is remembered, if there is one."""
        error = self._error
        if error is not None and time.monotonic() < self._until:
            raise type(error)(error.message, error.hint) from error


def pause(tries: int) -> float:
    """Return the seconds to wait after so many `tries` in vain: 1, 2, 4 … and 30 at most."""
    return min(2.0 ** min(tries, 9), LONGEST_PAUSE)


class Turns:
    """Who logs in to a machine by a connection of its own waits until few others do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._began: dict[object, float] = {}

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it until the login is over."""
        mine = object()
        with self._changed:
            while (seconds := self._seconds()) > 0:
                self._changed.wait(seconds)
            self._began[mine] = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del self._began[mine]
                self._changed.notify_all()

    def _seconds(self) -> float:
        """Return for how long there is no turn, unless somebody is done before."""
        late = time.monotonic() - _LOGIN_SECONDS
        others = sorted(each for each in self._began.values() if each > late)
        return others[-_AT_ONCE] - late if len(others) >= _AT_ONCE else 0
