"""With --json stdout is one document, as dbdump/schema.json describes it, whatever happens; all else is on stderr."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from resources import recipe_file
from support import sqlite_database

from dbdump import Directory
from dbdump.report import COMMANDS
from dbdump.stored import Drill, Record, Stored, read_listing

Document = dict[str, Any]
SCHEMA = json.loads((resources.files("dbdump") / "schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
TIME = "2026-11-23T04:00:00Z"


@pytest.fixture
def recipes(tmp_path, datadir):
    """A recipe of three databases, one of which it leaves out."""
    (tmp_path / "shop").mkdir()
    for name in ("orders", "a\nb", "left out"):
        sqlite_database(tmp_path / "shop" / name, 1000)
    return recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            shop = SQLite(path={str(tmp_path / "shop" / "*")!r}, exclude=["left*"])
            return Dump(shop, to=Directory({str(datadir)!r}))
        """)  # fmt: skip


def add(recipes: Path, recipe: str, path: str, datadir: Path) -> None:
    """Add a recipe of the database at `path`."""
    with (recipes / "site.py").open("a") as site:
        site.write(f"\n@recipe(localhost)\ndef {recipe}(host): ")
        site.write(f"return Dump(SQLite(path={path!r}), to=Directory({str(datadir)!r}))\n")


@pytest.fixture
def dumped(dbdump, recipes):
    """What is not left out, dumped once."""
    assert dbdump("dump").returncode == 0


@pytest.fixture
def blocked(tmp_path, recipes):
    """A recipe beside it whose datadir is a file."""
    (tmp_path / "file").touch()
    add(recipes, "blocked", str(tmp_path / "shop" / "orders"), tmp_path / "file")


@pytest.fixture
def document(dbdump):
    """Run a command with --json and return its document, which is all of stdout, and as the schema says."""

    def run(command: str, *flags: str) -> Document:
        done = dbdump(command, "--json", *flags)
        return checked(done, command)

    return run


def checked(done: subprocess.CompletedProcess[str], command: str) -> Document:
    """Return the document on stdout, once it is seen to be one, and to be true of the command."""
    found = json.loads(done.stdout)
    VALIDATOR.validate(found)
    assert (found["command"], found["exit"]) == (command, done.returncode)
    return found


def statuses(found: Document) -> dict[str, int]:
    """Return how often each status is in a document."""
    named = [each["status"] for each in found["results"]]
    return {each: named.count(each) for each in named}


def newest(datadir: Path, database: str = "orders") -> Stored:
    """Return the newest dump of a database."""
    return read_listing("localhost", "shop", Directory(str(datadir)).entries("localhost", "shop")).of(database)[0]


def path_of(datadir: Path, database: str = "orders") -> Path:
    """Return the file of that dump."""
    return Path(Directory(str(datadir)).location(newest(datadir, database).name))


def note(datadir: Path, fault: str = "", database: str = "orders") -> None:
    """Put beside a dump what a drill found."""
    stored = newest(datadir, database)
    record = Record(stored.manifest.sha256, TIME, "restored", fault, Drill(TIME, 4.25, 3, 1000, fault))
    Directory(str(datadir)).note(stored.name, record.to_json())


def test_the_schema_is_one():
    """It is JSON Schema of 2020-12, and knows all commands that have a document."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert SCHEMA["properties"]["command"]["enum"] == list(COMMANDS)
    assert len(SCHEMA["allOf"]) == len(COMMANDS)


def test_a_recipe_that_prints_is_not_in_it(document, recipes):
    """What its file says, or a program that it starts, is no part of the document."""
    with (recipes / "site.py").open("a") as site:
        site.write("import os\nprint('hello')\nos.system('echo hello')\n")
    assert statuses(document("dump")) == {"stored": 2, "skipped": 1}
    document("list")


def test_a_backend_that_prints_is_not_in_it(document, recipes, datadir):
    """What a backend of somebody's says while it works is no part of the document either."""
    with (recipes / "site.py").open("a") as site:
        site.write(f"""
@backend("loud")
class Loud(Backend):
    suffix = ".bin"
    def get_db_list(self): print("hello"); return ["one"]
    def get_command(self, database): print("hello"); return ["seq", "9"]

@recipe(localhost)
def loud(host): return Dump(Loud(), to=Directory({str(datadir)!r}))
""")
    assert statuses(document("dump", "--recipe=loud")) == {"stored": 1}
    document("check", "--recipe=loud")


def test_dump(tmp_path, document, recipes, datadir, blocked):
    """What was stored, was left out, and failed, each with the name of its database as it is."""
    add(recipes, "gone", str(tmp_path / "gone.db"), datadir)
    found = document("dump")
    assert found["exit"] == 1
    assert statuses(found) == {"stored": 2, "skipped": 1, "failed": 2}
    assert {each["database"] for each in found["results"] if each["recipe"] == "shop"} == {"orders", "a\nb", "left out"}


