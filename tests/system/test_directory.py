"""The directory writer against a hostile or broken file system."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import wait_for

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.errors import Locked, WriteError
from dbdump.stored import read_listing
from dbdump.testing import dump_name, store

NAME = dump_name()


def attempt(path: Path, name: DumpName = NAME, data: bytes = b"data") -> WriteError | None:
    """Store a dump, and return the error it ended in."""
    try:
        store(Directory(str(path)), name, data)
    except WriteError as error:
        return error
    return None


def left(path: Path) -> list[str]:
    """Return what is below `path` and is no directory."""
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if not each.is_dir() or each.is_symlink())


def test_files_are_ours_alone(tmp_path):
    """Files are 0600 and directories 0700, and a relative path is relative to where we are."""
    store(Directory(os.path.relpath(tmp_path)), NAME, b"data")
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*") if each.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*") if each.is_dir()} == {0o700}


def test_a_missing_datadir_is_not_made(tmp_path):
    """It may be a disk that is not mounted: the error says so, and nothing is made, unless it is asked for."""
    error = attempt(tmp_path / "no" / "disk")
    assert error.message == f"{tmp_path}/no/disk: no such file or directory"
    assert error.hint.startswith("Mount or make the datadir first")
    assert not list(tmp_path.iterdir())
    made = Directory(str(tmp_path / "made"), create=True)
    with made.held("db1", "shop", alone=True):
        assert not list(made.entries("db1", "shop"))
    store(made, NAME, b"data")
    assert len(left(tmp_path / "made")) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="root can enter anywhere: it becomes another user for this")
def test_a_datadir_that_cannot_be_entered(datadir):
    """Who may not look is told so, in words, by whatever looks or holds."""
    code = (
        "import os, sys; from dbdump import Directory; from dbdump.errors import WriteError\n"
        "to = Directory(sys.argv[1])\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "held = lambda: to.held('db1', 'shop', alone=True).__enter__()\n"
        "for look in (held, lambda: next(to.entries('db1', 'shop'))):\n"
        "    try: look()\n"
        "    except WriteError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code, datadir], capture_output=True, text=True, check=False)
    assert done.stdout == f"{datadir}/db1/shop: permission denied\n" * 2, done.stderr


def test_a_directory_that_goes_hides_no_other(datadir):
    """One of a database that is removed while a listing is under way is passed over, and no other is."""
    to = Directory(str(datadir))
    for database in ("a", "b", "c", "d"):
        store(to, dump_name(database), b"data")
    entries = to.entries("db1", "shop")
    first = next(entries).directory
    going, *_ = (each.name for each in os.scandir(datadir / "db1" / "shop") if each.name != first)
    shutil.rmtree(datadir / "db1" / "shop" / going)
    found = {first, *(each.directory for each in entries if each.file)}
    assert found == {"a", "b", "c", "d"} - {going}


def test_a_file_where_the_datadir_should_be(tmp_path):
    """What is no directory is said to be in the way."""
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    assert "not a directory" in attempt(path).message
    assert path.read_bytes() == b"kept"


@pytest.mark.parametrize("where", ["db1", "db1/shop", "db1/shop/orders"])
def test_a_planted_symlink_is_not_followed(tmp_path, where):
    """A symbolic link below the datadir is refused, and what it points to is not touched."""
    victim, datadir = tmp_path / "victim", tmp_path / "datadir"
    victim.mkdir()
    link = datadir / where
    link.parent.mkdir(parents=True, mode=0o700)
    link.symlink_to(victim)
    for path in (datadir, *datadir.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700)
    error = attempt(datadir)
    assert error is not None
    assert str(link) in error.message
    assert "symbolic link" in error.hint
    assert not list(victim.iterdir())


@pytest.mark.parametrize("plant", ["symlink", "dangling", "fifo", "file", "hard link"])
def test_a_planted_final_name_is_not_overwritten(tmp_path, plant):
    """Whatever stands under the final name already stays what it is, and the dump is refused."""
    directory = tmp_path.joinpath("datadir", *NAME.directory)
    directory.mkdir(parents=True)
    for path in (tmp_path / "datadir", *(tmp_path / "datadir").rglob("*")):
        path.chmod(0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    final = directory / NAME.file
    {
        "symlink": lambda: final.symlink_to(victim),
        "dangling": lambda: final.symlink_to(tmp_path / "nothing"),
        "fifo": lambda: os.mkfifo(final),
        "file": lambda: final.write_bytes(b"older"),
        "hard link": lambda: final.hardlink_to(victim),
    }[plant]()
    error = attempt(tmp_path / "datadir")
    assert error is not None
    assert left(directory) == [NAME.file]
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_directory_that_others_can_write_is_refused(tmp_path, mode):
    """Somebody could swap what is in it; /tmp with its sticky bit is good enough for a datadir."""
    datadir = tmp_path / "datadir"
    datadir.mkdir()
    datadir.chmod(mode)
    assert "others can write there" in attempt(datadir).message
    datadir.chmod(0o1777)
    assert attempt(datadir) is None
    (datadir / "db1").chmod(mode)
    assert f"{datadir}/db1: others can write there" in attempt(datadir, dump_name("other")).message


@pytest.mark.skipif(os.geteuid() != 0, reason="chown and setpriv are root's")
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    """What another user owns below the datadir is not ours to trust."""
    directory = tmp_path / "db1"
    directory.mkdir(mode=0o700)
    os.chown(directory, 65534, 65534)
    error = attempt(tmp_path)
    assert f"{directory}: belongs to somebody else, user 65534" in error.message
    assert error.hint.startswith(f"Run it as that user. Or: Look at what is in it; then: chown 0 {directory};")


@pytest.mark.skipif(os.geteuid() != 0, reason="root can write anywhere: it becomes another user for this")
def test_an_unwritable_datadir_says_so(tmp_path):
    """Permission denied names the directory and what to do."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != Path("/tmp") and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    code = (
        "import os; from dbdump import Directory; from dbdump.testing import dump_name, store\n"
        "os.setgid(65534); os.setuid(65534)\n"
        f"try: store(Directory({str(tmp_path)!r}), dump_name(), b'x')\n"
        "except Exception as error: print(error.message, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    hint = "Run as a user that may read and write there, or give another --datadir."
    assert done.stdout == f"{tmp_path}/db1: permission denied | {hint}\n"
    assert not left(tmp_path)


