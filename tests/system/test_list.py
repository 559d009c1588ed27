"""What is stored is listed: dumps, the newest first, and apart from them what is none."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from resources import recipe_file
from servers.gnupg import GnuPG
from support import COMMAND, sqlite_database

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.stored import Record, read_listing


@pytest.fixture
def recipes(tmp_path, datadir):
    """Two hosts' recipes of two databases and of one, tagged apart."""
    (tmp_path / "shop").mkdir()
    for name in ("orders", "carts"):
        sqlite_database(tmp_path / "shop" / name, 1000)
    return recipe_file(tmp_path, f"""
        store = Directory({str(datadir)!r})

        @recipe(localhost, tags=["prod"])
        def shop(host):
            return Dump(SQLite(path={str(tmp_path / "shop" / "*")!r}), to=store)

        @recipe(Host("db1"))
        def plain(host):
            return Dump(SQLite(path={str(tmp_path / "shop" / "carts")!r}), wrap=[], to=store)
        """)  # fmt: skip


@pytest.fixture
def dumped(dbdump, recipes):
    """All three databases, dumped twice."""
    for _ in range(2):
        assert dbdump("dump", "--host=localhost").returncode == 0
        assert dbdump("dump", "--host=db1", "--here").returncode == 0


LINE = re.compile(r"(\d{8}T\d{6}Z) +\d min +[\d,.]+ (?:bytes|kB)  (\S+)  (\S+), never verified")


def lines(done: subprocess.CompletedProcess[str]) -> list[tuple[str, ...]]:
    """Return the stamp, the name and the wrapping of each line; all of them are of dumps."""
    assert done.returncode == 0, done.stderr
    found = [LINE.fullmatch(each) for each in done.stdout.splitlines()]
    assert None not in found, done.stdout
    return [each.groups() for each in found]


def test_the_newest_comes_first(dbdump, dumped):
    """Each dump has its line, with its age, its size, its database, and how it is wrapped."""
    found = lines(dbdump("list"))
    assert len(found) == 6
    stamps = [stamp for stamp, _, _ in found]
    assert stamps == sorted(stamps, reverse=True)
    assert len(set(stamps)) >= 2  # each host of the second time may be of the next second
    assert {each[1:] for each in found} == {
        ("localhost/shop/orders", ".zst"), ("localhost/shop/carts", ".zst"), ("db1/plain/carts", "plain"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--host=db1"], ["db1/plain/carts"]),
        (["--host=d*"], ["db1/plain/carts"]),
        (["--recipe=shop"], ["localhost/shop/carts", "localhost/shop/orders"]),
        (["--tag=prod"], ["localhost/shop/carts", "localhost/shop/orders"]),
        (["--database=carts"], ["db1/plain/carts", "localhost/shop/carts"]),
        (["--database=o*", "--database=none"], ["localhost/shop/orders"]),
        (["--host=localhost", "--database=carts"], ["localhost/shop/carts"]),
    ],
)
def test_some_of_them(dbdump, dumped, flags, names):
    """Hosts, recipes, tags and databases are chosen as for a dump."""
    assert sorted({name for _, name, _ in lines(dbdump("list", *flags))}) == names


def test_without_recipes(tmp_path, dbdump, datadir, dumped):
    """Flags alone find the dumps that flags alone made."""
    flags = ("--backend=sqlite", "--option", f"path={tmp_path}/shop/orders", f"--datadir={datadir}")
    assert dbdump("list", *flags).returncode == 3
    assert dbdump("dump", *flags).returncode == 0
    assert [name for _, name, _ in lines(dbdump("list", *flags))] == ["localhost/sqlite/orders"]


def newest(datadir: Path, database: str = "orders"):
    """Return the newest dump of a database of localhost/shop."""
    entries = Directory(str(datadir)).entries("localhost", "shop")
    return read_listing("localhost", "shop", entries).of(database)[0]


def test_what_verify_found_is_in_the_line(dbdump, datadir, dumped):
    """When it was verified and how deep, or what was wrong with it."""
    assert dbdump("verify", "--recipe=shop", "--database=orders").returncode == 0
    path = Path(Directory(str(datadir)).location(newest(datadir, "carts").name))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert dbdump("verify", "--recipe=shop", "--database=carts").returncode == 4
    newest_lines = dbdump("list").stdout.splitlines()[:3]
    told = {re.search(r"\S+/\S+", line)[0]: line.partition(", ")[2] for line in newest_lines}
    assert told["localhost/shop/orders"] == "verified structure 0 min ago"
    assert told["localhost/shop/carts"].startswith("FAILED verify 0 min ago: ")
    assert told["db1/plain/carts"] == "never verified"


