"""One file by SFTP, with requests ahead of what is read; who reads may look around while no answer comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_READ, _STATUS = 5, 101  # as in sftp_files
_ANSWER = 32768  # bytes: so many every server gives at once, if the file has them
_MOST = 1 << 24  # bytes of an answer: what is longer is none, and paramiko says so
_AHEAD = 64  # requests that are not answered yet
_PIECE = 1 << 20  # bytes that are handed over at once
_LOOK = 1.0  # seconds without an answer after which a reader may look whether they are still wanted


class Line:
    """What SFTP goes over, a channel or what looks like one: for a whole answer there one can wait in short steps.

    paramiko itself cannot: it forgets the half of an answer when the rest takes too long.
    """

    def __init__(self, channel: Any, patience: float) -> None:
        self._channel = channel
        self._early = bytearray()
        self.patience = patience  # seconds without a byte
        channel.settimeout(patience)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; see paramiko's Channel."""
        piece = bytes(self._early[:size])
        del self._early[:size]
        return piece or bytes(self._channel.recv(size))

    def recv_ready(self) -> bool:
        """Whether bytes are there already; see paramiko's Channel."""
        return bool(self._early) or bool(self._channel.recv_ready())

    def is_answered(self, seconds: float) -> bool:
        """Whether a whole answer is there, or the end of all, unless no byte comes for so many seconds."""
        self._channel.settimeout(seconds)
        try:
            while len(self._early) < 4 + min(int.from_bytes(self._early[:4]), _MOST):  # its size comes first
                piece = self._channel.recv(_ANSWER)
                if not piece:
                    break
                self._early += piece
        except TimeoutError:
            return False
        finally:
            self._channel.settimeout(self.patience)
        return True


class Ahead:
    """What is asked of a file of `size` bytes, and answered; paramiko's client gives it the answers."""

    def __init__(self, sftp: Any, handle: bytes, size: int) -> None:
        self._sftp = sftp
        self._handle = handle
        self._size = size
        self._next = 0  # offset of what is asked for next
        self._asked: dict[int, tuple[int, int]] = {}  # by number: offset and bytes
        self._answers: dict[int, bytes | Exception] = {}  # by offset

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, and nothing each second without an answer. Raises TimeoutError after too many of them."""
        position, gathered = 0, bytearray()
        while position < self._size:
            self._ask_ahead()
            while position not in self._answers:
                yield from self._waiting()
                self._sftp._read_response()  # noqa: SLF001  paramiko has no public names for all this
            some = self._answers.pop(position)
            if isinstance(some, Exception):
                raise some
            if not some:
                break
            position += len(some)
            gathered += some
            if len(gathered) >= _PIECE:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)

    def _ask_ahead(self) -> None:
        while self._next < self._size and len(self._asked) + len(self._answers) < _AHEAD:
            count = min(_ANSWER, self._size - self._next)
            self._ask(self._next, count)
            self._next += count

    def _ask(self, offset: int, count: int) -> None:
        high, low = divmod(offset, 1 << 32)
        number = self._sftp._async_request(self, _READ, self._handle, high, low, count)  # noqa: SLF001
        self._asked[number] = offset, count

    def _waiting(self) -> Iterator[bytes]:
        waited, line = 0.0, self._sftp.sock
        step = min(_LOOK, line.patience)
        while not line.is_answered(step):
            waited += step
            if waited >= line.patience:
                raise TimeoutError
            yield b""

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        """Take an answer, as paramiko gives it; where it is too short, ask for the rest."""
        offset, count = self._asked.pop(number)
        answer = self._read(kind, message)
        self._answers[offset] = answer[:count] if isinstance(answer, bytes) else answer
        if isinstance(answer, bytes) and 0 < len(answer) < count:
            self._ask(offset + len(answer), count - len(answer))

    def _read(self, kind: int, message: Any) -> bytes | Exception:
        """Return what is in an answer, nothing at the end of the file."""
        if kind != _STATUS:
            return bytes(message.get_string())
        try:
            self._sftp._convert_status(message)  # noqa: SLF001
        except OSError as error:
            return error
        except EOFError:
            pass
        return b""
