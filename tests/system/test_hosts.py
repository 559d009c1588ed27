"""Databases of another machine: dumped on it, wrapped on it, and stored wherever the recipe says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers.gnupg import ring_of
from servers.process import wait_for
from servers.relay import Relay
from servers.sudo import with_sudo
from support import end_of, files, gone, manifests, paste, pid_of, processes

from dbdump import Directory
from dbdump.errors import ConnectionLost
from dbdump.host import LocalShell
from dbdump.links import Links, Reach
from dbdump.pipeline import Pipeline
from dbdump.script import Said, Stage
from dbdump.shell import Running
from dbdump.state import state_path
from dbdump.testing import dump_name, manifest_of

TRANSPORTS = ("fabric", "openssh")
fabric_only = pytest.mark.parametrize("db1", ["fabric"], indirect=True)  # what no transport changes
openssh_only = pytest.mark.parametrize("db1", ["openssh"], indirect=True)
KIND = "dash"  # the account that is db1
VAULT = "fish"  # the account that is yet another machine

RECIPE = """
import os
from dbdump import *

@backend("slow")
class Slow(Backend):
    suffix = ".bin"
    pause: float = option(default=0, help="seconds in the middle")
    when: str = option(default="true", help="what is waited for there, in sh")
    end: str = option(default="id -un", help="what comes last")
    def get_db_list(self): return ["one"]
    def get_command(self, database):
        half = "head -c 3000000 /dev/zero | tr '\\\\0' x"
        pause = 0 if "QUICK" in os.environ else self.pause
        pause = f"sleep {{pause}}; until {{self.when}}; do sleep 0.1; done"
        return ["sh", "-c", f"{{half}}; {{pause}}; {{half}}; {{self.end}}"]

db1 = Host("db1", ssh={remote!r}, transport={transport!r}, retries={retries})

@recipe(db1)
def shop(host):
    return Dump({dump}, stall_timeout={stall})
"""


@dataclass
class DB1:
    """A host that is an account of this machine, and a recipe for it."""

    accounts: Any
    transport: str
    recipes: Path
    kind: str = KIND

    @property
    def flags(self) -> list[str]:
        """The flags of its dumps."""
        return ["dump", f"--recipes={self.recipes}"]

    def says(self, remote: str, dump: str, *, retries: int = 0, stall: float = 60.0) -> list[str]:
        """Have the recipe dump `dump` where `remote` leads; return the flags."""
        text = RECIPE.format(remote=remote, transport=self.transport, retries=retries, dump=dump, stall=stall)
        (self.recipes / "db1.py").write_text(text)
        return self.flags

    def is_empty(self) -> None:
        """Wait until no process of the account is left, but for watchdogs that have done their work."""
        wait_for(lambda: not busy(self.accounts.processes(self.kind)), "the processes on the host to end")


def busy(pids: list[int]) -> list[int]:
    """Leave out each watchdog that has sent TERM, and waits five seconds to send KILL to whoever is left."""
    lines = {pid: line for pid, line in processes("").items() if pid in pids}
    done = {pid for pid, line in lines.items() if line.strip() == "sleep 5"}
    return [pid for pid in lines if pid not in done | set(map(parent, done))]


def parent(pid: int) -> int:
    """Return the parent of a process, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture(params=TRANSPORTS)
def db1(accounts, request, tmp_path):
    """The host, over each transport; at the end nothing of ours is left on it."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    made = DB1(accounts, request.param, recipes)
    yield made
    made.is_empty()


@dataclass
class Place:
    """A writer as a recipe has it, and the directory of this machine that its dumps are found in."""

    writer: str
    path: Path


@pytest.fixture
def places(accounts, sshd, db1, datadir, tmp_path):
    """Every place that a dump of db1 can go to."""
    vault = accounts.directory_of(VAULT, tmp_path.name)
    own = accounts.directory_of(KIND, tmp_path.name)
    remote = f"Remote({sshd.remote(VAULT)!r}, {str(vault)!r}, transport={db1.transport!r}, retries=0)"
    return {
        "controller": Place(f"Directory({str(datadir)!r})", datadir),
        "relayed": Place(remote, vault),
        "host": Place(f"Directory({str(own)!r}, on='host')", own),
        "here": Place(f"Directory({str(datadir)!r}, on='host')", datadir),
    }


@pytest.fixture
def shop(postgres):
    """A PostgreSQL database, as a backend's text, and ways to look at it and to drop it."""
    name = "far shop"
    postgres.create(name)
    postgres.sql("CREATE TABLE t AS SELECT g, md5(g::text) AS v FROM generate_series(1, 20000) g", name)
    backend = f"PostgreSQL(host={postgres.host!r}, include=[{name!r}], user='postgres')"
    yield backend, name, lambda: postgres.sql("SELECT * FROM t ORDER BY g", name), postgres.drop
    postgres.drop(name)


