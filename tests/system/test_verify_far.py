"""Verify over the network: what was stored on another machine is read back from there, over either transport."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from servers.process import wait_for
from servers.relay import Relay
from support import end_of, sqlite_database

RECIPE = """
from dbdump import *
@recipe(localhost)
def app(host):
    return Dump(SQLite(path={database!r}), wrap=[{wrap}],
                to=Remote({remote!r}, {path!r}, transport={transport!r}))
"""
SEALED = 'Zstd(), GPG(sign="signer@example.org", encrypt=["ops@example.org"])'


class Vault:
    """A recipe whose dumps go to an account of one kind, and what is stored there."""

    def __init__(self, run, start, accounts, gnupg, top: Path, kind: str, transport: str) -> None:
        self._run = run
        self._start = start
        self._recipes = top / "recipes"
        self._recipes.mkdir()
        self._transport = transport
        self._home = gnupg
        self.top = top
        self.path = accounts.home(kind) / "dumps" / top.name
        self.path.mkdir(mode=0o700)
        self.owner = accounts.uids[kind]
        os.chown(self.path, self.owner, self.owner)

    def recipe(self, remote: str, wrap: str = SEALED) -> None:
        """Write the recipe."""
        (self._recipes / "site.py").write_text(RECIPE.format(
            database=str(self.top / "*.db"), wrap=wrap, remote=remote, path=str(self.path), transport=self._transport,
        ))  # fmt: skip

    def __call__(self, task: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run a task."""
        return self._run(task, f"--recipes={self._recipes}", *flags, env={"GNUPGHOME": str(self._home.home)})

    def start(self, task: str) -> subprocess.Popen[str]:
        """Start a task."""
        return self._start(task, f"--recipes={self._recipes}")

    def file(self, database: str = "app.db", end: str = ".gpg") -> Path:
        """Return the newest dump of a database."""
        return max((self.path / "localhost" / "app" / database).glob(f"2*{end}"))


@pytest.fixture(params=["fabric", "openssh"])
def transport(request) -> str:
    """Either transport."""
    return request.param


@pytest.fixture
def vault(dbdump, started, accounts, gnupg, tmp_path, transport, request) -> Vault:
    """Dumps of an account of the kind that the test asks for, or of one with a shell."""
    kind = getattr(request, "param", "dash")
    return Vault(dbdump, started, accounts, gnupg, tmp_path, kind, transport)


@pytest.mark.parametrize("vault", ["dash", "sftp"], indirect=True)
def test_what_is_good_is_noted_there(vault, sshd, request):
    """Each dump is read to its end from there, and what was found is in a file of the account's beside it."""
    sqlite_database(vault.top / "app.db", 300_000)
    sqlite_database(vault.top / "other.db", 1000)
    vault.recipe(sshd.remote(request.node.callspec.params["vault"]))
    assert vault("dump").returncode == 0
    done = vault("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  structure  ") == 2
    assert "not noted" not in done.stdout
    assert vault.file(end=".verified").stat().st_uid == vault.owner
    assert vault("list").stdout.count("verified structure") == 2


@pytest.fixture
def behind_a_relay(vault, relay):
    """A dump of some megabytes behind a relay, and the relay."""
    between, sshd = relay
    sqlite_database(vault.top / "app.db", 12_000_000)
    vault.recipe(sshd.remote("dash"), wrap="")
    assert vault("dump").returncode == 0
    return vault, between


def cut_in_the_middle(relay: Relay, again: int | None = None) -> None:
    """Wait until a relay has frozen, and cut what goes through it; it is to freeze `again` when so much more came."""
    wait_for(lambda: relay.frozen, "some of it to come")
    relay.cut()
    if again:
        relay.freeze_after(again)
    relay.thaw()


@pytest.mark.parametrize(("vault", "transport"), [("dash", "fabric"), ("sftp", "fabric")], indirect=True)
def test_a_file_that_cannot_be_read(vault, sshd, request):
    """That is said of reading, and is no verdict on the dump; nor is a place that is not there."""
    sqlite_database(vault.top / "app.db", 1000)
    vault.recipe(sshd.remote(request.node.callspec.params["vault"]), "Zstd()")
    assert vault("dump").returncode == 0
    file = vault.file(end=".zst")
    file.chmod(0)
    done = vault("verify")
    assert done.returncode == 1, done.stdout
    assert f"FAILED   localhost/app/app.db: {file.name[:16]}: read: " in done.stdout
    assert "permission denied" in done.stdout.lower()
    vault.path.rename(vault.path.with_name("elsewhere"))
    done = vault("verify")
    assert done.returncode == 1, done.stdout
    assert "FAILED   localhost/app: read: " in done.stdout


def test_a_connection_that_is_lost_in_the_middle(behind_a_relay):
    """It is read from its beginning once more, and that is said."""
    vault, relay = behind_a_relay
    relay.freeze_after(3_000_000)
    process = vault.start("verify")
    cut_in_the_middle(relay)
    code, said = end_of(process)
    assert code == 0, said
    assert "; once more" in said
    assert "good     localhost/app/app.db" in said


def test_a_connection_that_is_lost_again(behind_a_relay):
    """Then it could not be looked at: no verdict, exit 1, and nothing is noted."""
    vault, relay = behind_a_relay
    relay.freeze_after(3_000_000)
    process = vault.start("verify")
    cut_in_the_middle(relay, again=3_000_000)
    cut_in_the_middle(relay)
    code, said = end_of(process)
    assert code == 1, said
    assert "FAILED   localhost/app/app.db: " in said
    assert "connection lost" in said
    assert not list(vault.path.rglob("*.verified"))


def test_ended_while_it_is_read(behind_a_relay):
    """TERM ends it at once."""
    vault, relay = behind_a_relay
    relay.delay = 0.03
    before = relay.passed
    process = vault.start("verify")
    wait_for(lambda: relay.passed > before + 2_000_000, "some of it to come")
    process.send_signal(signal.SIGTERM)
    code, said = end_of(process)
    assert code == 128 + signal.SIGTERM, said
    assert not list(vault.path.rglob("*.verified"))


def test_several_databases_at_once(vault, sshd):
    """With --jobs=4 four are read at the same time, each to its own line."""
    for index in range(8):
        with closing(sqlite3.connect(vault.top / f"d{index}.db")) as database:
            database.execute("CREATE TABLE t (x)")
            database.commit()
    vault.recipe(sshd.remote("dash"))
    assert vault("dump").returncode == 0
    done = vault("verify", "--jobs=4")
    assert done.returncode == 0, done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("good")} == {
        f"localhost/app/d{index}.db" for index in range(8)
    }
    assert "8 good, 0 bad" in done.stdout


def test_a_machine_that_cannot_be_reached(vault, sshd, tmp_path):
    """No verdict: exit 1, and that it is the connection is said."""
    sqlite_database(vault.top / "app.db", 1000)
    vault.recipe("-p 1 nobody@127.0.0.1")
    done = vault("verify")
    assert done.returncode == 1
    assert "FAILED   localhost/app: connect: " in done.stdout
    assert "hint: " in done.stdout
