"""What is printed: tables, targets, the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from .process import output


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201  this is where things are said


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their heads, the first column to the left and the others to the right."""
    cells = [heads, *rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(heads))]
    for first, *rest in cells:
        others = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        say("  ".join(["  " + first.ljust(widths[0]), *others]))


def target(text: str, measured: str, *, met: bool) -> None:
    """Print whether a target is met."""
    say(f"target: {text}: measured {measured}: {'met' if met else 'missed'}")


def megabytes(size: int) -> str:
    """Return a number of bytes in MB, 10**6 of them; a dash for none."""
    return f"{size / 1e6:.1f} MB" if size else "-"


def machine() -> None:
    """Print what it is measured on, and with which versions."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = models[0].partition(":")[2].strip() if models else platform.machine()
    memory = megabytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    say(f"{len(os.sched_getaffinity(0))} cores of {cpu}, {memory}, Linux {platform.release()}, load {load}")
    say(f"Python {platform.python_version()}, dbdump {version('dbdump')}, invoke {version('invoke')}")
    for program in ("pg_dump", "zstd", "bash"):
        say(output([program, "--version"]).splitlines()[0].strip("* "))