@pytest.fixture
def mall(mariadb, accounts):
    """As `shop`, of MariaDB, with an option file of the account's."""
    name = "far mall"
    mariadb.create(name)
    mariadb.sql("CREATE TABLE t AS SELECT seq AS g, MD5(seq) AS v FROM seq_1_to_20000", name)
    defaults = accounts.home(KIND) / "my.cnf"
    shutil.copy(mariadb.defaults_file(), defaults)
    accounts.own(KIND, defaults)
    backend = f"MySQL(defaults={str(defaults)!r}, include=[{name!r}])"
    yield backend, name, lambda: mariadb.sql("SELECT * FROM t ORDER BY g", name), mariadb.drop
    mariadb.drop(name)


def comes_back(run, flags: list[str], database, place: Place) -> dict[str, Any]:
    """Dump, drop, restore by the manifest's line, and see that all is there; return the manifest."""
    _, name, content, drop = database
    before = content()
    done = run(*flags)
    assert done.returncode == 0, done.stdout + done.stderr
    found = manifests(place.path)
    assert set(found) == {name, "@globals"}
    drop(name)
    paste(found[name]["restore"])
    assert content() == before
    return found[name]


@pytest.mark.parametrize("where", ["controller", "relayed", "host"])
def test_postgresql_goes_anywhere_and_comes_back(sshd, db1, places, shop, dbdump, where):
    """pg_dump and zstd run on db1, the dump is stored wherever the recipe says, and its manifest restores it."""
    flags = db1.says(sshd.remote(KIND), f"{shop[0]}, to={places[where].writer}")
    manifest = comes_back(dbdump, flags, shop, places[where])
    assert [stage["name"] for stage in manifest["stages"]] == ["pg_dump", "zstd"]
    assert manifest["host"] == "db1"


def test_mariadb_stays_there_and_comes_back(sshd, db1, places, mall, dbdump):
    """So does MariaDB, whose option file is one of db1."""
    flags = db1.says(sshd.remote(KIND), f"{mall[0]}, to={places['host'].writer}")
    manifest = comes_back(dbdump, flags, mall, places["host"])
    assert manifest["stages"][-1]["name"] == "zstd"


