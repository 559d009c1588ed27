"""One run of one contender: its wall time, the CPU time of its processes, its memory, what it stored and sent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

from .contenders import Contender
from .process import Process, reap, running
from .results import Run
from .tree import tree_peak

_SAMPLE_SECONDS = 0.005
_PATIENCE_SECONDS = 900


class ContenderError(Exception):
    """A contender failed, or stored too little: there is nothing to compare."""


def run(contender: Contender, out: Path, environment: Mapping[str, str]) -> Run:
    """Empty `out`, let the disk come to rest, and run `contender` once."""
    return _run(contender, out, environment, lambda _: 0)


def run_sampled(contender: Contender, out: Path, environment: Mapping[str, str]) -> Run:
    """Do the same and look at the memory of its own process, which takes time: not for comparing times."""
    return _run(contender, out, environment, _peak)


def run_tree_sampled(contender: Contender, out: Path, environment: Mapping[str, str]) -> Run:
    """Do the same and look at the memory of all its processes together: not for comparing times either."""
    return _run(contender, out, environment, lambda process: tree_peak(process.pid))


def _run(contender: Contender, out: Path, environment: Mapping[str, str], look: Callable[[Process], int]) -> Run:
    empty(out)
    its = {**environment, **contender.environment}
    if contender.before:
        _prepare(contender, its)
    os.sync()
    log = out.with_suffix(".log")
    sent, began = _loopback(), time.monotonic()
    with running(contender.argv, log, {"env": its, "cwd": contender.cwd}) as process, _ended_at_last(process):
        peak = look(process)
        cpu = reap(process)
    wall, network = time.monotonic() - began, _loopback() - sent
    if process.returncode != contender.status:
        said = log.read_text(errors="replace")[-2000:]
        raise ContenderError(f"{contender.typed}\nexit status {process.returncode}: {said}")
    return Run(wall, cpu, sum(each.stat().st_size for each in out.rglob("*") if each.is_file()), network, peak)


def empty(out: Path) -> None:
    """Make `out` an empty directory of ours alone."""
    with suppress(FileNotFoundError):
        shutil.rmtree(out)
    out.mkdir(mode=0o700)


@contextmanager
def _ended_at_last(process: Process) -> Iterator[None]:
    """Kill `process` and its children where they go on for too long: one that hangs shall not end the others."""
    timer = Timer(_PATIENCE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _prepare(contender: Contender, environment: Mapping[str, str]) -> None:
    done = subprocess.run(["bash", "-e", "-c", contender.before], env=environment, cwd=contender.cwd, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=_PATIENCE_SECONDS)  # fmt: skip
    if done.returncode:
        said = done.stdout.decode(errors="replace")[-2000:]
        raise ContenderError(f"{contender.before}\nexit status {done.returncode}: {said}")


def _loopback() -> int:
    """Return the bytes that ever passed the loopback interface: what is sent on it is what is received."""
    return int(Path("/sys/class/net/lo/statistics/tx_bytes").read_text())


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