def test_a_full_disk_is_left_as_it_was(small_disk):
    """ENOSPC at any byte: an error with a hint, the older dump stays, and the space is free again."""
    assert attempt(small_disk, dump_name("old"), os.urandom(300_000)) is None
    before = left(small_disk)
    for size in (2_000_000, 800_000, os.statvfs(small_disk).f_bavail * 4096):
        error = attempt(small_disk, NAME, os.urandom(size))
        assert error is not None
        assert "no space left on device" in error.message
        assert error.hint.startswith("The disk is full")
        assert left(small_disk) == before
    assert attempt(small_disk, NAME, os.urandom(300_000)) is None


def test_a_read_only_file_system_says_so(small_disk):
    """EROFS names the directory."""
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    error = attempt(small_disk)
    assert "read-only file system" in error.message
    assert error.hint.startswith("It is mounted read-only")


def test_dead_writers_are_cleaned_up_after_and_living_ones_are_not(tmp_path):
    """A temporary file that nobody holds is removed and reported; one whose writer lives stays."""
    store(Directory(str(tmp_path)), NAME, b"data")
    directory = tmp_path.joinpath(*NAME.directory)
    dead, alive, other = (
        directory / f".20261122T2030{end}"
        for end in ("01Z.sql.zst.deadbeef.part", "02Z.sql.zst.0badcafe.part", "x.part")
    )
    for path in (dead, alive, other):
        path.write_bytes(b"half")
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sink = Directory(str(tmp_path)).open(dump_name())
        assert sink.leftovers == (dead.name,)
        sink.abort()
    assert alive.exists()
    assert other.exists()
    assert not dead.exists()