@fabric_only
def test_here_is_this_machine(sshd, db1, places, shop, dbdump):
    """--here runs db1's recipe on this machine: nobody is called, and on="host" is a directory here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        flags = db1.says(sshd.through(silent.getsockname()[1]).remote(KIND), f"{shop[0]}, to={places['here'].writer}")
        comes_back(dbdump, [*flags, "--here"], shop, places["here"])
        with pytest.raises(BlockingIOError):
            silent.accept()


@fabric_only
def test_every_stage_runs_as_the_account(sshd, db1, places, dbdump):
    """The command is run by db1's account, not by the controller's user."""
    done = dbdump(*db1.says(sshd.remote(KIND), f"Slow(), wrap=[], to={places['controller'].writer}"))
    assert done.returncode == 0, done.stdout
    (file,) = places["controller"].path.rglob("*.bin")
    assert file.read_text().removeprefix("x" * 6_000_000) == f"{sshd.accounts.user(KIND)}\n"


@pytest.mark.parametrize("where", ["controller", "relayed"])
def test_what_leaves_the_host_is_compressed(relay, db1, places, dbdump, where):
    """Six megabytes of dump cross the network as some kilobytes: zstd runs before it, not after."""
    between, through = relay
    done = dbdump(*db1.says(through.remote(KIND), f"Slow(), to={places[where].writer}"))
    assert done.returncode == 0, done.stdout
    assert between.passed < 200_000


def test_what_stays_on_the_host_does_not_travel(relay, db1, places, dbdump):
    """With on="host" six megabytes are written, hashed and named on db1; only what is said of them comes back."""
    between, through = relay
    place = places["host"]
    done = dbdump(*db1.says(through.remote(KIND), f"Slow(), wrap=[], to={place.writer}"))
    assert done.returncode == 0, done.stdout
    (file,) = place.path.rglob("*.bin")
    assert file.stat().st_size > 6_000_000
    assert file.stat().st_uid == db1.accounts.uids[KIND]
    assert between.passed < 100_000


@fabric_only
def test_a_large_dump_is_hashed_there_for_longer_than_a_stall(accounts, sshd, db1, places, tmp_path):
    """Who has so much to read may take his time, also where another session is asked after an answer was lost."""
    once = accounts.home(KIND) / f"{tmp_path.name}.once"
    programs = {
        "openssl": 'sleep 1.5; exec /usr/bin/openssl "$@"',
        "ln": f'[ -e {once} ] || {{ : >{once}; kill -KILL $PPID; exit; }}; exec /bin/ln "$@"',
    }
    size, place = 60_000_000, places["host"]
    uid = accounts.uids[KIND]
    # In memory: it has some seconds to sync that.
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=80m,mode=700,uid={uid}", "none", place.path], check=True)
    pipeline = Pipeline((Stage("head", ("head", "-c", str(size), "/dev/zero")),))
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", place.path], check=True)
        stack.enter_context(accounts.with_programs(KIND, **programs))
        links = stack.enter_context(closing(Links()))
        host = links.shell(sshd.remote(KIND), "fabric")
        sink = Directory(str(place.path), on="host").bound(Reach(links, host, LocalShell(), 1.0)).open(dump_name())
        grown: list[int] = []
        outcome = sink.run(pipeline, host, grown.append)
        sink.commit(manifest_of(dump_name(), bytes(size)))
        assert max(file.stat().st_size for file in place.path.rglob("*.sql*")) == size
    assert outcome.stored_bytes == sum(grown) == size


@fabric_only
@pytest.mark.parametrize("kind", [KIND, "busybox"])
def test_a_full_disk_of_the_host_ends_the_dump_at_once(accounts, sshd, db1, started, tmp_path, kind):
    """70: whatever tee is there, nothing is dumped in vain; the words are the disk's, and the part is gone."""
    db1.kind, own, seconds = kind, accounts.directory_of(kind, tmp_path.name), 97 + os.getpid() / 1e8
    uid = accounts.uids[kind]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,mode=700,uid={uid}", "none", own], check=True)
    try:
        dump = f"Slow(pause={seconds}), wrap=[], to=Directory({str(own)!r}, on='host')"
        code, text = end_of(started(*db1.says(sshd.remote(kind), dump)), 60)
        assert not files(own)
    finally:
        subprocess.run(["umount", "-l", own], check=True)
    assert code == 1
    assert "FAILED   db1/shop/one: write: " in text
    assert "No space left on device" in text
    assert "hint: The disk is full" in text
    gone(f"sleep {seconds}")


@pytest.mark.parametrize("victim", ["tee", "cat"])
@fabric_only
def test_who_writes_on_the_host_is_killed(accounts, sshd, db1, started, tmp_path, victim):
    """38: what he had taken is not all of it, be it the same in the file and in its SHA-256."""
    db1.kind, own = "busybox", accounts.directory_of("busybox", tmp_path.name)
    struck = accounts.home("busybox") / f"{tmp_path.name}.struck"
    dump = f"Slow(when='[ -e {struck} ]'), wrap=[], to=Directory({str(own)!r}, on='host')"
    flags = db1.says(sshd.remote("busybox"), dump)
    process = started(*flags)
    wait_for(lambda: any(path.stat().st_size > 2_900_000 for path in own.rglob("*.part")), "bytes to arrive")
    running = processes(victim)
    (pid,) = (each for each in accounts.processes("busybox") if running.get(each, "").startswith(victim))
    os.kill(pid, signal.SIGKILL)
    struck.touch()
    code, text = end_of(process)
    assert code == 1, text
    assert not [each for each in own.rglob("*") if each.is_file()]


def test_a_relayed_dump_leaves_no_file_on_its_way(sshd, db1, places, started, tmp_path, monkeypatch):
    """From db1 to the vault the bytes go through the controller's memory: it writes no file."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    place = places["relayed"]
    process = started(*db1.says(sshd.remote(KIND), f"Slow(pause=1), wrap=[], to={place.writer}"))
    wait_for(lambda: any(path.stat().st_size for path in place.path.rglob("*.part")), "bytes to arrive")
    assert not [path for path in written_by(process.pid) if not path.endswith(".lock")]  # it says who runs
    assert [name for name in files(tmp_path) if not name.startswith("recipes/")] == []
    code, text = end_of(process)
    assert code == 0, text


def written_by(pid: int) -> list[str]:
    """Return the regular files that a process has open to write."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # one that has just been closed
            flags = int(Path(f"/proc/{pid}/fdinfo", descriptor.name).read_text().split()[3], 8)
            if descriptor.is_file() and flags & os.O_ACCMODE != os.O_RDONLY:
                found.append(str(descriptor.readlink()))
    return found


