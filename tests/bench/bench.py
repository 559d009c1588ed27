"""The benchmark: makes the databases, runs the blocks, and leaves nothing behind."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from . import (
    back_blocks,
    blocks,
    contenders,
    far_blocks,
    far_contenders,
    many_blocks,
    mysql_blocks,
    peers,
    picture,
    render,
    results,
)
from .compare import Bench, Noted
from .far import far
from .machine import machine, say, versions
from .memory import memory
from .results import Block
from .server import server
from .workload import FULL, TINY

# The ones that compare with other tools first: a run that is ended has measured them.
_BLOCKS = (
    blocks.large, mysql_blocks.mariadb, blocks.blobs, blocks.small, blocks.thousand, far_blocks.encrypted,
    far_blocks.incompressible, far_blocks.sent_small, far_blocks.hosts, far_blocks.streams, blocks.plain, memory,
    back_blocks.verifying, back_blocks.verifying_compressed, back_blocks.restoring, many_blocks.listing_many,
    blocks.listing,
)  # fmt: skip
_ENDING = (signal.SIGTERM, signal.SIGHUP)
HERE = Path(__file__).parent


def main(small: bool = False, runs: int = 5, only: str = "") -> None:  # noqa: FBT001, FBT002  as invoke calls it
    """Measure, print tables and which targets are met, and write them into RESULTS.md, each block when it is done.

    `small` is to see that the harness works: it installs nothing, and what it writes goes with its databases. `only`
    are globs of the blocks to run, with commas between them; empty: all of them. What RESULTS.md has of the others
    stays.

    Raises ContenderError where a command that is measured fails.
    """
    chosen = [block for block in _BLOCKS if any(fnmatchcase(block.__name__, each) for each in (only or "*").split(","))]
    if not chosen:
        sys.exit(f"no block is called {only}: there are {', '.join(block.__name__ for block in _BLOCKS)}")
    scale, runs = (TINY, 0) if small else (FULL, runs)
    if not small:
        peers.install()
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="dbdump-bench-", dir="/tmp") as name:
        top = Path(name)
        top.chmod(0o755)  # the server is another user
        if small:
            say("tiny data, one run: the ratios say nothing")
        with server(top) as postgres, far(top, scale.hosts) as machines:
            environment = {**postgres.environment, **machines.environment}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
            bench = Bench(top, environment, scale, runs, machines, postgres)
            contenders.put_recipe(bench.recipes)
            far_contenders.put_recipes(bench.recipes, bench.out, machines, f"host={postgres.host!r}, user='postgres'")
            for block in chosen:
                measured = _measured(bench, block)
                say("\n" + render.render_block(measured, _limits().get(measured.name, "")))
                write([measured], top if small else HERE)


def write(measured: Iterable[Block] = (), directory: Path = HERE) -> None:
    """Put blocks into results.json in the place of older ones, and make the page and the picture anew."""
    file = directory / "results.json"
    kept = results.load(file) | {each.name: each for each in measured}
    ordered = {each.__name__: kept[each.__name__] for each in _BLOCKS if each.__name__ in kept}
    results.store(ordered, file)
    (directory / "RESULTS.md").write_text(render.render(ordered.values(), _limits()))
    (directory / render.PICTURE).write_text(picture.picture(ordered.values()))


def _measured(bench: Bench, block: Callable[[Bench], None]) -> Block:
    """Run a block, and return what it noted."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    its = replace(bench, noted=Noted())
    where = machine()
    block(its)
    told = ", ".join(filter(None, [versions(), peers.versions()]))
    noted = its.noted
    return Block(block.__name__, now, where, told, tuple(noted.parts), tuple(noted.targets), tuple(noted.notes))


def _limits() -> dict[str, str]:
    return render.read_limits((HERE / "LIMITS.md").read_text())


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let TERM and HUP end us as INT does: all that was started is stopped, and all files are removed."""
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
