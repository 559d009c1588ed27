"""The remote writer on real accounts of every kind, over both transports."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import rows

from dbdump import Directory, Remote
from dbdump.errors import ConnectError, WriteError
from dbdump.host import LocalShell
from dbdump.links import Links, Reach
from dbdump.stored import read_listing
from dbdump.testing import WriterContract, dump_name, manifest_of, store
from dbdump.writers.far import ShellSession, sha256_of
from dbdump.writers.sftp import SFTPSession

TRANSPORTS = ("fabric", "openssh")
ACCOUNTS = ("bash", "dash", "fish", "tcsh", "rbash", "chatty", "slow", "busybox", "bare", "sftp", "chroot", "nologin")


class OnAccount(WriterContract):
    """A directory of an account of one kind."""

    kind = "dash"
    transport = "fabric"

    @pytest.fixture(autouse=True)
    def _server(self, sshd):
        self.sshd = sshd

    def make(self, directory: Path):
        below = self.sshd.accounts.home(self.kind) / "dumps" / f"{directory.name}{self.transport}"
        below.mkdir(mode=0o700, exist_ok=True)
        uid = self.sshd.accounts.uids[self.kind]
        os.chown(below, uid, uid)
        return Remote(self.sshd.remote(self.kind), str(below), transport=self.transport)


class TestFabric(OnAccount):
    """Over fabric."""


class TestOpenSSH(OnAccount):
    """Over OpenSSH."""

    transport = "openssh"


class TestOnHost(OnAccount):
    """A directory of the dump's own host."""

    @contextmanager
    def made(self, directory: Path):
        path = Path(self.make(directory).path)
        with closing(Links()) as links:
            host = links.shell(self.sshd.remote(self.kind), self.transport)
            yield Directory(str(path), on="host").bound(Reach(links, host, LocalShell(), 20.0))


class TestOnHostOverOpenSSH(TestOnHost):
    """A directory of the dump's own host, over OpenSSH."""

    transport = "openssh"


class TestSFTPOverFabric(OnAccount):
    """An account for SFTP only, over fabric."""

    kind = "sftp"


class TestSFTPOverOpenSSH(OnAccount):
    """An account for SFTP only, over OpenSSH."""

    kind = "sftp"
    transport = "openssh"


class TestBusybox(OnAccount):
    """A machine that has busybox and nothing else."""

    kind = "busybox"  # without flock


class TestNoSHA256(OnAccount):
    """A machine where no program computes a SHA-256: the bytes are read back."""

    kind = "bare"

    def test_the_same_commit_twice_is_one(self, tmp_path: Path) -> None:
        """There, what is stored already cannot be compared: it is refused."""
        with self.made(tmp_path) as to:
            store(to, dump_name(), b"same")
            with pytest.raises(WriteError, match="is there already"):
                store(to, dump_name(), b"same")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ACCOUNTS)
