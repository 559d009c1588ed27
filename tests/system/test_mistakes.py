"""Mistakes of operators: each ends in a line and a hint before anything is done, and none is taken for more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from resources import recipe_file
from support import COMMAND, files, needs_root, rows, sqlite_database
from test_cli import invoke


@pytest.fixture
def one(tmp_path, datadir):
    """The flag for one recipe, of one database."""
    sqlite_database(tmp_path / "a.db", 1000)
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def app(host): return Dump(SQLite(path={str(tmp_path / "*.db")!r}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    return f"--recipes={recipes}"


def refused(done: subprocess.CompletedProcess[str], *told: str, code: int = 2) -> None:
    """See that a run ended so, with a line and a hint that say why, and with no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for each in (*told, "hint: "):
        assert each in said, said


@pytest.mark.parametrize(
    "flags",
    [("restore", "--force", "--yes", "--database=a.db", flag) for flag in ("--to=", "--file=", "--as=", "--at=")]
    + [("status", "--max-age="), ("status", "--prometheus="), ("verify", "--restore", "--to=")],
)
def test_an_empty_flag_is_not_the_default(dbdump, one, tmp_path, flags):
    """A variable that is not set must not restore over the live database."""
    assert dbdump("dump", one).returncode == 0
    (tmp_path / "a.db").unlink()
    sqlite_database(tmp_path / "a.db", 2000)
    live = rows(tmp_path / "a.db")
    refused(dbdump(*flags, one), f"{flags[-1][:-1]} is empty")
    assert rows(tmp_path / "a.db") == live


@pytest.mark.parametrize("flag", ["--dry", "-R"])
def test_invoke_s_own_dry_run_is_refused(dbdump, one, datadir, flag):
    """It would keep nothing from being done, before the task's name or after it."""
    refused_by_invoke = invoke("dump", one, flag)
    assert refused_by_invoke.returncode == 2, refused_by_invoke.stderr
    assert "--dry-run" in refused_by_invoke.stderr
    assert "Traceback" not in refused_by_invoke.stderr
    for flags in (("dump", one, flag), ("prune", one, flag), (flag, "dump", one)):
        done = dbdump(*flags)
        assert done.returncode == 2, done.stdout + done.stderr
    assert files(datadir) == {}


def test_what_invoke_alone_has_is_no_flag_of_dbdump(dbdump, one, datadir):
    """--config is not --recipes; a task that is only listed is no success."""
    assert dbdump("dump", "--config=/etc/dbdump").returncode == 2
    done = dbdump("dump", one, "-l")
    assert done.returncode == 2, done.stdout
    assert "leave out the task's name" in done.stderr
    assert "--dry " not in dbdump("--help").stdout
    assert files(datadir) == {}


def test_here_is_one_host(dbdump, tmp_path, datadir):
    """What is of one machine is not stored as that of several."""
    sqlite_database(tmp_path / "a.db", 1000)
    recipes = recipe_file(tmp_path, f"""
        farm = Site([Host("web1"), Host("web2")], to=Directory({str(datadir)!r}))

        @farm.recipe
        def app(host): return Dump(SQLite(path={str(tmp_path / "a.db")!r}))
        """)  # fmt: skip
    refused(dbdump("dump", f"--recipes={recipes}", "--here"), "these are 2: web1, web2", "--host=web1")
    assert files(datadir) == {}
    assert dbdump("dump", f"--recipes={recipes}", "--here", "--host=web2").returncode == 0


