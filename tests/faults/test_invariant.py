"""The invariant finds each thing that it looks for."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from servers.process import wait_for
from support import processes

from dbdump.catalog import DumpName
from dbdump.testing import manifest_of
from faults.around import Around
from faults.invariant import Unharmed
from faults.running import running

SECONDS = f"{os.getpid()}.5"  # for a sleep of ours that no other test has
STAMP = "20261122T203000Z"


@pytest.fixture
def looked_at(unharmed, dbdump, said, tmp_path) -> Unharmed:
    """The invariant over a directory with an old dump and a new one that is reported; it does not wait."""
    unharmed.no_next_run = "it is the invariant that is tested"
    top = tmp_path / "looked at"
    place = top / "localhost" / "app" / "orders"
    place.mkdir(parents=True)
    (place / "20200101T000000Z.sql").write_bytes(b"old")
    made = Unharmed(dbdump, [top], said, no_next_run="as above")
    made.begin()
    name = DumpName("localhost", "app", "orders", STAMP, ".sql")
    for file, content in ((name.file, b"data"), (name.manifest_file, manifest_of(name, b"data").to_json())):
        (place / file).write_bytes(content)
    made.said.append(f"stored   localhost/app/orders  4 bytes  0.1 s  {place}/{name.file}\n")
    made.end()
    made.patience = 0.1
    return made


def of(looked_at: Unharmed, ending: str) -> Path:
    """Return the file whose name ends so."""
    return next(looked_at.directories[0].rglob(f"*{ending}"))


@contextmanager
def sleeping(*argv: str):
    """Run a command that starts a sleep; at the end, end that."""
    process = subprocess.Popen([*argv], start_new_session=True)
    found: list[int] = []
    try:
        wait_for(lambda: found.extend(processes(f"sleep {SECONDS}")) or found, "the sleep")
        yield
    finally:
        for pid in running():
            if pid in processes(SECONDS):
                os.kill(pid, 9)
        process.wait()


@pytest.mark.parametrize(
    "argv",
    [
        ["sleep", SECONDS],
        ["sh", "-c", f"setsid sleep {SECONDS} & exit"],
        [sys.executable, "-c", f"import os\nif not os.fork():\n os.setsid(); os.execlp('sleep', 'sleep', '{SECONDS}')"],
    ],
    ids=["a child", "an orphan", "an orphan of a session of its own"],
)
def test_a_process_that_is_left(looked_at, argv):
    """Ours are found, wherever they went."""
    with sleeping(*argv), pytest.raises(AssertionError, match="there still runs"):
        looked_at.end()


def test_a_session_of_sshd(looked_at, sshd):
    """A process of sshd's that serves somebody is found, whoever the client is; sshd itself is not."""
    with socket.create_connection((sshd.address, sshd.port)) as client:
        assert client.recv(4) == b"SSH-"
        with pytest.raises(AssertionError, match="sshd: "):
            looked_at.end()
    looked_at.patience = 20  # as below
    looked_at.end()