def test_the_order_of_a_commit(tmp_path):
    """The file is synced before it is named, the directory after, and the manifest comes last."""
    log = tmp_path / "trace"
    code = (
        "from dbdump import Directory; from dbdump.testing import dump_name, store\n"
        f"store(Directory({str(tmp_path)!r}), dump_name(), b'data')"
    )
    calls = "trace=fsync,linkat,unlinkat,renameat2,rename,openat"
    subprocess.run(["strace", "-f", "-y", "-e", calls, "-o", log, sys.executable, "-c", code], check=True)
    steps = []
    for line in log.read_text().splitlines():
        if "fsync(" in line and ".part>" in line:
            steps.append("sync manifest" if ".json." in line else "sync dump")
        elif "fsync(" in line and "/orders>" in line:
            steps.append("sync directory")
        elif "linkat(" in line and "unlinkat(" not in line:
            steps.append("name manifest" if '.json"' in line else "name dump")
    assert steps == [
        "sync dump",
        "name dump",
        "sync directory",
        "sync manifest",
        "name manifest",
        "sync directory",
    ]


def test_two_commits_of_one_name_are_one_after_the_other(tmp_path):
    """A run of the same second neither adopts nor removes a dump whose commit is under way."""
    code = (
        "import sys\nfrom dbdump import Directory\nfrom dbdump.errors import WriteError\n"
        "from dbdump.testing import dump_name, manifest_of\nfrom dataclasses import replace\n"
        "sink = Directory(sys.argv[1]).open(dump_name())\nsink.write(memoryview(b'data'))\n"
        "try: sink.commit(replace(manifest_of(dump_name(), b'data'), restore=sys.argv[2]))\n"
        "except WriteError as error: sys.exit(error.message)\n"
        "finally: sink.abort()\n"
    )
    slow = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=linkat",
        "-e",
        "inject=linkat:delay_enter=2000000:when=2",
    ]
    first = subprocess.Popen([*slow, sys.executable, "-c", code, tmp_path, "first"])
    wait_for(lambda: tmp_path.joinpath(*NAME.directory, NAME.file).exists(), "the first name")
    second = subprocess.run([sys.executable, "-c", code, tmp_path, "second"], capture_output=True, check=False)
    assert first.wait() == 0
    assert second.returncode == 1
    assert b"is there already, and differs" in second.stderr
    (found,) = read_listing(NAME.host, NAME.recipe, Directory(str(tmp_path)).entries(NAME.host, NAME.recipe)).dumps
    assert found.manifest.restore == "first"


@pytest.mark.parametrize("number", [1, 2])
def test_a_temporary_name_that_cannot_be_removed_fails_the_dump(tmp_path, number):
    """An unlink that fails after the dump has its name takes that name back."""
    path = tmp_path / "datadir"
    path.mkdir(mode=0o700)
    code = (
        f"from dbdump import Directory; from dbdump.testing import dump_name, store\n"
        f"store(Directory({str(path)!r}), dump_name(), b'data')"
    )
    inject = ["-e", "trace=unlinkat", "-e", f"inject=unlinkat:error=EIO:when={number}"]
    done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", code],
                          capture_output=True, check=False)  # fmt: skip
    assert b"WriteError" in done.stderr
    assert not [name for name in left(path) if not name.endswith(".part")]


@pytest.mark.parametrize("there", [False, True])
def test_without_hard_links_a_name_is_claimed(tmp_path, there):
    """Where the file system has no hard links the dump is stored all the same, and nothing is overwritten."""
    path = tmp_path / "datadir"
    path.mkdir(mode=0o700)
    if there:
        store(Directory(str(path)), NAME, b"first")
    code = (
        f"from dbdump import Directory; from dbdump.testing import dump_name, store\n"
        f"store(Directory({str(path)!r}), dump_name(), b'data')"
    )
    inject = ["-e", "trace=linkat", "-e", "inject=linkat:error=EPERM"]
    done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", code],
                          capture_output=True, check=False)  # fmt: skip
    assert (b"is there already, and differs" in done.stderr) == there
    assert b"".join(Directory(str(path)).read(NAME)) == (b"first" if there else b"data")
    assert len(left(path)) == 2


