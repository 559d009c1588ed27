"""One run of one contender: its wall time, the CPU time of its processes, its memory, what it stored."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .contenders import Contender
from .process import Process, reap, running

_SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Run:
    """Seconds of wall time, CPU seconds of the whole tree (without the server), bytes stored, peak of memory.

    `peak` is of the contender's own process, in bytes, and 0 where it was not looked at.
    """

    wall: float
    cpu: float
    stored: int
    peak: int = 0


class ContenderError(Exception):
    """A contender failed, or stored too little: there is nothing to compare."""


def run(contender: Contender, out: Path, environment: Mapping[str, str]) -> Run:
    """Empty `out`, let the disk come to rest, and run `contender` once."""
    return _run(contender, out, environment, lambda _: 0)


def run_sampled(contender: Contender, out: Path, environment: Mapping[str, str]) -> Run:
    """Do the same and look at the memory meanwhile, which takes time: not for comparing times."""
    return _run(contender, out, environment, _peak)


def _run(contender: Contender, out: Path, environment: Mapping[str, str], look: Callable[[Process], int]) -> Run:
    empty(out)
    os.sync()
    log = out.with_suffix(".log")
    began = time.monotonic()
    with running(contender.argv, log, {"env": environment, "cwd": contender.cwd}) as process:
        peak = look(process)
        cpu = reap(process)
    wall = time.monotonic() - began
    if process.returncode != contender.status:
        said = log.read_text(errors="replace")[-2000:]
        raise ContenderError(f"{contender.typed}\nexit status {process.returncode}: {said}")
    return Run(wall, cpu, sum(each.stat().st_size for each in out.rglob("*") if each.is_file()), peak)


def empty(out: Path) -> None:
    """Make `out` an empty directory of ours alone."""
    with suppress(FileNotFoundError):
        shutil.rmtree(out)
    out.mkdir(mode=0o700)


def _peak(process: Process) -> int:
    """Return the most memory that `process` ever had resident, in bytes.

    It is VmHWM, which the kernel keeps for this one process since its exec: no look can miss a peak but
    one of the last few milliseconds. ru_maxrss of wait4 is no use: it is the largest of the process and
    all of its children, of which zstd is one, and counts what was there before exec, which was ours.
    """
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while (line := _line_of(status)) is not None:
        peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(_SAMPLE_SECONDS)
    return peak


def _line_of(status: Path) -> str | None:
    """Return the line of VmHWM; a process that has ended has none."""
    return next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