def test_a_backend_of_postgresql(looked_at, postgres):
    """So is a backend that has a client, and none that works for the server."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(f"{postgres.host}/.s.PGSQL.5432")
        hello = struct.pack("!I", 196608) + b"user\0postgres\0\0"  # protocol 3.0
        client.sendall(struct.pack("!I", len(hello) + 4) + hello)
        assert client.recv(1) == b"R"
        with pytest.raises(AssertionError, match="postgres: postgres postgres"):
            looked_at.end()
    looked_at.patience = 20  # it has to see that its client is gone
    looked_at.end()


def test_a_connection_of_mariadb(looked_at, mariadb):
    """So is a connection that is no process."""
    looked_at.clients.append(mariadb.clients)
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(mariadb.socket)
        assert client.recv(4)
        with pytest.raises(AssertionError, match="the end of connections"):
            looked_at.end()
    looked_at.patience = 20
    looked_at.end()


def test_a_descriptor_that_is_left_open(looked_at):
    """One more than there was at the beginning."""
    with socket.socket(), pytest.raises(AssertionError, match=r"left open: .*socket"):
        looked_at.end()


def test_an_old_dump_that_was_changed(looked_at):
    """One byte is enough."""
    of(looked_at, "20200101T000000Z.sql").write_bytes(b"odd")
    with pytest.raises(AssertionError, match=r"20200101T000000Z\.sql was changed"):
        looked_at.end()


def test_an_old_dump_that_is_gone(looked_at):
    """Nobody may remove one."""
    of(looked_at, "20200101T000000Z.sql").unlink()
    with pytest.raises(AssertionError, match=r"20200101T000000Z\.sql is gone"):
        looked_at.end()


def test_a_final_name_without_a_manifest(looked_at):
    """It is no dump, unless dbdump was killed just then, and then list says so."""
    of(looked_at, f"{STAMP}.sql.json").unlink()
    with pytest.raises(AssertionError, match="has no manifest"):
        looked_at.end()
    looked_at.killed = True
    with pytest.raises(AssertionError, match="nobody can tell"):
        looked_at.end()


def test_a_manifest_of_nothing(looked_at):
    """Nor is a manifest alone."""
    of(looked_at, f"{STAMP}.sql").unlink()
    looked_at.killed = True
    with pytest.raises(AssertionError, match="is of nothing"):
        looked_at.end()


@pytest.mark.parametrize("content", [b"dat", b"date", b""])
def test_a_manifest_that_is_not_true(looked_at, content):
    """Of another size, or of another SHA-256, even where dbdump was killed."""
    of(looked_at, f"{STAMP}.sql").write_bytes(content)
    looked_at.killed = True
    with pytest.raises(AssertionError, match=STAMP):
        looked_at.end()


@pytest.mark.parametrize(
    "line", ["", "stored   localhost/app/orders  4 bytes  0.1 s  /d/orders/20200101T000000Z.sql\n"]
)
def test_a_dump_that_nobody_reported(looked_at, line):
    """That an earlier run stored one of that database is no report of this one."""
    looked_at.said[:] = [line]
    with pytest.raises(AssertionError, match="no run said that"):
        looked_at.end()


def test_a_name_that_is_none(looked_at):
    """Of hidden files there are only temporary ones."""
    (looked_at.directories[0] / ".odd").touch()
    with pytest.raises(AssertionError, match="odd"):
        looked_at.end()


def test_a_temporary_file_that_list_does_not_show(looked_at, database):
    """One that is shown is reported; one where list does not look is not."""
    place = of(looked_at, f"{STAMP}.sql").parent
    flags = ["--backend=sqlite", f"--option=path={database}", f"--datadir={looked_at.directories[0]}"]
    recipe = place.parent.parent / "sqlite"
    place.parent.rename(recipe)  # as flags alone call it
    looked_at.begin()
    looked_at.patience = 20  # for what a run leaves to the kernel
    (recipe / "orders" / f".{STAMP}.sql.0123abcd.part").touch()
    looked_at.again("dump", *flags)
    looked_at.end()
    (recipe / f".{STAMP}.sql.0123abcd.part").touch()
    with pytest.raises(AssertionError, match="list says nothing of"):
        looked_at.end()


def test_no_next_run(looked_at):
    """A test tries one, or says why there is none; and it works."""
    looked_at.no_next_run = ""
    with pytest.raises(AssertionError, match="tries no next run"):
        looked_at.end()
    with pytest.raises(AssertionError, match="/nonexistent"):
        looked_at.again("dump", "--recipes=/nonexistent")


@pytest.mark.parametrize(
    "line",
    ["FAILED   localhost/app/orders: write: cannot be removed: {}", "notice   localhost/app/orders: {}",
     '{{"command": "dump", "results": [{{"status": "failed", "host": "localhost", "recipe": "app", '
     '"database": "orders", "message": "write: {}"}}]}}',
     '{{"command": "list", "results": [{{"status": "stored", "host": "localhost", "recipe": "app", '
     '"database": "orders", "message": "{}"}}]}}'],
    ids=["a failure", "a notice", "a failure in a document", "another document"],
)  # fmt: skip
def test_a_dump_that_is_only_mentioned(looked_at, line):
    """Who names the file does not say that it is stored."""
    looked_at.said[:] = [line.format(of(looked_at, f"{STAMP}.sql"))]
    with pytest.raises(AssertionError, match="no run said that"):
        looked_at.end()


@pytest.mark.parametrize(
    "line",
    ["FAILED   localhost/app/orders: cleanup: no; the dump itself is stored: {}",
     '{{"command": "dump", "results": [{{"status": "stored", "host": "localhost", "recipe": "app", '
     '"database": "orders", "message": "{}"}}]}}\nnotice   of stderr'],
    ids=["its cleaning up failed", "in a document"],
)  # fmt: skip
def test_a_dump_that_is_reported_otherwise(looked_at, line):
    """A failure after it, and a document, can say so too."""
    looked_at.said[:] = [line.format(of(looked_at, f"{STAMP}.sql"))]
    looked_at.end()


def test_what_is_left_in_tmpdir(looked_at):
    """A copy of a database, say."""
    left = Path(os.environ["TMPDIR"], "dbdump-copy")
    left.touch()
    with pytest.raises(AssertionError, match="left in TMPDIR"):
        looked_at.end()
    left.unlink()


def test_around_a_run(looked_at):
    """Between two runs a test may do what it likes; what happens during one is its own."""
    (top,) = looked_at.directories
    new = of(looked_at, f"{STAMP}.sql")
    stored, manifest = new.read_bytes(), Path(f"{new}.json").read_bytes()
    around = Around(looked_at.run, [top], [])
    since = around.begin()
    (top / "what a test has made").touch()
    around.ran(0, "", since)
    new.write_bytes(b"odd")
    with pytest.raises(AssertionError, match="was changed"):
        around.ran(0, "", since)
    new.unlink()
    Path(f"{new}.json").unlink()
    with pytest.raises(AssertionError, match="is gone"):
        around.ran(0, "", since)
    around.ran(0, "1 pruned, 0 kept; 4 bytes", since)
    since = around.begin()
    new.write_bytes(stored)
    Path(f"{new}.json").write_bytes(manifest)
    with pytest.raises(AssertionError, match="no run said that"):
        around.ran(0, "", since)
    around.ran(1, "\n".join(looked_at.said), since)


def test_a_part_that_nobody_mentions(looked_at, database):
    """The run itself says of it, or `list` does when the run has ended; or it has gone by the end of the test."""
    (top,) = looked_at.directories
    part = of(looked_at, f"{STAMP}.sql").with_name(f".{STAMP}.sql.0123abcd.part")
    flags = ["--backend=sqlite", f"--option=path={database}", f"--datadir={top}"]
    around = Around(looked_at.run, [top], [])
    since = around.begin()
    part.touch()
    around.ran(-9, "", since, "dump", *flags)
    with pytest.raises(AssertionError, match="nobody said"):
        around.left()
    around.said.append(f"notice   removed {part}")
    around.left()
    around.said.clear()
    part.unlink()
    around.left()
