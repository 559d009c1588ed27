"""Restoring SQLite files: both formats, any path, what is in the way, and a file that is replaced at once."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import end_of, needs_root, processes, sqlite_database
from test_sqlite import CONTENT, NAMES, content

from dbdump import SQLite

FORMS = ("binary", "sql")


@pytest.fixture
def made(tmp_path, dbdump, datadir):
    """Make a database file, dump it, and return its path, and the flags that restore it."""

    def make(form: str = "binary", name: str = "app.db", sql: str = CONTENT) -> tuple[Path, list[str]]:
        path = tmp_path / name
        with closing(sqlite3.connect(path)) as database:
            database.executescript(sql)
        flags = ["--backend=sqlite", f"--option=path={path}", f"--option=format={form}", f"--datadir={datadir}"]
        done = dbdump("dump", *flags)
        assert done.returncode == 0, done.stdout
        return path, [*flags, "--yes"]

    return make


def leftovers(path: Path) -> list[str]:
    """Return the names of the files beside it that begin as it does, or as temporary ones do."""
    return sorted(each.name for each in path.parent.iterdir() if each.name.startswith((path.name, ".dbdump")))


def rows(path: Path) -> list[tuple[int]]:
    """Return the rows of t."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT x FROM t").fetchall()


@pytest.mark.parametrize("form", FORMS)
def test_all_of_it_comes_back(made, dbdump, form):
    """Content of every kind, to where it was; and the file is its owner's alone."""
    path, flags = made(form)
    before = content(path)
    path.unlink()
    done = dbdump("restore", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert content(path) == before
    assert leftovers(path) == ["app.db"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_an_awkward_name_is_restored(made, dbdump, tmp_path, datadir, name, form):
    """A file of any name is restored under it, by a glob in the recipe, and under another name."""
    path, flags = made(form, name, "CREATE TABLE t (x); INSERT INTO t VALUES (7)")
    before = content(path)
    path.unlink()
    assert dbdump("restore", *flags).returncode == 0
    assert content(path) == before
    other = tmp_path / ("~" + name[:100])
    done = dbdump("restore", *flags, f"--as={other}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert content(other) == before


def test_a_file_of_a_glob_is_restored_to_where_it_was(tmp_path, dbdump, datadir):
    """The recipe's glob says the directory, also when the file is gone; where it does not, --as has to."""
    for name in ("one.db", "two.db"):
        (tmp_path / "deep").mkdir(exist_ok=True)
        with closing(sqlite3.connect(tmp_path / "deep" / name)) as database:
            database.executescript("CREATE TABLE t (x)")
    flags = ["--backend=sqlite", f"--option=path={tmp_path}/deep/*.db", f"--datadir={datadir}"]
    assert dbdump("dump", *flags).returncode == 0
    (tmp_path / "deep" / "two.db").unlink()
    done = dbdump("restore", *flags, "--database=two.db", "--yes")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / "two.db").exists()
    done = dbdump("restore", *flags, "--yes")
    assert done.returncode == 2
    assert "localhost/sqlite/one.db, localhost/sqlite/two.db" in done.stderr
    flags[1] = f"--option=path={tmp_path}/*/*.db"
    done = dbdump("restore", *flags, "--database=two.db", "--yes")
    assert done.returncode == 2
    assert "--as=PATH" in done.stderr
    done = dbdump("restore", *flags, "--database=two.db", "--yes", "--as=three.db")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "three.db").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_there_stays(made, dbdump, form):
    """It is refused; with --force it is replaced at once, by a file of the same owner and mode."""
    path, flags = made(form)
    before = content(path)
    with closing(sqlite3.connect(path)) as database:
        database.executescript("DROP TABLE w")
    path.chmod(0o640)
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", "nogroup")
    there = path.read_bytes()
    done = dbdump("restore", *flags)
    assert done.returncode == 1
    assert f"{path} on localhost is not empty" in done.stderr
    assert path.read_bytes() == there
    with path.open("rb") as open_file:
        done = dbdump("restore", *flags, "--force")
        assert done.returncode == 0, done.stdout + done.stderr
        assert open_file.read() == there
    assert content(path) == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.geteuid() != 0 or path.owner() == "nobody"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_bytes(b"no database at all"), "is not empty"),
        (lambda path: path.mkdir(), "a directory"),
    ],
)
def test_what_is_no_database_is_in_the_way_too(made, dbdump, spoil, told):
    """A file of another kind is not replaced without --force."""
    path, flags = made()
    path.unlink()
    spoil(path)
    done = dbdump("restore", *flags)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize(
    "sql",
    ["CREATE VIEW v AS SELECT 42", "PRAGMA user_version=7", "PRAGMA application_id=9",
     "CREATE VIRTUAL TABLE v USING fts5(body, content='')"],
)  # fmt: skip
def test_whatever_is_in_a_file_is_in_the_way(made, dbdump, sql):
    """So is a database that has no table with rows of its own."""
    path, flags = made(sql="CREATE TABLE t (x)")
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(sql)
    there = path.read_bytes()
    done = dbdump("restore", *flags)
    assert done.returncode == 1
    assert f"{path} on localhost is not empty" in done.stderr
    assert path.read_bytes() == there


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_path_that_can_be_no_file(made, dbdump, tmp_path, force):
    """A directory, or one below a directory that is not there: told before anything is read."""
    _, flags = made()
    gone = f"{tmp_path}/gone: no such directory, or not to be entered by that user"
    for name, told in ((tmp_path, f"{tmp_path}: is a directory"),
                       (tmp_path / "gone" / "x.db", gone)):  # fmt: skip
        done = dbdump("restore", *flags, f"--as={name}", *force)
        assert done.returncode == 1, done.stdout
        assert f"dbdump: {told}\n" in done.stderr
        assert "hint: " in done.stderr
        assert "verified" not in done.stdout


