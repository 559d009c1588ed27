"""Databases of another machine: dumped on it, wrapped on it, and stored wherever the recipe says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers.process import wait_for
from servers.relay import Relay
from servers.sshd import with_sudo
from support import end_of, files, gone, manifests, paste, pid_of

TRANSPORTS = ("fabric", "openssh")
KIND = "dash"  # the account that is db1
VAULT = "fish"  # the account that is yet another machine

RECIPE = """
from dbdump import *

@backend("slow")
class Slow(Backend):
    suffix = ".bin"
    pause: float = option(default=0, help="seconds in the middle")
    def get_db_list(self): return ["one"]
    def get_command(self, database):
        half = "head -c 3000000 /dev/zero | tr '\\\\0' x"
        return ["sh", "-c", f"{{half}}; sleep {{self.pause}}; {{half}}; id -un"]

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
        """Wait until no process of the account is left."""
        wait_for(lambda: not self.accounts.processes(self.kind), "the processes on the host to end", 15)


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
    remote = f"Remote({sshd.remote(VAULT)!r}, {str(vault)!r}, transport={db1.transport!r})"
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


def test_here_is_this_machine(sshd, db1, places, shop, dbdump):
    """--here runs db1's recipe on this machine: nobody is called, and on="host" is a directory here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        flags = db1.says(sshd.through(silent.getsockname()[1]).remote(KIND), f"{shop[0]}, to={places['here'].writer}")
        comes_back(dbdump, [*flags, "--here"], shop, places["here"])
        with pytest.raises(BlockingIOError):
            silent.accept()


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


def test_a_relayed_dump_leaves_no_file_on_its_way(sshd, db1, places, started, tmp_path, monkeypatch):
    """From db1 to the vault the bytes go through the controller's memory: it has no file open that it writes."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    place = places["relayed"]
    process = started(*db1.says(sshd.remote(KIND), f"Slow(pause=1), wrap=[], to={place.writer}"))
    wait_for(lambda: any(path.stat().st_size for path in place.path.rglob("*.part")), "bytes to arrive")
    assert not written_by(process.pid)
    assert [name for name in files(tmp_path) if not name.startswith("recipes/")] == []
    code, text = end_of(process)
    assert code == 0, text


def written_by(pid: int) -> list[str]:
    """Return the regular files that a process has open to write."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        flags = int(Path(f"/proc/{pid}/fdinfo", descriptor.name).read_text().split()[3], 8)
        if descriptor.is_file() and flags & os.O_ACCMODE != os.O_RDONLY:
            found.append(str(descriptor.readlink()))
    return found


@pytest.fixture
def ring(gnupg, accounts):
    """The tests' keys as the account's own, which nobody else has; its agent ends with the test."""
    home = accounts.home(KIND) / ".gnupg"
    shutil.copytree(gnupg.home, home, ignore=shutil.ignore_patterns("S.*"))
    accounts.own(KIND, home)
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, user=accounts.user(KIND))
    wait_for(lambda: not accounts.processes(KIND), "the agent to end")  # it removes its own sockets
    shutil.rmtree(home)


@pytest.mark.parametrize("where", ["controller", "host"])
@pytest.mark.parametrize("said", ["", ", homedir={home!r}"])
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


def test_a_host_without_zstd_gets_gzip(sshd, db1, places, dbdump):
    """Where nobody says how to compress, gzip does, and a notice says so."""
    with db1.accounts.without(KIND, "zstd"):
        done = dbdump(*db1.says(sshd.remote(KIND), f"Slow(), to={places['controller'].writer}"))
    assert done.returncode == 0, done.stdout
    assert "notice   db1 has no zstd: compressing with gzip" in done.stdout
    (file,) = places["controller"].path.rglob("*.bin.gz")
    assert len(subprocess.run(["gzip", "-dc", file], check=True, capture_output=True).stdout) > 6_000_000


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


def test_a_user_that_the_account_may_not_become(sshd, db1, places, shop, dbdump):
    """Without a rule for it the error says what sudo and su said there, and which rule is missing."""
    done = dbdump(*db1.says(sshd.remote(KIND), f"{as_postgres(shop[0])}, to={places['controller'].writer}"))
    assert done.returncode == 1
    assert "FAILED   db1/shop: su: cannot run commands as postgres (sudo: " in done.stdout
    assert "allow it in sudoers: OPERATOR ALL=(postgres) NOPASSWD: ALL" in done.stdout
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