@pytest.mark.parametrize("task", ["restore", "verify"])
def test_here_is_no_other_host(dbdump, tmp_path, datadir, task):
    """--to=db2 --here would restore on this machine, and say db2."""
    sqlite_database(tmp_path / "a.db", 1000)
    recipes = recipe_file(tmp_path, f"""
        @recipe(Host("db1"))
        def app(host): return Dump(SQLite(path={str(tmp_path / "a.db")!r}), to=Directory({str(datadir)!r}))

        @recipe(Host("db2"))
        def other(host): return Dump(SQLite(path={str(tmp_path / "b.db")!r}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    here = (f"--recipes={recipes}", "--host=db1", "--here")
    assert dbdump("dump", *here).returncode == 0
    more = {"restore": ["--force", "--yes"], "verify": ["--restore"]}[task]
    refused(dbdump(task, *here, "--to=db2", *more), "--to=db2 with --here")
    assert dbdump(task, *here, "--to=db1", *more).returncode == 0


@pytest.mark.parametrize(
    ("flag", "told"),
    [("--recipe=typo", "no recipe is called 'typo'"), ("--tag=typo", "no recipe has the tag 'typo'")],
)
def test_a_misspelled_selection_beside_a_good_one(dbdump, one, datadir, flag, told):
    """It is not passed over, as a misspelled host is not."""
    good = {"--recipe": "--recipe=app", "--tag": "--host=localhost"}[flag.partition("=")[0]]
    refused(dbdump("dump", one, good, flag), told, code=3)
    assert files(datadir) == {}


def test_a_misspelled_database_beside_a_good_one(dbdump, one, datadir):
    """The others are dumped, and the exit status says that one was not."""
    done = dbdump("dump", one, "--database=a.db", "--database=b.dbb")
    refused(done, "1 stored", "no database matches 'b.dbb'", code=3)
    assert len(files(datadir)) == 2


WRONG = {
    "PostgreSQL": "not a backend", "SQLite(path=A), to='/srv/dumps'": "not a writer",
    "SQLite(path=A), to=Directory": "not a writer", "SQLite(path=A), to=Directory(None)": "not a path",
    "SQLite(path=A), to=Directory('')": "not a path", "SQLite(path=A), wrap=[Zstd]": "Zstd, without ()",
    "SQLite(path=A), wrap=Zstd()": "not a list of wrappers", "SQLite(path=A), wrap_at='controler'": "wrap_at=",
    "SQLite(path=A), wrap=[GPG(sign='a'), GPG(encrypt=['b'])]": "GPG twice",
    "PostgreSQL(psql_options='-d template1')": "'-d' is not yours to give",
    "SQLite(path=A), stall_timeout=-1": "not a number of seconds",
    "SQLite(path=A, exclude=None)": "list of globs",
    "SQLite(path=A), to=Directory('/x', on='host'), wrap_at='controller'": "never come to the controller",
    "SQLite(path=A), to=Directory('/x', on='far')": "Directory(on='far')",
    "SQLite(path=A), to=Directory('~nosuchuser/x')": "no user 'nosuchuser'",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_value_of_the_wrong_kind_is_one_recipe_s_fault(dbdump, one, tmp_path, datadir, wrong):
    """It is named with its file, and the others are dumped."""
    recipe_file(tmp_path, f"""
        A = {str(tmp_path / "a.db")!r}
        @recipe(localhost)
        def wrong(host): return Dump({wrong})
        """, "wrong.py")  # fmt: skip
    done = dbdump("dump", one)
    said = done.stdout + done.stderr
    assert WRONG[wrong] in said
    assert "localhost/wrong" in said
    assert "Please report" not in said
    assert "stored   localhost/app/a.db" in said
    assert done.returncode in (1, 2)
    assert len(files(datadir)) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [("@recipe(localhost, tags=[2024])", "2024 is no text"), ("@recipe(localhost, tags=[['prod']])", "is no text"),
     ("@recipe(Host(12))", "a host needs a name"),
     ("@recipe(Host('ssh://u@db1'))", "a host's name has no /"),
     ("@Site([], to=Directory('/x')).recipe", "not a list of hosts"),
     ("@Site([Host('a')]).recipe(only=[])", "of no host at all"), ("@Site([Host('a')], wrap=Zstd()).recipe", "wrap=")],
)  # fmt: skip
def test_a_declaration_of_the_wrong_kind(dbdump, one, tmp_path, line, told):
    """It is its file's fault, with the line, and the other files are read."""
    recipe_file(tmp_path, f"{line}\ndef wrong(host): return Dump(SQLite(path='/x'))\n", "wrong.py")
    for task in (("recipes", one), ("dump", one, "--host=localhost")):
        done = dbdump(*task)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert told in said
        assert "wrong.py:" in said
        assert "localhost/app" in said


@pytest.mark.parametrize("flags", [("dump", "--datadir=~nosuch/x"), ("status", "--prometheus=~nosuch/x"),
                                   ("restore", "--file=~nosuch/x", "--yes")])  # fmt: skip
def test_a_path_of_nobody(dbdump, one, flags):
    """No such user, no such path."""
    refused(dbdump(*flags, one), "there is no user 'nosuch' here")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("/", "/: is a directory"),
        ("gone", "no such file"),
        ("a.db", "copy that, too"),
        ("a.db.json", "a.db.json: a manifest, and no dump"),
    ],
)
def test_a_file_that_is_no_dump(dbdump, one, tmp_path, file, told):
    """What is missing is named, the file, or its manifest; and what is none is told."""
    if file.endswith(".json"):
        (tmp_path / file).touch()
    refused(dbdump("restore", one, f"--file={file}", "--yes"), told, code=4)


