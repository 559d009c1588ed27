"""Many directories and small files by SFTP, many at once: no answer is waited for alone.

The numbers are those of draft-ietf-secsh-filexfer-02, which every server speaks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

_OPEN, _CLOSE, _READ, _OPENDIR, _READDIR = 3, 4, 5, 11, 12
_EXTENDED, _STATUS = 200, 101
_TO_READ, _NO_ATTRIBUTES = 1, 0
_SIZE, _OWNERS, _MODE, _TIMES, _MORE = 1, 2, 4, 8, 1 << 31

_SMALLEST = 8  # bytes: of two empty strings

_FEW = 64  # files that are open at once: a server may allow no more than 100
_MANY = 1024  # where it says that it allows so many
_SPARE = 20  # of those, for itself
_PIECE = 32768  # bytes: so many every server gives at once, if the file has them
_FIRST_PIECES, _MOST_PIECES = 2, 16  # of a directory, at once: a small one is one piece, and then its end

Value = TypeVar("Value")
Request = tuple[Any, ...]
Talk = Generator[Sequence[Request], Any, Value]  # about one file: yields requests, and gets a list of their answers


@dataclass(frozen=True)
class Found:
    """What is in a directory: its name, its size in bytes, its mode, and when it was written, in Unix time."""

    name: str
    size: int
    mode: int
    written: int


def list_directories(sftp: Any, paths: Sequence[str]) -> Iterator[tuple[str, list[Found]]]:
    """Yield each directory with what is in it, but for those that are gone. Raises OSError, as paramiko does."""
    yield from filter(None, _hold(sftp, [_listed(sftp, each) for each in paths]))


def read_files(sftp: Any, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield each file with what is in it, None where that cannot be read, but for those that are gone."""
    yield from filter(None, _hold(sftp, [_read(sftp, each) for each in paths]))


def _listed(sftp: Any, path: str) -> Talk[tuple[str, list[Found]] | None]:
    """Return a directory with what is in it, or None where it is gone. Raises OSError."""
    (opened,) = yield [(_OPENDIR, _raw(path))]
    if isinstance(opened, FileNotFoundError):
        return None
    handle = _good(opened).get_string()
    found: list[Found] = []
    pieces, ended = _FIRST_PIECES, False
    while not ended:
        answers = yield [(_READDIR, handle)] * pieces
        ended = any(isinstance(each, EOFError) for each in answers)
        for each in answers:  # in any order; what was asked for behind the end some servers answer with a failure
            if not (ended and isinstance(each, Exception)):
                found += [_found(each) for _ in range(_number(_good(each)))]
        pieces = min(2 * pieces, _MOST_PIECES)
    _close(sftp, handle)
    return path, [each for each in found if each.name not in (".", "..")]


def _read(sftp: Any, path: str) -> Talk[tuple[str, bytes | None] | None]:
    """Return a file with what is in it, None for that where it cannot be read, or None where it is gone."""
    (opened,) = yield [(_OPEN, _raw(path), _TO_READ, _NO_ATTRIBUTES)]
    if isinstance(opened, Exception):
        return None if isinstance(opened, FileNotFoundError) else (path, None)
    handle = opened.get_string()
    text, whole = bytearray(), False
    while not whole:
        (answer,) = yield [(_READ, handle, 0, len(text), _PIECE)]
        piece = b"" if isinstance(answer, Exception) else answer.get_string()
        text += piece
        whole = len(piece) < _PIECE
    _close(sftp, handle)
    return path, None if isinstance(answer, OSError) else bytes(text)


def _hold(sftp: Any, talks: Sequence[Talk[Value]]) -> Iterator[Value]:
    """Hold `talks` with the server, many at once, and yield what each comes to. Raises what one of them raises."""
    most = _most_open(sftp) if len(talks) > _FEW else _FEW
    left = iter(talks)
    answered: deque[_Turn[Value]] = deque()
    going: set[_Turn[Value]] = set()  # paramiko refers to them weakly
    while True:
        new = [_Turn(sftp, talk, answered) for talk in islice(left, most - len(going))]
        going.update(new)
        answered.extend(new)
        if not going:
            return
        while not answered:
            sftp._read_response()  # noqa: SLF001  paramiko has no public names for all this
        turn = answered.popleft()
        try:
            turn.go_on()
        except StopIteration as end:
            going.remove(turn)
            yield end.value


def _most_open(sftp: Any) -> int:
    """Return how many files to have open at once: few, unless the server says how many it allows."""
    try:
        _, limits = sftp._request(_EXTENDED, "limits@openssh.com")  # noqa: SLF001  OpenSSH's PROTOCOL, section 4.8
    except TimeoutError:
        raise
    except OSError:  # there is no such request there
        return _FEW
    *_, allowed = (int(limits.get_int64()) for _ in range(4))  # 0 where it does not know
    return max(1, min(allowed - _SPARE, _MANY)) if allowed else _FEW


class _Turn(Generic[Value]):
    """What a talk asks for at a time; paramiko's client gives it the answers."""

    def __init__(self, sftp: Any, talk: Talk[Value], answered: deque[_Turn[Value]]) -> None:
        self._sftp = sftp
        self._talk = talk
        self._answered = answered
        self._asked = 0
        self._answers: list[Any] = []

    def go_on(self) -> None:
        """Send what the talk asks for next; once all is answered, it is `answered`. Raises StopIteration at its end."""
        requests = self._talk.send(self._answers or None)
        self._answers, self._asked = [], len(requests)
        for each in requests:
            self._sftp._async_request(self, *each)  # noqa: SLF001

    def _async_response(self, kind: int, message: Any, _number: int) -> None:
        """Take an answer, as paramiko gives it."""
        answer = message
        if kind == _STATUS:
            try:
                self._sftp._convert_status(message)  # noqa: SLF001
            except (OSError, EOFError) as error:
                answer = error
        self._answers.append(answer)
        if len(self._answers) == self._asked:
            self._answered.append(self)


def _close(sftp: Any, handle: bytes) -> None:
    """Close what is open, and wait for no answer."""
    sftp._async_request(type(None), _CLOSE, handle)  # noqa: SLF001


def _good(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _number(message: Any) -> int:
    """Return how many things follow in `message`: not more than it has room for, whatever it says."""
    return min(int(message.get_int()), len(message.get_remainder()) // _SMALLEST)


def _found(message: Any) -> Found:
    name, _ = message.get_string(), message.get_string()
    flags = message.get_int()
    size = message.get_int64() if flags & _SIZE else 0
    if flags & _OWNERS:
        message.get_int64()
    mode = message.get_int() if flags & _MODE else 0
    written = message.get_int64() & 0xFFFFFFFF if flags & _TIMES else 0
    if flags & _MORE:
        for _ in range(2 * _number(message)):
            message.get_string()
    return Found(name.decode("utf-8", "surrogateescape"), size, mode, written)


def _raw(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
