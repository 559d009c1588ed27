"""One run of a recipe at a time: who comes second is told who is at it; who dies leaves nothing locked."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import pytest
from servers.process import wait_for
from support import COMMAND, by_clock, end_of, files, gone, needs_root, pid_of, processes, wait_for_bytes

# Its dumps last until the file `go` is there; its name is in the arguments of what runs.
RECIPES = """
from dbdump import *

@backend("waiting")
class Waiting(Backend):
    suffix = ".bin"
    def get_db_list(self): return ["big"]
    def get_command(self, database):
        at_work = "seq 99999; while [ ! -e {directory}/go ]; do sleep 0.1; done"
        return ["sh", "-c", f"echo +1 >>{directory}/at_work; {{at_work}}; echo -1 >>{directory}/at_work"]

@backend("daemon")
class Daemon(Backend):
    suffix = ".bin"
    def get_db_list(self): return ["d"]
    def get_command(self, database):
        daemon = "setsid -f sh -c 'touch up; exec sleep 98765.{number}' >/dev/null 2>&1 </dev/null"
        return ["sh", "-c", f"cd {directory}; rm -f up; seq 9; {{daemon}}; until [ -e up ]; do sleep 0.1; done"]

site = Site(hosts=[localhost], wrap=[], to=Directory("datadir"))

@site.recipe
def slow(host): return Dump(Waiting())

@site.recipe
def quick(host): return Dump(SQLite(path="{database}"))

@site.recipe(tags=["daemon"])
def leaves(host): return Dump(Daemon())
"""


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A directory of its own for the locks of one test."""
    path = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    return path


@pytest.fixture
def recipes(tmp_path, datadir, database):
    """Recipes of which one waits for the file `go`; whatever happens, it is there at the end."""
    directory = tmp_path / "recipes"
    directory.mkdir()
    text = RECIPES.format(directory=tmp_path, database=database, number=os.getpid())
    (directory / "all.py").write_text(text)
    yield directory
    (tmp_path / "go").touch()
    gone(f"{tmp_path}/go")


def locks(state: Path) -> list[Path]:
    """Return the files of the locks."""
    return list(state.glob("dbdump/*"))


def test_of_two_runs_one_works_and_one_says_so(recipes, started, dbdump, datadir, tmp_path, state):
    """The second ends with 75 and names the first, which goes on and stores its dump."""
    first = started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    second = dbdump("dump", "--recipe=slow")
    assert second.returncode == 75
    user = r"\S+"
    told = rf"LOCKED   localhost/slow: another run is at it: pid {first.pid} of {user}, since 20\d\d-\S+Z\n"
    assert re.match(told, second.stdout), second.stdout
    assert second.stdout.count("hint: Wait for it to end, then run this again.") == 1
    assert "0 stored, 0 skipped, 0 failed, 1 locked" in second.stdout
    (tmp_path / "go").touch()
    code, said = end_of(first)
    assert (code, said.count("stored   localhost/slow/big")) == (0, 1)
    assert len(list(datadir.rglob("*.bin"))) == 1
    assert not locks(state)
    assert dbdump("dump", "--recipe=slow").returncode == 0


def test_the_other_recipes_of_a_run_go_on(recipes, started, dbdump, datadir, tmp_path):
    """What nobody is at is dumped; a failure beside it outweighs that one was locked."""
    started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    done = dbdump("dump", "--recipe=slow", "--recipe=quick")
    assert done.returncode == 75
    assert "stored   localhost/quick/" in done.stdout
    assert "1 stored, 0 skipped, 0 failed, 1 locked" in done.stdout
    (tmp_path / "app.db").unlink()
    assert dbdump("dump", "--recipe=slow", "--recipe=quick").returncode == 1


