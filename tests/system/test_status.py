"""How old the last good dump is, of real dumps: lines, exit status, Nagios, Prometheus."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from resources import recipe_file
from support import COMMAND, sqlite_database

from dbdump import Directory
from dbdump.catalog import DumpName, new_stamp
from dbdump.manifest import Manifest
from dbdump.stored import Drill, Record, Stored, read_listing

LABELS = {"host": "localhost", "recipe": "shop", "database": "orders"}


@pytest.fixture
def recipes(tmp_path, datadir):
    """One recipe, of databases below `shop`, and the datadir it stores in."""
    (tmp_path / "shop").mkdir()
    for name in ("orders", "carts"):
        sqlite_database(tmp_path / "shop" / name, 1000)
    return recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            return Dump(SQLite(path={str(tmp_path / "shop" / "*")!r}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip


@pytest.fixture
def dumped(dbdump, recipes):
    """Both databases, dumped once."""
    assert dbdump("dump").returncode == 0


def listing(datadir: Path) -> list[Stored]:
    """Return what is stored of localhost/shop."""
    return list(read_listing("localhost", "shop", Directory(str(datadir)).entries("localhost", "shop")).dumps)


def newest(datadir: Path, database: str = "orders") -> Stored:
    """Return the newest dump of a database."""
    return next(each for each in listing(datadir) if each.manifest.database == database)


def put_back(datadir: Path, hours: float, database: str | None = None) -> None:
    """Make the newest dump of each database, or of one, one that was made so many hours ago."""
    began = datetime.now(UTC) - timedelta(hours=hours)
    for each in {stored.manifest.database: stored for stored in reversed(listing(datadir))}.values():
        if database in (None, each.manifest.database):
            _move(datadir, each, DumpName(*_whose(each.name), new_stamp(began), each.name.suffix), began)


def _whose(name: DumpName) -> tuple[str, str, str]:
    return name.host, name.recipe, name.database


def _move(datadir: Path, stored: Stored, name: DumpName, began: datetime) -> None:
    directory = datadir.joinpath(*name.directory)
    keys = {**json.loads(stored.text), "file": name.file, "started": began.isoformat(), "finished": began.isoformat()}
    manifest = Manifest.from_json(json.dumps(keys).encode())
    (directory / stored.name.file).rename(directory / name.file)
    (directory / stored.name.manifest_file).unlink()
    (directory / name.manifest_file).write_bytes(manifest.to_json())


def note(datadir: Path, stored: Stored, record: Record) -> None:
    """Put a record beside a dump, as verify does."""
    Directory(str(datadir)).note(stored.name, record.to_json())


def hours_ago(hours: float) -> str:
    """Return the time so many hours ago."""
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def items(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    """Return what a JSON document says of each database."""
    return {each["database"]: each for each in json.loads(done.stdout)["results"]}


def metrics(path: Path) -> dict[tuple[str, str, str, str], float]:
    """Return the samples of a file for Prometheus, by name, host, recipe and database."""
    return {
        (each.name, *(each.labels.get(label, "") for label in LABELS)): each.value
        for family in text_string_to_metric_families(path.read_text())
        for each in family.samples
    }


def test_all_is_well(dbdump, dumped):
    """Each database has a line with its age and size, and the last line counts them."""
    done = dbdump("status")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    line = r"ok {8}localhost/shop/(carts|orders)  \d min old  [\d,.]+ (bytes|kB)  never verified  no drill"
    assert [bool(re.fullmatch(line, each)) for each in lines] == [True, True], done.stdout
    assert last == "2 ok"


def test_what_was_done_to_it_is_in_its_line(dbdump, datadir, dumped):
    """When it was verified, and how deep, when it was restored, how long that took, and what its size usually is."""
    put_back(datadir, 30)
    assert dbdump("dump").returncode == 0
    stored = newest(datadir)
    drill = Drill(hours_ago(50), 4.21, 3, 1000)
    note(datadir, stored, Record(stored.manifest.sha256, hours_ago(3), "structure", drill=drill))
    put_back(datadir, 3.2, "orders")
    stored = newest(datadir)
    line = next(each for each in dbdump("status").stdout.splitlines() if "orders" in each)
    assert "verified" not in line.replace("never verified", "")  # the record went with its old name
    note(datadir, stored, Record(stored.manifest.sha256, hours_ago(3), "structure", drill=drill))
    done = dbdump("status")
    line = next(each for each in done.stdout.splitlines() if "orders" in each)
    assert re.fullmatch(
        r"ok        localhost/shop/orders  3\.2 h old  [\d,.]+ (bytes|kB) \(usual [\d,.]+ (bytes|kB)\)  "
        r"verified structure 3\.0 h ago  drill 2 d ago: 4\.2 s", line,
    ), line  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("max_age", "status"), [((), 4), (("--max-age=29h",), 4), (("--max-age=31h",), 0), (("--max-age=1800m",), 4),
                            (("--max-age=2d",), 0), (("--max-age=1w",), 0)],
)  # fmt: skip
def test_a_stale_one(dbdump, datadir, dumped, max_age, status):
    """Older than --max-age, 26 hours where it is not given, is an alarm, and comes first."""
    put_back(datadir, 30, "orders")
    done = dbdump("status", *max_age)
    assert done.returncode == status
    first, _, last = done.stdout.splitlines()
    if status:
        assert first.startswith("STALE     localhost/shop/orders  30.0 h old  ")
        assert first.endswith("  its last good dump is too old")
        assert last == "1 ok, 1 stale"
    else:
        assert last == "2 ok"


def test_a_shrunken_one(tmp_path, dbdump, datadir, dumped, recipes):
    """A dump that lost more than `shrink_alarm` against those before it is an alarm."""
    sqlite_database(tmp_path / "big", 500_000).replace(tmp_path / "shop" / "orders")
    put_back(datadir, 80, "orders")
    for hours in (60, 40, 20):
        assert dbdump("dump", "--database=orders").returncode == 0
        put_back(datadir, hours, "orders")
    sqlite_database(tmp_path / "small", 200_000).replace(tmp_path / "shop" / "orders")
    assert dbdump("dump", "--database=orders").returncode == 0
    done = dbdump("status", "--database=orders")
    assert done.returncode == 4
    assert re.match(
        r"SHRUNKEN  localhost/shop/orders  .*  the newest has \d+ bytes, 6\d% less than is usual\n", done.stdout
    )
    assert dbdump("status", "--nagios", "--database=orders").returncode == 1
    site = recipes / "site.py"
    site.write_text(site.read_text().replace("to=", "keep=Keep(last=9, shrink_alarm=0.9), to="))
    assert dbdump("status", "--database=orders").returncode == 0


def test_one_that_failed_verify(dbdump, datadir, dumped):
    """Where verify found the newest bad, the one before it is the last good one, and it is said."""
    put_back(datadir, 5)
    assert dbdump("dump").returncode == 0
    stored = newest(datadir)
    path = datadir.joinpath(*stored.name.directory, stored.name.file)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert dbdump("status").returncode == 0  # nobody has looked
    assert dbdump("verify").returncode == 4
    done = dbdump("status")
    assert done.returncode == 4
    assert re.match(
        rf"FAILED    localhost/shop/orders  5\.0 h old  .*  FAILED verify 0 min ago  no drill  "
        rf"{stored.name.stamp} failed verify 0 min ago: .+\n", done.stdout,
    ), done.stdout  # fmt: skip
    assert "\nok        localhost/shop/carts" in done.stdout
    assert dbdump("dump").returncode == 0
    assert dbdump("status").returncode == 4  # until somebody has looked at the new one
    assert dbdump("verify").returncode == 0
    assert dbdump("status").returncode == 0


def test_one_that_failed_its_drill(dbdump, datadir, dumped):
    """A dump that cannot be restored is none."""
    stored = newest(datadir)
    drill = Drill(hours_ago(1), 4.2, 0, 0, "table t is missing")
    note(datadir, stored, Record(stored.manifest.sha256, hours_ago(1), "structure", "drill: table t is missing", drill))
    done = dbdump("status", "--json")
    assert done.returncode == 4
    assert items(done)["orders"]["status"] == "failed"
    assert items(done)["orders"]["message"] == (
        f"{stored.name.stamp} failed its drill 60 min ago: table t is missing; no good dump"
    )
    assert items(done)["orders"]["drill"]["fault"] == "table t is missing"


def test_one_that_was_cut(dbdump, datadir, dumped):
    """A file of another size than its manifest says needs no verify to be known as bad."""
    stored = newest(datadir)
    os.truncate(datadir.joinpath(*stored.name.directory, stored.name.file), 10)
    done = dbdump("status")
    assert done.returncode == 4
    assert f"{stored.name.stamp} has 10 bytes, and its manifest says {stored.size}; no good dump\n" in done.stdout


def test_one_that_was_moved(dbdump, datadir, dumped):
    """Where the newest manifest is another dump's, the age of the one before it is not all that is said."""
    put_back(datadir, 5)
    assert dbdump("dump").returncode == 0
    orders, carts = newest(datadir), newest(datadir, "carts")
    theirs, ours = (datadir.joinpath(*each.name.directory, each.name.manifest_file) for each in (carts, orders))
    ours.write_bytes(theirs.read_bytes())
    done = dbdump("status")
    assert done.returncode == 4
    line, _ = done.stdout.split("\n", 1)
    assert line.startswith("FAILED    localhost/shop/orders  5.0 h old  ")
    assert line.endswith(": its manifest is of a dump of localhost/shop/carts: it was moved or swapped")


