"""The benchmark: makes the databases, runs the blocks, and leaves nothing behind."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import blocks
from .compare import Bench
from .memory import memory
from .server import server
from .table import machine, say
from .workload import FULL, TINY, make_large, make_small

_BLOCKS = (blocks.large, blocks.plain, blocks.small, memory, blocks.listing)
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(small: bool = False, runs: int = 5) -> None:  # noqa: FBT001, FBT002  as `invoke dev.bench` calls it
    """Measure, and print tables and which targets are met; `small` is to see that the harness works.

    Raises ContenderError where a command that is measured fails.
    """
    scale, runs = (TINY, 1) if small else (FULL, runs)
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="dbdump-bench-", dir="/tmp") as name:
        top = Path(name)
        top.chmod(0o755)  # the server is another user
        machine()
        if small:
            say("tiny data, one run: the ratios say nothing")
        with server(top) as postgres:
            make_large(postgres, scale)
            make_small(postgres, scale)
            for block in _BLOCKS:
                block(Bench(top, postgres.environment, scale, runs))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let TERM and HUP end us as INT does: all that was started is stopped, and all files are removed."""
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