@pytest.fixture
def ring(gnupg, accounts):
    """The tests' keys as the account's own, which nobody else has; its agent ends with the test."""
    with ring_of(gnupg, accounts, KIND) as home:
        yield home


@pytest.mark.parametrize(("where", "said"), [("controller", ""), ("host", ", homedir={home!r}")])
def test_signed_and_encrypted_on_the_host(sshd, db1, places, dbdump, gnupg, ring, tmp_path, where, said):
    """The keys are those of db1's account; the controller has none, so what it gets cannot be plain to it."""
    empty = tmp_path / "no keys"
    empty.mkdir(mode=0o700)
    wrap = f"[Zstd(), GPG(sign='signer', encrypt=['ops@example.org']{said.format(home=str(ring))})]"
    flags = db1.says(sshd.remote(KIND), f"Slow(), wrap={wrap}, to={places[where].writer}")
    done = dbdump(*flags, env={"GNUPGHOME": str(empty)})
    assert done.returncode == 0, done.stdout
    (file,) = places[where].path.rglob("*.bin.zst.gpg")
    told = gnupg.gpg("--status-fd", "2", "--output", str(tmp_path / "plain.zst"), "--decrypt", str(file))
    plain = subprocess.run(["zstd", "-dc", tmp_path / "plain.zst"], check=True, capture_output=True).stdout
    assert plain == b"x" * 6_000_000 + f"{sshd.accounts.user(KIND)}\n".encode(), told
    manifest = file.with_name(f"{file.name}.json")
    gnupg.gpg("--verify", f"{manifest}.sig", str(manifest))
    assert json.loads(manifest.read_text())["recipients"] == [gnupg.keys["ops"]]
    assert os.listdir(empty) == []


@fabric_only
def test_a_host_without_zstd_gets_gzip(sshd, db1, places, dbdump):
    """Where nobody says how to compress, gzip does, and a notice says so."""
    with db1.accounts.without(KIND, "zstd"):
        done = dbdump(*db1.says(sshd.remote(KIND), f"Slow(), to={places['controller'].writer}"))
    assert done.returncode == 0, done.stdout
    assert "notice   db1 has no zstd: compressing with gzip" in done.stdout
    (file,) = places["controller"].path.rglob("*.bin.gz")
    assert len(subprocess.run(["gzip", "-dc", file], check=True, capture_output=True).stdout) > 6_000_000


@fabric_only
@pytest.mark.parametrize(("program", "wrap"), [("zstd", "Zstd()"), ("gpg", "GPG(encrypt=['ops'])")])
def test_a_program_that_the_host_has_not(sshd, db1, places, dbdump, program, wrap):
    """What the recipe wants and the host has not is an error in words, never a plain dump."""
    with db1.accounts.without(KIND, program):
        done = dbdump(*db1.says(sshd.remote(KIND), f"Slow(), wrap=[{wrap}], to={places['controller'].writer}"))
    assert done.returncode == 1
    assert f"FAILED   db1/shop: {program}: not found on the host's PATH" in done.stdout
    assert f"hint: Install {program} there" in done.stdout
    assert files(places["controller"].path) == {}


