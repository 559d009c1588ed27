"""Restore: nothing is dropped in vain, and what is left is told as it is."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from servers.process import wait_for
from support import end_of, needs_root, rows, sqlite_database

BACKEND = """
from dbdump import *
@backend("raw")
class Raw(Backend):
    globals_first = False
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["echo", "raw"]
    def get_globals_command(self): return ["echo", "users"]
    {more}
@recipe(localhost)
def raw(host): return Dump(Raw(), wrap=[], to=Directory({datadir!r}))
"""


@pytest.fixture
def raw(tmp_path, datadir, dbdump):
    """Dump a database, and globals, of a backend that has more methods; return the flags."""

    def dumped(*more: str) -> list[str]:
        (recipes := tmp_path / "recipes").mkdir()
        (recipes / "raw.py").write_text(BACKEND.format(more="\n    ".join(more), datadir=str(datadir)))
        assert dbdump("dump", f"--recipes={recipes}").returncode == 0
        return [f"--recipes={recipes}", "--database=one", "--yes"]

    return dumped


@pytest.fixture
def orders(postgres, dbdump, datadir):
    """Dump the database orders, and the globals; return the flags."""
    flags = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres", f"--datadir={datadir}"]
    postgres.create("orders")
    postgres.sql("CREATE TABLE t AS SELECT 1 AS one", "orders")
    assert dbdump("dump", *flags, "--database=orders", "--database=@globals").returncode == 0
    yield [*flags, "--database=orders"]
    postgres.sql("ALTER DATABASE orders IS_TEMPLATE false")
    postgres.drop("orders")


def still_there(postgres, done) -> str:
    """See that a restore failed, and touched nothing; return what it said."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nothing was touched" in done.stdout
    assert "hint: " in done.stdout
    assert postgres.sql("SELECT one FROM t", "orders") == "1"
    return done.stdout


def test_what_restores_has_to_be_there_before_anything_is_dropped(orders, postgres, dbdump, without):
    """Neither is the database dropped, nor are globals restored."""
    env = without("awk")
    for more in ([], ["--globals"]):
        done = dbdump("restore", *orders, "--yes", "--force", *more, env=env)
        assert "awk: not found" in still_there(postgres, done)


def test_what_is_not_read_to_its_end_drops_nothing(orders, postgres, dbdump, without):
    """Where what reads its structure is not here, all of it may be there, and may be nonsense."""
    done = dbdump("restore", *orders, "--yes", "--force", env=without("pg_restore"))
    said = still_there(postgres, done)
    assert "structure not read: no pg_restore here; and orders on localhost would be dropped for it" in said
    assert "hint: Install that here" in said


def test_a_file_has_to_find_room_before_anything_is_dropped(orders, postgres, dbdump):
    """Several at once read the dump from a file in TMPDIR; one alone needs none, and drops what is there."""
    said = still_there(postgres, dbdump("restore", *orders, "--yes", "--force", "--jobs=2", env={"TMPDIR": "/nowhere"}))
    assert "mktemp: " in said
    done = dbdump("restore", *orders, "--yes", "--force", "--jobs=1", env={"TMPDIR": "/nowhere"})
    assert done.returncode == 0, done.stdout


@needs_root
@pytest.mark.parametrize(("into", "more"), [("wide", "--jobs=2"), ("other", "--as=other")])
def test_a_file_that_finds_too_little_room_drops_nothing(postgres, dbdump, datadir, small_disk, into, more):
    """The whole dump is in the file, and is what was verified, before what is there is dropped."""
    flags = [
        "--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres", f"--datadir={datadir}",
        "--database=wide",
    ]  # fmt: skip
    try:
        for each in ("wide", "other"):
            postgres.create(each)
            postgres.sql("CREATE TABLE t AS SELECT 1 AS one, repeat('x', 3000000) AS wide", each)
        assert dbdump("dump", *flags).returncode == 0
        done = dbdump("restore", *flags, "--yes", "--force", more, env={"TMPDIR": str(small_disk)})
        assert done.returncode == 1, done.stdout
        assert "No space left on device" in done.stdout
        assert "nothing was touched" in done.stdout
        assert "hint: Several at once read the dump from a file in TMPDIR" in done.stdout
        assert postgres.sql("SELECT one FROM t", into) == "1"
        assert dbdump("restore", *flags, "--yes", "--force", more).returncode == 0
        assert postgres.sql("SELECT one FROM t", into) == "1"
    finally:
        postgres.drop("wide", "other")