def test_one_from_the_future(dbdump, datadir, dumped):
    """A clock that was wrong makes nothing fresh."""
    put_back(datadir, 30, "orders")
    assert dbdump("dump", "--database=orders").returncode == 0
    put_back(datadir, -2, "orders")
    done = dbdump("status", "--database=orders")
    assert done.returncode == 4
    assert re.match(
        r"STALE     localhost/shop/orders  30\.0 h old  .* is from the future, and does not count", done.stdout
    )


def test_one_from_the_future_hides_no_fault(dbdump, datadir, dumped):
    """What is wrong with the newest of the past is told as if that were the newest of all."""
    put_back(datadir, -2, "orders")
    assert dbdump("dump", "--database=orders").returncode == 0
    (_, stored) = [each for each in listing(datadir) if each.manifest.database == "orders"]
    os.truncate(datadir.joinpath(*stored.name.directory, stored.name.file), 10)
    done = dbdump("status", "--database=orders")
    assert done.returncode == 4
    assert re.match(rf"FAILED .* {stored.name.stamp} has 10 bytes, .*; no good dump; .* future", done.stdout)


def test_a_recipe_without_a_dump(dbdump, datadir, dumped, recipes):
    """It is missing, whatever else is there; of a disk that is not mounted nothing is known."""
    with (recipes / "site.py").open("a") as site:
        site.write(
            f"\n@recipe(localhost)\ndef new(host): return Dump(SQLite(path='/x'), to=Directory({str(datadir)!r}))\n"
        )
    done = dbdump("status")
    assert done.returncode == 4
    assert done.stdout.startswith("MISSING   localhost/new: no dump at all\n")
    assert done.stdout.endswith("2 ok, 1 missing\n")
    datadir.rename(datadir.with_name("unmounted"))
    done = dbdump("status")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "0 ok, 2 unknown")
    assert f"UNKNOWN   localhost/new: read: {datadir}: no such file or directory\n" in done.stdout
    assert done.stdout.count("hint: Mount or make the datadir first") == 2


