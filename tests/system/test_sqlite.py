"""SQLite: dump while others write, delete, restore by the manifest's line, compare; and what must fail."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from servers.process import wait_for
from support import files, manifests, needs_root, paste

from dbdump.backends import sqlite_program

NAMES = ["a b", "x;y.db", "-v", "--result-file=x", "dbname=postgres", "..x", "é", "new\nline", "x" * 200,
         "q'\"\\`$(id)", "bad\udce9name", "%41"]  # fmt: skip

CONTENT = """
CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT, c BLOB, d REAL, e AS (a * 2) STORED, f AS (a + 1));
INSERT INTO t (b, c, d) VALUES
    ('x;y''é€' || char(10) || '-- no comment', x'00ff', 0.1 + 0.2), ('nul' || char(0) || 'after', NULL, 9e999),
    (CAST(x'ff41' AS TEXT), 3, -0.0), ('', x'', -9e999), (NULL, 'text in a blob column', 1e-300);
DELETE FROM t WHERE a = 5; INSERT INTO t (b) VALUES ('after a gap');
CREATE TABLE plain (x, y); INSERT INTO plain (rowid, x, y) VALUES (7, 1, 2), (9, 9223372036854775807, 'z');
CREATE TABLE empty (a); CREATE TABLE "odd "" name" ("a b" INT, rowid TEXT);
INSERT INTO "odd "" name" VALUES (1, 'not the row number');
CREATE TABLE w (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w VALUES ('k', 1);
CREATE TABLE descending (a INTEGER PRIMARY KEY DESC); INSERT INTO descending (rowid, a) VALUES (5, 1), (3, 2);
CREATE TABLE half (a); INSERT INTO half VALUES (CAST(x'00d8' AS TEXT)), (CAST(x'feff' AS TEXT)), (char(65535));
CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent);
INSERT INTO child VALUES (99);
CREATE VIEW v AS SELECT b FROM t; CREATE VIEW vc AS SELECT b FROM t -- a comment
; CREATE TABLE tc (a) -- another
; INSERT INTO tc VALUES (1);
CREATE INDEX i ON t (b COLLATE NOCASE) WHERE a > 1;
CREATE TRIGGER tr AFTER INSERT ON plain BEGIN INSERT INTO empty VALUES (new.x); SELECT ';'; END;
CREATE VIRTUAL TABLE ft USING fts5 (body); INSERT INTO ft VALUES ('hello world'), ('second; row');
PRAGMA user_version = 42; PRAGMA application_id = 4711;
"""


def content(path: Path) -> list[object]:
    """Return all that is in a database: schema, rows with their numbers where they have any, header."""
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        found: list[object] = sorted(
            database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'")
        )
        for (raw,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"):
            table = raw.decode()
            quoted = '"' + table.replace('"', '""') + '"'
            with_number = "rowid, " if table in ("plain", "t", "descending") else ""
            found.append((table, sorted(map(repr, database.execute(f"SELECT {with_number}* FROM {quoted}")))))
        found += [
            database.execute(f"PRAGMA {each}").fetchall() for each in ("user_version", "application_id", "encoding")
        ]
    return found


def make(path: Path, sql: str = "CREATE TABLE t AS SELECT 1 AS one") -> Path:
    """Make a database."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(sql)
    return path


def flags(path: object, datadir: Path, form: str = "binary") -> list[str]:
    """Return the flags that dump `path`."""
    return [
        "--backend=sqlite",
        "--option",
        f"path={path}",
        "--option",
        f"format={form}",
        f"--datadir={datadir}",
    ]


@pytest.mark.parametrize("form", ["binary", "sql"])
@pytest.mark.parametrize("name", NAMES)
def test_an_awkward_name_goes_there_and_back(tmp_path, dbdump, datadir, name, form):
    """A file of any name is dumped, removed, restored by the manifest's line, and is what it was."""
    path = make(tmp_path / name)
    before = content(path)
    assert dbdump(*flags(path, datadir, form)).returncode == 0
    path.unlink()
    paste(manifests(datadir)[name]["restore"])
    assert content(path) == before


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
@pytest.mark.parametrize("form", ["binary", "sql"])
def test_awkward_content_goes_there_and_back(tmp_path, dbdump, datadir, form, encoding):
    """Blobs, NULs, infinities, row numbers, triggers, virtual tables, header fields: all equal."""
    path = make(tmp_path / "content.db", f"PRAGMA encoding = '{encoding}';" + CONTENT)
    before = content(path)
    assert dbdump(*flags(path, datadir, form)).returncode == 0
    path.unlink()
    paste(manifests(datadir)["content.db"]["restore"])
    assert content(path) == before
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM ft WHERE ft MATCH 'hello'").fetchone() == (1,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_script_in_a_row_is_loaded_in_one_go():
    """Whoever loads it looks at each end of a line whether a statement has ended: it would be at that for long."""
    text = sqlite_program.Text(b"if (x) {\n  y();\n}\n" * 200)
    assert "\n" not in sqlite_program.literal(text, "utf-8")
    assert sqlite_program.literal(sqlite_program.Text(b"x;\ny"), "utf-8") == "'x;\ny'"