@pytest.mark.parametrize("where", ["controller", "relayed"])
def test_wrapped_by_the_controller(relay, db1, places, dbdump, gnupg, tmp_path, where):
    """For a host without zstd and gpg: its plain bytes leave it, and the controller wraps them with its own keys."""
    between, through = relay
    dump = (
        f"Slow(), wrap=[Zstd(), GPG(sign='signer', encrypt=['ops'])], wrap_at='controller', to={places[where].writer}"
    )
    with db1.accounts.without(KIND, "zstd", "gpg"):
        done = dbdump(*db1.says(through.remote(KIND), dump), env=gnupg.environment)
    assert done.returncode == 0, done.stdout
    assert between.passed > 6_000_000
    (file,) = places[where].path.rglob("*.bin.zst.gpg")
    packed = gnupg.gpg("--decrypt", str(file))
    assert len(subprocess.run(["zstd", "-dc"], input=packed, check=True, capture_output=True).stdout) > 6_000_000
    stages = json.loads(file.with_name(f"{file.name}.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in stages] == [("sh", 0), ("zstd", 0), ("gpg", 0)]


@fabric_only
def test_a_dry_run_shows_what_the_controller_does(sshd, db1, places, dbdump):
    """What wraps here stands apart from the script that runs there."""
    dump = f"Slow(), wrap=[Zstd()], wrap_at='controller', to={places['controller'].writer}"
    done = dbdump(*db1.says(sshd.remote(KIND), dump), "--dry-run")
    assert done.returncode == 0, done.stdout
    there, _, here = done.stdout.partition("\n# and its bytes, on this machine, through\n")
    assert "zstd" not in there
    assert "zstd" in here


@fabric_only
def test_what_stays_on_the_host_cannot_be_wrapped_elsewhere(sshd, db1, places, dbdump):
    """wrap_at="controller" with on="host" contradict each other: refused before anything runs."""
    dump = f"Slow(), wrap=[Zstd()], wrap_at='controller', to={places['host'].writer}"
    done = dbdump(*db1.says(sshd.remote(KIND), dump))
    assert done.returncode == 2, done.stdout
    assert "wrap_at" in done.stdout + done.stderr
    assert files(places["host"].path) == {}


def as_postgres(backend: str) -> str:
    """Return a backend that says no role: libpq takes the name of the user that it runs as."""
    return backend.replace("user='postgres'", "su='postgres'")


@pytest.mark.parametrize(("kind", "mechanism"), [("root", "setpriv"), ("sudoer", "sudo")])
def test_another_user_of_the_host(accounts, own_sshd, db1, places, shop, dbdump, kind, mechanism):
    """su="postgres" is setpriv where the account is root, and sudo where sudoers lets it; both dump as that user."""
    server = own_sshd(inside=with_sudo(f"{accounts.user('sudoer')} ALL=(postgres) NOPASSWD: ALL"))
    server.let_in("root")
    flags = db1.says(server.remote(kind), f"{as_postgres(shop[0])}, to={places['controller'].writer}")
    done = dbdump(*flags)
    assert done.returncode == 0, done.stdout
    restore = manifests(places["controller"].path)[shop[1]]["restore"]
    assert f" {mechanism} " in restore
    shop[3](shop[1])
    restored = subprocess.run(["sh", "-c", restore], cwd="/", check=False, capture_output=True)
    assert restored.returncode == 0, restored.stderr
    assert shop[2]()


@fabric_only
def test_a_user_that_the_account_may_not_become(sshd, db1, places, shop, dbdump):
    """Without a rule for it the error says what sudo and su said there, and which rule is missing."""
    done = dbdump(*db1.says(sshd.remote(KIND), f"{as_postgres(shop[0])}, to={places['controller'].writer}"))
    assert done.returncode == 1
    assert "FAILED   db1/shop: su: cannot run commands as postgres (sudo: " in done.stdout
    rule = f"{sshd.accounts.user(KIND)} ALL=(postgres) NOPASSWD: ALL"
    assert f"Be root or postgres there, or allow it in its sudoers: {rule}" in done.stdout
    assert files(places["controller"].path) == {}


@pytest.mark.parametrize("kind", ["root", "sudoer"])
def test_a_cut_connection_ends_what_runs_as_another_user(accounts, own_sshd, db1, places, started, kind):
    """The watchdog is on that user's side of sudo: nobody else may end it."""
    server = own_sshd(inside=with_sudo(f"{accounts.user('sudoer')} ALL=(postgres) NOPASSWD: ALL"))
    server.let_in("root")
    with closing(Relay(server.port)) as between:
        remote = server.through(between.port).remote(kind)
        marker = str(47_000_000 + time.time_ns() % 1_000_000)
        dump = f"Slow(su='postgres', pause={marker}), to={places['controller'].writer}"
        process = started(*db1.says(remote, dump))
        pid_of(marker, "sleep")
        between.cut()
        code, text = end_of(process)
    assert code == 1, text
    assert "FAILED   db1/shop/one: connect: " in text
    gone(marker)


OLD = ("20200101T000000Z.bin", "20200101T000000Z.bin.json")


class Fault:
    """A dump of db1 to which something happens, beside an old one."""

    def __init__(self, db1: DB1, place: Place, start: Callable[..., Any], remote: str) -> None:
        self.db1 = db1
        self.place = place
        self.remote = remote
        self.run = start
        self._directory = place.path / "db1" / "shop" / "one"
        self._directory.mkdir(parents=True, mode=0o700)
        for name in OLD:
            (self._directory / name).write_text("old")
        owner = place.path.stat()
        for each in (place.path / "db1", *(place.path / "db1").rglob("*")):
            each.chmod(each.stat().st_mode & ~0o077)
            os.chown(each, owner.st_uid, owner.st_gid)

    def start(self, backend: str = "Slow(pause=40)", **more: float) -> subprocess.Popen[str]:
        """Start the dump."""
        flags = self.db1.says(self.remote, f"{backend}, wrap=[], to={self.place.writer}", **more)
        return self.run(*flags)

    def in_the_middle(self, backend: str = "Slow(pause=40)", **more: float) -> subprocess.Popen[str]:
        """Start the dump, and wait until a part of it is stored."""
        process = self.start(backend, **more)
        wait_for(lambda: any(path.stat().st_size for path in self.parts()), "the first bytes")
        return process

    def parts(self) -> list[Path]:
        """Return the temporary files."""
        return list(self._directory.glob(".*.part"))

    def failed(self, process: subprocess.Popen[str], said: str, hint: str) -> None:
        """Assert all that holds after any failure, and that its one line says `said`, with a `hint`."""
        code, text = end_of(process, 60)
        assert code == 1, text
        lines = text.splitlines()
        (line,) = {line for line in lines if line.startswith("FAILED ")}
        assert line.startswith("FAILED   db1/shop/one: "), text
        assert said in line, text
        assert f"hint: {hint}" in lines[-1], text
        self.left_nothing()

    def left_nothing(self) -> None:
        """Assert that no file of the dump is left; the processes are waited for when the test ends."""
        wait_for(lambda: not self.parts(), "the temporary file to go")
        self.untouched()

    def untouched(self) -> None:
        """Assert that the old dump is what it was, and that nothing else has a final name."""
        found = {path.name: path for path in self._directory.iterdir() if not path.name.startswith(".")}
        assert set(found) == set(OLD)
        assert all(path.read_text() == "old" for path in found.values())

    def works(self) -> None:
        """Assert that the next run stores the dump, and leaves nothing else."""
        code, text = end_of(self.start("Slow()"))
        assert code == 0, text
        wait_for(lambda: not self.parts(), "what the run before has left to go")
        assert len(list(self._directory.glob("2*"))) == 4


@pytest.fixture(params=["controller", "host"])
def either(db1, places, started, relay, request):
    """A dump through a relay, to a directory here or on the host, over each transport."""
    return Fault(db1, places[request.param], started, relay[1].remote(KIND))


@pytest.fixture
def fault(db1, places, started, relay):
    """As `either`, but each place over one transport only."""
    where = "host" if db1.transport == "fabric" else "controller"
    return Fault(db1, places[where], started, relay[1].remote(KIND))


def test_the_connection_is_cut(either, relay):
    """A cut connection ends the dump on both sides."""
    process = either.in_the_middle()
    relay[0].cut()
    either.failed(process, "connect: ", "Its sshd or the network ended it")
    either.works()


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2, 0.25])
def test_a_cut_at_any_moment_is_a_lost_connection(sshd, delay):
    """Also while paramiko tells the host that there is room for more bytes, and cannot."""
    with closing(Relay(sshd.port)) as between, closing(Links()) as links:
        remote = sshd.through(between.port).remote(KIND)
        for _ in range(4):
            running = links.shell(remote, "fabric").start("exec cat /dev/zero", [], Said(""))
            running.read_into(memoryview(bytearray(1)), 20)
            cutter = threading.Timer(delay, between.cut)
            cutter.start()
            with pytest.raises(ConnectionLost, match="connection lost"):
                read_all(running)
            cutter.join()


