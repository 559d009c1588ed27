"""Signals to dbdump itself, in every stage, and what it is as process 1 of a container (FAULTS, part B)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import program, wait_for
from support import COMMAND, end_of, needs_root

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.testing import store
from faults.running import processes

# Each of its stages waits, where AT names it, until the file `go` is there.
_STAGED = """
import os, time
from pathlib import Path
TOP = Path({top!r})

def at(stage):
    if os.environ.get("AT") == stage:
        (TOP / "at").touch()
        while not (TOP / "go").exists():
            time.sleep(.02)

at("import")

@backend("staged")
class Staged(Backend):
    def prepare(self): at("prepare")
    def get_db_list(self):
        at("list")
        return ["one"]
    def prepare_db(self, database): at("prepare_db")
    def get_command(self, database):
        wait = f"touch {{TOP}}/at; until [ -e {{TOP}}/go ]; do echo .; sleep .02; done; "
        return ["sh", "-c", (wait if os.environ.get("AT") == "command" else "") + "echo dumped"]
    def shape_of(self, database):
        at("decide")
        return super().shape_of(database)
    def cleanup_db(self, database): at("cleanup_db")
    def cleanup(self): at("cleanup")

@recipe(localhost)
def app(host): return Dump(Staged(check_stream=True), wrap=[], to=Directory({datadir!r}),
                           stall_timeout=float(os.environ.get("STALL", 60)))