@pytest.fixture
def in_the_way(raw, tmp_path):
    """Write a recipe whose target has things in it, with more methods, and return its flags; it must not be dropped."""
    dropped = tmp_path / "dropped"

    def write(*methods):
        """Do it."""
        discard = f"def discard(self, database): open({str(dropped)!r}, 'w').close()"
        return raw(*methods, "def contents(self, database): return 3", discard)

    yield write
    assert not dropped.exists()


def test_what_has_no_command_is_not_dropped(in_the_way, dbdump):
    """A backend that cannot restore it so says it before."""
    flags = in_the_way(
        "def get_load_command(self, database, into, jobs): return None",
    )
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 1
    assert "raw has no command that restores localhost/raw/one so" in done.stdout
    assert "nothing was touched" in done.stdout


def test_a_program_that_is_not_there_drops_nothing(in_the_way, dbdump):
    """The first word of whatever restores is looked for."""
    flags = in_the_way(
        "def get_load_command(self, database, into, jobs): return ['not-here', into]",
    )
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 1
    assert "not-here: not found on the PATH of localhost" in done.stdout
    assert "nothing was touched" in done.stdout


def test_a_dump_that_went_drops_nothing(in_the_way, dbdump, datadir):
    """Whoever removes it between the two readings, over SFTP a prune may: it is read again before anything goes."""
    flags = in_the_way(
        "def get_load_command(self, database, into, jobs): return ['sh', '-c', 'cat >&2']",
        f"def get_trial_command(self, database, into, jobs): return ['sh', '-c', 'rm {datadir}/*/*/one/2*']",
    )
    (manifest,) = datadir.glob("*/*/one/*.json")
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 4, done.stdout
    stamp = manifest.name.split(".")[0]
    assert f"FAILED   localhost/raw/one: verify: localhost/raw/one {stamp}: gone since it was listed" in done.stdout
    assert "hint: Somebody removed it, perhaps a prune" in done.stdout
    assert "nothing was touched" in done.stdout


def test_a_dump_that_was_replaced_drops_nothing(in_the_way, dbdump, datadir):
    """What somebody writes over it between the two readings is compared before anything goes."""
    flags = in_the_way(
        "def get_load_command(self, database, into, jobs): return ['sh', '-c', 'cat >&2']",
        "def get_trial_command(self, database, into, jobs):\n"
        f"        return ['sh', '-c', 'echo x | tee {datadir}/*/*/one/2*[!n]']",
    )
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 4, done.stdout
    assert "changed since it was verified, a moment ago" in done.stdout
    assert "nothing was touched" in done.stdout


def test_what_cannot_be_dropped_was_not(raw, dbdump):
    """A backend that neither tells what is there nor drops it leaves that to what restores."""
    flags = raw("def get_load_command(self, database, into, jobs): return ['sh', '-c', 'cat >&2; exit 3']")
    done = dbdump("restore", *flags, "--force")
    assert done.returncode == 1
    assert "left: perhaps one, as far as it came" in done.stdout
    assert "dropped" not in done.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_who_could_not_make_it_again_drops_nothing(orders, postgres, dbdump, jobs):
    """The owner of a database may drop it, and need not be allowed to make one."""
    postgres.sql("CREATE ROLE owner LOGIN; ALTER DATABASE orders OWNER TO owner")
    try:
        flags = [flag.replace("user=postgres", "user=owner") for flag in orders]
        done = dbdump("restore", *flags, "--yes", "--force", f"--jobs={jobs}")
        assert done.returncode == 1
        assert "permission denied to create database, so it is not dropped either" in done.stdout
        assert "hint: Restore as a role that may: ALTER ROLE … CREATEDB" in done.stdout
        assert "left: orders, as it was before" in done.stdout
        assert postgres.sql("SELECT one FROM t", "orders") == "1"
    finally:
        postgres.sql("ALTER DATABASE orders OWNER TO postgres; DROP ROLE owner")