@pytest.mark.parametrize(
    ("words", "told", "hint"),
    [
        (("restore", "a.db"), "No idea what 'a.db' is!", "a database is named with --database=NAME"),
        (("restore", "--at"), "--at needs a value", "dbdump restore --help has its flags"),
        (("restore", "--databse=a.db"), "No idea what '--databse' is!", "dbdump restore --help has its flags"),
        (("restroe",), "No idea what 'restroe' is!", "dbdump --list has the tasks"),
    ],
)
def test_a_word_that_nobody_knows(dbdump, words, told, hint):
    """It is told with where the right ones are."""
    done = dbdump(*words)
    assert done.returncode == 2
    assert f"dbdump: {told}\n" in done.stderr
    assert hint in done.stderr


def test_a_database_that_is_misspelled_to_prune(dbdump, tmp_path, datadir):
    """Though another recipe has no keep, and so nothing that could be pruned."""
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def kept(host): return Dump(SQLite(path={str(tmp_path / "a.db")!r}), keep=Keep(last=1),
                                    to=Directory({str(datadir)!r}))
        @recipe(localhost)
        def other(host): return Dump(SQLite(path="x"), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    sqlite_database(tmp_path / "a.db", 1000)
    assert dbdump("dump", f"--recipes={recipes}", "--recipe=kept").returncode == 0
    refused(dbdump("prune", f"--recipes={recipes}", "--database=b.db"), "no dump matches", code=3)
    assert dbdump("prune", f"--recipes={recipes}", "--database=a.db").returncode == 0
    done = dbdump("list", f"--recipes={recipes}", "--database=b.db")
    refused(done, "no dump matches", code=3)
    assert "hint: Without --database, all are listed." in done.stderr


def test_a_file_whose_name_is_no_module(dbdump, one, tmp_path):
    """One file for each host is natural, and its dots are not."""
    recipe_file(tmp_path, "", "db1.example.org.py")
    done = dbdump("recipes", one)
    refused(done, "its name is none that Python imports", "db1_example_org.py")


def test_a_file_whose_name_is_no_identifier(dbdump, one, tmp_path):
    """A hyphen is nothing to Python's import by name; and nothing is written beside the recipes."""
    recipe_file(tmp_path, "@recipe(localhost)\ndef two(host): return Dump(SQLite(path='/x'))\n", "web-1.py")
    done = dbdump("recipes", one, env={"PYTHONDONTWRITEBYTECODE": ""})
    assert done.returncode == 0, done.stderr
    assert "localhost/two" in done.stdout
    assert sorted(each.name for each in (tmp_path / "recipes").iterdir()) == ["site.py", "web-1.py"]


def test_a_broken_file_beside_what_is_asked_for(dbdump, one, tmp_path, datadir):
    """Nobody knows which names it has: those that are known are dumped, and the exit status tells of it."""
    recipe_file(tmp_path, "def broken(:", "redis.py")
    done = dbdump("dump", one, "--recipe=app", "--recipe=redis")
    refused(done, "SyntaxError", "stored   localhost/app/a.db")
    assert len(files(datadir)) == 2


def test_a_backend_of_a_broken_file(dbdump, one, tmp_path, datadir):
    """What keeps it from being found is told, not that it is not there."""
    recipe_file(tmp_path, "def broken(:", "redis.py")
    refused(dbdump("dump", one, "--backend=redis", f"--datadir={datadir}"), "redis.py", "SyntaxError")


def test_all_and_latest(dbdump, one):
    """Flags that contradict each other."""
    refused(dbdump("verify", one, "--all", "--latest"), "--all and --latest")


@needs_root
def test_recipes_that_cannot_be_read(one, tmp_path):
    """A directory that may only be entered looks empty."""
    (tmp_path / "recipes").chmod(0o711)
    for each in (tmp_path, *tmp_path.parents):
        if str(each).count("/") > 1:
            each.chmod(each.stat().st_mode | 0o001)
    line = "import os; os.setgid(65534); os.setuid(65534); from dbdump.tasks import main; main()"
    done = subprocess.run([sys.executable, "-c", f"import dbdump.tasks, dbdump.inventory; {line}", "recipes", one],
                          cwd="/", check=False, capture_output=True, text=True)  # fmt: skip
    refused(done, "cannot be read")


def shell(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dbdump as a shell does, with its redirections."""
    return subprocess.run(["sh", "-c", f'"$@" {line}', "sh", *COMMAND, *arguments],
                          check=False, capture_output=True, text=True)  # fmt: skip


def test_streams_that_are_closed_or_full(one, datadir):
    """Nothing is taken for done that nobody got, and Nagios is told that it is unknown, if only by the exit status."""
    assert shell("", "dump", one).returncode == 0
    assert shell(">/dev/full", "status", "--nagios", "--recipes=/nonexistent").returncode == 3
    assert shell("2>/dev/full", "status", "--nagios", "--recipes=/nonexistent").stdout.startswith("DBDUMP UNKNOWN")
    assert shell(">/dev/full", "dump", "--dry-run", one).returncode == 1
    assert shell(">/dev/full", "status", "--json", "--recipes=/nonexistent").returncode == 2
    refused(shell("<&-", "restore", one, "--database=a.db"), "nobody to ask")
    refused(shell(">&-", "restore", one, "--database=a.db", "--to-stdout"), "stdout is closed")
    assert len(files(datadir)) == 2


def test_what_a_recipe_includes_by_name_and_is_not_there(dbdump, tmp_path, datadir):
    """A database that was dropped, or that the recipe's user may not see, is not passed over."""
    sqlite_database(tmp_path / "a.db", 1000)
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def app(host):
            names = ["a.db", "gone.db", "none*", "left"]
            return Dump(SQLite(path={str(tmp_path / "*.db")!r}, include=names, exclude=["left"]),
                        to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}")
    refused(done, "FAILED   localhost/app/gone.db: list: the recipe includes it, and the server does not", code=1)
    assert "stored   localhost/app/a.db" in done.stdout
    assert "1 stored, 0 skipped, 1 failed" in done.stdout
    assert dbdump("check", f"--recipes={recipes}").returncode == 1
    part = datadir / "localhost" / "app" / "gone.db" / ".20200101T000000Z.sqlite.zst.0123abcd.part"
    part.touch()
    done = dbdump("dump", f"--recipes={recipes}")
    assert not part.exists()
    assert f"localhost/app/gone.db: removed {part.name}, left by a run that was killed" in done.stdout + done.stderr
