"""Restore: from everywhere, the dump that is meant, and only where somebody wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.terminal import on_terminal
from support import COMMAND, default_signals, rows, sqlite_database
from test_restore_bad import refused
from test_verify import SEALED, Site, flipped

PLACES = ("directory", "fabric", "openssh", "sftp")


@pytest.fixture
def content(postgres, mariadb, tmp_path):
    """A database of each backend: its flags, what it has, and how it is wiped."""

    def of(backend: str):
        if backend == "postgresql":
            return postgresql(postgres)
        return mysql(mariadb) if backend == "mysql" else sqlite(tmp_path)

    yield of
    postgres.drop("matrix")
    postgres.sql("DROP ROLE IF EXISTS matrix_owner")
    mariadb.drop("matrix")
    mariadb.sql("DROP USER IF EXISTS matrix_reader@localhost")


def postgresql(server):
    """A database of PostgreSQL, and the role that owns what is in it."""
    server.create("matrix")
    server.sql("CREATE ROLE matrix_owner CONNECTION LIMIT 7")
    server.sql(
        "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 3000) g; CREATE INDEX ON t (g);"
        "ALTER TABLE t OWNER TO matrix_owner", "matrix",
    )  # fmt: skip
    flags = ["--backend=postgresql", "--option", f"host={server.host}", "--option", "user=postgres"]

    def look() -> list[str]:
        owner = "SELECT rolname, rolconnlimit FROM pg_class JOIN pg_roles r ON r.oid = relowner WHERE relname = 't'"
        return [server.sql("SELECT * FROM t ORDER BY g", "matrix"), server.sql(owner, "matrix")]

    def wipe() -> None:
        server.drop("matrix")
        server.sql("DROP ROLE matrix_owner")

    return flags, look, wipe


def mysql(server):
    """A database of MariaDB, and a user who may read it."""
    server.create("matrix")
    server.sql(
        "CREATE TABLE t AS SELECT seq, MD5(seq) FROM seq_1_to_3000; CREATE USER matrix_reader@localhost;"
        "GRANT SELECT ON matrix.t TO matrix_reader@localhost", "matrix",
    )  # fmt: skip
    flags = ["--backend=mysql", f"--defaults={server.defaults_file()}"]

    def look() -> list[str]:
        return [
            server.sql("SELECT * FROM t ORDER BY seq", "matrix"),
            server.sql("SHOW GRANTS FOR matrix_reader@localhost"),
        ]

    def wipe() -> None:
        server.drop("matrix")
        server.sql("DROP USER matrix_reader@localhost")

    return flags, look, wipe


def sqlite(top: Path):
    """A database of SQLite."""
    path = sqlite_database(top / "matrix", 300_000)
    return ["--backend=sqlite", "--option", f"path={path}"], lambda: rows(path), path.unlink


# With what belongs to the server, which is stored beside it; SQLite has none.
FORMATS = {"postgresql": ("custom", "plain"), "mysql": ("",), "sqlite": ("binary", "sql")}


@pytest.mark.parametrize("sealed", [[], ["--sign=signer@example.org", "--encrypt=ops@example.org"]])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("backend", "form"), [(name, form) for name, forms in FORMATS.items() for form in forms])
def test_dumped_wiped_restored(dbdump, gnupg, there, content, backend, form, place, sealed):
    """Every backend in each of its formats, stored everywhere, plain or signed and encrypted: all is what it was."""
    flags, look, wipe = content(backend)
    flags = [*flags, "--database=matrix", *there(place), *sealed, *([f"--option=format={form}"] if form else [])]
    globals_ = backend != "sqlite"
    before = look()
    env = {"GNUPGHOME": str(gnupg.home)}
    done = dbdump("dump", *flags, *(["--database=@globals"] if globals_ else []), env=env)
    assert done.returncode == 0, done.stdout
    wipe()
    done = dbdump("restore", *flags, "--yes", *(["--globals"] if globals_ else []), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [" ".join(line.split()[:2]) for line in done.stdout.splitlines()]
    of = [f"localhost/{backend}/{name}" for name in ("matrix", "@globals")[: 1 + globals_]]
    assert set(told) == {f"{word} {each}" for word in ("verified", "restored") for each in of}
    assert look() == before


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


def test_more_than_one_database(site):
    """Exactly one is restored: several are named, in one recipe or in two."""
    sqlite_database(site.top / "other.db", 1000)
    assert site("dump").returncode == 0
    done = site("restore", "--yes")
    assert done.returncode == 2
    assert "more than one database: localhost/app/app.db, localhost/app/other.db" in done.stderr
    done = site("restore", "--yes", "--database=*.db")
    assert done.returncode == 2
    site.more["before"] = f"""@recipe(Host("elsewhere", ssh="nobody@127.0.0.1"))
