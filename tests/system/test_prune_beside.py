"""A prune beside who reads the same dumps on another machine: one of them waits its turn, or both say what is so."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from servers.history import put
from servers.process import wait_for
from support import end_of, files, rows, sqlite_database

# What is read back waits for the file go.N in the N-th reading, and says that it has begun.
RECIPE = """
from dbdump import *

class Waits:
    suffix, program = ".waits", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self):
        return ["sh", "-c", 'cd {reads} && n=$(ls | grep -c read); : >read.$n; '
                            'until [ -e go.$n ]; do sleep 0.05; done; cat']
    def most_bytes(self, size): return size

@recipe(localhost)
def shop(host):
    return Dump(SQLite(path={database!r}), wrap=[Waits()], keep=Keep(last=1),
                to=Remote({remote!r}, {far!r}, transport={transport!r}))
"""


class Beside:
    """A dump of a database that another one has followed, in an account of a kind; `reads` is where readings wait."""

    def __init__(self, dbdump, started, sshd, top: Path, kind: str, transport: str) -> None:
        self._run = dbdump
        self._start = started
        self.database = sqlite_database(top / "app.db", 3_000_000)
        self.content = rows(self.database)
        self.reads = top / "reads"
        self.reads.mkdir()
        self.far = sshd.accounts.directory_of(kind, f"{top.name[:40]}{kind}{transport}")
        (top / "recipes").mkdir()
        (top / "recipes" / "all.py").write_text(RECIPE.format(
            reads=self.reads, database=str(self.database), remote=sshd.remote(kind), far=str(self.far),
            transport=transport,
        ))  # fmt: skip
        assert self("dump").returncode == 0
        self.database.unlink()
        (manifest,) = self.far.rglob("2*.json")
        self.dump = manifest.with_suffix("")
        self.at = f"--at={manifest.name.split('.')[0]}"
        sshd.accounts.own("root", self.far)
        put(self.far, "app.db", timedelta(seconds=-1), size=self.dump.stat().st_size)
        sshd.accounts.own(kind, self.far)

    def __call__(self, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run a task."""
        return self._run(*words, **more)

    def prune_elsewhere(self) -> None:
        """Prune, as another user or another machine does, who has locks of its own; the dump is gone then."""
        done = self("prune", env={"XDG_STATE_HOME": str(self.reads / "state")})
        assert done.returncode == 0, done.stdout
        assert not self.dump.exists()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a task, and wait until it reads for the first time."""
        running = self._start(*words)
        self.reading(0)
        return running

    def reading(self, number: int) -> None:
        """Wait until a reading has begun."""
        wait_for((self.reads / f"read.{number}").exists, f"reading {number}")

    def go(self, *numbers: int) -> None:
        """Let readings go on."""
        for number in numbers:
            (self.reads / f"go.{number}").touch()


@pytest.fixture
def beside(dbdump, started, sshd, tmp_path):
    """Make one in an account of a kind, by a transport."""
    made = []

    def make(kind: str, transport: str) -> Beside:
        made.append(Beside(dbdump, started, sshd, tmp_path, kind, transport))
        return made[-1]

    yield make
    for each in made:
        each.go(*range(9))
        shutil.rmtree(each.far)


@pytest.mark.parametrize(
    ("kind", "transport", "task"),
    [("dash", "fabric", "restore"), ("dash", "openssh", "restore"), ("dash", "fabric", "verify"),
     ("sftp", "fabric", "restore"), ("sftp", "openssh", "verify"), ("busybox", "fabric", "verify")],
)  # fmt: skip
def test_a_prune_waits_its_turn(beside, kind, transport, task, tmp_path, monkeypatch):
    """In the first reading, and in the second, it says that somebody is there, and takes nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = beside(kind, transport)
    words = ["verify", "--all"] if task == "verify" else ["restore", place.at, "--yes"]
    running = place.start(*words, "--database=app.db")
    before = {name: data for name, data in files(place.far).items() if not name.endswith(".part")}  # of a record
    for reading in (0,) if task == "verify" else (0, 1):
        place.reading(reading)
        done = place("prune")
        assert done.returncode == 75, done.stdout
        assert "LOCKED   localhost/shop: " in done.stdout
        assert "a dump, verify, restore or prune is at work there" in done.stdout
        assert kind == "dash" or f"at work there: pid {running.pid} of " in done.stdout
        place.go(reading)
    code, said = end_of(running)
    assert code == 0, said
    assert {name: data for name, data in files(place.far).items() if name in before} == before
    if task == "restore":
        assert rows(place.database) == place.content
    assert place("prune").returncode == 0
    assert not place.dump.exists()
    assert not files(tmp_path / "state")


def test_over_sftp_alone_no_lock_here_is_no_reason_not_to_read(beside):
    """Where this user can have none, a restore goes on without; a run, and a prune, need one."""
    place = beside("sftp", "fabric")
    place.go(0, 1)
    env = {"XDG_STATE_HOME": "/proc/none"}
    done = place("restore", place.at, "--yes", "--database=app.db", env=env)
    assert done.returncode == 0, done.stdout
    done = place("prune", env=env)
    assert (done.returncode, done.stdout.count("lock: /proc/none: no such file")) == (1, 1), done.stdout


@pytest.mark.parametrize("reading", [0, 1])
def test_over_sftp_alone_a_restore_is_whole_or_nothing(beside, reading):
    """Of others there are no locks: what is being read is read to its end, what goes between the readings is told."""
    place = beside("sftp", "fabric")
    running = place.start("restore", place.at, "--yes", "--database=app.db")
    place.go(*range(reading))
    place.reading(reading)
    place.prune_elsewhere()
    place.go(reading, reading + 1)
    code, said = end_of(running)
    if code == 0 and reading == 1:  # it was open by then
        assert rows(place.database) == place.content
        return
    assert code == 4, said
    assert "gone since it was listed" in said
    assert "hint: Somebody removed it, perhaps a prune" in said
    assert "nothing was touched" in said or f"left: nothing of {place.database}" in said
    assert not place.database.exists()


def test_over_sftp_alone_a_verify_says_what_it_read(beside):
    """It was good when it was read, and what is left is good; nothing is noted of what is gone."""
    place = beside("sftp", "fabric")
    running = place.start("verify", "--all", "--database=app.db")
    place.prune_elsewhere()
    place.go(0)
    code, said = end_of(running)
    assert code in (0, 1), said
    assert "bad" not in said.replace("0 bad", "")
    assert f"{place.dump.name} is gone" in said
    assert not Path(f"{place.dump}.verified").exists()
    listed = place("list")
    assert (listed.returncode, listed.stdout.count("localhost/shop/app.db")) == (0, 1), listed.stdout
    assert place("verify").returncode == 0
