"""The connection that commands to one account share: an ssh of our own, OpenSSH's master, whose socket has no name.

It ends when we do, and the last command over it has: its own command there reads from us. Its socket has a name for
some milliseconds only: then we hold it open, and the ssh of a command finds it by way of /proc.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Sequence

from .errors import StageError
from .host import LocalRunning
from .remote_shell import COMMAND
from .script import Said
from .shell import Stalled
from .state import state_path

NOT_SHARED = "dbdump: not over the shared connection"
_MOST = 3  # masters of one account: where they keep ending, its commands had better log in by themselves
_LOOK = 0.003  # seconds until it is looked again for the socket
_ENDING = 0.5  # seconds that it may take to end, when the commands over it have
_OLD = 60.0  # seconds; whoever made a socket that has its name for so long was killed


class SharedSSH:
    """The connection of one account, begun when it is first asked for. To be closed."""

    def __init__(self, line: Sequence[str], patience: float) -> None:
        self._line = line
        self._patience = patience
        self._lock = threading.Lock()
        self._masters: list[Master] = []

    def master(self) -> Master | None:
        """Return what a command goes over, or None where it had better log in by itself."""
        with self._lock:
            if not self._usable() and len(self._masters) < _MOST:
                self._masters.append(Master(self._line, self._patience))
            return self._masters[-1] if self._usable() else None

    def _usable(self) -> bool:
        return bool(self._masters) and self._masters[-1].usable

    def close(self) -> None:
        """End it at once: no command over it is left."""
        for each in self._masters:
            each.close()


class Master:
    """An ssh that those of commands go over, as long as it is `usable`. To be closed."""

    def __init__(self, line: Sequence[str], patience: float) -> None:
        self._line = line
        self._said = Said("")
        self._reading = threading.Lock()
        self._buffer = memoryview(bytearray(4096))
        self._running: LocalRunning | None = None
        self._socket = -1
        self._stuck = False
        with contextlib.suppress(OSError, StageError):  # commands log in by themselves then
            directory = _private_directory()
            try:
                self._socket = self._start(directory, time.monotonic() + patience)
            finally:
                os.close(directory)

    def _start(self, directory: int, until: float) -> int:
        """Start it, and return its socket once it has logged in, or -1 where it has ended before, or takes too long."""
        name = secrets.token_hex(8)
        path = f"/proc/{os.getpid()}/fd/{directory}/{name}"  # nobody makes it there when we are gone
        options = ("-o", "ControlMaster=yes", "-o", f"ControlPath={path}", "-o", "ControlPersist=no")
        self._running = LocalRunning([*self._before(options), COMMAND], ("exec cat",), self._said, None)
        while self._lives(_LOOK) and time.monotonic() < until:
            with contextlib.suppress(FileNotFoundError):
                return _taken(name, directory)
        return -1

    def _before(self, options: Sequence[str]) -> list[str]:
        """Return the line of an ssh with `options` before all others: the first value of each counts."""
        return [self._line[0], *options, *self._line[1:]]

    def _lives(self, seconds: float) -> bool:
        """Whether it has not ended; what it says is read, until it has written something, or nothing for so long."""
        with self._reading, contextlib.suppress(Stalled):
            return bool(self._running and self._running.read_into(self._buffer, seconds))
        return True

    @property
    def usable(self) -> bool:
        """Whether a command may go over it."""
        return self._socket >= 0 and not self._stuck and self._lives(0)

    @property
    def line(self) -> list[str]:
        """The line of an ssh that goes over it, or ends where it is not taken.

        Else it would log in by itself, and its command would get what the master has left of its input.
        """
        path = f"/proc/{os.getpid()}/fd/{self._socket}"
        return self._before(("-o", f"ControlPath={path}", "-o", f"ProxyCommand=sh -c 'echo {NOT_SHARED} >&2'"))

    @property
    def last_words(self) -> list[str]:
        """What it has said, where it has ended."""
        return [] if self._lives(_ENDING) else self._said.messages

    def is_stuck(self) -> None:
        """Have no more commands go over it: one of them did not even end."""
        self._stuck = True

    def close(self) -> None:
        """End it."""
        if self._running:
            self._running.kill()
            self._running.end()
        if self._socket >= 0:
            os.close(self._socket)
            self._socket = -1


def _taken(name: str, directory: int) -> int:
    """Open a socket, and take its name away. Raises FileNotFoundError where it is not there yet."""
    socket = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    os.unlink(name, dir_fd=directory)
    return socket


def _private_directory() -> int:
    """Return the directory, open, where a socket gets its name. Raises StageError or OSError where there is none.

    It is made, but not the one of the locks: who has never dumped here leaves nothing.
    """
    path = state_path() / "ssh"
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _tidy(directory)
    except BaseException:
        os.close(directory)
        raise
    return directory


def _tidy(directory: int) -> None:
    """Remove the sockets of who was killed meanwhile. Raises StageError where the directory is not ours alone."""
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StageError("ssh", "the directory of sockets is not ours alone")
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < time.time() - _OLD:
                os.unlink(name, dir_fd=directory)