def test_a_dump_goes_to_any_account(sshd, reach, kind, transport):
    """Whatever the shell, if any, and whatever it prints, every byte is stored, and readable by its owner only."""
    name, data = dump_name("any"), os.urandom(3_000_001)
    path = sshd.accounts.home(kind) / "dumps" / transport
    path.mkdir(mode=0o700)
    os.chown(path, sshd.accounts.uids[kind], -1)
    to = Remote(sshd.remote(kind), f"dumps/{transport}", transport=transport).bound(reach)
    store(to, name, data)
    file = path.joinpath(*name.directory, name.file)
    assert file.read_bytes() == data
    assert [each.name for each in read_listing("db1", "shop", to.entries("db1", "shop")).dumps] == [name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert sorted(os.listdir(file.parent)) == [name.file, name.manifest_file]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_forced_command_is_told_in_words(accounts, own_sshd, dbdump, database, tmp_path, transport):
    """78: a key that runs something else, which exits 0, is an error that says so, and not a stored dump."""
    server, path = own_sshd(), accounts.directory_of("forced", tmp_path.name)
    remote = server.remote("forced", "-o", "ConnectTimeout=2")
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def app(host):
            to = Remote({remote!r}, {str(path)!r}, transport={transport!r})
            return Dump(SQLite(path={str(database)!r}), to=to)
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 1, done.stdout
    (line,) = {line for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert re.match("FAILED   localhost/app.*: connect: .* said nothing for 8 s", line)
    assert "forced command" in done.stdout.partition("hint: ")[2]
    assert not list(path.iterdir())
    keys = server.directory / "keys" / accounts.user("forced")
    keys.write_text((accounts.directory / "client_key.pub").read_text())  # for the next run


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_start_up_file_that_never_ends_is_told_in_words(sshd, reach, transport):
    """Who prints and prints is not taken for a connection that was lost."""
    file = sshd.accounts.home("slow") / ".bashrc"
    before = file.read_text()
    file.write_text("yes\n")
    try:
        with pytest.raises(ConnectError, match="its login shell printed more than 1048576 bytes"):
            Remote(sshd.remote("slow"), "dumps", transport=transport).bound(reach).open(dump_name())
    finally:
        file.write_text(before)


@pytest.mark.parametrize("kind", ["fish", "sftp"])
@pytest.mark.parametrize("path", ["a b", "$(touch x)", "q'\"`;*", "-v", "~tilde", "back\\slash", "é", "#1", "[x]"])
def test_any_path_is_only_a_path(sshd, reach, kind, path):
    """What looks like code, options or globs in the path of a directory is none."""
    there = sshd.accounts.home(kind) / "dumps" / "odd" / path
    there.mkdir(parents=True, mode=0o700)
    subprocess.run(["chown", "-R", sshd.accounts.user(kind), there.parents[0]], check=True)
    to = Remote(sshd.remote(kind), f"dumps/odd/{path}").bound(reach)
    name = dump_name()
    store(to, name, b"whole")
    assert there.joinpath(*name.directory, name.file).read_bytes() == b"whole"
    shown = subprocess.run(to.source(name), capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert shown.stdout == b"whole"


def test_a_path_beginning_with_a_dash_or_missing(sshd, reach):
    """A root is a path, whatever it begins with; one that is missing is not made."""
    with pytest.raises(WriteError, match="No such file") as caught:
        Remote(sshd.remote("bash"), "-missing").bound(reach).open(dump_name())
    assert "Mount or make" in caught.value.hint
    assert not (sshd.accounts.home("bash") / "-missing").exists()


@pytest.mark.parametrize("kind", ["bash", "busybox", "sftp", "chroot"])
def test_others_cannot_play_there(sshd, reach, kind):
    """A symbolic link on the way, or a directory that others can write, is refused, and nothing is followed."""
    root = sshd.accounts.home(kind) / "dumps" / "planted"
    victim = sshd.accounts.home(kind) / "victim"
    for path in (root, victim):
        path.mkdir(mode=0o700)
        os.chown(path, sshd.accounts.uids[kind], -1)
    to = Remote(sshd.remote(kind), "dumps/planted").bound(reach)
    (root / "db1").symlink_to(victim)
    with pytest.raises(WriteError, match="symbolic link"):
        to.open(dump_name())
    (root / "db1").unlink()
    root.chmod(0o777)
    with pytest.raises(WriteError, match="others can write there"):
        to.open(dump_name())
    root.chmod(0o1777)
    store(to, dump_name(), b"whole")
    (root / "db1").chmod(0o770)
    with pytest.raises(WriteError, match="others can write there"):
        to.open(dump_name())
    assert not os.listdir(victim)


@pytest.mark.parametrize("kind", ["dash", "busybox", "bare", "sftp"])
def test_only_what_is_ours_is_taken_back(sshd, reach, tmp_path, kind):
    """85: a name of which nobody knows whether it was given: what it has decides, whoever computes the SHA-256."""
    path = sshd.accounts.directory_of(kind, tmp_path.name)
    for name in ("ours", "theirs", "known"):
        (path / name).write_text(name)
    for name in ("twin", "twin.json"):
        (path / name).write_text("ours")
    (path / "directory").mkdir()
    (path / "link").symlink_to("ours")
    sshd.accounts.own(kind, path)
    shell = reach.links.late(reach.links.shell(sshd.remote(kind), "fabric"))
    sftp = kind == "sftp"
    session = SFTPSession(shell.link, kind, 20, read_back=True) if sftp else ShellSession(shell, kind, 20)
    session.go(str(path), (), make=False)
    for name in ("link", "ours", "theirs", "twin", "directory", "none"):
        session.unname(name, sha256_of([b"ours"]), 4)
    session.unname("known", "", 5)
    session.close()
    assert sorted(os.listdir(path)) == ["directory", "link", "theirs", "twin", "twin.json"]


@pytest.mark.parametrize(
    ("kind", "transport"),
    [("fish", "fabric"), ("fish", "openssh"), ("tcsh", "fabric"), ("rbash", "openssh"), ("chatty", "fabric"),
     ("chatty", "openssh")],
)  # fmt: skip
def test_the_command_line(sshd, dbdump, database, kind, transport):
    """76, 77: --remote and --datadir store there; the manifest's own line restores, but not where ssh alone gives more.

    Of an account that prints before each command, dbdump itself has to restore.
    """
    home = sshd.accounts.home(kind)
    flags = ["--backend=sqlite", f"--option=path={database}", f"--datadir=dumps/cli{transport}"]
    target = sshd.remote(kind) if transport == "fabric" else sshd.remote(kind, "-o", "Ciphers=aes128-ctr")
    done = dbdump("dump", *flags, f"--remote={target}")
    assert done.returncode == 1
    assert "No such file or directory" in done.stdout
    (home / "dumps" / f"cli{transport}").mkdir(mode=0o700)
    os.chown(home / "dumps" / f"cli{transport}", sshd.accounts.uids[kind], -1)
    done = dbdump("dump", *flags, f"--remote={target}")
    assert done.returncode == 0, done.stdout
    (manifest,) = (home / "dumps" / f"cli{transport}").rglob("*.json")
    line = json.loads(manifest.read_text())["restore"]
    assert line.startswith("ssh ")
    before = rows(database)
    database.unlink()
    if kind == "chatty":
        done = dbdump("restore", *flags, f"--remote={target}", "--yes")
        assert done.returncode == 0, done.stdout
    else:
        subprocess.run(["sh", "-c", line], check=True, stdin=subprocess.DEVNULL)
    assert rows(database) == before


@pytest.mark.parametrize("kind", ["fish", "sftp"])
def test_the_command_line_takes_any_path(sshd, dbdump, database, kind):
    """127: all that could be code, an option or a glob is in one name: it is stored, listed, verified and restored."""
    there = sshd.accounts.home(kind) / "-v $(touch ran); `touch ran` 'q\"* ~ back\\slash é #1 [x]"
    there.mkdir(mode=0o700)
    sshd.accounts.own(kind, there)
    flags = [
        "--backend=sqlite",
        f"--option=path={database}",
        f"--remote={sshd.remote(kind)}",
        f"--datadir={there.name}",
    ]
    before = rows(database)
    done = dbdump("dump", *flags)
    assert done.returncode == 0, done.stdout
    assert len(list(there.rglob("*.json"))) == 1
    assert database.name in dbdump("list", *flags).stdout
    assert "good" in dbdump("verify", *flags).stdout
    database.unlink()
    done = dbdump("restore", *flags, "--yes")
    assert done.returncode == 0, done.stdout
    assert rows(database) == before
    assert not list(sshd.accounts.home(kind).rglob("ran"))


def test_one_connection_is_shared_by_all_dumps(sshd, dbdump, tmp_path, databases):
    """A hundred files do not make a hundred connections."""
    log = sshd.directory / "log"
    before = log.read_bytes().count(b"Accepted publickey")
    (sshd.accounts.home("dash") / "dumps" / "many").mkdir(mode=0o700)
    os.chown(sshd.accounts.home("dash") / "dumps" / "many", sshd.accounts.uids["dash"], -1)
    done = dbdump("dump", "--backend=sqlite", f"--option=path={databases}/*.db", "--jobs=4",
                  f"--remote={sshd.remote('dash')}", "--datadir=dumps/many")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "20 stored" in done.stdout
    assert log.read_bytes().count(b"Accepted publickey") - before == 1


def test_more_dumps_at_once_than_one_connection_takes(accounts, own_sshd, dbdump, databases):
    """Past sshd's MaxSessions there is another connection, not a failure."""
    server = own_sshd(sessions=2)
    (accounts.home("dash") / "dumps" / "few").mkdir(mode=0o700)
    os.chown(accounts.home("dash") / "dumps" / "few", accounts.uids["dash"], -1)
    done = dbdump("dump", "--backend=sqlite", f"--option=path={databases}/*.db", "--jobs=6",
                  f"--remote={server.remote('dash')}", "--datadir=dumps/few")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (server.directory / "log").read_bytes().count(b"Accepted publickey") >= 2


def test_nothing_of_the_session_is_left(sshd, reach):
    """After the links are closed, no shell of ours runs on the far side."""
    to = Remote(sshd.remote("tcsh"), "dumps").bound(reach)
    store(to, dump_name("left"), b"whole")
    assert sshd.accounts.processes("tcsh")
    reach.links.close()
    wait_for(lambda: not sshd.accounts.processes("tcsh"), "the far shell to end")


@pytest.mark.parametrize("kind", ["dash", "busybox"])
def test_the_leftover_of_a_killed_run_is_removed(sshd, reach, kind):
    """What a session that was killed left is removed by the next, and said; what is held is not."""
    to = Remote(sshd.remote(kind), "dumps").bound(reach)
    name = dump_name("killed")
    living = to.open(name)
    living.write(memoryview(b"x" * 2_000_000))
    directory = (sshd.accounts.home(kind) / "dumps").joinpath(*name.directory)
    dead = directory / f".{name.file}.00000000.part"
    dead.write_bytes(b"half")
    os.utime(dead, (0, 0))
    os.chown(dead, sshd.accounts.uids[kind], -1)
    other = to.open(dump_name("killed"))
    assert other.leftovers == (dead.name,)
    assert not dead.exists()
    living.commit(manifest_of(name, b"x" * 2_000_000))
    other.abort()
    assert sorted(os.listdir(directory)) == [name.file, name.manifest_file]
