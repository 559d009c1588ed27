"""The OpenSSH program as a way to another machine: for what fabric cannot honour, and by choice."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .channel import LOST_HINT
from .connect_errors import absent, changed_key, denied, open_to_others, own_name, revoked_key, unknown_key
from .down import Down, Turns
from .errors import ConnectError, ConnectionLost
from .host import LocalRunning
from .remote_shell import NoShell, Unshared
from .script import Said
from .shared_ssh import NOT_SHARED, Master, SharedSSH
from .shell import Running, Stalled
from .ssh_line import address_of, ssh_line
from .ssh_words import Settings, destination

_PIECE = 65536  # bytes
LOST_STATUS = 255  # ssh(1): an error of ssh's own; a far end that was killed gives it as well

# What ssh says of itself, each a sentence of its own; a name in it is that of known_hosts.
_CHANGED = re.compile(r"Host key for (\S+) has changed|IDENTIFICATION HAS CHANGED")
_UNKNOWN = re.compile(r"No \S+ host key is known for (\S+)|Host key verification failed")
_OPEN = re.compile(r"^Permissions \S+ for '(.+)' are too open")
_DENIED = re.compile(r"Permission denied|Too many authentication failures")
_REVOKED = re.compile("marked as revoked|REVOKED HOST KEY|revoked by file |was revoked and you ")
_UNNAMED = "Could not resolve host"
_ABSENT = re.compile(
    rf"Connection (refused|timed out)|No route|{_UNNAMED}|Network is unreachable|banner exchange"
    "|stdio forwarding failed"
)
# Also what sshd does with those that are too many (MaxStartups).
_LOST = re.compile(
    r"Connection (closed|reset) by |Connection to \S+ (port \d+ )?(closed by remote host|timed out)|Timeout, server "
    r"|client_loop: "
    r"|Read from remote host |kex_exchange_identification: |ssh_exchange_identification: |packet_write_wait: "
    r"|ssh_dispatch_run_fatal: Connection |Not allowed at this time"
)


class OpenSSHLink:
    """One account, reached by an ssh process for each command; from the second on they may share a connection."""

    def __init__(self, words: Sequence[str], settings: Settings, turns: Turns | None = None) -> None:
        self._line = ssh_line(words, settings)
        self._settings = settings
        self._turns = turns or Turns()
        self.account = destination(words)
        self.address = address_of(settings)
        self.start_timeout = settings.start_timeout
        self._down = Down()
        self._shared = SharedSSH(self._line, self.start_timeout)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Wait until few others log in to that machine, and note that it was reached."""
        self._down.check()
        with self._turns.turn():
            self._down.check()
            yield
        self._down.over()

    def run(self, command: str, said: Said, *, alone: bool = False) -> Running:
        """Start `command` in an ssh, which logs in itself where it is the first, or is to be `alone`."""
        master = None if alone or not self._down.there else self._shared.master()
        line = master.line if master else self._line
        return SSHRunning([*line, command], (), said, self.account, master)

    def sftp(self) -> Any:
        """Return a new SFTP session over an ssh of its own. Raises ConnectError."""
        from .ssh import sftp_over  # noqa: PLC0415  the room of its SFTP client is slow to import

        said = Said("")
        with self.starting():
            pipe = _Duplex(SSHRunning([*self._line, "-s", "sftp"], (), said, self.account), self.start_timeout)
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
        told = [each.strip(" .") for each in said.split("; ")]
        if NOT_SHARED in told:
            return Unshared(self.account)
        if (error := self._of_its_key(told) or self._trouble(told)) is not None:
            return self._down.note(error)
        lost = next(filter(_LOST.match, told), "")
        if said and not lost:
            return NoShell(self.account, said)
        lost = _with_its_cause(lost, told)
        return ConnectionLost(f"{self.account}: connection lost{': ' + lost if lost else ''}", LOST_HINT)

    def _of_its_key(self, told: Sequence[str]) -> ConnectError | None:
        """Return what to raise where the host key is not the one that is known: of that machine, or of one before."""
        if revoked := list(filter(_REVOKED.search, told)):
            return revoked_key(self.account, revoked[-1])
        for pattern, raised in ((_CHANGED, changed_key), (_UNKNOWN, unknown_key)):
            if found := list(filter(None, map(pattern.search, told))):
                best = next((each for each in found if each[1]), found[-1])
                return raised(self.account, self._settings, best[1] or own_name(self._settings), best.string)
        return None

    def _trouble(self, told: Sequence[str]) -> ConnectError | None:
        if any("UNPROTECTED PRIVATE KEY" in each for each in told):
            keys = [found[1] for found in map(_OPEN.search, told) if found]
            return open_to_others(self.account, keys[0] if keys else "file")
        if found := [each for each in told if re.search(_DENIED, each)]:
            return denied(self.account, self._settings, found[-1])
        if found := list(filter(_ABSENT.search, told)):
            why = _with_its_cause(found[0], told)
            return absent(self.account, f"no connection: {why}", unnamed=_UNNAMED in found[0])
        return None

    def close(self) -> None:
        """End the connection that was shared; each other ssh ends with its command."""
        self._shared.close()


class SSHRunning(LocalRunning):
    """An ssh that runs, perhaps over a `master`; its own failure is told from the command's."""

    def __init__(
        self, argv: Sequence[str], secrets: Sequence[str], said: Said, account: str, master: Master | None = None
    ) -> None:
        self._account = account
        self._master = master
        self._began = False
        super().__init__(argv, secrets, said, None)  # files that REMOTE names may be relative to ours

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
            if self._master:  # which alone knows
                told = next(filter(_LOST.match, reversed(self._master.last_words)), "").strip(" .")
            raise ConnectionLost(f"{self._account}: connection lost{': ' + told if told else ''}", LOST_HINT)
        return status

    def _kill(self) -> int:
        if self._master:
            self._master.is_stuck()
        return super()._kill()


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


def _with_its_cause(trouble: str, told: Sequence[str]) -> str:
    """Return what ssh says, and what was said before it where it is so early that this is why.

    That is a ProxyCommand that cannot be run: ssh finds nobody to read from, or to write to, whichever it tries first.
    """
    early = trouble.startswith(("kex_", "banner exchange"))
    return "; ".join(told[: told.index(trouble) + 1]) if early else trouble


def last_sentence(said: str) -> str:
    """Return the last of the messages of an ssh."""
    return said.rpartition("; ")[2].strip(" .")
