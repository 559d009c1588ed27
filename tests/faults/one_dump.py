"""Store one dump in a directory by the local writer, in a process of its own that does nothing else.

Arguments: datadir, stamp. It stops itself when all is imported, for a tracer to come. It exits 0 where the dump is
stored, 1 where it is not, and says why; 2 where it has left a file open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from dbdump.catalog import DumpName
from dbdump.errors import WriteError
from dbdump.testing import manifest_of
from dbdump.writers.directory import Directory

DATA = bytes(range(256)) * 256
PIECES = 3


def store(datadir: str, stamp: str) -> str:
    """Store it; return why that could not be, or nothing."""
    name = DumpName("localhost", "app", "orders", stamp, ".sql")
    try:
        sink = Directory(datadir).open(name)
        try:
            for _ in range(PIECES):
                sink.write(memoryview(DATA))
            sink.commit(manifest_of(name, DATA * PIECES), b"a signature")
        finally:
            sink.abort()
    except WriteError as error:
        return f"{error.message}; hint: {error.hint}"
    return ""


def main() -> int:
    """Do it as the arguments say; return the exit status."""
    before = os.listdir("/proc/self/fd")
    os.kill(os.getpid(), signal.SIGSTOP)
    if fault := store(*sys.argv[1:]):
        print(fault)  # noqa: T201
    with contextlib.suppress(OSError):  # this call is the one that fails
        if (opened := os.listdir("/proc/self/fd")) != before:
            print("left open:", opened)  # noqa: T201
            return 2
    return int(bool(fault))


if __name__ == "__main__":
    sys.exit(main())
