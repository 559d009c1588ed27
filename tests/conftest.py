"""What all tests share: the real servers, and the console command as a user runs it."""

from __future__ import annotations

import compileall
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from servers.accounts import accounts
from servers.console import Console, console
from servers.drills import drills
from servers.far import disk, far
from servers.gnupg import gnupg, private_home
from servers.mariadb import mariadb
from servers.postgres import postgres, role
from servers.pruning import pruning
from servers.relay import link, relay
from servers.sshd import own_sshd, sshd
from support import COMMAND, Started, default_signals, sqlite_database

import dbdump as dbdump_package
from dbdump.host import LocalShell
from dbdump.links import Links, Reach

__all__ = [
    "accounts",
    "console",
    "disk",
    "drills",
    "far",
    "gnupg",
    "link",
    "mariadb",
    "own_sshd",
    "postgres",
    "private_home",
    "pruning",
    "relay",
    "role",
    "sshd",
]

Run = Callable[..., subprocess.CompletedProcess[str]]

settings.register_profile("anywhere", settings.default, deadline=None)  # a machine that is busy is no failure
settings.load_profile("anywhere")


def pytest_configure(config: pytest.Config) -> None:
    """Compile dbdump once: where Python may not keep its bytecode, each of thousands of runs would do that."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(str(Path(dbdump_package.__file__).parent), quiet=1)


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs keep their locks: what is left by those that a test kills is not left in the home of the user."""
    path = tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = str(path)
    return path


@pytest.fixture(scope="session", autouse=True)
def temporary() -> Iterator[Path]:
    """The TMPDIR of what is run here, for everybody: what is left in it was left by us."""
    with tempfile.TemporaryDirectory(prefix="dbdump-tmp-", dir="/tmp") as top:
        Path(top).chmod(0o1777)
        os.environ["TMPDIR"] = top
        yield Path(top)


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    """An empty datadir."""
    path = tmp_path / "datadir"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def dbdump(tmp_path: Path, console: Console | None) -> Run:
    """The console command, run to its end in an empty directory; whatever it says, no traceback."""

    def run(*arguments: object, env: dict[str, str] | None = None, **more: object) -> subprocess.CompletedProcess[str]:
        environment, cwd = {**os.environ, **(env or {})}, more.pop("cwd", tmp_path)
        if console and console.can(environment, more):
            done = console.run([str(each) for each in arguments], environment, cwd)
        else:
            done = subprocess.run(
                [*COMMAND, *map(str, arguments)], env=environment, cwd=cwd, capture_output=True,
                check=False, text=True, errors="surrogateescape", stdin=subprocess.DEVNULL, **more,
            )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def started(tmp_path):
    """Start the console command, and see at the end that it ended."""
    running = []

    def start(*arguments: str) -> Started:
        running.append(Started(
            [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, preexec_fn=default_signals,
        ))  # fmt: skip
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def reach() -> Iterator[Reach]:
    """The ways to other machines, for a dump of this one; closed at the end."""
    shell = LocalShell()
    with closing(Links()) as links:
        yield Reach(links, shell, shell, 20.0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite database that everybody can read, of some megabytes that do not compress."""
    return sqlite_database(tmp_path / "app.db", 3_000_000)


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    """A directory of twenty small SQLite databases."""
    directory = tmp_path / "databases"
    directory.mkdir()
    for index in range(20):
        sqlite_database(directory / f"d{index}.db", 1000)
    return directory


@pytest.fixture
def small_disk(tmp_path):
    """A datadir on a file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    path = tmp_path / "small disk"
    path.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip is a failure: a test that cannot run there runs nowhere."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and os.environ.get("CI"):  # a worker of xdist has none
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
