"""One run of a recipe at a time: a lock on a file, that the kernel takes back from whoever dies."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .catalog import encode, new_stamp, printable
from .errors import Locked, StageError
from .holders import holders, told, user_name
from .plan import Job
from .state import state_directory, state_path, translated

_PATIENCE = 0.5  # seconds until one who has just locked must have said who it is


@contextlib.contextmanager
def only_run(job: Job) -> Iterator[None]:
    """Be the only run of this user on this machine that is at work on a recipe, and where it stores.

    Raises Locked where another one is, and says who; StageError where there can be no lock.
    """
    if job.dump.to is None:
        raise RuntimeError("a job is locked before its defaults are filled in")
    place = hashlib.sha256(job.dump.to.place(job.host.name, job.recipe).encode("utf-8", "surrogateescape"))
    path = state_directory() / f"{encode(job.id)}-{place.hexdigest()[:12]}.lock"
    with translated(path):
        file = _locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is ours: who opened it before sees that it is gone
        os.close(file)


def own_stamp() -> str:
    """Return a stamp for a run; where another run of this user ended in this very second, that of the next one.

    Both would store under one name, where they are of one recipe.
    """
    with contextlib.suppress(OSError, StageError):  # whoever locks says what is wrong with the directory
        ended = int(state_path().stat().st_mtime)  # whoever lets a lock go removes its file
        while int(time.time()) == ended:
            time.sleep(0.01)
    return new_stamp()


def _locked(path: Path) -> int:
    """Return the open file of a lock that is ours now; nothing that we start inherits it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:  # whose lock it was did not remove it meanwhile
                os.ftruncate(file, 0)  # it may name one that was killed
                os.pwrite(file, _me(), 0)
                return file
        except BlockingIOError:
            who = _holder(file)
            os.close(file)
            raise Locked(f"another run is at it: {who}", "Wait for it to end, then run this again.") from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _me() -> bytes:
    now = datetime.now(UTC)
    return f"pid {os.getpid()} of {user_name(os.geteuid())}, since {now:%Y-%m-%dT%H:%M:%SZ}\n".encode()


def _holder(file: int) -> str:
    """Return what the one that holds the lock has written; else who the kernel says it is."""
    until = time.monotonic() + _PATIENCE
    while True:
        text = os.pread(file, 200, 0).decode(errors="backslashreplace")
        pids = holders(file)
        if text.endswith("\n") and (not pids or any(text.startswith(f"pid {pid} ") for pid in pids)):
            return printable(text.rstrip("\n"))
        if time.monotonic() > until:
            return ", ".join(map(told, pids)) or "it does not say who it is"
        time.sleep(0.01)
