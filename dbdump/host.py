"""Hosts, and running an sh script on one with byte streams. The only room that starts processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import select
import shutil
import signal
import subprocess  # noqa: TID251  this is the room for it
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal

from .errors import UsageError
from .script import Said
from .shell import GRACE_SECONDS, Scripts, Stalled

PIPE_BYTES = 1 << 20  # Linux gives an unprivileged process up to 1 MiB, pipe(7)

_KEPT = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "MYSQL_HOME", "GNUPGHOME", "SSH_AUTH_SOCK"}
_KEPT_PREFIXES = ("LC_", "PG")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """A machine whose databases are dumped.

    `Host("db1")` is reached through SSH, as `ssh` says, which is all that ssh takes before the command, or by
    its own name; `localhost` is this machine. A host never silently means this machine: `--here` says so.
    `transport` is fabric or openssh. At most `per_host` databases are dumped on it at once, by default two
    where it is another machine. A dump whose connection was lost is begun anew, up to `retries` times: once where
    neither it nor the Remote says, else as often as the one that says more.
    """

    name: str
    ssh: str | None = None
    transport: Literal["fabric", "openssh"] = "fabric"
    per_host: int | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        if not (self.name and isinstance(self.name, str) and isinstance(self.ssh, str | None) and self.ssh != ""):
            raise UsageError(
                f"Host({self.name!r}, ssh={self.ssh!r}): a host needs a name, and ssh is text",
                'Write Host("db1"), or use localhost for this machine.',
            )
        if "/" in self.name:  # in a line and in --to it ends the host
            raise UsageError(f"Host({self.name!r}): a host's name has no /", 'Write Host("db1", ssh="ssh://dump@db1").')
        if self.transport not in ("fabric", "openssh"):
            raise UsageError(f"Host(transport={self.transport!r})", 'There are "fabric" and "openssh".')
        if not is_none_or_whole(self.per_host, 1):
            raise UsageError(f"Host(per_host={self.per_host!r}): not a number of 1 or more", "Write per_host=2.")
        if not is_none_or_whole(self.retries, 0):
            raise UsageError(f"Host(retries={self.retries!r}): not a number of 0 or more", "Write retries=1.")

    @property
    def is_local(self) -> bool:
        """Whether it is this machine without anybody having to say so."""
        return self.name == "localhost" and self.ssh is None

    @property
    def remote(self) -> str:
        """What ssh takes to reach it."""
        return self.ssh or self.name


def is_none_or_whole(value: object, least: int) -> bool:
    """Whether a value is None, or a whole number of `least` or more."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least)


localhost = Host("localhost")


class LocalShell(Scripts):
    """A shell of this machine; each script in a session of its own, with a clean environment, in `directory`.

    That is / by default, as ours may not be readable for the user it becomes; None is ours.
    """

    here = True

    def __init__(self, directory: str | None = "/") -> None:
        super().__init__()
        self._directory = directory

    def begin(self, script: str, secrets: Sequence[str], said: Said) -> LocalRunning:
        """Start `script` here."""
        return LocalRunning(["/bin/sh", "-c", script], secrets, said, self._directory)


class LocalRunning:
    """A program that runs on this machine; see Running."""

    def __init__(self, argv: Sequence[str], secrets: Sequence[str], said: Said, directory: str | None = "/") -> None:
        self._said = said
        self._writing = threading.Lock()  # else another thread's write could reach a file that is opened next
        self._process = subprocess.Popen(
            # Bytes, so that a name that is not text in this locale stays what it is.
            [word.encode("utf-8", "surrogateescape") for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=directory,
            env=clean_environment(os.environ),
            start_new_session=True,
        )
        self._stdin, self._stdout, self._stderr = map(
            _opened, (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        with contextlib.suppress(OSError):  # over the user's share of pipe memory: 64 KiB work as well
            for pipe in (self._stdout, self._stdin):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
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
        ready = select.poll()
        with self._writing:
            self._refuse_closed()
            os.set_blocking(self._stdin.fileno(), False)
            ready.register(self._stdin.fileno(), select.POLLOUT)
        while piece:
            if not ready.poll(timeout * 1000):
                raise Stalled
            with self._writing, contextlib.suppress(BlockingIOError):
                self._refuse_closed()
                piece = piece[os.write(self._stdin.fileno(), piece) :]

    def _refuse_closed(self) -> None:
        if self._stdin.closed:
            raise BrokenPipeError("its stdin was closed")

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
        with self._writing:
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
        self.hang_up()
        for stream in (self._stdout, self._stderr):
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

    PATH and HOME are filled in where cron or `env -i` left them out, or empty.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    kept["PATH"] = kept.get("PATH") or _PATH
    if not kept.get("HOME"):
        with contextlib.suppress(KeyError):
            kept["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    return kept


def is_here(program: str) -> bool:
    """Whether a script of this machine would find a program on its PATH."""
    return shutil.which(program, path=clean_environment(os.environ)["PATH"]) is not None