def test_dump_of_what_is_locked(document, recipes, datadir, dumped):
    """Where a prune is at work it says so."""
    with Directory(str(datadir)).held("localhost", "shop", alone=True):
        found = document("dump")
    assert (found["exit"], statuses(found)) == (75, {"skipped": 1, "locked": 2})
    assert {each["database"] for each in found["results"]} == {"orders", "a\nb", "left out"}


def test_list(document, dumped, datadir, blocked):
    """Dumps with what verify found, what is none, and a recipe that could not be looked at."""
    note(datadir)
    path = path_of(datadir)
    path.with_name("20261122T203000Z.sqlite.zst").write_bytes(b"half")
    path.with_name("20261122T203001Z.sqlite.zst.json").write_bytes(newest(datadir).text)
    found = document("list")
    assert (found["exit"], statuses(found)) == (1, {"committed": 2, "uncommitted": 1, "bad": 1, "failed": 1})
    assert {each["database"] for each in found["results"] if each["status"] == "committed"} == {"orders", "a\nb"}


def test_verify(document, dumped, datadir, blocked):
    """What is good, what is bad, what was moved, what is gone, and a recipe that could not be looked at."""
    path = path_of(datadir)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    text = newest(datadir).text
    path.with_name("20261122T203001Z.sqlite.zst.json").write_bytes(text)
    gone = path.with_name("20261122T203002Z.sqlite.zst")
    gone.with_name(gone.name + ".json").write_bytes(text.replace(path.name.encode(), gone.name.encode()))
    found = document("verify")
    assert (found["exit"], statuses(found)) == (4, {"good": 1, "bad": 2, "missing": 1, "failed": 1})


def test_verify_of_what_is_not_there(tmp_path, document, recipes, dumped, datadir):
    """A recipe without a dump, and a database of no recipe."""
    add(recipes, "new", str(tmp_path / "shop" / "orders"), datadir)
    assert statuses(document("verify")) == {"good": 2, "missing": 1}
    assert statuses(document("verify", "--database=none", "--database=orders")) == {"good": 1, "missing": 1}


def test_verify_of_one_that_cannot_be_looked_at(dbdump, tmp_path, datadir, recipes, dumped):
    """A dump whose wrapper has no program here has not failed: it was not looked at."""
    done = dbdump("verify", "--json", "--database=a*", env={"PATH": str(tmp_path)})
    found = checked(done, "verify")
    assert (found["exit"], statuses(found)) == (1, {"failed": 1})
    assert found["results"][0]["database"] == "a\nb"


def test_verify_of_what_is_locked(document, dumped, datadir):
    """Where a prune is at work it says so."""
    with Directory(str(datadir)).held("localhost", "shop", alone=True):
        found = document("verify")
    assert (found["exit"], statuses(found)) == (75, {"locked": 1})


@pytest.mark.parametrize("command", ["list", "status", "check"])
def test_who_only_looks_is_not_locked_out(document, dumped, datadir, command):
    """Where a prune is at work, what is there is told as ever."""
    with Directory(str(datadir)).held("localhost", "shop", alone=True):
        assert document(command)["exit"] == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_host_that_is_down(dbdump, tmp_path, command):
    """It is one result; what people are told is on stderr."""
    recipe_file(tmp_path, """
        @recipe(Host("down", ssh="-p 1 nobody@127.0.0.1"))
        def shop(host): return Dump(SQLite(path="/x"), to=Directory("/x", on="host"))
        """)  # fmt: skip
    done = dbdump(command, "--json")
    (result,) = checked(done, command)["results"]
    assert (done.returncode, result["host"]) == (1, "down")
    assert result["status"] == ("unknown" if command == "status" else "failed")
    assert "no connection" in result["message"]
    assert done.stderr


def test_the_drill(document, dumped, datadir):
    """What was restored, and what that came to."""
    found = document("verify", "--restore", "--database=orders")
    assert (found["exit"], statuses(found)) == (0, {"good": 1})
    assert found["results"][0]["record"]["drill"]["tables"] == 1
    found = document("status", "--database=orders")
    assert found["results"][0]["drill"]["rows"] == 1


def test_status(tmp_path, document, recipes, dumped, datadir, blocked):
    """Each state that a database can be in."""
    add(recipes, "new", str(tmp_path / "shop" / "orders"), datadir)
    note(datadir)
    note(datadir, "table t is missing", "a\nb")
    assert statuses(document("status")) == {"unknown": 1, "missing": 1, "failed": 1, "ok": 1}
    assert statuses(document("status", "--database=none")) == {"unknown": 1}
    assert statuses(document("status", "--recipe=shop", "--recipe=new", "--database=none")) == {"missing": 1}
    site = recipes / "site.py"
    site.write_text(site.read_text().replace('["left*"]', '["left*", "orders"]'))
    assert statuses(document("status", "--recipe=shop")) == {"failed": 1, "excluded": 1}
    found = document("status", "--recipe=shop", "--prometheus=/nowhere/x.prom")
    assert (found["exit"], len(found["errors"])) == (4, 1)