def test_a_signed_one_says_so(tmp_path, dbdump, datadir, recipes, gnupg: GnuPG):
    """What is signed and encrypted shows in its line, and with whole fingerprints in the document."""
    flags = ("--backend=sqlite", "--option", f"path={tmp_path}/shop/orders", f"--datadir={datadir}",
             "--sign=signer@example.org", "--encrypt=ops@example.org")  # fmt: skip
    assert dbdump("dump", *flags, env=gnupg.environment).returncode == 0
    line = dbdump("list", *flags).stdout
    assert line.endswith("  localhost/sqlite/orders  .zst.gpg, signed, never verified\n")
    (item,) = json.loads(dbdump("list", *flags, "--json").stdout)["results"]
    assert item["wrapped"] == [".zst", ".gpg"]
    assert item["signer"] == gnupg.keys["signer"]
    assert item["recipients"] == [gnupg.keys["ops"]]


def test_json(dbdump, datadir, dumped):
    """One document on stdout and nothing else: what each manifest says, and the record beside it."""
    stored = newest(datadir)
    record = Record(stored.manifest.sha256, "2026-11-23T04:00:00Z", "content")
    Directory(str(datadir)).note(stored.name, record.to_json())
    done = dbdump("list", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr, document["exit"], document["errors"]) == (0, "", 0, [])
    assert [each["status"] for each in document["results"]] == ["committed"] * 6
    started = [each["started"] for each in document["results"]]
    assert started == sorted(started, reverse=True)
    (item,) = [
        each for each in document["results"] if each["location"] == Directory(str(datadir)).location(stored.name)
    ]
    manifest = stored.manifest
    assert item == {
        "status": "committed", "host": "localhost", "recipe": "shop", "database": "orders",
        "stamp": stored.name.stamp, "location": item["location"], "started": manifest.started,
        "finished": manifest.finished, "stored_bytes": stored.size, "raw_bytes": manifest.raw_bytes,
        "sha256": manifest.sha256, "backend": "sqlite", "wrapped": [".zst"], "signer": None, "recipients": [],
        "record": asdict(record),
    }  # fmt: skip


@pytest.fixture
def leftovers(datadir, dumped):
    """Beside the dumps: what a run that was killed left, a file without a manifest, and a manifest that was moved."""
    stored = newest(datadir)
    directory = datadir.joinpath(*stored.name.directory)
    part = directory / ".20261122T203000Z.sqlite.zst.0123abcd.part"
    part.write_bytes(b"half")
    unfinished = directory / "20261122T203001Z.sqlite.zst"
    unfinished.write_bytes(b"whole?")
    moved = directory / "20261122T203002Z.sqlite.zst"
    moved.write_bytes(b"?")
    Path(f"{moved}.json").write_bytes(stored.text)
    (directory / "README").write_text("not ours")
    return stored.name


def test_what_is_no_dump_is_apart(dbdump, leftovers: DumpName):
    """It comes after all dumps, with why it is none; what was tampered with stands out."""
    *dumps, part, unfinished, moved = dbdump("list").stdout.splitlines()
    assert [bool(LINE.fullmatch(each)) for each in dumps] == [True] * 6
    assert part == (
        "uncommitted  localhost/shop/orders/.20261122T203000Z.sqlite.zst.0123abcd.part  4 bytes  "
        "not finished: a run is at it, or was killed"
    )
    assert unfinished == (
        "uncommitted  localhost/shop/orders/20261122T203001Z.sqlite.zst  6 bytes  no manifest: it was never finished"
    )
    assert re.fullmatch(
        rf"BAD  localhost/shop/orders/20261122T203002Z\.sqlite\.zst\.json  [\d,.]+ (bytes|kB)  its manifest is of "
        rf"{re.escape(leftovers.file)}, which is there too: an old one was put in its place", moved,
    )  # fmt: skip


@pytest.mark.parametrize(("flag", "count"), [("orders", 3), ("o*", 3), ("carts", 0), ("none", 0)])
def test_what_is_no_dump_of_those_that_are_asked_for(dbdump, datadir, leftovers: DumpName, flag, count):
    """It is told with its own database, by name or by glob, and with no other; so is that of a long name."""
    lines = dbdump("list", f"--database={flag}").stdout.splitlines()
    assert [each.partition("  ")[0] for each in lines if not LINE.fullmatch(each)] == [
        "uncommitted", "uncommitted", "BAD",
    ][:count]  # fmt: skip
    long = DumpName("localhost", "shop", "x" * 300, "20261122T203000Z", ".sqlite")
    (directory := datadir.joinpath(*long.directory)).mkdir(0o700)
    (directory / long.file).touch()
    assert len(dbdump("list", f"--database={flag}").stdout.splitlines()) == len(lines)
    assert "no manifest" in dbdump("list", f"--database={long.database}").stdout


