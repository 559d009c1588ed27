"""Look at a raw stream on its way to nowhere: its size, its first and its last bytes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Self

from .script import Stage

# Python, because it copies nothing but what it keeps, which tail and wc behind a tee do.
_PROGRAM = """\
import fcntl, os
try: fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
except OSError: pass
buffer = memoryview(bytearray(1 << 20))
first = last = b""
size = 0
while count := os.readv(0, [buffer]):
    if len(first) < 64: first += bytes(buffer[: min(count, 64 - len(first))])
    last = (b"" if count >= 512 else last)[-512:] + bytes(buffer[max(0, count - 512) : count])
    size += count
print(size, first.hex() or "-", last[-512:].hex() or "-")
"""


@dataclass(frozen=True)
class Ends:
    """The size of a raw stream in bytes, and as much of its beginning and its end as is looked at."""

    size: int
    first: bytes
    last: bytes

    @classmethod
    def stage(cls) -> Stage:
        """Return the stage that reads a stream to its end, and writes what `read` reads."""
        return Stage("ends", (sys.executable, "-I", "-S", "-c", _PROGRAM))

    @classmethod
    def read(cls, said: bytes) -> Self:
        """Return what the stage wrote."""
        size, first, last = ("" if each == "-" else each for each in said.decode().split())
        return cls(int(size), bytes.fromhex(first), bytes.fromhex(last))
