"""The benchmark: makes the databases, runs the blocks, and leaves nothing behind."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from . import back_blocks, blocks, contenders, far_blocks, far_contenders, many_blocks
from .compare import Bench
from .far import far
from .memory import memory
from .server import server
from .table import machine, say
from .workload import FULL, TINY, make_blobs, make_large, make_small

_BLOCKS = (
    blocks.large, blocks.plain, blocks.small, far_blocks.encrypted, far_blocks.incompressible, far_blocks.sent_small,
    far_blocks.hosts, far_blocks.streams, memory, back_blocks.verifying, back_blocks.restoring,
    many_blocks.listing_many, blocks.listing,
)  # fmt: skip
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(small: bool = False, runs: int = 5, only: str = "") -> None:  # noqa: FBT001, FBT002  as invoke calls it
    """Measure, and print tables and which targets are met; `small` is to see that the harness works.

    `only` is a glob of the blocks to run; empty: all of them.

    Raises ContenderError where a command that is measured fails.
    """
    scale, runs = (TINY, 1) if small else (FULL, runs)
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="dbdump-bench-", dir="/tmp") as name:
        top = Path(name)
        top.chmod(0o755)  # the server is another user
        machine()
        if small:
            say("tiny data, one run: the ratios say nothing")
        with server(top) as postgres, far(top, scale.hosts) as machines:
            make_large(postgres, scale)
            make_small(postgres, scale)
            make_blobs(postgres, scale, top)
            environment = {**postgres.environment, **machines.environment}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
            bench = Bench(top, environment, scale, runs, machines)
            contenders.put_recipe(bench.recipes)
            far_contenders.put_recipes(bench.recipes, bench.out, machines, f"host={postgres.host!r}, user='postgres'")
            for block in _BLOCKS:
                if not only or fnmatchcase(block.__name__, only):
                    block(bench)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let TERM and HUP end us as INT does: all that was started is stopped, and all files are removed."""
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
