"""Every test of a fault ends with the invariant."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.invariant import Unharmed
from faults.running import adopt_orphans, reap

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def said() -> list[str]:
    """Collect what all runs of a test print; what `started` starts adds nothing by itself."""
    return []


@pytest.fixture
def dbdump(dbdump: Run, said: list[str]) -> Run:
    """As everywhere, and what it prints is taken down."""

    def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
        done = dbdump(*arguments, **more)
        said.append(done.stdout + done.stderr)
        return done

    return run


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, datadir: Path, dbdump: Run, said: list[str]) -> Iterator[Unharmed]:
    """Return what has to hold at the end of each test here; the test tells it the next run."""
    adopt_orphans()
    invariant = Unharmed(dbdump, [datadir], said)
    if "mariadb" in request.fixturenames:  # a connection is a thread there, and no process
        invariant.clients.append(request.getfixturevalue("mariadb").clients)
    yield invariant
    invariant.end()
    reap()