@pytest.mark.parametrize("call", ["write", "fsync", "linkat", "openat"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_call_that_fails_leaves_nothing(tmp_path, call, error):
    """Whichever write, fsync, link or open fails, for every n until it passes: no name, no leftovers."""
    code = (
        "import sys\nfrom dbdump import Directory\nfrom dbdump.errors import WriteError\n"
        "from dbdump.testing import dump_name, store\n"
        "try: store(Directory(sys.argv[1]), dump_name(), b'data')\n"
        "except WriteError: sys.exit(7)\n"
    )
    for number in range(1, 12):
        path = tmp_path / str(number)
        path.mkdir(mode=0o700)
        store(Directory(str(path)), dump_name("old"), b"old")
        before = left(path)
        # Of opens, only those in the database's own directory are made to fail; Python has others.
        where = ["-P", str(path.joinpath(*NAME.directory))] if call == "openat" else []
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *where, sys.executable, "-c", code, path],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            assert len(left(path)) == len(before) + 2
            assert number > 1, "nothing was made to fail"
            return
        assert done.returncode == 7, done.stderr.decode()
        assert left(path) == before
    raise AssertionError("it never passed")


@pytest.mark.parametrize("call", ["write", "fsync", "renameat", "openat"])
def test_a_record_that_cannot_be_put_there_leaves_the_last(tmp_path, call):
    """Whichever call fails, for every n until it passes, there is the old record or the new one, whole."""
    code = (
        "import sys\nfrom dbdump import Directory\nfrom dbdump.errors import WriteError\n"
        "from dbdump.testing import dump_name\n"
        "try: Directory(sys.argv[1]).note(dump_name(), b'new')\n"
        "except WriteError: sys.exit(7)\n"
    )
    to = Directory(str(tmp_path))
    store(to, NAME, b"data")
    record = tmp_path.joinpath(*NAME.directory, NAME.record_file)
    for number in range(1, 12):
        to.note(NAME, b"old")
        before = left(tmp_path)
        where = ["-P", str(record.parent)] if call == "openat" else []
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={number}"]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *where, sys.executable, "-c", code, tmp_path],
            capture_output=True, check=False,
        )  # fmt: skip
        assert left(tmp_path) == before
        if done.returncode == 0:
            assert number > 1, "nothing was made to fail"
            assert record.read_bytes() == b"new"
            return
        assert done.returncode == 7, done.stderr.decode()
        assert record.read_bytes() in (b"old", b"new")
    raise AssertionError("it never passed")


def test_a_record_whose_writer_was_killed_is_cleaned_up_after(tmp_path):
    """Its temporary file is not a record, and the next dump removes it."""
    code = "import sys; from dbdump import Directory; from dbdump.testing import dump_name\n"
    code += "Directory(sys.argv[1]).note(dump_name(), b'new')"
    to = Directory(str(tmp_path))
    store(to, NAME, b"data")
    inject = ["-e", "trace=fsync", "-e", "inject=fsync:signal=KILL:when=1"]
    subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", code, tmp_path], check=False
    )
    (part,) = (name for name in left(tmp_path) if name.endswith(".part"))
    listing = read_listing(NAME.host, NAME.recipe, to.entries(NAME.host, NAME.recipe))
    assert [stray.path for stray in listing.strays] == [part.removeprefix("db1/shop/")]
    assert listing.dumps[0].record is None
    sink = to.open(dump_name())
    assert sink.leftovers == (Path(part).name,)
    sink.abort()
    assert len(left(tmp_path)) == 2


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    """Who holds a place says so to others for as long as he lives, and no longer."""
    to = Directory(str(tmp_path))
    store(to, NAME, b"data")
    code = (
        "import sys; from dbdump import Directory\n"
        "with Directory(sys.argv[1]).held('db1', 'shop', alone=True): print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=r"shop: a prune is at work there") as caught, to.held(
            "db1", "shop", alone=False
        ):  # fmt: skip
            pass
        assert caught.value.exit_code == 75
        with pytest.raises(Locked, match="orders"):
            to.open(NAME)
        holder.kill()
    with to.held("db1", "shop", alone=True):
        pass
    to.open(NAME).abort()


def test_a_place_that_is_a_link_is_not_held(tmp_path):
    """As for a dump, a symbolic link on the way is refused."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "datadir" / "db1").mkdir(parents=True, mode=0o700)
    (tmp_path / "datadir" / "db1" / "shop").symlink_to(tmp_path / "victim")
    with pytest.raises(WriteError, match="shop"), Directory(str(tmp_path / "datadir")).held("db1", "shop", alone=False):
        pass
