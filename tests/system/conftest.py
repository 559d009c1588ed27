"""Every test here that tests/FAULTS.md names for a fault is looked at as those of tests/faults are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.around import Around
from faults.running import adopt_orphans, reap
from servers.far import Far

Run = Callable[..., subprocess.CompletedProcess[str]]

_INDEX = Path(__file__).parents[1] / "FAULTS.md"
INDEXED = set(re.findall(r"`tests/system/(\w+\.py)::(\w+)`", _INDEX.read_text()))


@pytest.fixture
def dbdump(request: pytest.FixtureRequest, dbdump: Run, tmp_path: Path) -> Run:
    """As everywhere; where a fault is injected, what each run stored and what was there before it is looked at."""
    if not injects(request):
        return dbdump

    def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
        far = request.getfixturevalue("far") if "far" in request.fixturenames else None
        around = Around(dbdump, [tmp_path, *([far.path] if isinstance(far, Far) else [])])
        around.begin()
        done = dbdump(*arguments, **more)
        around.ran(done.returncode, done.stdout + done.stderr)
        return done

    return run


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, dbdump: Run, tmp_path: Path) -> Iterator[None]:
    """See at the end of a test that injects a fault that no process, connection or descriptor is left."""
    if not injects(request):
        yield
        return
    adopt_orphans()
    around = Around(dbdump, [tmp_path])
    if "mariadb" in request.fixturenames:  # a connection is a thread there, and no process
        around.clients.append(request.getfixturevalue("mariadb").clients)
    yield
    around.left()
    reap()


def injects(request: pytest.FixtureRequest) -> bool:
    """Whether the index names the test."""
    return (request.path.name, request.node.originalname) in INDEXED
