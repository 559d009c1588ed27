"""What it is measured on, and with which versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from .contenders import ROOT
from .process import output
from .render import megabytes


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201  this is where things are said


def machine() -> str:
    """Return what it is measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = models[0].partition(":")[2].strip() if models else platform.machine()
    memory = megabytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {cpu}, {memory} of memory, Linux {platform.release()}, load {load} before it began"


def versions() -> str:
    """Return the versions of what every block uses; those of peers are theirs to say."""
    tools = [output([program, "--version"]).splitlines()[0].strip("* ") for program in ("pg_dump", "zstd", "gzip")]
    ours = f"dbdump {version('dbdump')}{_commit()}"
    return ", ".join([ours, f"Python {platform.python_version()}", f"invoke {version('invoke')}", *tools])


def _commit() -> str:
    """Return the commit that is checked out, where git knows one."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""
