"""Shells of other machines: how a script gets there unharmed, whatever the login shell and its start-up print."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .channel import LOST_HINT
from .errors import ConnectError, ConnectionLost
from .script import Said
from .shell import Running, Scripts, Stalled

# Read alike by sh, bash, dash, fish and tcsh: no backslash, no exclamation mark, no line end; row 77 of
# tests/FAULTS.md.
COMMAND = """sh -c 'IFS= read -r s; eval "$(printf %b "$s")"'"""
_MOST_NOISE = 1 << 20  # bytes that a login shell may print before the script speaks
_MOST_TOLD = 4000  # characters of what was printed instead of the script's output, for whoever explains it
_LONGEST = 300  # characters of it in a message
_PIECE = 65536  # bytes


class NoShell(ConnectError):  # noqa: N818  what the account is, not what is wrong
    """The account does not run commands; `said` is what it printed instead."""

    def __init__(self, account: str, said: str) -> None:
        super().__init__(
            f"{account} does not run our script{': ' + said[-_LONGEST:] if said else ''}",
            "It may be for SFTP only, or have a forced command or a shell like nologin: look at its "
            "authorized_keys, and at what its login shell prints.",
        )
        self.said = said


class Unshared(ConnectError):  # noqa: N818  what the matter is
    """The command did not begin: the connection that it was to share does not take it. Alone it may."""


class Link(Protocol):
    """A way to another machine, over which commands are started."""

    account: str  # whom it reaches, for people
    address: str  # the same, however it was spelled
    start_timeout: float  # seconds without a byte, for a login shell's start-up

    def starting(self) -> AbstractContextManager[None]:
        """Return what is entered to start a command, until it is known that it runs. Raises ConnectError."""
        ...

    def run(self, command: str, said: Said, *, alone: bool = False) -> Running:
        """Start `command` in the account's login shell, `alone` on a connection of its own. Raises ConnectError."""
        ...

    def sftp(self) -> Any:
        """Return a new SFTP session, as paramiko has it. Raises ConnectError."""
        ...

    def refusal(self, status: int, said: str) -> ConnectError:
        """Return what to raise for a command that ended with `status`, and `said` something, before it began."""
        ...

    def close(self) -> None:
        """Let go of it, and of all that runs over it."""
        ...


class RemoteShell(Scripts):
    """A shell of another machine."""

    converses = False  # whether its scripts answer one question after the other, and so logs in for each

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link

    def begin(self, script: str, secrets: Sequence[str], said: Said) -> Running:
        """Start `script` there."""
        return Booted(self.link, script, secrets, said, converses=self.converses)


class LateShell(RemoteShell):
    """A shell for what must not be cut in the middle: who stores may finish, but not hang."""

    converses = True

    def ending(self, running: Sequence[Running]) -> None:
        """Leave it at the grace that follows."""


class Booted:
    """A script under way on another machine; see Running.

    It says bye behind its last byte: a connection that is lost once the exit status is there ends in nothing else.
    Not where it `converses`: who asks it knows when an answer is missing, and what may be a bye cannot be held.
    """

    def __init__(self, link: Link, script: str, lines: Sequence[str], said: Said, *, converses: bool) -> None:
        self._account = link.account
        self._patience = link.start_timeout
        self._early = self._held = self._bye = b""
        self._more = memoryview(bytearray(_PIECE))
        self._to_its_end, self._whole = False, converses
        with link.starting():
            try:
                self._begin(link, script, lines, said, alone=converses)
            except Unshared:
                said.forget()
                self._begin(link, script, lines, said, alone=True)

    def _begin(self, link: Link, script: str, lines: Sequence[str], said: Said, *, alone: bool) -> None:
        nonce = secrets.token_hex(8)
        hello, bye = f"hello {nonce}", f"bye {nonce}"
        said.hello = hello.encode()  # what the login shell said on stderr is not the script's
        text = f"printf '\\n%s\\n' '{hello}' >&2; printf '%s\\n' '{hello}'\n{script}"
        if not self._whole:
            self._bye = f"{bye}\n".encode()
            text += f"\nstatus=$?; printf '%s\\n' '{bye}'; exit $status"
        escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
        self._running = link.run(COMMAND, said, alone=alone)
        try:
            self._send("".join(f"{line}\n" for line in [escaped, *lines]))
            self._take(self._after(f"{hello}\n".encode(), link, said))
        except BaseException:
            self._running.end()
            raise

    def _send(self, text: str) -> None:
        try:
            self.write(memoryview(text.encode("utf-8", "surrogateescape")), self._patience)
        except OSError:
            return  # it has ended: what it said, it says below

    def _after(self, hello: bytes, link: Link, said: Said) -> bytes:
        """Read past what the login shell prints, and return what was read of the script's own output."""
        noise = bytearray()
        buffer = memoryview(bytearray(_PIECE))
        try:
            while len(noise) < _MOST_NOISE and (count := self._running.read_into(buffer, self._patience)):
                noise += buffer[:count]
                _, found, after = bytes(noise).partition(hello)
                if found:
                    return after
        except Stalled:
            raise ConnectError(
                f"{link.account}: its login shell said nothing for {self._patience:g} s",
                "Look at that account's start-up files, or at the forced command of its key.",
            ) from None
        if len(noise) >= _MOST_NOISE:
            raise ConnectError(
                f"{link.account}: its login shell printed more than {_MOST_NOISE} bytes, and did not begin our script",
                "Look at that account's start-up files.",
            )
        told = [*noise.decode("utf-8", "backslashreplace").split("\n"), *said.messages]
        text = "; ".join(line.strip() for line in told if line.strip())[-_MOST_TOLD:]
        raise link.refusal(self._running.wait(), text)

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes of the script's stdout; see Running."""
        while not self._early:
            # What may be the beginning of the bye is held until more is known.
            piece = self._more if self._held else buffer
            count = self._running.read_into(piece, timeout)
            if not count:
                self._to_its_end, self._whole = True, self._whole or self._held == self._bye
                self._early, self._held = b"" if self._whole else self._held, b""
                if not self._early:
                    return 0
            elif self._held or self._may_be_bye(piece[:count]):
                self._take(self._held + bytes(piece[:count]))
            else:
                return count
        count = min(len(buffer), len(self._early))
        buffer[:count] = self._early[:count]
        self._early = self._early[count:]
        return count

    def _take(self, piece: bytes) -> None:
        """Have `piece` for who reads next, but for what may be the beginning of the bye."""
        kept = self._may_be_bye(piece)
        self._early, self._held = piece[: len(piece) - kept], piece[len(piece) - kept :]

    def _may_be_bye(self, piece: bytes | memoryview) -> int:
        """Return how many bytes at the end of `piece` the bye begins with."""
        sizes = range(min(len(self._bye), len(piece)), 0, -1)
        return next((size for size in sizes if piece[len(piece) - size :] == self._bye[:size]), 0)

    def write(self, piece: memoryview, timeout: float) -> None:
        """Write to the script's stdin; see Running."""
        self._running.write(piece, timeout)

    def wait(self) -> int:
        """Return the exit status; see Running."""
        status = self._running.wait()
        if status == 0 and self._to_its_end and not self._whole:
            raise ConnectionLost(f"{self._account}: connection lost before the last bytes had come", LOST_HINT)
        return status

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._running.ended

    def hang_up(self) -> None:
        """Close the script's stdin; see Running."""
        self._running.hang_up()

    def end(self) -> None:
        """End it; see Running."""
        self._running.end()

    def kill(self) -> None:
        """End it without waiting; see Running."""
        self._running.kill()
