"""What is stored, and who holds it: a directory here and accounts of every kind are told alike."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from servers.process import wait_for

from dbdump import Directory, Remote
from dbdump.catalog import DumpName
from dbdump.errors import Locked, WriteError
from dbdump.links import Links, Reach
from dbdump.remote_shell import LateShell
from dbdump.script import Said
from dbdump.shell import Running
from dbdump.stored import Listing, Record, read_listing
from dbdump.testing import dump_name, manifest_of, store
from dbdump.writers.base import Store
from dbdump.writers.far import ShellSession
from dbdump.writers.far_directory import FarDirectory
from dbdump.writers.sessions import Sessions

NAME = dump_name()
FAR = ("dash", "busybox", "bare", "sftp")


class Place:
    """A store, and where it is on the disk of this machine."""

    def __init__(self, kind: str, path: Path, to: Store, accounts) -> None:
        self.kind = kind
        self.path = path
        self.to = to
        self._accounts = accounts

    @property
    def recipe(self) -> Path:
        """The directory of the recipe."""
        return self.path / "db1" / "shop"

    def own(self) -> None:
        """Make all that is there the account's."""
        if self.kind != "directory":
            self._accounts.own(self.kind, self.path)

    def listing(self) -> Listing:
        """List what is there."""
        return read_listing("db1", "shop", self.to.entries("db1", "shop"))

    def many(self, databases: list[str], count: int) -> None:
        """Put `count` dumps of each database there."""
        for database in databases:
            first = DumpName("db1", "shop", database, "x", ".sql.zst")
            directory = self.path.joinpath(*first.directory)
            directory.mkdir(parents=True, mode=0o700)
            for each in (self.path / "db1", self.recipe):
                each.chmod(0o700)
            for index in range(count):
                name = replace(first, stamp=f"202611{index // 24 + 1:02d}T{index % 24:02d}0000Z")
                (directory / name.file).write_bytes(b"x")
                (directory / name.manifest_file).write_bytes(manifest_of(name, b"x").to_json())
        self.own()


@pytest.fixture
def place(request, accounts, sshd, reach, tmp_path) -> Place:
    """An empty place of the kind that the test names."""
    kind = request.param
    if kind == "directory":
        path = tmp_path / "datadir"
        path.mkdir(mode=0o700)
        return Place(kind, path, Directory(str(path)), accounts)
    path = accounts.directory_of(kind, tmp_path.name)
    return Place(kind, path, Remote(sshd.remote(kind), str(path)).bound(reach), accounts)


def everywhere(*kinds: str) -> pytest.MarkDecorator:
    """Have the test run at places of these kinds."""
    return pytest.mark.parametrize("place", kinds or ("directory", *FAR), indirect=True)


@everywhere()
def test_foreign_files_are_passed_over(place, tmp_path):
    """Whatever else is in the directories, with whatever name, is no dump, hides none, and is not followed."""
    store(place.to, NAME, b"whole")
    other = tmp_path / "victim" / "db1" / "shop"
    store(Directory(str(tmp_path / "victim"), create=True), dump_name("linked"), b"linked")
    recipe, orders = place.recipe, place.recipe / "orders"
    (recipe / "linked").symlink_to(other / "linked")
    (recipe / "20201122T203000Z.sql.json").write_text("not in a database's directory")
    (orders / "20201122T203000Z.sql.json").symlink_to(orders / NAME.manifest_file)
    (orders / "deep").mkdir()
    (orders / "deep" / NAME.manifest_file).write_text("too deep")
    os.mkfifo(orders / "20201122T203001Z.sql.json")
    evil = manifest_of(NAME, b"evil").to_json()
    for directory in ("-rf", "a b", "x:y", "$(touch pwned)", "*", "lat\udce9n", "one\n-rw 1 1 1 9 Jan 1 1 .", "two\n."):
        (recipe / directory).mkdir(0o700)
        for file in (f"{NAME.manifest_file}:{NAME.manifest_file}", f"1\n{NAME.manifest_file}:x.json", "1.json",
                     "1 .verified", "1\udcff.json", "-v", ".hidden"):  # fmt: skip
            for where in (recipe / directory, orders):
                (where / file).write_bytes(evil)
    place.own()
    found = place.listing()
    assert [(each.name, each.text, each.size) for each in found.dumps] == [
        (NAME, manifest_of(NAME, b"whole").to_json(), 5)
    ]
    assert not found.strays
    assert not list(place.path.rglob("pwned"))


