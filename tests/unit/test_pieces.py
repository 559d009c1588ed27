"""Pieces of a stored dump: a second reading gives nothing that the first one did not have."""

from __future__ import annotations

import hashlib
import os

import pytest

from dbdump.pieces import PIECE, Changed, Hashed, cut, same


def split(data: bytes, size: int) -> list[bytes]:
    """Return the data as a store may yield it, with nothing now and then."""
    return [b"", *(data[start : start + size] for start in range(0, len(data), size)), b""]


def hashed(data: bytes, size: int = PIECE) -> Hashed:
    """Return what a first reading keeps."""
    first = Hashed()
    for each in split(data, size):
        first.add(each)
    return first


def taken(read: list[bytes], first: Hashed) -> tuple[bytes, bool]:
    """Return what a second reading gives, and whether it came to the end."""
    given = bytearray()
    try:
        for each in same(read, bytes(first.marks), first.sha256):
            given += each
    except Changed:
        return bytes(given), False
    return bytes(given), True


SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 12345]
DATA = os.urandom(max(SIZES))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("yielded", [300_001, PIECE, 2 * PIECE + 7])
def test_the_same_again(size, yielded):
    """However a store yields it, the first time and the second, all of it is given, in whole pieces."""
    data = DATA[:size]
    first = hashed(data, yielded)
    assert (first.size, first.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert first.marks == hashed(data).marks
    assert taken(split(data, 777_777), first) == (data, True)
    assert {len(each) for each in cut(split(data, yielded))} <= {PIECE, size % PIECE}


@pytest.mark.parametrize("size", [PIECE, 3 * PIECE, 3 * PIECE + 12345])
@pytest.mark.parametrize("at", [0, 1, PIECE, 2 * PIECE - 1, -1])
def test_a_byte_is_another_one(size, at):
    """No piece is given that has it, nor any after it."""
    data = bytearray(DATA[:size])
    at = (at if at >= 0 else size + at) % size
    first = hashed(bytes(data))
    data[at] ^= 1
    assert taken(split(bytes(data), 500_000), first) == (DATA[: at // PIECE * PIECE], False)


@pytest.mark.parametrize("size", [PIECE, 3 * PIECE, 3 * PIECE + 12345])
def test_another_length_or_order(size):
    """Cut at any place, longer, or with two pieces exchanged: it is no end, and nothing else is given."""
    data, first = DATA[:size], hashed(DATA[:size])
    for less in {0, 1, PIECE - 1, size - PIECE, size - 1, (size - 1) // PIECE * PIECE}:
        assert taken([data[:less]], first) == (data[: less // PIECE * PIECE], False)
    whole = size // PIECE * PIECE
    for more in (b"x", DATA[:PIECE]):
        given, to_the_end = taken([data, more], first)
        assert not to_the_end
        assert given == data[:whole]
    if size > PIECE:
        exchanged = [data[PIECE : 2 * PIECE], data[:PIECE], data[2 * PIECE :]]
        assert taken(exchanged, first) == (b"", False)
