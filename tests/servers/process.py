"""What every server here needs: programs, an unprivileged user, and an end by pid."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

STARTING = 120.0  # seconds in which a server has to be there; four workers may make theirs at the same time

SERVERS: set[int] = set()  # the pids of those that tests have started, and not ended


def served(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Return `process`, known as a server from now on: what looks for what was left behind knows it by that."""
    SERVERS.add(process.pid)
    return process


def program(name: str, package: str, *places: str) -> str:
    """Return the path of `name`; a missing one is a failure that says how to install it, never a skip."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    assert found, f"{name} is missing: apt-get install {package}"
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until `condition` holds; a failure names `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], signal_: int = signal.SIGTERM) -> None:
    """End a server that we started, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal_)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    SERVERS.discard(process.pid)


def as_user(name: str) -> dict[str, object]:
    """Return Popen's arguments that run a server as `name` where we are root, which servers refuse."""
    return {"user": name, "group": name, "extra_groups": []} if os.geteuid() == 0 else {}


def give(path: Path, name: str) -> Path:
    """Make the directory `path` that user's."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(path, name, name)
    return path