def test_one_document_says_so_too(recipes, started, dbdump, datadir):
    """With --json the result has the status `locked`, and says who."""
    first = started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    done = dbdump("dump", "--recipe=slow", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit"]) == (75, 75)
    (result,) = told["results"]
    assert (result["status"], result["database"]) == ("locked", None)
    assert f"pid {first.pid} of " in result["message"]


def test_two_places_are_two_locks(recipes, started, dbdump, datadir, tmp_path):
    """The same recipe to another directory, and a dry run, wait for nobody."""
    started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    assert dbdump("dump", "--recipe=slow", "--dry-run").returncode == 0
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    second = started("dump", "--recipe=slow", f"--datadir={other}")
    wait_for_bytes(other)
    (tmp_path / "go").touch()
    assert end_of(second)[0] == 0


def test_who_is_killed_leaves_nothing_locked(recipes, started, dbdump, datadir, tmp_path, state):
    """60: after kill -9 the next run works at once, though the file of the lock names who has its pid now."""
    first = started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    first.send_signal(signal.SIGKILL)
    first.wait()
    (left,) = locks(state)
    assert f"pid {first.pid} of" in left.read_text()
    left.write_text(left.read_text().replace(f"pid {first.pid} ", f"pid {os.getpid()} "))
    (tmp_path / "go").touch()
    assert dbdump("dump", "--recipe=slow").returncode == 0
    assert not locks(state)


def test_who_has_just_taken_a_lock_is_not_taken_for_the_dead(recipes, started, dbdump, datadir, state, tmp_path):
    """60: until the new holder has written over what one that was killed has left, the kernel says who it is."""
    first = started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    first.send_signal(signal.SIGKILL)
    first.wait()
    (left,) = locks(state)
    with left.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = dbdump("dump", "--recipe=slow")
    assert done.returncode == 75
    assert f"another run is at it: pid {os.getpid()} of " in done.stdout
    (tmp_path / "go").touch()  # for the next run


def test_what_outlives_a_run_does_not_hold_its_lock(recipes, dbdump, state):
    """59: a daemon that a dump's command left behind has inherited nothing."""
    assert dbdump("dump", "--recipe=leaves").returncode == 0
    daemon = f"98765.{os.getpid()}"
    pid = pid_of(daemon, "sleep")
    try:
        opened = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
        assert opened
        assert not [each for each in opened if str(state) in each]
        again = dbdump("dump", "--recipe=leaves")
        assert again.returncode == 0, again.stdout
    finally:
        for each in processes(f"sleep {daemon}"):
            os.kill(each, signal.SIGKILL)


def test_a_signal_gives_the_lock_back(recipes, started, datadir, state):
    """A run that is ended removes the file of its lock."""
    first = started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    first.send_signal(signal.SIGTERM)
    assert end_of(first)[0] == 143
    assert not locks(state)


def test_only_its_user_sees_a_lock(recipes, started, dbdump, datadir, state, tmp_path):
    """Whatever the umask: 0600 in a directory of 0700."""
    before = os.umask(0)
    try:
        first = started("dump", "--recipe=slow")
        wait_for_bytes(datadir)
    finally:
        os.umask(before)
    (lock,) = locks(state)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (state, lock.parent, lock)] == [0o700, 0o700, 0o600]
    (tmp_path / "go").touch()
    assert end_of(first)[0] == 0
    assert dbdump("dump", "--recipe=slow").returncode == 0