def test_a_database_that_never_had_a_dump(tmp_path, dbdump, datadir, recipes):
    """It is missing, whatever the others are, until it is dumped or the recipe leaves it out."""
    (tmp_path / "shop" / "carts").write_text("no database")
    assert dbdump("dump").returncode == 1
    done = dbdump("status")
    assert done.returncode == 4
    missing, hint, fine, last = done.stdout.splitlines()
    assert (missing, last) == ("MISSING   localhost/shop/carts: no dump at all", "1 ok, 1 missing")
    assert hint.startswith("         hint: Dump it, exclude it in its recipe, or remove its directory")
    assert fine.startswith("ok        localhost/shop/orders  ")
    assert dbdump("status", "--database=carts").stdout.startswith(missing)
    assert dbdump("status", "--database=orders").returncode == 0
    (datadir / "localhost" / "shop" / "carts" / f"{new_stamp()}.sqlite.zst").touch()
    assert re.match(f"{missing}, and .*: no manifest: it was never finished\n", dbdump("status").stdout)
    site = recipes / "site.py"
    site.write_text(site.read_text().replace("SQLite(", "SQLite(exclude=['carts'], "))
    done = dbdump("status")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 ok, 1 excluded")


def test_databases_that_are_asked_for(dbdump, dumped):
    """A name without a dump is missing; a glob without one matches nothing."""
    assert dbdump("status", "--database=orders").stdout.splitlines()[-1] == "1 ok"
    done = dbdump("status", "--database=orders", "--database=customers")
    assert done.returncode == 4
    assert done.stdout.startswith("MISSING   localhost/shop/customers: no dump at all\n")
    assert dbdump("status", "--database=o*").returncode == 0
    done = dbdump("status", "--database=x*")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("dbdump: no dump matches\n")


