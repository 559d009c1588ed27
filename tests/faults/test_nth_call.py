"""Each system call of the local writer fails once: the first of its kind, the second, and so on until none does.

With FAULTS_LONG, which `invoke dev.faults --long` sets, each fails by EDQUOT too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from servers.process import program, served, stop, wait_for

from dbdump.catalog import PART
from faults import one_dump

ERRORS = ("ENOSPC", "EIO", *(["EDQUOT"] if os.environ.get("FAULTS_LONG") else []))
FIRST, SECOND = "20261122T203000Z", "20261122T203001Z"
NO_LINKS = "linkat:error=EPERM"  # as a file system without hard links has it


@pytest.fixture(scope="module")
def writer() -> Iterator[subprocess.Popen[str]]:
    """What stores a dump for each line that it is told: Python starts but once."""
    argv, top = [sys.executable, one_dump.__file__], Path(__file__).parents[2]
    with subprocess.Popen(argv, cwd=top, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:  # fmt: skip
        yield served(process)
        process.stdin.close()
        stop(process)


@pytest.fixture
def fail(writer) -> Callable[..., tuple[int, str, bool]]:
    """Store a dump under strace; return its exit status, what it says, and whether a call was made to fail."""

    def run(datadir: Path, stamp: str, *injections: str) -> tuple[int, str, bool]:
        print(json.dumps([str(datadir), stamp]), file=writer.stdin, flush=True)
        pid = int(writer.stdout.readline())
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: "T (stopped)" in status.read_text(), "the writer to be ready")
        traced = [f"--inject={each}" for each in injections]
        calls = ",".join(each.partition(":")[0] for each in injections)
        with subprocess.Popen([program("strace", "strace"), "-f", "-p", str(pid), "-e", f"trace={calls}", *traced],
                              stderr=subprocess.PIPE, text=True) as strace:  # fmt: skip
            wait_for(lambda: "TracerPid:\t0" not in status.read_text(), "strace")
            os.kill(pid, signal.SIGCONT)
            code, said = json.loads(writer.stdout.readline())
            trace = strace.stderr.read()
        return code, said, f"{injections[-1].split('=')[1].split(':')[0]} " in trace and "INJECTED" in trace

    return run


def stored(stamp: str) -> str:
    """Return what a run would say."""
    return f"stored   localhost/app/orders  {one_dump.PIECES} pieces  0.1 s  /orders/{stamp}.sql\n"


def one(fail, datadir: Path, unharmed, *injections: str) -> bool:
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


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("call", "before"),
    [(each, ()) for each in ("write", "fsync", "openat", "mkdirat", "flock", "getdents64", "linkat", "unlinkat")]
    + [(each, (NO_LINKS,)) for each in ("/^rename", "openat", "fsync")],
    ids=lambda each: each.strip("/^") if isinstance(each, str) else "no links" if each == (NO_LINKS,) else "",
)
def test_a_call_of_the_local_writer_fails(fail, datadir, unharmed, call, before, error):
    """40, 41, 70, 82: whichever it is, a dump is whole or not there, nothing stays open, and the next is stored."""
    unharmed.no_next_run = "the writer alone is run: after each call that failed, once more"
    assert one_dump.store(str(datadir), "20200101T000000Z") == ""
    unharmed.begin()
    for number in count(1):
        if not one(fail, datadir / str(number), unharmed, *before, f"{call}:error={error}:when={number}"):
            break
    assert number > 1, "no call failed"


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks(fail, datadir, unharmed, error):
    """A dump is stored there all the same; a temporary file that is left there is nobody's to remove."""
    unharmed.no_next_run = "none failed"
    assert fail(datadir, FIRST, f"flock:error={error}") == (0, "", True)
    unharmed.said.append(stored(FIRST))


@pytest.mark.parametrize(
    ("fsync", "unlink"), [(5, 2), (7, 3), (9, 4)], ids=["the dump", "the signature", "the manifest"]
)
def test_a_disk_that_dies_in_the_commit(fail, datadir, unharmed, fsync, unlink):
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