def read_all(running: Running) -> None:
    """Read what a script writes, to its end."""
    buffer = memoryview(bytearray(1 << 20))
    while running.read_into(buffer, 20):
        pass
    running.wait()


@pytest.mark.parametrize(("transport", "window"), [("fabric", 8 << 20), ("openssh", 2 << 20)])
def test_what_is_lost_behind_the_exit_status(sshd, accounts, transport, window):
    """66: the command has ended well, its last bytes are on their way, and the session is killed: they are missed."""
    with closing(Links()) as links:
        # Before anybody reads, so much is sent; the rest fits into the pipe there.
        script = f"head -c {window + 40000} /dev/zero"
        running = links.shell(sshd.remote(KIND), transport).start(script, [], Said(""))
        wait_for(lambda: set(accounts.processes(KIND)) <= set(sshd.sessions(KIND)), "the command to end")
        time.sleep(0.2)  # for its exit status to come: without it nobody doubts that it was lost
        sshd.signal(KIND, signal.SIGKILL)
        wait_for(lambda: not processes(f"{accounts.user(KIND)}@{sshd.address} sh"), "ssh to see it, where there is one")
        with pytest.raises(ConnectionLost, match="connection lost"):
            read_all(running)


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_an_answer_is_not_held_back(sshd, transport):
    """Bytes of a file with which a bye could begin are there at once, as nothing follows until the next question."""
    with closing(Links()) as links:
        shell = links.late(links.shell(sshd.remote(KIND), transport))
        running = shell.start("printf 'a\\nb'; cat >/dev/null", [], Said(""))
        buffer, got = memoryview(bytearray(9)), b""
        while len(got) < 3:
            got += bytes(buffer[: running.read_into(buffer, 5)])
        assert got == b"a\nb"


