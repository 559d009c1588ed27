"""Hosts, and running an sh script on one with byte streams. The only room that starts processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import select
import signal
import subprocess  # noqa: TID251  this is the room for it
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from .errors import Interrupted, UsageError
from .script import Said

PIPE_BYTES = 1 << 20  # Linux gives an unprivileged process up to 1 MiB, pipe(7)
GRACE_SECONDS = 8.0  # the script's own watchdog sends KILL after 5

_KEPT = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "MYSQL_HOME", "GNUPGHOME", "SSH_AUTH_SOCK"}
_KEPT_PREFIXES = ("LC_", "PG")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """A machine whose databases are dumped.

    `Host("db1")` is reached through SSH, as `ssh` says or by its own name; `localhost` is this machine.
    A host never silently means this machine: `--here` says so.
    """

    name: str
    ssh: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a host needs a name", 'Write Host("db1"), or use localhost for this machine.')

    @property
    def is_local(self) -> bool:
        """Whether it is this machine without anybody having to say so."""
        return self.name == "localhost" and self.ssh is None


localhost = Host("localhost")


class Stalled(Exception):  # noqa: N818  told to the pump, which says which database it was
    """No byte came for as long as the caller would wait."""


class Running(Protocol):
    """One script under way: its output, and the ways it ends."""

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes of stdout into `buffer` and return their number, 0 at the end.

        stderr is drained meanwhile. Raises Stalled after `timeout` seconds without a byte on either.
        """
        ...

    def wait(self) -> int:
        """Return the exit status of the script, negative for a signal, after its output has ended."""
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
        for each in running:
            each.hang_up()
        # Where a watchdog was killed itself, nobody hears of it.
        rest = threading.Timer(GRACE_SECONDS, _kill_those, [running])
        rest.daemon = True
        rest.start()


class LocalShell(Scripts):
    """A shell of this machine; each script in a session of its own, with a clean environment, in /."""

    def begin(self, script: str, secrets: Sequence[str], said: Said) -> LocalRunning:
        """Start `script` here."""
        return LocalRunning(["/bin/sh", "-c", script], secrets, said)


def _kill_those(running: Sequence[Running]) -> None:
    for each in running:
        if not each.ended:
            each.kill()


class LocalRunning:
    """A program that runs on this machine; see Running."""

    def __init__(self, argv: Sequence[str], secrets: Sequence[str], said: Said) -> None:
        self._said = said
        self._process = subprocess.Popen(
            # Bytes, so that a name that is not text in this locale stays what it is.
            [word.encode("utf-8", "surrogateescape") for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",  # ours may not be readable for the user it becomes
            env=clean_environment(os.environ),
            start_new_session=True,
        )
        self._stdin, self._stdout, self._stderr = map(
            _opened, (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        with contextlib.suppress(OSError):  # over the user's share of pipe memory: 64 KiB work as well
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._poll = select.poll()
        self._open = {self._stdout.fileno(), self._stderr.fileno()}
        for descriptor in self._open:
            self._poll.register(descriptor, select.POLLIN)
        with contextlib.suppress(BrokenPipeError):  # it has died already: its exit status will say so
            for secret in secrets:
                self._stdin.write(secret.encode("utf-8", "surrogateescape") + b"\n")

    @property
    def ended(self) -> bool:
        """Whether the script is known to have ended."""
        return self._process.returncode is not None

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes of stdout, drain stderr; see Running."""
        while self._open:
            # poll, not a timer: it looks once more before it gives up, so that being stopped and
            # continued (a laptop's sleep) is no stall.
            ready = self._poll.poll(timeout * 1000)
            if not ready:
                raise Stalled
            for descriptor, _ in ready:
                if descriptor == self._stderr.fileno():
                    piece = os.read(descriptor, 65536)
                    self._said.feed(piece)
                    size = len(piece)
                elif size := os.readv(descriptor, [buffer]):
                    return size
                if not size:
                    self._poll.unregister(descriptor)
                    self._open.discard(descriptor)
        return 0

    def write(self, piece: memoryview, timeout: float) -> None:
        """Write all of `piece` to stdin; see Running."""
        os.set_blocking(self._stdin.fileno(), False)
        ready = select.poll()
        ready.register(self._stdin.fileno(), select.POLLOUT)
        while piece:
            if not ready.poll(timeout * 1000):
                raise Stalled
            with contextlib.suppress(BlockingIOError):
                piece = piece[os.write(self._stdin.fileno(), piece) :]

    def wait(self) -> int:
        """Return the exit status, negative for a signal; what does not end after its output is killed."""
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return self._kill()
        finally:
            self._close()

    def hang_up(self) -> None:
        """Close the script's stdin: its watchdog ends it, wherever and as whomever it runs."""
        self._stdin.close()

    def end(self) -> None:
        """End the script and all it started, now."""
        if not self.ended:
            self._close()
            try:
                self._process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
        self.kill()

    def _close(self) -> None:
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()

    def _kill(self) -> int:
        self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Send KILL to the script and all it started, without waiting."""
        # The group is named after the script and lives as long as anything in it does.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("subprocess gave no pipe though it was asked for one")
    return stream


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of `environment` a script may see: no secret of the caller leaks into a dump tool.

    PATH and HOME are filled in where cron or `env -i` left them out.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    kept.setdefault("PATH", _PATH)
    if "HOME" not in kept:
        with contextlib.suppress(KeyError):
            kept["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    return kept
