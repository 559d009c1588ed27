"""What all tests share: the real servers, and the console command as a user runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.mariadb import mariadb
from servers.postgres import postgres
from support import COMMAND

__all__ = ["mariadb", "postgres"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    """An empty datadir."""
    path = tmp_path / "datadir"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def dbdump(tmp_path: Path) -> Run:
    """The console command, run to its end in an empty directory; whatever it says, no traceback."""

    def run(*arguments: object, env: dict[str, str] | None = None, **more: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, **(env or {})}, cwd=more.pop("cwd", tmp_path), capture_output=True,
            check=False, text=True, errors="surrogateescape", stdin=subprocess.DEVNULL, **more,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip is a failure: a test that cannot run there runs nowhere."""
    skipped = session.config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    if skipped and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