def test_the_session_on_the_host_is_killed(fault, relay):
    """What sshd ran is ended with it, and the dump has failed."""
    process = fault.in_the_middle()
    relay[1].signal(KIND, signal.SIGKILL)
    fault.failed(process, "connection lost", "Its sshd or the network ended it")
    fault.works()


def test_dbdump_is_killed(either):
    """After kill -9 of dbdump nothing goes on there, and the next run removes what it left here."""
    process = either.in_the_middle()
    process.kill()
    process.wait()
    gone(f"{either.db1.accounts.user(KIND)}@")  # each ssh, and the one that they share
    assert not list((state_path() / "ssh").glob("*"))
    either.untouched()
    either.works()


@openssh_only
@pytest.mark.parametrize("retries", [0, 1])
def test_what_the_commands_share_is_killed(db1, places, started, sshd, tmp_path, retries):
    """87: the master of ours: the dump has lost its connection, and is begun anew where it may be."""
    go_on = db1.accounts.home(KIND) / tmp_path.name
    kept = Fault(db1, places["controller"], started, sshd.remote(KIND))
    process = kept.in_the_middle(f"Slow(when='[ -e {go_on} ]')", retries=retries)
    os.kill(pid_of(f"ControlMaster=yes -o ControlPath=/proc/{process.pid}/", "ssh"), signal.SIGKILL)
    if not retries:
        kept.failed(process, "connect: ", "Its sshd or the network ended it")
    go_on.touch()
    if retries:
        code, text = end_of(process)
        assert code == 0, text
        assert "stored   db1/shop/one" in text


def test_dbdump_is_interrupted(fault):
    """INT ends it with 130 and leaves nothing, here or there."""
    process = fault.in_the_middle()
    process.send_signal(signal.SIGINT)
    code, text = end_of(process)
    assert code == 130, text
    fault.left_nothing()
    fault.works()


def test_the_command_is_frozen(fault):
    """A stopped process is no byte for stall_timeout: ended, and killed though it hears no TERM."""
    process = fault.in_the_middle(stall=2)
    for pid in fault.db1.accounts.processes(KIND):
        if processes("sleep 40").get(pid, "").startswith("sleep"):
            os.kill(pid, signal.SIGSTOP)
    fault.failed(process, "sh: no byte for 2 s, ended as stalled", "A lock, a stopped process or a stuck disk")
    fault.works()


def test_the_command_fails_in_the_end(fault):
    """Its exit status, and what it says on the host, are the cause; six megabytes that came before are no dump."""
    process = fault.start("Slow(end='echo error: the disk of db1 >&2; exit 3')")
    code, text = end_of(process)
    assert code == 1, text
    assert "FAILED   db1/shop/one: sh: exit status 3: error: the disk of db1\n" in text
    fault.left_nothing()


def test_a_lost_connection_is_tried_once_more(fault, relay):
    """With retries a dump whose connection was lost is begun anew, which a line says."""
    process = fault.in_the_middle("Slow(pause=1.5)", retries=1)
    relay[0].cut()
    code, text = end_of(process)
    assert code == 0, text
    assert "notice   db1/shop/one: " in text
    assert text.count("; once more") == 1
    wait_for(lambda: not fault.parts(), "the first part to go")


