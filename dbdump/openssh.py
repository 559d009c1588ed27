"""The OpenSSH program as a way to another machine: for what fabric cannot honour, and by choice."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from typing import Any

from .boot import Down, NoShell
from .channel import LOST_HINT
from .errors import ConnectError, ConnectionLost, StageError
from .host import LocalRunning, LocalShell, clean_environment
from .pipeline import Pipeline
from .script import Said, Stage
from .shell import Running, Stalled
from .target import Settings, destination, loud

_PIECE = 65536  # bytes
LOST_STATUS = 255  # ssh(1): an error of ssh's own; a far end that was killed gives it as well

# First on ssh's line, where the first value of an option counts: what is never up to REMOTE.
_ALWAYS = (
    "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ClearAllForwardings=yes",
    "-o", "PermitLocalCommand=no", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "LogLevel=INFO",
    "-o", "RemoteCommand=none", "-o", "EscapeChar=none",
)  # fmt: skip

_TROUBLES = (
    ("IDENTIFICATION HAS CHANGED", "the host key has changed, or this is another machine",
     "Ask its operator. If it is right, remove the old key from known_hosts (ssh-keygen -R) and add the new one."),
    (r"Host key verification failed|No \S+ host key is known", "host key verification failed",
     "Add its key, and compare the fingerprint with its operator's: ssh-keyscan HOST >> ~/.ssh/known_hosts"),
    ("UNPROTECTED PRIVATE KEY", "others can read the private key", "chmod 600 the private key."),
    ("Permission denied", "permission denied",
     "Put the public key into that account's authorized_keys; a key with a passphrase needs an agent."),
    (r"Connection (refused|timed out)|No route|resolve|Network is unreachable|banner exchange|kex_exchange",
     "no connection", "Is the machine up, and sshd on that port?"),
)  # fmt: skip


class OpenSSHLink:
    """One account, reached by an ssh process for each command."""

    def __init__(self, words: Sequence[str], settings: Settings) -> None:
        self._options = [
            *loud(words),
            "-o", f"ConnectTimeout={settings.connect_timeout}",
            "-o", f"ServerAliveInterval={settings.alive_interval}",
            "-o", f"ServerAliveCountMax={settings.alive_count}",
            *(["-o", f"Ciphers={settings.ciphers}"] if settings.ciphers else []),
        ]  # fmt: skip
        self.account = destination(words)
        self.start_timeout = settings.start_timeout
        self._down = Down()

    def run(self, command: str, said: Said) -> Running:
        """Start `command` in an ssh of its own."""
        self._down.check()
        return SSHRunning(["ssh", *_ALWAYS, *self._options, command], (), said, self.account)

    def sftp(self) -> Any:
        """Return a new SFTP session over an ssh of its own. Raises ConnectError."""
        from .ssh import sftp_over  # noqa: PLC0415  the room of its SFTP client is slow to import

        said = Said("")
        argv = ["ssh", *_ALWAYS, "-s", *self._options, "sftp"]
        pipe = _Duplex(SSHRunning(argv, (), said, self.account), self.start_timeout)
        try:
            return sftp_over(pipe, self.account)
        except ConnectError as error:
            pipe.close()
            told = last_sentence("; ".join(said.messages)) or error.message
            raise ConnectError(f"{self.account}: no SFTP: {told}", "Allow a shell or SFTP there.") from error

    def refusal(self, status: int, said: str) -> ConnectError:
        """Return what to raise for an ssh that ended with `status` before the command began."""
        if status != LOST_STATUS:
            return NoShell(self.account, said)
        for pattern, cause, hint in _TROUBLES:
            if re.search(pattern, said):
                told = last_sentence(said)
                text = cause if cause.startswith(told.lower()) else f"{cause}: {told}"
                return self._down.note(ConnectError(f"{self.account}: {text}", hint))
        return NoShell(self.account, said) if said else ConnectionLost(f"{self.account}: connection lost", LOST_HINT)

    def close(self) -> None:
        """Do nothing: each ssh ends with its command."""


class SSHRunning(LocalRunning):
    """An ssh that runs; its own failure is told from the command's."""

    def __init__(self, argv: Sequence[str], secrets: Sequence[str], said: Said, account: str) -> None:
        self._account = account
        self._began = False
        super().__init__(argv, secrets, said)

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes; see Running."""
        count = super().read_into(buffer, timeout)
        self._began = self._began or bool(count)
        return count

    def wait(self) -> int:
        """Return the exit status. Raises ConnectionLost for ssh's own, once the command had begun."""
        status = super().wait()
        if self._began and status != 0 and (status == LOST_STATUS or status < 0):
            told = last_sentence("; ".join(self._said.messages))
            raise ConnectionLost(f"{self._account}: connection lost{': ' + told if told else ''}", LOST_HINT)
        return status


class _Duplex:
    """The stdin and stdout of a program, as paramiko's SFTP wants a channel to be."""

    def __init__(self, running: Running, timeout: float) -> None:
        self._running = running
        self._timeout = timeout
        self._early = b""

    def get_name(self) -> str:
        """Return what paramiko's log calls it."""
        return "ssh"

    def settimeout(self, seconds: float) -> None:
        """Set how long either way may take."""
        self._timeout = seconds

    def send(self, piece: bytes) -> int:
        """Send all of `piece`. Raises TimeoutError where it is not taken."""
        try:
            self._running.write(memoryview(piece), self._timeout)
        except Stalled:
            raise TimeoutError from None
        return len(piece)

    def recv_ready(self) -> bool:
        """Whether bytes are there already."""
        if not self._early:
            with contextlib.suppress(TimeoutError):
                self._early = self._read(_PIECE, 0)
        return bool(self._early)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end. Raises TimeoutError where none come."""
        piece = (self._early or self._read(size, self._timeout))[:size]
        self._early = self._early[size:]
        return piece

    def _read(self, size: int, timeout: float) -> bytes:
        buffer = memoryview(bytearray(size))
        try:
            return bytes(buffer[: self._running.read_into(buffer, timeout)])
        except Stalled:
            raise TimeoutError from None

    def close(self) -> None:
        """End the program."""
        self._running.end()


def last_sentence(said: str) -> str:
    """Return the last of the messages of an ssh."""
    return said.rpartition("; ")[2].strip(" .")


def ask_ssh(words: Sequence[str]) -> str | None:
    """Return what `ssh -G` makes of `words`, or None where there is no ssh. Raises ConnectError."""
    if shutil.which("ssh", path=clean_environment(os.environ)["PATH"]) is None:
        return None
    try:
        answer = Pipeline((Stage("ssh", ("ssh", "-G", *words)),)).answer(LocalShell())
    except StageError as error:
        raise ConnectError(f"ssh does not take {' '.join(words)!r}: {error.message}", "Try it by hand.") from error
    return answer.decode("utf-8", "surrogateescape")