def test_what_is_no_dump_is_in_the_document_too(dbdump, leftovers: DumpName):
    """Its status says what it is."""
    document = json.loads(dbdump("list", "--json").stdout)
    assert [each["status"] for each in document["results"]] == [*["committed"] * 6, "uncommitted", "uncommitted", "bad"]
    assert document["results"][6] == {
        "status": "uncommitted", "host": "localhost", "recipe": "shop", "database": None,
        "path": "orders/.20261122T203000Z.sqlite.zst.0123abcd.part", "stored_bytes": 4,
        "message": "not finished: a run is at it, or was killed",
    }  # fmt: skip


def test_a_manifest_of_nonsense_stops_nothing(dbdump, datadir, dumped):
    """All else is listed, and a record of nonsense counts as none."""
    orders, carts = newest(datadir), newest(datadir, "carts")
    datadir.joinpath(*orders.name.directory, orders.name.manifest_file).write_bytes(b'{"database": "\\ud800"}')
    datadir.joinpath(*carts.name.directory, carts.name.record_file).write_bytes(b'{"at": "\x1b[2J", "sha256": null}')
    done = dbdump("list")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 6
    assert done.stdout.splitlines()[-1].startswith(f"BAD  localhost/shop/orders/{orders.name.manifest_file}  ")
    assert "\x1b" not in done.stdout


def test_a_link_is_not_followed(tmp_path, dbdump, datadir, dumped):
    """What somebody links to, among the dumps or in the place of a directory, is not listed."""
    stored = newest(datadir)
    directory = datadir.joinpath(*stored.name.directory)
    before = dbdump("list").stdout.splitlines()
    (directory / "20261122T203000Z.sqlite.zst.json").symlink_to(directory / stored.name.manifest_file)
    (directory / "20261122T203000Z.sqlite.zst").symlink_to(directory / stored.name.file)
    directory.with_name("linked").symlink_to(directory)
    assert len(dbdump("list").stdout.splitlines()) == len(before)


@pytest.mark.parametrize("name", ["a b", "it's", "a\nb", "-v", "UPPER", "bad\udce9name", "é"])
def test_odd_names(tmp_path, dbdump, datadir, name):
    """Each is a line of its own, and the document has the name as it is."""
    (tmp_path / "shop").mkdir()
    sqlite_database(tmp_path / "shop" / name, 1000)
    flags = ("--backend=sqlite", "--option", f"path={tmp_path}/shop/*", f"--datadir={datadir}")
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("list", *flags)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    (item,) = json.loads(dbdump("list", *flags, "--json").stdout)["results"]
    assert item["database"] == name


@pytest.mark.parametrize("flags", [(), ("--database=none",), ("--recipe=none",)])
def test_nothing_stored(dbdump, recipes, flags):
    """That is exit 3 and a line that says what to do; as a document it has the same."""
    done = dbdump("list", *flags)
    assert (done.returncode, done.stdout) == (3, "")
    assert re.fullmatch(r"dbdump: no (dump matches|recipe is called 'none')\n +hint: .+\n", done.stderr)
    done = dbdump("list", "--json", *flags)
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit"], document["results"]) == (3, 3, [])
    assert document["errors"][0]["message"] in ("no dump matches", "no recipe is called 'none'")


def test_a_recipe_that_cannot_be_looked_at(tmp_path, dbdump, dumped, recipes):
    """The others are listed, and it is said, with exit 1."""
    (tmp_path / "file").touch()
    with (recipes / "site.py").open("a") as site:
        site.write(
            "\n@recipe(localhost)\ndef blocked(host): return Dump(SQLite(path='/x'), to=Directory('"
            f"{tmp_path}/file'))\n"
        )
    done = dbdump("list")
    assert done.returncode == 1
    *dumps, failed, hint = done.stdout.splitlines()
    assert len(dumps) == 6
    assert failed.startswith(f"FAILED   localhost/blocked: read: {tmp_path}/file")
    assert hint.startswith("         hint: ")
    done = dbdump("list", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit"], document["results"][-1]["status"]) == (1, 1, "failed")
    assert "FAILED   localhost/blocked" in done.stderr


def test_a_recipe_file_that_is_broken(dbdump, dumped, recipes):
    """The others' dumps are listed, and it is said, with exit 2."""
    (recipes / "broken.py").write_text("nonsense\n")
    (recipes / "broken.py").chmod(0o600)
    done = dbdump("list")
    assert done.returncode == 2
    assert f"{recipes}/broken.py:1: NameError" in done.stdout
    assert len(json.loads(dbdump("list", "--json").stdout)["errors"]) == 1


def test_a_reader_that_goes_away(tmp_path, dbdump, dumped):
    """`list | head -1` ends without a traceback."""
    line = '"$@" list | head -n 1; exit 0'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *COMMAND], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