def test_a_name_that_another_recipe_of_the_host_has(dbdump, datadir, dumped, recipes):
    """It is not missing in each of the others."""
    with (recipes / "site.py").open("a") as site:
        site.write(
            f"\n@recipe(localhost)\ndef new(host): return Dump(SQLite(path='/x'), to=Directory({str(datadir)!r}))\n"
        )
    assert dbdump("status", "--database=orders").returncode == 0
    done = dbdump("status", "--database=none")
    assert (done.returncode, done.stdout.splitlines()[0]) == (4, "MISSING   localhost/*/none: no dump at all")


def test_what_the_recipe_leaves_out_may_be_old(dbdump, datadir, dumped, recipes):
    """The dumps of a database that was dropped stay where they are, and alarm nobody once it is excluded."""
    put_back(datadir, 1000, "orders")
    assert dbdump("status").returncode == 4
    site = recipes / "site.py"
    site.write_text(site.read_text().replace("SQLite(", "SQLite(exclude=['orders'], "))
    done = dbdump("status")
    assert done.returncode == 0
    assert re.search(
        r"^excluded  localhost/shop/orders  42 d old  .*  left out by the recipe; ", done.stdout, re.MULTILINE
    )
    assert done.stdout.endswith("1 ok, 1 excluded\n")


@pytest.fixture
def blocked(tmp_path, dumped, recipes):
    """Another recipe, whose datadir is a file."""
    (tmp_path / "file").touch()
    with (recipes / "site.py").open("a") as site:
        site.write(
            "\n@recipe(localhost)\ndef blocked(host): return Dump(SQLite(path='/x'), to=Directory('"
            f"{tmp_path}/file'))\n"
        )


def test_a_recipe_that_cannot_be_looked_at(tmp_path, dbdump, datadir, blocked):
    """It is neither well nor missing: exit 1, unless something is known to be bad."""
    done = dbdump("status", f"--prometheus={tmp_path}/x.prom")
    assert done.returncode == 1
    first, hint, *_, last = done.stdout.splitlines()
    assert first.startswith(f"UNKNOWN   localhost/blocked: read: {tmp_path}/file")
    assert hint.startswith("         hint: ")
    assert last == "2 ok, 1 unknown"
    assert metrics(tmp_path / "x.prom")["dbdump_ok", "localhost", "blocked", ""] == 0
    assert dbdump("status", "--database=none").returncode == 1  # nobody knows
    assert dbdump("status", "--nagios").returncode == 2
    put_back(datadir, 30, "orders")
    assert dbdump("status").returncode == 4


def test_a_recipe_file_that_is_broken(dbdump, dumped, recipes):
    """The others are looked at, and it is said; Nagios is told that nobody knows."""
    (recipes / "broken.py").write_text("nonsense\n")
    (recipes / "broken.py").chmod(0o600)
    done = dbdump("status")
    assert done.returncode == 2
    assert "2 ok\n" in done.stdout
    assert f"{recipes}/broken.py:1: NameError" in done.stdout
    done = dbdump("status", "--nagios")
    assert (done.returncode, done.stdout.partition(" - ")[0]) == (3, "DBDUMP UNKNOWN")