def test_numbers_of_a_table_that_is_gone_are_no_hindrance(tmp_path, dbdump, datadir):
    """SQLite keeps its table of AUTOINCREMENT's numbers when nothing has one any more."""
    path = make(tmp_path / "gone.db", "CREATE TABLE a (n INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE a;")
    before = content(path)
    assert dbdump(*flags(path, datadir, "sql")).returncode == 0
    path.unlink()
    paste(manifests(datadir)["gone.db"]["restore"])
    assert content(path) == before


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=500)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT,
                          st.binary())))  # fmt: skip
@example([2.4551535831567736e-293, 5e-324, 1.7976931348623157e308, 0.1, -0.0, 0.25, 1e23, 9007199254740993.0, -1.5])
def test_every_value_survives_sql(values):
    """Any value that SQLite can hold is the same after its literal was read."""
    with closing(sqlite3.connect(":memory:")) as one, closing(sqlite3.connect(":memory:")) as other:
        one.execute("CREATE TABLE t (v)")
        one.executemany("INSERT INTO t VALUES (?)", [(each,) for each in values])
        other.executescript("".join(sqlite_program.statements(one)))
        query = "SELECT typeof(v), v, hex(v) FROM t ORDER BY rowid"
        assert repr(other.execute(query).fetchall()) == repr(one.execute(query).fetchall())


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_dump_is_of_one_moment(tmp_path, dbdump, datadir, mode):
    """While a writer keeps two tables equal, every dump has them equal."""
    path = make(tmp_path / "busy.db", f"PRAGMA journal_mode = {mode}; CREATE TABLE a (n); CREATE TABLE b (n);")
    code = (
        "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1], timeout=30)\nn = 0\n"
        "while True:\n"
        "    with d: d.execute('INSERT INTO a VALUES (?)', (n,)); d.execute('INSERT INTO b VALUES (?)', (n,))\n"
        "    n += 1\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, path])
    try:
        wait_for(lambda: _rows(path, "b") > 100, "the writer")
        assert dbdump(*flags(path, datadir)).returncode == 0
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    path.rename(tmp_path / "old.db")
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    paste(manifests(datadir)["busy.db"]["restore"])
    assert _rows(path, "a") == _rows(path, "b") > 100


def _rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as database:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def corrupt(path: Path) -> None:
    """Overwrite a page in the middle of a database."""
    make(path, "CREATE TABLE t (a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) "
               "INSERT INTO t SELECT hex(randomblob(50)) FROM n;")  # fmt: skip
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(4096))


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "file is empty, not a database"),
        (lambda path: path.write_bytes(os.urandom(9999)), "file is not a database"),
        (lambda path: path.mkdir(), "not a file"),
        (corrupt, "database is corrupt"),
    ],
    ids=["missing", "empty", "random", "directory", "corrupt"],
)
def test_what_is_no_database_fails_and_makes_no_file(tmp_path, dbdump, datadir, spoil, cause):
    """The sqlite3 program would dump nothing and exit 0; we fail, and no file is made."""
    path = tmp_path / "spoilt.db"
    spoil(path)
    existed = path.exists()
    good = make(tmp_path / "good.db")
    done = dbdump(*flags(path, datadir), "--option", f"path={good}")
    assert done.returncode == 1
    assert "FAILED   localhost/sqlite/spoilt.db: sqlite: exit status 1: error: " in done.stdout
    assert cause in done.stdout
    assert "hint: " in done.stdout
    assert path.exists() == existed
    assert set(manifests(datadir)) == {"good.db"}
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    make(path)  # which the next run dumps