"""
OLD = DumpName("localhost", "app", "one", "20200101T000000Z", ".dump")
STALL = 2.0  # seconds
STAGES = ("prepare", "list", "prepare_db", "command", "decide", "cleanup_db", "cleanup")


@pytest.fixture
def flags(tmp_path, datadir):
    """The flags that dump one database, whose stages can be made to wait."""
    text = _STAGED.format(top=str(tmp_path), datadir=str(datadir))
    return ["dump", f"--recipes={recipe_file(tmp_path, text)}"]


def sleeps(process: subprocess.Popen[str]) -> int:
    """Return how often the main thread of a process has gone to sleep, or has waited for something."""
    told = Path(f"/proc/{process.pid}/task/{process.pid}/status").read_text()
    return int(told.rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])


def looks_up(process: subprocess.Popen[str], times: int = 5) -> None:
    """Wait until a run has seen the signals that it was sent, and has begun to end what it does.

    It looks for them when it wakes up, ten times a second; it is by these that we count, since a machine that is busy
    has it sleep for longer.
    """
    since = sleeps(process)
    wait_for(lambda: process.poll() is not None or sleeps(process) > since + times, "it to look for signals")


@pytest.mark.parametrize(
    ("stage", "number"),
    [*((each, signal.SIGTERM) for each in STAGES), ("import", signal.SIGINT), ("list", signal.SIGINT)],
)
def test_ended_twice_in_every_stage(
    flags, dbdump, datadir, started, unharmed, said, tmp_path, monkeypatch, stage, number
):
    """49, 50: no traceback, exit 128 + n; what has its name is whole and was told, and what has not is gone."""
    store(Directory(str(datadir)), OLD, b"old")
    unharmed.begin()
    monkeypatch.setenv("AT", stage)
    process = started(*flags)
    wait_for((tmp_path / "at").exists, stage)
    process.send_signal(number)
    process.send_signal(number)
    looks_up(process)
    (tmp_path / "go").touch()
    code, out = end_of(process)
    said.append(out)
    assert code == 128 + number
    stored = stage in ("decide", "cleanup_db", "cleanup")  # what is whole is committed
    assert ("stored   localhost/app/one" in out) == stored
    assert ("FAILED   localhost/app" in out) == (not stored and stage != "import")
    assert len([path for path in datadir.rglob("*") if path.is_file()]) == (4 if stored else 2)
    unharmed.check()
    monkeypatch.delenv("AT")
    unharmed.again(*flags)


@pytest.mark.parametrize(
    ("call", "when", "begun"),
    [("fsync", 1, ".*.dump.*.part"), ("linkat", 1, ".*.dump.*.part"), ("fsync", 2, "2*.dump"),
     ("fsync", 3, ".*.json.*.part"), ("linkat", 2, ".*.json.*.part")],
)  # fmt: skip
def test_ended_twice_while_it_commits(
    flags, started, unharmed, said, datadir, tmp_path, monkeypatch, call, when, begun
):
    """50: between two calls of a commit: it is done to its end, or taken back, and its line is true."""
    store(Directory(str(datadir)), OLD, b"old")
    unharmed.begin()
    place = datadir / "localhost" / "app" / "one"
    before = set(place.iterdir())
    monkeypatch.setenv("AT", "decide")  # what is before the commit
    process = started(*flags)
    wait_for((tmp_path / "at").exists, "the commit to be near")
    trace = tmp_path / "trace"
    inject = ["-f", "-qq", "-o", str(trace), "-e", f"trace={call}",
              "-e", f"inject={call}:delay_enter=60000000:when={when}"]  # fmt: skip
    with subprocess.Popen([program("strace", "strace"), *inject, "-p", str(process.pid)]) as strace:
        try:
            wait_for(lambda: is_traced(process), "strace")
            (tmp_path / "go").touch()
            wait_for(lambda: trace.read_text().count(f"{call}(") == when, "the commit")
            assert set(place.glob(begun)) - before
            for _ in range(2):
                process.send_signal(signal.SIGTERM)
            looks_up(process, 50)  # each time that strace stops it counts, too
        finally:
            strace.terminate()  # with which the call goes on
    code, out = end_of(process)
    said.append(out)
    assert code == 128 + signal.SIGTERM
    stored = "stored   localhost/app/one" in out
    assert len(set(place.iterdir()) - before) == (2 if stored else 0)
    unharmed.check()
    monkeypatch.delenv("AT")
    unharmed.again(*flags)


def is_traced(process: subprocess.Popen[str]) -> bool:
    """Whether all threads of a process have a tracer."""
    return not any(
        "\nTracerPid:\t0\n" in Path(each, "status").read_text() for each in Path(f"/proc/{process.pid}/task").iterdir()
    )


@pytest.mark.parametrize("all_of_it", [False, True])
def test_stopped_and_continued(flags, unharmed, said, started, tmp_path, monkeypatch, all_of_it):
    """53: it stood still for longer than a stall may last, as a laptop that sleeps: it goes on where it was.

    So it does where what it started stood still as well, and gives it nothing to read as it comes back.
    """
    monkeypatch.setenv("AT", "command")
    monkeypatch.setenv("STALL", str(STALL))
    process = started(*flags)
    wait_for((tmp_path / "at").exists, "the dump to begin")
    (script,) = {each.group for each in processes().values() if each.parent == process.pid}
    if all_of_it:
        os.killpg(script, signal.SIGSTOP)
        time.sleep(0.1)  # for all that it has written to be read
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    time.sleep(STALL + 0.5)
    process.send_signal(signal.SIGCONT)
    if all_of_it:
        time.sleep(0.1)
        os.killpg(script, signal.SIGCONT)
    code, out = end_of(process)
    said.append(out)
    assert code == 0, out
    unharmed.check()
    monkeypatch.delenv("AT")
    monkeypatch.delenv("STALL")
    unharmed.again(*flags)


_COUNTS = """
@backend("counts")
class Counts(Backend):
    def get_db_list(self): return list("abcdef")
    def get_command(self, database):
        dead = "echo dead processes: $(grep -lsE '^State:.Z' /proc/[0-9]*/status | wc -l); [ $1 != c ] || kill -9 $$"
        return ["sh", "-c", dead, "sh", database]

@recipe(localhost)
def app(host): return Dump(Counts(), wrap=[Gzip()], to=Directory({datadir!r}))
"""


@needs_root
def test_as_the_first_process(dbdump, datadir, unharmed, said, tmp_path):
    """54: as process 1 of a container it has nobody to wait for its children: no dump sees a dead one."""
    flags = ["dump", f"--recipes={recipe_file(tmp_path, _COUNTS.format(datadir=str(datadir)))}", "--jobs=1"]
    done = subprocess.run([program("unshare", "util-linux"), "-pf", "--mount-proc", *COMMAND, *flags], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    said.append(done.stdout)
    assert done.returncode == 1
    assert "FAILED   localhost/app/c: sh: killed by SIGKILL" in done.stdout
    dumps = sorted(datadir.rglob("*.gz"))
    assert len(dumps) == 5, done.stdout
    for path in dumps:
        assert (
            subprocess.run(["gzip", "-dc", path], capture_output=True, check=True).stdout == b"dead processes: 0\n"
        ), path
    unharmed.check()
    unharmed.again(*flags, "--database=[!c]")