def test_what_was_not_dropped_is_as_it_was(orders, postgres, dbdump):
    """Though globals were restored before, which is told."""
    postgres.sql("ALTER DATABASE orders IS_TEMPLATE true")
    done = dbdump("restore", *orders, "--yes", "--force", "--globals")
    assert done.returncode == 1
    assert "cannot drop a template database" in done.stdout
    assert "left: orders, as it was before; globals were restored" in done.stdout
    assert postgres.sql("SELECT one FROM t", "orders") == "1"


def test_globals_of_another_run_are_told_of(orders, dbdump, datadir):
    """Older ones have older passwords: they are taken where the run stored none, and never where its own are bad."""
    (own,) = datadir.glob("*/*/@globals/*.json")
    stamp = own.name.partition(".")[0]
    assert dbdump("dump", *orders).returncode == 0
    done = dbdump("restore", *orders, "--yes", "--force", "--globals")
    assert done.returncode == 0, done.stdout
    assert f"@globals: that run stored none; these are of {stamp}, their passwords too" in done.stderr
    own.write_text("{")
    done = dbdump("restore", *orders, "--yes", "--force", "--globals", f"--at={stamp}")
    assert done.returncode == 4
    assert f"@globals/{own.name}: not a manifest" in done.stderr


def test_what_is_whole_is_whole(raw, started, tmp_path):
    """Where globals come last, and are not all there, the database is."""
    path = str(tmp_path / "made")
    flags = raw(
        "def get_load_command(self, database, into, jobs):\n"
        f"        return ['sh', '-c', 'cat >$1.$2; [ $2 = one ] || sleep 60', 'sh', {path!r}, into]",
        f"def contents(self, database): import os; return 1 if os.path.exists({path + '.one'!r}) else None",
    )
    process = started("restore", *flags, "--globals")
    wait_for(Path(f"{path}.@globals").exists, "the globals to begin")
    process.send_signal(signal.SIGTERM)
    code, said = end_of(process)
    assert code == 128 + signal.SIGTERM
    assert "left: one, all of it; globals as far as they came" in said


def test_globals_that_cannot_be_read_stop_nothing_else(raw, dbdump, tmp_path, datadir):
    """What went of them alone, since they were verified, no prune took: that is told, and the database restored."""
    flags = raw(
        "def get_load_command(self, database, into, jobs):\n"
        f"        import glob, os; into == 'one' or os.unlink(*glob.glob('{datadir}/*/*/@globals/2*[!n]'))\n"
        f"        return ['sh', '-c', 'cat >$1.$2', 'sh', {str(tmp_path / 'made')!r}, into]",
        "def contents(self, database): return None",
    )
    done = dbdump("restore", *flags, "--globals")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED   localhost/raw/@globals: read: " in done.stdout
    assert "its file is gone, its manifest is not" in done.stdout
    assert "hint: Find out who removed it" in done.stdout
    assert "left: " not in done.stdout
    assert (tmp_path / "made.one").read_text() == "raw\n"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_is_as_it_was_or_another_one(dbdump, tmp_path, datadir, replaced):
    """What fails after the file was replaced does not say that it was not."""
    path = sqlite_database(tmp_path / "app.db", 1000)
    flags = ["--backend=sqlite", f"--option=path={path}", f"--datadir={datadir}"]
    dumped = rows(path)
    assert dbdump("dump", *flags).returncode == 0
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE t SET x = 'newer'")
        database.commit()
    python = tmp_path / "python"
    run = 'python3 "$@" || exit; ' if replaced else ""
    python.write_text(f'#!/bin/sh\ncase "$*" in *replace) {run}cat >/dev/null; exit 1;; esac\nexec python3 "$@"\n')
    python.chmod(0o755)
    done = dbdump("restore", *flags, f"--option=python={python}", "--yes", "--force")
    assert done.returncode == 1, done.stdout
    if replaced:
        assert f"left: {path}, replaced by what was restored" in done.stdout
        assert rows(path) == dumped
    else:
        assert f"left: {path}, as it was before" in done.stdout
        assert rows(path) == [("newer",)]


def test_a_scratch_database_that_nobody_can_ask_for(orders, dbdump):
    """Where the server of a drill is not there, nobody knows that something is left on it."""
    flags = [flag if "=host=" not in flag else "--option=host=/nowhere" for flag in orders]
    done = dbdump("verify", *flags, "--restore", "--to=localhost")
    assert done.returncode == 1
    assert "is perhaps left on localhost" in done.stdout
    assert "is left on" not in done.stdout
