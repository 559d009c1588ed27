"""Each system call of the local writer fails once: the first of its kind, the second, and so on until none does.

In CI some are left out, and the errors take turns; with FAULTS_LONG, which `invoke dev.faults --long` sets, each call
fails by each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from servers.process import program, wait_for

from dbdump.writers.safe import PART
from faults import one_dump

LONG = bool(os.environ.get("FAULTS_LONG"))
ERRORS = ("ENOSPC", "EIO", "EDQUOT")
FIRST, SECOND = "20261122T203000Z", "20261122T203001Z"
NO_LINKS = "linkat:error=EPERM"  # as a file system without hard links has it


def fail(datadir: Path, stamp: str, *injections: str) -> tuple[int, str, bool]:
    """Store a dump under strace; return its exit status, what it says, and whether a call was made to fail."""
    process = subprocess.Popen(
        [sys.executable, one_dump.__file__, datadir, stamp], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2], stderr=subprocess.STDOUT,
    )  # fmt: skip
    status = Path(f"/proc/{process.pid}/status")
    wait_for(lambda: "T (stopped)" in status.read_text(), "the writer to be ready")
    traced = [f"--inject={each}" for each in injections]
    calls = ",".join(each.partition(":")[0] for each in injections)
    with subprocess.Popen([program("strace", "strace"), "-f", "-p", str(process.pid), "-e", f"trace={calls}", *traced],
                          stderr=subprocess.PIPE, text=True) as strace:  # fmt: skip
        wait_for(lambda: "TracerPid:\t0" not in status.read_text(), "strace")
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=30)
        trace = strace.stderr.read()
    return process.returncode, said, f"{injections[-1].split('=')[1].split(':')[0]} " in trace and "INJECTED" in trace


def stored(stamp: str) -> str:
    """Return what a run would say."""
    return f"stored   localhost/app/orders  {one_dump.PIECES} pieces  0.1 s  /orders/{stamp}.sql\n"


def one(datadir: Path, unharmed, *injections: str) -> bool:
    """Let a call fail in an empty datadir; see that nothing is harmed, and store one more there.

    Return whether there was such a call.
    """
    datadir.mkdir(mode=0o700)
    code, said, injected = fail(datadir, FIRST, *injections)
    assert code in (0, 1), said
    assert bool(said) == (code == 1), said
    assert not code or (str(datadir) in said and "; hint: " in said), said
    unharmed.said[:] = [stored(FIRST)] if code == 0 else []
    unharmed.check()
    assert one_dump.store(str(datadir), SECOND) == ""
    unharmed.said.append(stored(SECOND))
    unharmed.check()
    assert not [path for path in datadir.rglob("*") if PART.fullmatch(path.name)]
    unharmed.begin()
    return injected


@pytest.mark.parametrize(
    ("call", "before", "step"),
    [("write", (), 2), ("fsync", (), 3), ("openat", (), 5), ("mkdirat", (), 2), ("flock", (), 1), ("getdents64", (), 1),
     ("linkat", (), 1), ("unlinkat", (), 2), ("/^rename", (NO_LINKS,), 1), ("openat", (NO_LINKS,), 4)],
    ids=lambda each: each.strip("/^") if isinstance(each, str) else "no links" if each == (NO_LINKS,) else "",
)  # fmt: skip
def test_a_call_of_the_local_writer_fails(datadir, unharmed, call, before, step):
    """40, 41, 70, 82: whichever it is, a dump is whole or not there, nothing stays open, and the next is stored."""
    unharmed.no_next_run = "the writer alone is run: after each call that failed, once more"
    assert one_dump.store(str(datadir), "20200101T000000Z") == ""
    unharmed.begin()
    for turn, number in enumerate(count(1, 1 if LONG else step)):
        wanted = ERRORS if LONG else [ERRORS[turn % len(ERRORS)]]
        failed = [one(datadir / f"{number} {each}", unharmed, *before, f"{call}:error={each}:when={number}")
                  for each in wanted]  # fmt: skip
        if not any(failed):
            break
    assert turn, "no call failed"


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks(datadir, unharmed, error):
    """A dump is stored there all the same; a temporary file that is left there is nobody's to remove."""
    unharmed.no_next_run = "none failed"
    assert fail(datadir, FIRST, f"flock:error={error}") == (0, "", True)
    unharmed.said.append(stored(FIRST))


@pytest.mark.parametrize(
    ("fsync", "unlink"), [(5, 2), (7, 3), (9, 4)], ids=["the dump", "the signature", "the manifest"]
)
def test_a_disk_that_dies_in_the_commit(datadir, unharmed, fsync, unlink):
    """41: what has its name already, and cannot be taken back, is whole, and the run that failed says so."""
    unharmed.no_next_run, unharmed.killed = "the disk is dead", True  # nobody can tidy up
    code, said, _ = fail(datadir, FIRST, f"fsync:error=EIO:when={fsync}+", f"unlinkat:error=EROFS:when={unlink}+")
    assert code == 1
    assert "input/output error" in said
    assert "cannot be removed: read-only file system" in said
    (dump,) = datadir.rglob(f"{FIRST}.sql")
    assert dump.read_bytes() == one_dump.DATA * one_dump.PIECES
    unharmed.check()
    for path in dump.parent.iterdir():
        path.unlink()