def app(host):
    return Dump(SQLite(path="/nowhere"), to=Directory({str(site.datadir)!r}))
"""
    shutil.copytree(site.datadir / "localhost", site.datadir / "elsewhere")
    for path in (site.datadir / "elsewhere").rglob("*.json"):
        path.write_text(path.read_text().replace('"localhost"', '"elsewhere"'))
    done = site("restore", "--yes", "--database=app.db")
    assert done.returncode == 2
    assert "elsewhere/app/app.db, localhost/app/app.db" in done.stderr
    assert "--host" in done.stderr


def test_a_place_that_cannot_be_looked_at(site):
    """There may be one of that name as well: it is not passed over, until it is said which is meant."""
    site.dump()
    site.more["before"] = """@recipe(localhost)
def away(host):
    return Dump(SQLite(path="/nowhere"), to=Directory("/dev/null"))
"""
    done = site("restore", "--yes", "--force", "--database=app.db")
    assert done.returncode == 2
    assert "localhost/away: " in done.stderr
    assert "; it may have a dump of app.db too\n" in done.stderr
    assert "hint: Say which: --host=localhost --recipe=app --database=app.db.\n" in done.stderr
    assert site("restore", "--yes", "--force", "--database=app.db", "--recipe=app").returncode == 0


def test_no_dump(site):
    """Exit 4 where there is none, and what there is; 3 where no recipe is meant, 2 for what is no stamp."""
    done = site("restore", "--yes")
    assert done.returncode == 4
    assert "no dump of anything is stored" in done.stderr
    file = site.dump()
    done = site("restore", "--yes", "--database=nothing")
    assert done.returncode == 4
    assert "no dump of nothing is stored" in done.stderr
    assert "There is: localhost/app/app.db." in done.stderr
    done = site("restore", "--yes", "--at=20200101T000000Z")
    assert done.returncode == 4
    assert f"There is: {file.name.split('.')[0]}." in done.stderr
    assert site("restore", "--yes", "--at=yesterday").returncode == 2
    assert site("restore", "--yes", "--host=nobody").returncode == 3
    done = site("restore", "--yes", "--as=x", "--to=nobody")
    assert done.returncode == 3
    assert "no recipe is for host 'nobody'" in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--to-stdout", "--force"], "--force with --to-stdout"),
        (["--to-stdout", "--as=x"], "--as with --to-stdout"),
        (["--file=x", "--at=latest", "--yes"], "--at with --file"),
        (["--file=x", "--globals", "--yes"], "--globals with --file"),
        (["--database=@globals", "--as=x", "--yes"], "has no other name"),
        ([], "nobody to ask"),
        (["--force"], "what is there would be dropped"),
    ],
)
def test_flags_that_make_no_sense(site, flags, said):
    """Each is said before anything is done."""
    done = site("restore", *flags)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("stamp", ["old", "new", "latest"])
def test_a_stamp_says_which(site, stamp):
    """The newest, or the one that is asked for."""
    files, contents = {}, {}
    for each in ("old", "new"):
        (site.top / "app.db").unlink()
        sqlite_database(site.top / "app.db", 200_000)
        files[each], contents[each] = site.dump(), rows(site.top / "app.db")
    at = "latest" if stamp == "latest" else files[stamp].name.split(".")[0]
    done = site("restore", "--yes", "--force", f"--at={at}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") == contents["new" if stamp == "latest" else stamp]


def test_the_latest_is_none_from_the_future(site):
    """What a wrong clock dated is said to be there, and restored only where its stamp is asked for."""
    ahead = site.ahead(site.dump())
    stamp = ahead.name[:16]
    assert f"--at={stamp}" in refused(site, "no dump but from the future")
    sqlite_database(site.top / "app.db.new", 200_000).replace(site.top / "app.db")
    site.dump()
    content = rows(site.top / "app.db")
    done = site("restore", "--yes", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") == content
    assert f"localhost/app/app.db: {stamp} is from the future, and does not count: a clock is wrong\n" in done.stderr
    done = site("restore", "--yes", "--force", f"--at={stamp}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") != content
    assert "future" not in done.stderr


def test_a_copy_of_a_dump(site, dbdump, tmp_path):
    """A file with its manifest beside it: by its recipe, or by flags; verified as any other."""
    before = rows(site.top / "app.db")
    site.wrap = SEALED
    file = site.dump()
    (copies := tmp_path / "copies").mkdir()
    for end in ("", ".json", ".json.sig"):
        shutil.move(f"{file}{end}", copies)
    copy = copies / file.name
    (site.top / "app.db").unlink()
    done = site("restore", "--yes", f"--file={copy}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") == before
    env = {"GNUPGHOME": str(site.home.home)}
    other = ["restore", "--yes", f"--file={copy}", "--recipes=none"]
    (tmp_path / "none").mkdir()
    done = dbdump(*other, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "localhost/app/app.db" in done.stderr
    assert "--backend=sqlite" in done.stderr
    done = dbdump("restore", "--yes", f"--file={copy}", "--backend=sqlite", "--option=path=x.db", "--as=y.db",
                  "--sign=signer@example.org", env=env)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(tmp_path / "y.db") == before
    done = site("restore", "--yes", f"--file={copy}", "--database=other")
    assert done.returncode == 2
    assert "is a dump of localhost/app/app.db" in done.stderr
    done = dbdump("restore", "--yes", f"--file={copy}", "--backend=mysql")
    assert (done.returncode, "Say --backend=sqlite." in done.stderr) == (2, True), done.stderr
    Path(f"{copy}.json.sig").unlink()
    refused(site, "its manifest is not signed", f"--file={copy}")
    flipped(copy)
    done = dbdump("restore", "--yes", f"--file={copy}", "--backend=sqlite", "--option=path=app.db", "--force", env=env)
    assert done.returncode == 4
    assert "changed since it was stored" in done.stdout
    copy.rename(copies / "renamed.sqlite.zst.gpg")
    refused(site, "no such file", f"--file={copy}")
    shutil.copy(f"{copy}.json", copies / "renamed.sqlite.zst.gpg.json")
    refused(site, "not the name of a dump", f"--file={copies}/renamed.sqlite.zst.gpg")


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host=localhost", "--recipe=app", "--tag=prod"], 0, ""),
        (["--recipe=other"], 2, "is a dump of localhost/app/app.db, which --host, --recipe or --tag leaves out"),
        (["--host=elsewhere"], 2, "is a dump of localhost/app/app.db, which --host"),
        (["--tag=test"], 2, "is a dump of localhost/app/app.db, which --host"),
        (["--host=nobody"], 3, "no recipe is for host 'nobody'"),
        (["--recipe=none"], 3, "no recipe is called 'none'"),
    ],
)
def test_a_copy_of_a_dump_that_flags_leave_out(site, flags, code, said):
    """They are not passed over: what is of another host, recipe or tag than they say is refused."""
    where = f'return Dump(SQLite(path="/nowhere"), to=Directory({str(site.datadir)!r}))'
    site.more["before"] = f"""