def test_an_empty_file_is_no_hindrance(made, dbdump):
    """One that has nothing in it is replaced."""
    path, flags = made()
    before = content(path)
    path.write_bytes(b"")
    done = dbdump("restore", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert content(path) == before


def test_no_python_is_not_something_in_the_way(made, dbdump):
    """Where nobody can look, that is told, and not that --force would help."""
    path, flags = made()
    path.unlink()
    sqlite_database(path, 1000)
    done = dbdump("restore", *flags, "--option=python=/nowhere/python3")
    assert done.returncode == 1
    assert "/nowhere/python3: not found" in done.stderr
    assert "--force" not in done.stderr


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_journal_is_in_the_way(made, dbdump, suffix, force):
    """SQLite would replay it into the new file, so it is refused, with --force too, and what is left is said."""
    path, flags = made()
    there = path.read_bytes()
    journal = path.with_name(path.name + suffix)
    journal.write_bytes(b"of a program that died")
    if not force:
        path.unlink()
    done = dbdump("restore", *flags, *force)
    assert done.returncode == 1
    assert f"{journal} is in the way" in done.stdout
    assert journal.read_bytes() == b"of a program that died"
    if force:
        assert path.read_bytes() == there
        assert "as it was before" in done.stdout
    else:
        assert not path.exists()
        assert f"left: nothing of {path}" in done.stdout
    assert not [name for name in leftovers(path) if name.startswith(".dbdump")]


def test_a_file_in_use_is_in_the_way(made, dbdump):
    """A program that has it open in WAL mode keeps it, though its journal is empty: it would go on with that."""
    path, flags = made(sql="PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7)")
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("INSERT INTO t VALUES (8)")
        program.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.with_name("app.db-wal").stat().st_size == 0
        done = dbdump("restore", *flags, "--force")
        assert done.returncode == 1
        assert f"{path} is in use" in done.stdout
        assert "Stop the program" in done.stdout
        assert "as it was before" in done.stdout
        program.execute("INSERT INTO t VALUES (9)")
    assert rows(path) == [(7,), (8,), (9,)]
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 0, done.stdout
    assert rows(path) == [(7,)]
    assert leftovers(path) == ["app.db"]


@needs_root
def test_it_is_restored_as_another_user(made, dbdump, tmp_path):
    """With su the file is made as that user, and is that user's."""
    path, flags = made()
    before = content(path)
    directory = Path("/tmp") / f"dbdump-{os.getpid()}-nobody"
    directory.mkdir()
    try:
        shutil.chown(directory, "nobody")
        done = dbdump("restore", *flags, "--su=nobody", "--option=python=/usr/bin/python3", f"--as={directory}/app.db")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (directory / "app.db").owner() == "nobody"
        assert content(directory / "app.db") == before
    finally:
        subprocess.run(["rm", "-r", directory], check=True)


WAITING = """
class Waits(Slow):
    def command(self): return ["cat"]
    def inverse(self):
        rest = "head -c 200000; until [ -e {top}/go ]; do sleep 0.1; done; cat"
        return ["sh", "-c", "if [ -e {top}/verified ]; then " + rest + "; else cat; : >{top}/verified; fi"]

@recipe(localhost)
def app(host):
    database = SQLite(path="{top}/d/app.db", format="{form}")
    return Dump(database, wrap=[Waits()], to=Directory({datadir!r}))
"""


@pytest.fixture
def midway(dbdump, started, datadir, tmp_path):
    """Begin to replace a database, and return its path, the process that waits for {tmp_path}/go, and its flags."""

    def begin(form: str) -> tuple[Path, subprocess.Popen[str], list[str]]:
        (tmp_path / "d").mkdir()
        path = sqlite_database(tmp_path / "d" / "app.db", 600_000)
        recipes = recipe_file(tmp_path, WAITING.format(top=tmp_path, datadir=str(datadir), form=form))
        flags = ["restore", f"--recipes={recipes}", "--yes", "--force"]
        assert dbdump("dump", f"--recipes={recipes}").returncode == 0
        process = started(*flags)
        wait_for(lambda: parts(path), "the file to be written")
        return path, process, flags

    return begin


def parts(path: Path) -> list[Path]:
    """Return the files beside it that have no name yet."""
    return [path.with_name(each) for each in leftovers(path) if each.endswith(".part")]


def test_what_a_killed_restore_leaves_is_told_and_stays(midway, dbdump, tmp_path):
    """132: kill -9 of what writes the file: it is told by its path, and no other; and nobody's is removed."""
    path, process, flags = midway("binary")
    (left,) = parts(path)
    others = [path.with_name(f".dbdump-app.db-{each}.part") for each in ("b-0123abcd", "notes")]
    for each in others:
        each.touch()
    (writer,) = (pid for pid, line in processes(f"{path} replace").items() if line.startswith(sys.executable))
    os.kill(writer, signal.SIGKILL)
    (tmp_path / "go").touch()
    status, said = end_of(process)
    assert status == 1
    assert "killed by SIGKILL" in said
    assert "left: " in said
    hint = said.partition("hint: ")[2].splitlines()[0]
    assert hint.startswith("Perhaps memory ran out. ")
    assert f": {left}." in hint
    assert not [each for each in others if each.name in said]
    assert dbdump(*flags).returncode == 0
    assert sorted(parts(path)) == sorted([left, *others])


@pytest.mark.parametrize("form", FORMS)
def test_the_unfinished_file_is_removed_meanwhile(midway, tmp_path, form):
    """Somebody cleans up: it fails with that cause, and no empty database takes the place of the one there."""
    path, process, _ = midway(form)
    before = path.read_bytes()
    (part,) = parts(path)
    part.unlink()
    (tmp_path / "go").touch()
    status, said = end_of(process)
    assert status == 1, said
    assert f"{part} was removed while it was written" in said
    assert "as it was before" in said
    assert path.read_bytes() == before
    assert leftovers(path) == ["app.db"]


def test_of_a_killed_dump_nothing_is_said_to_be_left():
    """What a restore leaves is told of a restore alone."""
    assert SQLite(path="/srv/app.db").hint("sqlite: killed by SIGKILL") == "Perhaps memory ran out."