def test_twenty_runs_at_once(recipes, dbdump, tmp_path, datadir, state):
    """Whoever comes first: at no time do two run, and nobody is told anything but who is at it."""
    (tmp_path / "go").touch()
    runs = [
        subprocess.Popen([*COMMAND, "dump", "--recipe=slow"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    said = [end_of(each, 120) for each in runs]
    assert {code for code, _ in said} <= {0, 75, 1}
    for code, text in said:
        assert code != 1 or "is there already, and differs" in text  # a second run within a second
        assert code != 75 or re.search(r"another run is at it: pid \d+ of \S+, since ", text)
    assert not locks(state)
    assert max(accumulate(map(int, (tmp_path / "at_work").read_text().split()))) == 1
    assert len(list(datadir.rglob("*.bin"))) == len(list(datadir.rglob("*.json"))) >= 1
    assert dbdump("dump", "--recipe=slow").returncode == 0


def test_one_after_another(recipes, dbdump, datadir, state, tmp_path):
    """Runs that take less than a second each get stamps of their own; a clock that was set back is not waited for."""
    for _ in range(3):
        assert dbdump("dump", "--recipe=quick").returncode == 0
    assert len({manifest.name[:16] for manifest in datadir.rglob("*.json")}) == 3
    os.utime(state / "dbdump", (time.time() + 3600,) * 2)
    began = time.monotonic()
    (tmp_path / "go").touch()
    assert dbdump("dump", "--recipe=slow").returncode == 0
    assert time.monotonic() - began < 30


def test_a_run_whose_names_are_taken(recipes, dbdump, datadir, database, tmp_path, monkeypatch):
    """84, 96: of two runs in one second, of which neither knows, the second fails, and the first one's dump stays."""

    def run(number: int) -> subprocess.CompletedProcess[str]:
        """Dump with a state of its own, as another user would."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / f"state{number}"))
        return by_clock("2026-11-22 20:30:00", "dump", "--recipe=quick", cwd=tmp_path)

    assert run(1).returncode == 0
    before = files(datadir)
    with closing(sqlite3.connect(database)) as changed:
        changed.execute("CREATE TABLE more (x)")
    done = run(2)
    assert done.returncode == 1
    assert re.search(r"FAILED   localhost/quick/app.db: write: \S+\.sqlite is there already, and differs", done.stdout)
    assert "hint: Another run began in the same second, or the clock went back; run it again." in done.stdout
    assert files(datadir) == before
    assert dbdump("dump", "--recipe=quick").returncode == 0


def run_with(environment: dict[str, str], tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Dump one small database, as cron would, with nothing in the environment but that."""
    line = [sys.executable, "-c", COMMAND[2], "dump", "--recipe=quick", *more]
    return subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_from_cron_the_state_is_in_the_home_of_the_account(recipes, tmp_path):
    """Without HOME it is where the account's home is; nothing is left there."""
    done = run_with({}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    home = Path("~").expanduser() if "HOME" not in os.environ else Path(os.environ["HOME"])
    assert not list(home.glob(".local/state/dbdump/localhost%2fquick*"))


@pytest.mark.parametrize(
    ("variables", "cause"),
    [({"XDG_STATE_HOME": "/proc/none"}, "/proc/none: no such file or directory"),
     ({"HOME": "/nonexistent/home"}, "/nonexistent/home/.local: no such file or directory"),
     ({"XDG_STATE_HOME": "/dev/null"}, "/dev/null"), ({"XDG_STATE_HOME": "/sys"}, "/sys/dbdump: ")],
)  # fmt: skip
def test_where_there_can_be_no_lock(recipes, tmp_path, datadir, variables, cause):
    """It is said in words, with what to do; nothing is dumped, and no home is made."""
    done = run_with(variables, tmp_path)
    assert done.returncode == 1
    assert f"FAILED   localhost/quick: lock: {cause}" in done.stdout
    assert "hint: Set XDG_STATE_HOME to a directory of yours" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not files(datadir)
    assert not Path("/nonexistent").exists()


@needs_root
def test_a_state_directory_on_a_disk_that_cannot_be_written(recipes, tmp_path, datadir):
    """A read-only file system is named."""
    state = tmp_path / "read-only"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", state], check=True)
    try:
        done = run_with({"XDG_STATE_HOME": str(state)}, tmp_path)
    finally:
        subprocess.run(["umount", state], check=True)
    assert f"lock: {state}/dbdump: read-only file system" in done.stdout
    assert not files(datadir)


def test_a_state_directory_of_everybody(recipes, tmp_path):
    """Where others can write, anybody could lock: it is refused."""
    state = tmp_path / "shared" / "dbdump"
    state.mkdir(parents=True)
    state.chmod(0o777)
    done = run_with({"XDG_STATE_HOME": str(state.parent)}, tmp_path)
    assert f"lock: {state}: others can write there" in done.stdout


def test_a_planted_link_is_not_followed(recipes, tmp_path, state, started, datadir, dbdump):
    """A symbolic link in place of a lock's file: what it points to stays as it is."""
    started("dump", "--recipe=slow")
    wait_for_bytes(datadir)
    (lock,) = locks(state)
    (tmp_path / "go").touch()
    wait_for(lambda: not lock.exists(), "the end of the run")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock.symlink_to(victim)
    done = dbdump("dump", "--recipe=slow")
    assert done.returncode == 1
    assert f"lock: {lock}: " in done.stdout
    assert victim.read_text() == "precious"
    lock.unlink()  # for the next run