def test_check(tmp_path, document, recipes, datadir, blocked):
    """What is well, and what would fail."""
    add(recipes, "gone", str(tmp_path / "gone.db"), datadir)
    found = document("check")
    assert found["exit"] == 1
    assert statuses(found)["failed"] >= 2
    assert statuses(found)["ok"] >= 3


FAILURES = {
    "no such host": (["--host=none"], 3),
    "an empty flag": (["--host="], 2),
    "no such directory": (["--recipes=/nowhere"], 2),
    "no such flag": (["--no-such-flag"], 2),
    "no such backend": (["--backend=none"], 2),
    "an odd option of the backend": (["--backend=postgresql", "--option=format=odd"], 2),
    "no such database": (["--recipe=shop", "--database=no*"], 3),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("flags", "status"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_a_document_too(dbdump, recipes, dumped, command, flags, status):
    """An error that ends it all is in `errors`, and said on stderr as it is without --json."""
    done = dbdump(command, "--json", *flags)
    found = checked(done, command)
    assert (found["exit"], found["results"], len(found["errors"])) == (status, [], 1)
    assert done.stderr.startswith(f"dbdump: {found['errors'][0]['message']}\n")
    plain = dbdump(command, *flags)
    assert (plain.returncode, plain.stdout, plain.stderr) == (status, "", done.stderr)


@pytest.mark.parametrize(
    "line", ["dump --jobs=0", "verify --jobs=none", "verify --to=db2", "status --max-age=soon", "status --prometheus="]
)
def test_an_odd_value_is_a_document_too(dbdump, recipes, dumped, line):
    """Of a flag that only this command has."""
    command, flag = line.split()
    done = dbdump(command, flag, "--json")
    found = checked(done, command)
    assert (found["exit"], found["results"], len(found["errors"])) == (2, [], 1)
    assert flag.partition("=")[0] in found["errors"][0]["message"]
    assert done.stderr.startswith("dbdump: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_recipe_file_is_in_the_document(document, recipes, dumped, command):
    """The results of the others are beside it."""
    (recipes / "broken.py").write_text("nonsense\n")
    (recipes / "broken.py").chmod(0o600)
    found = document(command)
    assert found["exit"] == 2
    assert found["results"]
    assert found["errors"][0]["message"].startswith(f"{recipes}/broken.py:1: NameError")


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_for_people_are_on_stderr(dbdump, recipes, dumped, command):
    """Whoever reads stdout reads JSON alone, as `invoke` prints it too."""
    root = Path(__file__).parents[2]
    line = ["python3", "-m", "invoke", command, "--json", f"--recipes={recipes}"]
    env = {**os.environ, "PATH": f"{root}/.venv/bin:{os.environ['PATH']}"}
    done = subprocess.run(line, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    checked(done, command)
    assert checked(dbdump(command, "--json"), command)["command"] == command


def test_a_dry_run_has_no_document(dbdump, recipes):
    """Scripts are no JSON: both together are refused, in a document."""
    found = checked(dbdump("dump", "--dry-run", "--json"), "dump")
    assert found["exit"] == 2
    assert found["errors"][0]["message"] == "--dry-run prints scripts, and no JSON"


def _spoilt(found: Document) -> Sequence[Document]:
    """Return documents that are not quite what `found` is."""
    spoilt = []
    for path, value in (
        (("more",), 1), (("schema",), 2), (("exit",), 256), (("command",), "prune"), (("errors",), [{"message": "x"}]),
        (("results", 0, "more"), 1), (("results", 0, "status"), "fine"), (("results", 0, "message"), 7),
        (("results", 0, "database"), 7), (("results", 0, "recipe"), []), (("results", 0), {}),
    ):  # fmt: skip
        copy = deepcopy(found)
        inner: Any = copy
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        spoilt.append(copy)
    for key in found["results"][0]:
        copy = deepcopy(found)
        del copy["results"][0][key]
        spoilt.append(copy)
    return spoilt


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_refuses_what_it_does_not_know(document, dumped, datadir, command):
    """No key more, none less, no other status."""
    note(datadir)
    note(datadir, database="a\nb")
    found = document(command)
    for each in _spoilt(found):
        assert not VALIDATOR.is_valid(each), each
    others = [each for each in COMMANDS if each != command]
    assert not any(VALIDATOR.is_valid({**found, "command": each}) for each in others)
