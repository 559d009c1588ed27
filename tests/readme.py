"""The blocks of the README, by name, and how a reader runs one."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]


def blocks(kind: str) -> list[str]:
    """Return the texts of all blocks of a kind, in order."""
    return [text for each, text in BLOCKS if each == kind]


(SET_UP, FIRST_RESTORE, TEST, GET_BACK, RESTORE, TASKS, VERIFY, PRUNE, MONITOR, AD_HOC,
 MACHINE_TASKS) = blocks("sh")  # fmt: skip
RECIPE, KEPT, MACHINES, BACKEND, CONTRACT = blocks("python")
PLACEMENTS, AUTHORIZED_KEYS, LAYOUT = blocks("text")


def sh(text: str, cwd: Path, **env: str) -> str:
    """Run a block as a reader does, and return all it prints."""
    venv = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{venv}:{os.environ['PATH']}", **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def database(path: Path) -> Path:
    """Make a SQLite database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t AS SELECT 1 AS one")
    return path
