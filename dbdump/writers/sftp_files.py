"""Many directories and small files by SFTP: requests go out by the score, no answer is waited for alone.

Their numbers are those of draft-ietf-secsh-filexfer-02, which every server speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

_OPEN, _CLOSE, _READ, _OPENDIR, _READDIR = 3, 4, 5, 11, 12
_STATUS = 101
_TO_READ, _NO_ATTRIBUTES = 1, 0
_SIZE, _OWNERS, _MODE, _TIMES, _MORE = 1, 2, 4, 8, 1 << 31

_SMALLEST = 8  # bytes: of two empty strings

_AT_ONCE = 64  # requests on their way, and files that are open: a server may allow no more than 100
_PIECE = 32768  # bytes: so many every server gives at once, if the file has them


@dataclass(frozen=True)
class Found:
    """What is in a directory: its name, its size in bytes, its mode, and when it was written, in Unix time."""

    name: str
    size: int
    mode: int
    written: int


def list_directories(sftp: Any, paths: Iterable[str]) -> Iterator[tuple[str, list[Found]]]:
    """Yield each directory with what is in it, but for those that are gone. Raises OSError, as paramiko does."""
    for batch in _batches(paths):
        opened = _asked(sftp, {path: (_OPENDIR, _raw(path)) for path in batch})
        handles = {path: _good(each).get_string() for path, each in opened if not isinstance(each, FileNotFoundError)}
        found: dict[str, list[Found]] = {path: [] for path in handles}
        unread = dict(handles)
        while unread:
            for path, answer in _asked(sftp, {path: (_READDIR, handle) for path, handle in unread.items()}):
                if isinstance(answer, EOFError):
                    del unread[path]
                else:
                    found[path] += [_found(answer) for _ in range(_number(_good(answer)))]
        _close(sftp, handles.values())
        yield from ((path, [each for each in inside if each.name not in (".", "..")]) for path, inside in found.items())


def read_files(sftp: Any, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield each file with what is in it, None where that cannot be read, but for those that are gone."""
    for batch in _batches(paths):
        opened = dict(_asked(sftp, {path: (_OPEN, _raw(path), _TO_READ, _NO_ATTRIBUTES) for path in batch}))
        handles = {path: each.get_string() for path, each in opened.items() if not isinstance(each, Exception)}
        texts = {path: bytearray() for path in handles}
        unread = dict(handles)
        while unread:
            requests = {path: (_READ, handle, 0, len(texts[path]), _PIECE) for path, handle in unread.items()}
            for path, answer in _asked(sftp, requests):
                piece = b"" if isinstance(answer, Exception) else answer.get_string()
                texts[path] += piece
                if len(piece) < _PIECE:
                    del unread[path]
                if isinstance(answer, OSError):
                    del texts[path]
        _close(sftp, handles.values())
        for path, each in opened.items():
            if not isinstance(each, FileNotFoundError):
                yield path, bytes(texts[path]) if path in texts else None


class _Answers:
    """What paramiko's client gives the answers to."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[int, Any]] = {}

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self.of[number] = kind, message


def _asked(sftp: Any, requests: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any]]:
    """Send all `requests`, then yield what came of each: paramiko's message, or an error. It has no public names."""
    answers = _Answers()
    numbers = {key: sftp._async_request(answers, *request) for key, request in requests.items()}  # noqa: SLF001
    while len(answers.of) < len(numbers):
        sftp._read_response()  # noqa: SLF001
    for key, number in numbers.items():
        kind, message = answers.of[number]
        answer = message
        if kind == _STATUS:
            try:
                sftp._convert_status(message)  # noqa: SLF001
            except (OSError, EOFError) as error:
                answer = error
        yield key, answer


def _close(sftp: Any, handles: Iterable[bytes]) -> None:
    """Close what is open, and wait for no answer."""
    for each in handles:
        sftp._async_request(type(None), _CLOSE, each)  # noqa: SLF001


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


def _batches(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    left = iter(paths)
    while batch := tuple(islice(left, _AT_ONCE)):
        yield batch