def test_json(dbdump, datadir, dumped):
    """One document with all of it on stdout, and the lines for people on stderr."""
    stored = newest(datadir)
    record = Record(stored.manifest.sha256, hours_ago(2), "restored", drill=Drill(hours_ago(1), 4.25, 3, 1000))
    note(datadir, stored, record)
    done = dbdump("status", "--json")
    document = json.loads(done.stdout)
    assert (document["command"], document["exit"], document["errors"]) == ("status", 0, [])
    orders = items(done)["orders"]
    assert 0 <= orders.pop("age_seconds") < 60
    assert orders == {
        "status": "ok", **LABELS, "message": "", "hint": "", "dumps": 1, "stamp": stored.name.stamp,
        "stored_bytes": stored.size, "usual_bytes": None,
        "verified": {"stamp": stored.name.stamp, "at": record.at, "level": "restored", "fault": ""},
        "drill": {"stamp": stored.name.stamp, "at": record.drill.at, "seconds": 4.25, "tables": 3, "rows": 1000,
                  "fault": ""},
    }  # fmt: skip
    assert done.stderr.endswith("2 ok\n")


NAGIOS = re.compile(
    r"DBDUMP (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+"
    r"( \|( '[^'=|\n]+ (age'=\d+s;\d+;\d+;0|size'=\d+B;;;0))+)?\n"
)


@pytest.mark.parametrize(
    ("flags", "status", "text"),
    [
        ((), 0, r"DBDUMP OK - 2 databases, oldest 20\.0 h \| 'localhost/shop/carts age'=\d+s;93600;93600;0 "),
        (
            ("--max-age=10h",),
            2,
            r"DBDUMP CRITICAL - 1 stale of 2 databases, oldest 20\.0 h: localhost/shop/orders stale: ",
        ),
        (("--database=none",), 2, r"DBDUMP CRITICAL - 1 missing of 1 database: localhost/shop/none missing: "),
        (("--database=x*",), 3, "DBDUMP UNKNOWN - no dump matches\n"),
        (("--max-age=soon",), 3, "DBDUMP UNKNOWN - --max-age=soon: not a time\n"),
        (("--json",), 3, "DBDUMP UNKNOWN - --nagios and --json: each wants stdout for itself\n"),
        (("--host=none",), 3, "DBDUMP UNKNOWN - no recipe is for host 'none'\n"),
        (("--host=",), 3, "DBDUMP UNKNOWN - --host is empty\n"),
        (("--host=,",), 3, "DBDUMP UNKNOWN - --host is empty\n"),
        (("--recipes=/nowhere",), 3, "DBDUMP UNKNOWN - /nowhere: no such file or directory\n"),
        (("--no-such-flag",), 3, "DBDUMP UNKNOWN - "),
        (
            ("--prometheus=/nowhere/x.prom",),
            3,
            "DBDUMP UNKNOWN - 2 databases, oldest 20.0 h; --prometheus=/nowhere/x.prom: ",
        ),
    ],
)
def test_nagios(dbdump, datadir, dumped, flags, status, text):
    """One line in the form of the guidelines for plugins, whatever happens, and their exit status."""
    put_back(datadir, 20, "orders")
    done = dbdump("status", "--nagios", *flags)
    assert done.returncode == status
    assert NAGIOS.fullmatch(done.stdout), done.stdout
    assert re.match(text, done.stdout), done.stdout


def test_nagios_and_a_bug(tmp_path, recipes):
    """An error that no operator can cause is unknown too; its traceback is on stderr."""
    program = "import dbdump.asked; dbdump.asked.discover = None; from dbdump.tasks import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "status", "--nagios"], cwd=tmp_path, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == "DBDUMP UNKNOWN - bug: TypeError: 'NoneType' object is not callable\n"
    assert "Traceback" in done.stderr


