"""What recipes and backends print: it goes to stderr, for stdout is promised to a document, a dump, or a table."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """Have all that is written to stdout inside go to stderr, also what C code and other programs write.

    It changes the whole process: for the time before there are threads.
    """
    _flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()  # what went to sys.__stdout__ by that name
        os.dup2(kept, 1)
        os.close(kept)


def prints_aside(*, promised: bool) -> contextlib.AbstractContextManager[object]:
    """Have what Python code prints inside go to stderr, in any thread, where stdout is `promised` to a document."""
    return contextlib.redirect_stdout(sys.stderr) if promised else contextlib.nullcontext()


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError):  # a full disk, or one that was closed
            if stream is not None:
                stream.flush()
