"""Programs that are started here: each in a session of its own, none left running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Process = subprocess.Popen[bytes]


@contextmanager
def running(argv: Sequence[str], log: Path, how: Mapping[str, Any], stop_by: int = signal.SIGTERM) -> Iterator[Process]:
    """Start `argv` with both outputs in `log`; at the end, stop it unless `reap` has waited for it.

    `how` are further arguments of Popen: its variables, its directory, its user.
    """
    with log.open("wb") as both:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=both, stderr=both, start_new_session=True, **how
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            _stop(process, stop_by)


def reap(process: Process) -> float:
    """Wait for `process`, and return the CPU seconds of it and of all that it and its children waited for."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def output(argv: Sequence[str]) -> str:
    """Return what `argv` prints, without the white space around it."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _stop(process: Process, by: int) -> None:
    for number in (by, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return
