"""Store one dump after the other in directories by the local writer, each in a process that does nothing else.

Each line on stdin, a JSON list of datadir and stamp, is for one. Its pid is printed; it stops itself, for a tracer to
come. At its end a JSON list of its exit status and what it has said is printed: 0 where the dump is stored, 1 where it
is not, 2 where it has left a file open, 3 with a traceback.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback

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


def one(datadir: str, stamp: str) -> int:
    """Store it when the tracer has come; return the exit status."""
    before = os.listdir("/proc/self/fd")
    os.kill(os.getpid(), signal.SIGSTOP)
    if fault := store(datadir, stamp):
        print(fault)  # noqa: T201
    with contextlib.suppress(OSError):  # this call is the one that fails
        if (opened := os.listdir("/proc/self/fd")) != before:
            print("left open:", opened)  # noqa: T201
            return 2
    return int(bool(fault))


def child(output: int, *arguments: str) -> None:
    """Be the process of one: what it prints goes to `output`."""
    status = 3
    try:
        os.dup2(output, 1)
        os.close(output)
        status = one(*arguments)
    except Exception:  # noqa: BLE001  whatever it is, it is a bug
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(status)


def main() -> None:
    """Do as the lines say."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(reading)
            child(writing, *json.loads(line))
        os.close(writing)
        print(pid, flush=True)  # noqa: T201
        with os.fdopen(reading) as output:
            said = output.read()
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
