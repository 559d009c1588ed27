"""Who holds a lock, as Linux tells it: for people, who want to know whom they wait for."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

_TASKS = ("dump", "verify", "restore", "prune")


def holders(file: int) -> Sequence[int]:
    """Return the pids of those that have an open file locked by flock; none where that is not known."""
    status = os.fstat(file)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # 12: FLOCK  ADVISORY  WRITE 4711 fe:00:2147150 0 EOF; who waits for it has an arrow there.
    locks = [words for words in map(str.split, lines) if words[1:2] == ["FLOCK"] and words[5:6] == [wanted]]
    return [*dict.fromkeys(int(words[4]) for words in locks if words[4].isdecimal())]


def told(pid: int) -> str:
    """Return in words who a process is, as far as it can be seen: its pid, its user, and the task of ours."""
    try:
        user = user_name(Path(f"/proc/{pid}").stat().st_uid)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return f"pid {pid}"
    task = next((f", {word}" for word in words if word in _TASKS), "")
    return f"pid {pid} of {user}{task}"


def user_name(number: int) -> str:
    """Return the name of a user, or its number in words where it has none, as in a container."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
