"""Every test here that tests/FAULTS.md names for a fault is looked at as those of tests/faults are."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.around import Around
from faults.running import adopt_orphans, reap
from servers.far import Far
from servers.sshd import SSHD
from support import Started

Run = Callable[..., subprocess.CompletedProcess[str]]

_INDEX = Path(__file__).parents[1] / "FAULTS.md"
INDEXED = set(re.findall(r"`tests/system/(\w+\.py)::(\w+)`", _INDEX.read_text()))


@pytest.fixture
def around(request: pytest.FixtureRequest, tmp_path: Path) -> Around | None:
    """What has to hold around each run of a test that injects a fault; `dbdump` tells it how to run one itself."""
    if not injects(request):
        return None
    adopt_orphans()
    return Around(None, [tmp_path], [])


@pytest.fixture
def as_it_begins(request: pytest.FixtureRequest, around: Around | None) -> Callable[[], set[Path]]:
    """Take note of what there is, here and where the test's dumps go, as a run begins."""
    accounts = request.getfixturevalue("accounts") if around and "accounts" in request.fixturenames else None
    of_others = len(accounts.made) if accounts else 0

    def begin() -> set[Path]:
        far = request.getfixturevalue("far") if "far" in request.fixturenames else None
        if isinstance(far, Far) and far.path not in around.directories:
            around.directories.append(far.path)
        if accounts:
            made = accounts.made[of_others:]
            around.directories += [each for each in made if each not in around.directories]
        return around.begin()

    return begin


@pytest.fixture
def dbdump(dbdump: Run, around: Around | None, as_it_begins: Callable[[], set[Path]]) -> Run:
    """As everywhere; where a fault is injected, what each run stored and what was there before it is looked at."""
    if around is None:
        return dbdump
    around.run = dbdump

    def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
        since = as_it_begins()
        done = dbdump(*arguments, **more)
        around.ran(done.returncode, done.stdout + done.stderr, since, *arguments, **more)
        around.dumped(done.returncode, None, arguments, more)
        return done

    return run


@pytest.fixture
def started(started: Callable[..., Started], around: Around | None, as_it_begins: Callable[[], set[Path]]) -> Callable:
    """As everywhere; it is looked at like those of `dbdump`, when the test has read what it says."""
    if around is None:
        return started

    def start(*arguments: str) -> Started:
        since = as_it_begins()
        process = started(*arguments)
        around.dumped(None, process, arguments, {})

        def ended(status: int, out: str) -> None:
            around.ran(status, out, since, *arguments)
            around.dumped(status, process, arguments, {})

        process.ended = ended
        return process

    return start


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, dbdump: Run, around: Around | None) -> Iterator[None]:
    """See at the end of a test that injects a fault that no process, connection, descriptor or part is left."""
    if around and "mariadb" in request.fixturenames:  # a connection is a thread there, and no process
        around.clients.append(request.getfixturevalue("mariadb").clients)
    yield
    if around:
        around.left()
        reap()


@pytest.fixture
def there(sshd: SSHD, tmp_path: Path, datadir: Path) -> Iterator[Callable[[str], list[str]]]:
    """The flags for a place to store in, by its name."""
    made: list[Path] = []

    def flags(place: str) -> list[str]:
        if place == "directory":
            return [f"--datadir={datadir}"]
        kind = "sftp" if place == "sftp" else "dash"
        path = sshd.accounts.directory_of(kind, f"{tmp_path.name}-{place}")
        made.append(path)
        # OpenSSH, because fabric cannot honour such an option.
        more = ["-o", "CanonicalizeHostname=no", "-o", "Ciphers=aes128-ctr"] if place == "openssh" else []
        return [f"--remote={sshd.remote(kind, *more)}", f"--datadir={path}"]

    yield flags
    for path in made:
        shutil.rmtree(path)


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A PATH that has all but some programs."""

    def path_without(*programs: str) -> dict[str, str]:
        (there := tmp_path / "bin").mkdir()
        for path in Path("/usr/bin").iterdir():
            if path.name not in programs:
                (there / path.name).symlink_to(path)
        return {"PATH": str(there)}

    return path_without


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Where the last dump of a test has failed, the next one works.

    It is the same, but for what made it slow and for programs that stood before the real ones on its PATH. A test whose
    fault stays mends it at its end, or says so: `@pytest.mark.no_next_run("why")`.
    """
    result = yield
    around = pyfuncitem.funcargs.get("around")
    failed = around and not pyfuncitem.get_closest_marker("no_next_run") and around.failed
    if failed and failed.has_ended():
        env = {name: value for name, value in (failed.more.get("env") or {}).items() if name != "PATH"}
        done = pyfuncitem.funcargs["dbdump"](*failed.arguments, **{**failed.more, "env": {**env, "QUICK": "1"}})
        assert done.returncode == 0, f"the next run: {done.stdout}{done.stderr}"
    return result


def injects(request: pytest.FixtureRequest) -> bool:
    """Whether the index names the test."""
    return (request.path.name, request.node.originalname) in INDEXED