@everywhere()
def test_every_byte_of_a_manifest_is_read(place):
    """Of one directory alone, with line ends of any kind or none at the end: a signature is of every byte."""
    ends = {"20261122T203000Z": "", "20261122T203001Z": "\n\n", "20261122T203002Z": "\r\n \n"}
    for stamp, end in ends.items():
        name = replace(NAME, stamp=stamp)
        store(place.to, name, b"x")
        file = place.path.joinpath(*name.directory, name.manifest_file)
        file.write_bytes(file.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n", 1) + end.encode())
    (place.recipe / "orders" / NAME.record_file).write_bytes(b"")
    place.own()
    expected = {file.name: file.read_bytes() for file in (place.recipe / "orders").glob("*.json")}
    assert {each.name.manifest_file: each.text for each in place.listing().dumps} == expected
    (place.recipe / "orders" / NAME.manifest_file).write_bytes(b"")
    (bad,) = place.listing().strays
    assert bad.bad


@everywhere(*FAR)
def test_a_manifest_that_cannot_be_read(place):
    """It is told apart, and hides none of the others."""
    store(place.to, NAME, b"whole")
    store(place.to, dump_name("other"), b"whole")
    (place.recipe / "orders" / NAME.manifest_file).chmod(0)
    found = place.listing()
    assert [each.name.database for each in found.dumps] == ["other"]
    (stray,) = found.strays
    assert (stray.path, stray.bad) == (f"orders/{NAME.manifest_file}", True)
    assert "cannot be read" in stray.why


@everywhere(*FAR)
@pytest.mark.parametrize("where", ["db1", "db1/shop", "db1/shop/orders"])
def test_a_directory_that_cannot_be_read_is_not_an_empty_one(place, where):
    """Who may not look there is told so, and is not told that nothing is stored."""
    store(place.to, NAME, b"whole")
    (place.path / where).chmod(0)
    with pytest.raises(WriteError, match=r"[Pp]ermission denied"):
        place.listing()
    (place.path / where).chmod(0o700)
    assert len(place.listing().dumps) == 1


@everywhere()
def test_a_datadir_that_is_not_there_is_not_an_empty_one(place):
    """It may be a disk that is not mounted: whoever looks there is told so, and not that nothing is stored."""
    assert not place.listing().dumps
    place.path.rmdir()
    for look in (place.listing, lambda: place.to.held("db1", "shop", alone=False).__enter__()):
        with pytest.raises(WriteError, match=r"[Nn]o such file") as caught:
            look()
        assert caught.value.hint.startswith("Mount or make the datadir first")


@everywhere("dash", "busybox", "sftp")
def test_more_files_than_one_command_line_takes(place):
    """Some thousands of dumps of databases with long names are all listed."""
    databases = [f"{index:03d}{'x' * 190}" for index in range(60)]
    place.many(databases, 100)
    found = place.listing()
    assert len(found.dumps) == 6000
    assert not found.strays


@pytest.mark.parametrize("kind", ["dash", "busybox", "sftp"])
@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_listing_waits_for_no_file(accounts, relay, reach, tmp_path, kind, transport):
    """On a line where each round trip takes 0.1 s, 200 dumps are listed in a small part of 200 of them."""
    between, server = relay
    path = accounts.directory_of(kind, tmp_path.name)
    place = Place(kind, path, Remote(server.remote(kind), str(path), transport=transport).bound(reach), accounts)
    place.many([f"d{index}" for index in range(20)], 10)
    assert len(place.listing().dumps) == 200
    between.delay = 0.05
    began = time.monotonic()
    assert len(place.listing().dumps) == 200
    assert time.monotonic() - began < 15  # of the 20 s that 200 round trips take


class Line:
    """A script that runs, and how often something was `sent` to it and an answer was then `waited` for; see Running."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._quiet = True
        self.sent = self.waited = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._running, name)

    def write(self, piece: memoryview, timeout: float) -> None:
        """Send something."""
        self._quiet = False
        self.sent += 1
        self._running.write(piece, timeout)

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Wait for an answer, or for more of it."""
        self.waited += not self._quiet
        self._quiet = True
        return self._running.read_into(buffer, timeout)


class Lines:
    """A shell whose last script is `line`; see Shell."""

    here = ended = False

    def __init__(self, shell: LateShell) -> None:
        self._shell = shell
        self.link = shell.link

    def start(self, script: str, secrets: Sequence[str], said: Said) -> Line:
        """Start it."""
        self.line = Line(self._shell.start(script, secrets, said))
        return self.line


@pytest.mark.parametrize("kind", ["dash", "busybox"])
def test_a_listing_of_30_dumps_asks_as_often_as_one_of_3(accounts, sshd, reach, tmp_path, kind):
    """A request to go there, and one for all that is there, however many directories and manifests that are."""
    asked = []
    shell = Lines(reach.links.late(reach.links.shell(sshd.remote(kind), "fabric")))
    session = ShellSession(shell, kind, 20)
    for databases, dumps in ((3, 1), (6, 5)):
        path = accounts.directory_of(kind, f"{tmp_path.name}{databases}")
        place = Place(kind, path, FarDirectory(Sessions(lambda: session), str(path), kind, lambda _: []), accounts)
        place.many([f"d{index}" for index in range(databases)], dumps)
        shell.line.sent = shell.line.waited = 0
        assert len(place.listing().dumps) == databases * dumps
        asked.append((shell.line.sent, shell.line.waited))
    assert asked == [(2, 2)] * 2


@pytest.mark.parametrize("program", ["find", "grep"])
def test_a_program_that_a_listing_needs_is_missing(accounts, sshd, reach, program):
    """It is named: it is not as if nothing were stored."""
    place = Remote(sshd.remote("tcsh"), "dumps").bound(reach)
    store(place, dump_name(program), b"whole")
    with accounts.without("tcsh", program), closing(Links()) as links:
        alone = Reach(links, reach.host, reach.controller, 20.0)
        with pytest.raises(WriteError, match=f"it has no {program} program"):
            list(Remote(sshd.remote("tcsh"), "dumps").bound(alone).entries("db1", "shop"))


def test_a_held_place_is_let_go_when_its_connection_dies(accounts, own_sshd, reach, tmp_path):
    """Who is cut off holds nothing, and says nothing of it; he can go on with another connection."""
    server = own_sshd()
    path = accounts.directory_of("rbash", tmp_path.name)
    to = Remote(server.remote("rbash"), str(path)).bound(reach)
    store(to, NAME, b"whole")

    for _ in range(2):
        with to.held("db1", "shop", alone=False):
            assert not is_free(path / "db1" / "shop")
            server.signal("rbash", signal.SIGKILL)
            wait_for(lambda: is_free(path / "db1" / "shop"), "the place to be free")
        assert len([each for each in to.entries("db1", "shop") if each.file]) == 2


def is_free(path: Path) -> bool:
    """Whether nobody holds a directory."""
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(directory)
    return True


@pytest.mark.parametrize(
    ("said", "error"), [("Function not implemented", None), ("Operation not supported", None),
                        ("No locks available", None), ("Bad file descriptor", "Bad file descriptor")],
)  # fmt: skip
def test_a_file_system_without_locks(accounts, sshd, reach, tmp_path, said, error):
    """There nothing is held, but here; whatever else is wrong with locks is told."""
    home = accounts.home("fish")
    path = accounts.directory_of("fish", tmp_path.name)
    programs = home / tmp_path.name
    programs.mkdir()
    (programs / "flock").write_text(f"#!/bin/sh\necho 'flock: 5: {said}' >&2\nexit 71\n")
    (programs / "flock").chmod(0o755)
    (home / ".ssh" / "environment").write_text(f"PATH={programs}:/usr/bin:/bin\n")
    to = Remote(sshd.remote("fish"), str(path)).bound(reach)
    try:
        if error is None:
            store(to, NAME, b"whole")
            with to.held("db1", "shop", alone=True):
                assert is_free(path / "db1" / "shop")
                with pytest.raises(Locked, match="a prune is at work there: pid "):
                    to.open(dump_name("beside")).abort()
            to.open(dump_name("beside")).abort()
        else:
            with pytest.raises(WriteError, match=error):
                to.open(NAME)
    finally:
        (home / ".ssh" / "environment").unlink()


def test_a_file_that_is_taken_for_dead_before_it_is_held_is_begun_anew(accounts, sshd, reach, tmp_path):
    """Another run that looks for what the dead left may come between a new file and its lock: it loses no dump."""
    path, flag = accounts.directory_of("bash", tmp_path.name), accounts.home("bash") / tmp_path.name
    to = Remote(sshd.remote("bash"), str(path)).bound(reach)
    late = f"case $* in *4) : >{flag}.made; until [ -e {flag}.found ]; do sleep 0.05; done ;; esac"
    slow = f"[ -e {flag}.found ] || {{ : >{flag}.found; sleep 0.5; }}"
    programs = {"flock": f'{late}; exec /usr/bin/flock "$@"', "rm": f'{slow}; exec /bin/rm "$@"'}
    with accounts.with_programs("bash", **programs), ThreadPoolExecutor(1) as beside:
        opening = beside.submit(to.open, NAME)
        wait_for(Path(f"{flag}.made").exists, "the first file")
        store(to, replace(NAME, stamp="20261122T203001Z"), b"another")
        sink = opening.result()
        sink.write(memoryview(b"whole"))
        sink.commit(manifest_of(NAME, b"whole"))
    assert len(read_listing("db1", "shop", to.entries("db1", "shop")).dumps) == 2


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_server_that_does_not_replace(accounts, own_sshd, reach, tmp_path, transport):
    """Where SFTP's rename is the only one, a record is put in place of another all the same."""
    # Not of the account that is for SFTP anyway: what its Match block says goes before this.
    more = 'exec "$@" -o "ForceCommand=internal-sftp -P posix-rename"'
    server = own_sshd(inside=("sh", "-c", more, "sh"))
    path = accounts.directory_of("dash", tmp_path.name)
    to = Remote(server.remote("dash"), str(path), transport=transport).bound(reach)
    store(to, NAME, b"whole")
    for fault in ("first", "second"):
        record = Record(manifest_of(NAME, b"whole").sha256, "2026-11-23T03:00:00+00:00", None, fault)
        to.note(NAME, record.to_json())
        (found,) = read_listing("db1", "shop", to.entries("db1", "shop")).dumps
        assert found.record == record
    assert len(os.listdir(path.joinpath(*NAME.directory))) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
@everywhere()
def test_a_record_that_has_no_room_changes_nothing(place):
    """The one that was there stays, whole, and nothing is left of the other."""
    mount(place)
    try:
        store(place.to, NAME, b"whole")
        place.to.note(NAME, b"old")
        with pytest.raises(WriteError):
            place.to.note(NAME, b"x" * 3_000_000)
        files = {path.name: path for path in place.path.rglob("*") if path.is_file()}
        assert set(files) == {NAME.file, NAME.manifest_file, NAME.record_file}
        assert files[NAME.record_file].read_bytes() == b"old"
    finally:
        subprocess.run(["umount", "-l", place.path], check=True)


def mount(place: Place) -> None:
    """Put a file system of 2 MiB there."""
    uid = place.path.stat().st_uid
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=2m,mode=700,uid={uid}", "none", place.path], check=True)


def test_two_recipes_of_one_remote_begin_one_session(accounts, sshd, dbdump, databases, tmp_path):
    """What begins early is shared as all else is: with one dump at a time there is one session, and one ssh."""
    path = accounts.directory_of("dash", tmp_path.name)
    (tmp_path / "recipes").mkdir()
    text = f"from dbdump import *\nto = Remote({sshd.remote('dash')!r}, {str(path)!r}, transport='openssh')\n"
    for index in range(3):
        text += f"@recipe(localhost)\ndef shop{index}(host):\n"
        text += f"    return Dump(SQLite(path={str(databases / f'd{index}.db')!r}), wrap=[], to=to)\n"
    (tmp_path / "recipes" / "shops.py").write_text(text)
    before = sshd.logins
    done = dbdump("dump", "--jobs=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 stored" in done.stdout
    assert sshd.logins - before == 1