def test_a_writer_that_died_is_said_to_have(tmp_path, dbdump, datadir):
    """What it left undone only somebody who may write can undo: nothing is stored, nothing changed, until then."""
    path = make(tmp_path / "hot.db", "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000))")
    code = (
        "import os, sqlite3, sys\nd = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "d.execute('PRAGMA cache_size = 1'); d.execute('BEGIN')\n"
        "d.execute('INSERT INTO t VALUES (randomblob(100000))'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    before = files(tmp_path)
    assert Path(f"{path}-journal").stat().st_size
    done = dbdump(*flags(path, datadir))
    assert done.returncode == 1
    assert "hint: Its writer died and left a journal" in done.stdout
    assert files(tmp_path) == before
    assert _rows(path, "t") == 1  # which has set it right
    assert dbdump(*flags(path, datadir)).returncode == 0


def test_an_exclusive_lock_is_waited_for_and_named(tmp_path, dbdump, datadir, monkeypatch):
    """A database that somebody locks is a failure after a while, never a copy of the file."""
    path = make(tmp_path / "locked.db")
    text = Path(sqlite_program.__file__).read_text().replace("BUSY_SECONDS = 60.0", "BUSY_SECONDS = 0.3")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = subprocess.run(
            [sys.executable, "-I", "-c", text, "dump", "binary", path], capture_output=True, check=False
        )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"error: database is locked" in done.stderr


def test_globs_and_several_paths(tmp_path, dbdump, datadir):
    """Every file that a glob matches is a database; two of one name are an error."""
    for name in ("one.db", "two.db", "other.sqlite"):
        make(tmp_path / name)
    assert dbdump(*flags(tmp_path / "*.db", datadir), "--option", f"path={tmp_path}/o*.sqlite").returncode == 0
    assert set(manifests(datadir)) == {"one.db", "two.db", "other.sqlite"}
    (tmp_path / "sub").mkdir()
    make(tmp_path / "sub" / "one.db")
    done = dbdump(*flags(tmp_path / "**" / "one.db", datadir), "--option", f"path={tmp_path}/one.db")
    assert done.returncode == 1
    assert "FAILED   localhost/sqlite: list: two files are called 'one.db'" in done.stdout


def test_a_glob_that_matches_nothing_is_a_failure(tmp_path, dbdump, datadir):
    """No database is never a success of zero dumps."""
    done = dbdump(*flags(tmp_path / "*.db", datadir))
    assert done.returncode == 1
    assert "FAILED   localhost/sqlite: list: no file matches" in done.stdout
    make(tmp_path / "new.db")  # which the next run finds


@pytest.mark.parametrize("form", ["binary", "sql"])
def test_restoring_never_overwrites(tmp_path, dbdump, datadir, form):
    """The restore line refuses a file that is there, or one whose old journal is."""
    path = make(tmp_path / "kept.db")
    assert dbdump(*flags(path, datadir, form)).returncode == 0
    line = manifests(datadir)["kept.db"]["restore"]
    path.write_bytes(b"precious")
    assert subprocess.run(["sh", "-c", line], capture_output=True, check=False).returncode == 1
    assert path.read_bytes() == b"precious"
    path.rename(f"{path}-wal")
    assert subprocess.run(["sh", "-c", line], capture_output=True, check=False).returncode == 1
    assert not path.exists()


@needs_root
def test_it_runs_as_another_user(tmp_path, dbdump, datadir):
    """With su the file is read as that user; the python3 is then one that it can run."""
    place = Path("/tmp") / f"dbdump-su-{os.getpid()}"
    place.mkdir()
    try:
        path = make(place / "app.db")
        place.chmod(0o755)
        done = dbdump(*flags(path, datadir), "--su=postgres", "--option", "python=/usr/bin/python3")
        assert done.returncode == 0, done.stdout
        path.chmod(0o600)
        assert "unable to open database file" in dbdump(*flags(path, datadir), "--su=postgres",
                                                        "--option", "python=/usr/bin/python3").stdout  # fmt: skip
    finally:
        (place / "app.db").unlink()
        place.rmdir()


@pytest.mark.parametrize("form", ["binary", "sql"])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_copy_never_has_a_name(tmp_path, form, mode):
    """Whoever kills it finds nothing in TMPDIR: what is in a database that is to be encrypted stays nowhere."""
    (scratch := tmp_path / "scratch").mkdir()
    database = make(tmp_path / "a.db", CONTENT)
    with closing(sqlite3.connect(database)) as it, it:
        it.execute(f"PRAGMA journal_mode={mode}")
        it.executemany("INSERT INTO plain VALUES (?, ?)", ((n, "x" * 500) for n in range(2000)))
    argv = [sys.executable, "-I", "-c", Path(sqlite_program.__file__).read_text(), "dump", form, str(database)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={"TMPDIR": str(scratch)}) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)  # the pipe takes no more, so that it stands in the middle
        assert not list(scratch.iterdir())
        process.kill()
    assert not list(scratch.iterdir())


def test_nothing_temporary_is_left(tmp_path, dbdump, datadir):
    """The copy in TMPDIR is gone, after success and after failure."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    corrupt(tmp_path / "bad.db")
    make(tmp_path / "good.db")
    done = dbdump(*flags(tmp_path / "*.db", datadir), env={"TMPDIR": str(scratch)})
    assert done.returncode == 1
    assert set(manifests(datadir)) == {"good.db"}
    assert files(scratch) == {}
    assert not list(scratch.iterdir())
