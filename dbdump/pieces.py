"""The stored bytes of a dump in pieces of one size, so that a second reading is compared to the first as it goes.

What is kept of the first is the SHA-256 of all up to the end of each piece: 32 MB for a TB. It is the one hash that is
made in any case, looked at on its way, so order and size are in it, and neither reading hashes more than once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

PIECE = 1 << 20  # bytes; the last one may have less

_DIGEST = hashlib.sha256().digest_size


class Changed(Exception):  # noqa: N818  what happened
    """A second reading is not what the first one was."""


class Hashed:
    """What was read so far: its size in bytes, its SHA-256, and that at the end of each whole piece, in `marks`."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0
        self.marks = bytearray()

    def add(self, data: bytes) -> None:
        """Take the next bytes, however many."""
        rest = memoryview(data)
        while rest:
            part = rest[: PIECE - self.size % PIECE]
            self._digest.update(part)
            self.size += len(part)
            if self.size % PIECE == 0:
                self.marks += self._digest.digest()
            rest = rest[len(part) :]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all, in hex."""
        return self._digest.hexdigest()


def cut(read: Iterable[bytes]) -> Iterator[memoryview]:
    """Yield what is read in whole pieces, and what is left at the end; copied only where it does not come so."""
    held = bytearray()
    for data in read:
        rest = memoryview(data)
        while rest:
            part = rest[: PIECE - len(held)]
            rest = rest[len(part) :]
            if len(part) == PIECE:
                yield part
                continue
            held += part
            if len(held) == PIECE:
                yield memoryview(held)
                held = bytearray()  # a new one: whoever has that piece may keep it
    if held:
        yield memoryview(held)


def same(read: Iterable[bytes], marks: bytes, sha256: str) -> Iterator[memoryview]:
    """Yield what is read, each piece when all up to its end is what `marks` and `sha256` say. Raises Changed."""
    digest, whole = hashlib.sha256(), bytes.fromhex(sha256)
    for index, piece in enumerate(cut(read)):
        digest.update(piece)
        mark = marks[index * _DIGEST :][:_DIGEST] if len(piece) == PIECE else whole
        if digest.digest() != mark:
            raise Changed
        yield piece
    if digest.digest() != whole:
        raise Changed