@recipe(localhost, tags=["test"])
def other(host): {where}
@recipe(Host("elsewhere", ssh="nobody@127.0.0.1"))
def app(host): {where}
"""
    site.more["tags"] = ', tags=["prod"]'
    file = site.dump("--host=localhost", "--recipe=app")
    if not code:
        done = site("restore", "--yes", "--force", f"--file={file}", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        refused(site, said, f"--file={file}", *flags, code=code)


def test_to_stdout(site, dbdump):
    """The raw dump and nothing else, after all of it was verified; a bad one gives no byte."""
    site.wrap = SEALED
    file = site.dump()
    argv = [*COMMAND, "restore", f"--recipes={site.top}/recipes", "--to-stdout", "--database=app.db"]
    env = {**os.environ, "GNUPGHOME": str(site.home.home)}
    done = subprocess.run(argv, capture_output=True, check=False, env=env, cwd=site.top)
    assert done.returncode == 0, done.stderr
    (site.top / "raw.db").write_bytes(done.stdout)
    assert rows(site.top / "raw.db") == rows(site.top / "app.db")
    assert done.stderr.startswith(b"verified localhost/app/app.db")
    flipped(file)
    done = subprocess.run(argv, capture_output=True, check=False, env=env, cwd=site.top)
    assert (done.returncode, done.stdout) == (4, b"")


@pytest.mark.parametrize("reader", ["head -c 10 >/dev/null", "cat >/dev/full"])
def test_to_a_stdout_that_takes_no_more(site, reader):
    """A reader that went away, or a full disk, is an error in words."""
    site.dump()
    line = f'{sys.executable} -c "$1" restore --recipes={site.top}/recipes --to-stdout --database=app.db | {reader}'
    to_full = line.replace("| cat >/dev/full", ">/dev/full")
    script = f"set -o pipefail; {to_full}"
    done = subprocess.run(["bash", "-c", script, "bash", COMMAND[-1]], capture_output=True, check=False, text=True,
                          cwd=site.top, preexec_fn=default_signals)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "FAILED   localhost/app/app.db: write: stdout: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_it_asks_on_a_terminal(site, answer, code):
    """With all that is to be known; what is not y is no."""
    site.dump()
    (site.top / "app.db").rename(site.top / "gone.db")
    flags = (f"--recipes={site.top}/recipes", "--database=app.db")
    ended, text = on_terminal("restore", *flags, cwd=site.top, answer=lambda: answer)
    assert ended == code, text
    assert "Restore app.db of localhost/app, 20" in text
    assert f"kB, on localhost as {site.top}/app.db? [y/N]" in text
    assert (site.top / "app.db").exists() == (code == 0)