def test_prometheus(tmp_path, dbdump, datadir, dumped):
    """Each database has its values, in seconds and bytes; beside them stands when it was looked."""
    put_back(datadir, 30, "orders")
    stored = newest(datadir)
    at, drilled = hours_ago(2), hours_ago(1)
    record = Record(stored.manifest.sha256, at, "structure", drill=Drill(drilled, 4.25, 3, 1000))
    note(datadir, stored, record)
    path = tmp_path / "dbdump.prom"
    before = datetime.now(UTC).timestamp()
    assert dbdump("status", f"--prometheus={path}").returncode == 4
    found = metrics(path)
    assert before <= found.pop(("dbdump_status_timestamp_seconds", "", "", "")) <= datetime.now(UTC).timestamp()
    carts = newest(datadir, "carts")
    assert found == {
        ("dbdump_ok", *LABELS.values()): 0,
        ("dbdump_last_success_timestamp_seconds", *LABELS.values()): stored.manifest.begun.timestamp(),
        ("dbdump_last_size_bytes", *LABELS.values()): stored.size,
        ("dbdump_last_verified_timestamp_seconds", *LABELS.values()): datetime.fromisoformat(at).timestamp(),
        ("dbdump_last_drill_timestamp_seconds", *LABELS.values()): datetime.fromisoformat(drilled).timestamp(),
        ("dbdump_last_drill_seconds", *LABELS.values()): 4.25,
        ("dbdump_ok", "localhost", "shop", "carts"): 1,
        ("dbdump_last_success_timestamp_seconds", "localhost", "shop", "carts"): carts.manifest.begun.timestamp(),
        ("dbdump_last_size_bytes", "localhost", "shop", "carts"): carts.size,
        ("dbdump_broken_recipes", "", "", ""): 0,
    }
    families = list(text_string_to_metric_families(path.read_text()))
    assert all(each.documentation.endswith(".") and each.type == "gauge" for each in families)


def test_the_file_for_prometheus_replaces_the_old_one(tmp_path, dbdump, dumped):
    """The exporter can read it under any umask, and a link in its place is replaced, not followed."""
    directory = tmp_path / "textfile"
    directory.mkdir()
    (tmp_path / "kept").write_text("kept")
    (directory / "dbdump.prom").symlink_to(tmp_path / "kept")
    done = subprocess.run([*COMMAND, "status", f"--prometheus={directory}/dbdump.prom", "--nagios"], cwd=tmp_path,
                          umask=0o077, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert NAGIOS.fullmatch(done.stdout)
    assert [each.name for each in directory.iterdir()] == ["dbdump.prom"]
    assert stat.S_IMODE((directory / "dbdump.prom").lstat().st_mode) == 0o644
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing/x.prom", "no such file or directory"), ("taken", "is a directory"), ("file/x.prom", "not a directory")],
)
def test_a_file_for_prometheus_that_cannot_be(tmp_path, dbdump, dumped, path, reason):
    """It is said in words, beside all else, and nothing is left of it."""
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    done = dbdump("status", "--json", f"--prometheus={tmp_path / path}")
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert [each["message"] for each in document["errors"]] == [f"--prometheus={tmp_path / path}: {reason}"]
    assert document["errors"][0]["hint"].startswith("Name a file in the directory")
    assert len(document["results"]) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_the_old_file(small_disk, dbdump, dumped):
    """What the exporter reads is whole, or the one of before."""
    path = small_disk / "dbdump.prom"
    path.write_text("old 1\n")
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    done = dbdump("status", f"--prometheus={path}")
    assert done.returncode == 2
    assert f"--prometheus={path}: no space left on device" in done.stdout
    assert sorted(each.name for each in small_disk.iterdir()) == ["dbdump.prom", "filler"]
    assert path.read_text() == "old 1\n"


@pytest.mark.parametrize("flags", [(), ("--nagios",), ("--json",)])
def test_who_is_ended_leaves_the_old_file(tmp_path, dbdump, dumped, recipes, flags):
    """What was not looked at to its end is no alarm."""
    site = recipes / "site.py"
    ended = "class Ended(Directory):\n def entries(self, *recipe): os.kill(os.getpid(), 15); yield from ()\n"
    text = site.read_text().replace("to=Directory", "to=Ended")
    site.write_text(text.replace("@recipe", f"import os\n{ended}@recipe"))
    path = tmp_path / "dbdump.prom"
    path.write_text("old 1\n")
    done = dbdump("status", f"--prometheus={path}", *flags)
    assert done.returncode == (3 if flags == ("--nagios",) else 143), done.stdout + done.stderr
    assert path.read_text() == "old 1\n"


