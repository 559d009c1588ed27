"""Looking at processes and files from outside, as an operator would."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers.process import program, wait_for

COMMAND = [sys.executable, "-c", "from dbdump.tasks import main; main()"]  # as the console command does

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


class Started(subprocess.Popen[str]):
    """A run that goes on; `ended` is told once what it has printed, when that has been read to its end."""

    ended: Callable[[int, str], None] | None = None

    def communicate(self, *arguments: Any, **more: Any) -> tuple[str, str]:
        """As Popen's."""
        out, err = super().communicate(*arguments, **more)
        if ended := self.ended:
            self.ended = None
            ended(self.returncode, out)
        return out, err


def default_signals() -> None:
    """Undo, in a child, what a shell's `&` or nohup made ignored: INT and HUP."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def by_clock(clock: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run dbdump, to which the time is `clock`, as faketime takes it.

    Once more where libfaketime itself has failed a short sleep (EINVAL), which was over before it had begun.
    """
    line = [program("faketime", "faketime"), "--exclude-monotonic", "-f", clock, *COMMAND, *arguments]
    for _ in range(5):
        done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
        if "bug: OSError: [Errno 22] Invalid argument" not in done.stdout:
            break
    return done


def processes(marker: str) -> dict[int, str]:
    """Return the command lines, by pid, of the living processes that have `marker` in theirs."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker in line and state != "Z":
            found[int(entry.name)] = line
    return found


def gone(marker: str) -> None:
    """Wait until no process has `marker` in its command line."""
    wait_for(lambda: not processes(marker), f"the end of every process of {marker}: {processes(marker)}")


def pid_of(marker: str, program: str) -> int:
    """Wait for the process that runs `program` with `marker` in its arguments, and return its pid."""
    found: list[int] = []

    def matching() -> bool:
        found.extend(pid for pid, line in processes(marker).items() if line.split()[0].endswith(program))
        return bool(found)

    wait_for(matching, f"{program} of {marker}")
    return found[0]


def files(directory: Path) -> dict[str, bytes]:
    """Return every file below `directory` with its content."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def state(*directories: Path) -> dict[str, object]:
    """Return all that there is below directories: what is in each file, and when each directory was changed."""
    return {
        str(path): path.read_bytes() if path.is_file() else (path.lstat().st_mtime_ns, path.lstat().st_mode)
        for directory in directories
        for path in (directory, *directory.rglob("*"))
    }


def manifests(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the manifests below `directory`, by database."""
    found = [json.loads(path.read_text()) for path in directory.rglob("*.json")]
    return {each["database"]: each for each in found}


def paste(line: str, env: dict[str, str] | None = None) -> None:
    """Run a manifest's restore line as a person would, and see that it succeeds."""
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, env={**os.environ, **(env or {})})
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def wait_for_bytes(datadir: Path, database: str = "big") -> None:
    """Wait until some bytes of the dump of `database` have arrived in a temporary file."""
    wait_for(lambda: any(path.stat().st_size for path in datadir.glob(f"*/*/{database}/.*.part")), "the first bytes")


def end_of(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str]:
    """Wait for a command and return its exit status and all it said."""
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    assert "Traceback" not in out, out
    return process.returncode, out


def sqlite_database(path: Path, size: int) -> Path:
    """Make a SQLite database of about `size` bytes that do not compress, and return its path."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (x)")
        pieces = [(os.urandom(min(100_000, size)),) for _ in range(max(1, size // 100_000))]
        database.executemany("INSERT INTO t VALUES (?)", pieces)
        database.commit()
    path.chmod(0o644)
    return path


def rows(path: Path) -> list[object]:
    """Return what is in the database."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT x FROM t").fetchall()