@pytest.mark.parametrize(("db1", "retries"), [("fabric", 1), ("openssh", 0)], indirect=["db1"])
def test_the_connection_is_lost_while_a_lock_is_waited_for(fault, relay, shop, postgres, retries):
    """6, 66: nobody is connected then, but to ask now and again: that fails, or begins anew and waits on."""
    between, backend = relay[0], f"{shop[0][:-1]}, globals=False)"
    flags = fault.db1.says(fault.remote, f"{backend}, wrap=[], to={fault.place.writer}", retries=retries)
    psql = ["psql", "-XqAt", "-d", shop[1]]
    with subprocess.Popen(psql, env=postgres.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:  # fmt: skip
        print("BEGIN; LOCK TABLE t; SELECT 'held';", file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "held\n"
        process = fault.run(*flags)
        text = said_until(process, "a table is locked: begins anew when it is not")
        between.go_away()
        if retries:
            text += said_until(process, "once more in 1 s")
            between.come_back()
            text += said_until(process, "a table is locked: begins anew when it is not")
        else:
            code, rest = end_of(process)
            assert code == 1, text + rest
            assert re.search(r"(?m)^FAILED   db1/shop/far shop: connect: .*\n +hint: ", rest), rest
            between.come_back()  # for the next run
        holder.stdin.close()  # which takes the lock back
    if retries:
        code, rest = end_of(process)
        assert code == 0, text + rest
        assert len(list(fault.place.path.rglob("*.pgdump.json"))) == 1
    fault.untouched()


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a run says until it says `words`, and return all of it."""
    text = ""
    while words not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    return text


@openssh_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_ssh_program_is_killed(fault, number):
    """Whoever ends ssh on the controller ends the dump, and nothing goes on there."""
    process = fault.in_the_middle()
    clients = subprocess.run(["pgrep", "-P", str(process.pid), "ssh"], check=True, capture_output=True, text=True)
    for pid in map(int, clients.stdout.split()):
        with suppress(ProcessLookupError):  # one that only asked something
            os.kill(pid, number)
    fault.failed(process, "connection lost", "Its sshd or the network ended it")


def test_a_relayed_dump_is_cut_off_from_its_host(db1, places, started, relay):
    """Where db1 is lost, nothing gets a name on the vault, and nothing goes on there either."""
    fault = Fault(db1, places["relayed"], started, relay[1].remote(KIND))
    process = fault.in_the_middle("Slow(pause=40)")
    relay[0].cut()
    fault.failed(process, "connect: ", "Its sshd or the network ended it")
    for kind in (KIND, VAULT):
        wait_for(lambda kind=kind: not db1.accounts.processes(kind), "the end of every process, watchdogs too")


def test_the_link_to_the_host_goes_down(db1, places, started, link):
    """Where nothing arrives any more, and nobody says so, keepalives end the dump."""
    remote = link.sshd.remote(KIND, "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
    fault = Fault(db1, places["controller"], started, remote)
    process = fault.in_the_middle()
    began = time.monotonic()
    link.down()
    fault.failed(process, "connect: ", "Its sshd or the network ended it")
    assert time.monotonic() - began < 35  # with no keepalives it has a minute until it stalls


@pytest.mark.parametrize("kind", ["fish", "tcsh", "chatty", "busybox"])
def test_any_login_shell_runs_the_dump(sshd, db1, dbdump, kind):
    """Whatever the login shell of db1's account, and whatever it prints, the dump is what the command wrote."""
    own = sshd.accounts.directory_of(kind, f"own {db1.transport}")
    done = dbdump(*db1.says(sshd.remote(kind), f"Slow(), wrap=[], to=Directory({str(own)!r}, on='host')"))
    assert done.returncode == 0, done.stdout
    (file,) = own.rglob("*.bin")
    assert file.read_text().removeprefix("x" * 6_000_000) == f"{sshd.accounts.user(kind)}\n"


@pytest.mark.parametrize("kind", ["sftp", "nologin"])
def test_an_account_that_runs_no_commands_is_no_host(sshd, db1, places, dbdump, kind):
    """An account for SFTP only, or for nobody, is an error that says so."""
    done = dbdump(*db1.says(sshd.remote(kind), f"Slow(), to={places['controller'].writer}"))
    assert done.returncode == 1
    assert f"FAILED   db1/shop: connect: {sshd.accounts.user(kind)}@127.0.0.1 does not run our script: " in done.stdout
    assert "hint: It may be for SFTP only" in done.stdout


@fabric_only
def test_the_database_says_no(sshd, db1, places, shop, postgres, dbdump):
    """What a database command says on db1 is the cause here, in one line with what to do."""
    postgres.sql("CREATE ROLE far_reader LOGIN")
    try:
        backend = shop[0].replace("user='postgres'", "user='far_reader', globals=False")
        done = dbdump(*db1.says(sshd.remote(KIND), f"{backend}, to={places['controller'].writer}"))
    finally:
        postgres.sql("DROP ROLE far_reader")
    assert done.returncode == 1
    assert f"FAILED   db1/shop/{shop[1]}: pg_dump: " in done.stdout
    assert "permission denied for table t" in done.stdout
    assert "hint: GRANT pg_read_all_data" in done.stdout