@pytest.mark.parametrize("name", ["it's", 'a"b\\c', "a\nb", "bad\udce9name", "é", "a=b|c"])
def test_odd_names_on_the_way_to_a_monitor(tmp_path, dbdump, datadir, name):
    """No name of a database breaks a line, a label or a file."""
    (tmp_path / "shop").mkdir()
    sqlite_database(tmp_path / "shop" / name, 1000)
    flags = ("--backend=sqlite", "--option", f"path={tmp_path}/shop/*", f"--datadir={datadir}")
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("status", *flags, "--nagios", f"--prometheus={tmp_path}/x.prom")
    assert done.returncode == 0, done.stdout + done.stderr
    assert NAGIOS.fullmatch(done.stdout), done.stdout
    (found,) = [key for key in metrics(tmp_path / "x.prom") if key[0] == "dbdump_ok"]
    assert found[1:3] == ("localhost", "sqlite")
    assert items(dbdump("status", *flags, "--json")).keys() == {name}


def test_prometheus_client_is_imported_for_it_alone(tmp_path, recipes, dumped):
    """Who wants no file for Prometheus waits for no module of its."""
    program = (
        "import sys\nfrom dbdump.tasks import main\ntry: main()\nexcept SystemExit: pass\n"
        "assert 'dbdump.monitor' in sys.modules and 'prometheus_client' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program, "status"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("kind", "transport"), [("dash", "fabric"), ("dash", "openssh"), ("sftp", "fabric")])
def test_on_another_machine(tmp_path, dbdump, sshd, kind, transport):
    """List and status tell of a far directory what they tell of one here; a machine that is down is unknown."""
    database = sqlite_database(tmp_path / "orders", 1000)
    path = sshd.accounts.directory_of(kind, f"status-{kind}-{transport}")
    recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            return Dump(SQLite(path={str(database)!r}),
                        to=Remote({sshd.remote(kind)!r}, {str(path)!r}, transport={transport!r}))

        @recipe(localhost)
        def down(host):
            return Dump(SQLite(path={str(database)!r}),
                        to=Remote("-p 1 nobody@127.0.0.1", "/x", transport={transport!r}))
        """)  # fmt: skip
    assert dbdump("dump", "--recipe=shop").returncode == 0
    assert re.search(r" localhost/shop/orders  \.zst, never verified$", dbdump("list", "--recipe=shop").stdout)
    done = dbdump("status", "--nagios")
    assert (done.returncode, done.stdout.partition(": connect: ")[0]) == (
        2, "DBDUMP CRITICAL - 1 unknown of 1 database, oldest 0 min: localhost/down unknown",
    )  # fmt: skip
    done = dbdump("status")
    assert done.returncode == 1
    assert re.search(r"^ok        localhost/shop/orders  0 min old  ", done.stdout, re.MULTILINE)


def test_a_broken_recipe_for_prometheus(tmp_path, dbdump, dumped):
    """Of what it dumps there is no metric: that it is broken is one."""
    recipe_file(tmp_path, "nonsense", "broken.py")
    assert dbdump("status", f"--prometheus={tmp_path}/x.prom").returncode == 2
    assert metrics(tmp_path / "x.prom")["dbdump_broken_recipes", "", "", ""] == 1


def test_only_what_is_left_out_is_stored(tmp_path, dbdump, datadir, dumped):
    """A database under a new name, whose old one is excluded, has no dump."""
    recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            return Dump(SQLite(path={str(tmp_path / "shop" / "*")!r}, exclude=["orders", "carts"]),
                        to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("status")
    assert done.returncode == 4, done.stdout
    assert "MISSING   localhost/shop: no dump of what the recipe does not leave out" in done.stdout


def test_a_link_in_place_of_a_directory(dbdump, datadir, tmp_path, dumped):
    """What a link leads to is not looked at, and so the database has no dump; it does not vanish."""
    (datadir / "localhost" / "shop" / "orders").rename(tmp_path / "moved")
    (datadir / "localhost" / "shop" / "orders").symlink_to(tmp_path / "moved")
    done = dbdump("status")
    assert done.returncode == 4, done.stdout
    assert "MISSING   localhost/shop/orders: no dump at all" in done.stdout
