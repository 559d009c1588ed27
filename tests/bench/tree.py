"""The memory of a process and all that it started, looked at from outside."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_SAMPLE_SECONDS = 0.02


def tree_peak(pid: int) -> int:
    """Look at `pid` and its descendants until it has ended, and return the most they held together, in bytes."""
    peak, seen = 0, {pid}
    while (parents := _parents()).get(pid):
        _add_children(seen, parents)
        peak = max(peak, sum(_held(each) for each in seen if each in parents))
        time.sleep(_SAMPLE_SECONDS)
    return peak


def _add_children(seen: set[int], parents: dict[int, int]) -> None:
    """Add the descendants of those that were seen; one whose parent has ended was seen before that."""
    while more := {pid for pid, parent in parents.items() if parent in seen} - seen:
        seen |= more


def _parents() -> dict[int, int]:
    """Return the parent of each process that is no zombie."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents[int(name)] = int(parent)
    return parents


def _held(pid: int) -> int:
    """Return what a process holds, its part of what it shares with others; 0 where it has just ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return 0
