"""Drills of dumps that are stored on another machine: read back from there, and restored here."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from servers.process import wait_for
from support import end_of, sqlite_database

PLAIN, SEALED = [], ["--sign=signer@example.org", "--encrypt=ops@example.org"]
NAME = "drilled_far"


@pytest.fixture
def database(postgres, mariadb, tmp_path):
    """A database of three rows, owned by a role of its own where there are such: by backend, the flags that dump it."""

    def of(backend: str) -> list[str]:
        if backend == "postgresql":
            postgres.create(NAME)
            postgres.sql("CREATE ROLE drill_far; CREATE TABLE t AS SELECT generate_series(1, 3)", NAME)
            postgres.sql("ALTER TABLE t OWNER TO drill_far", NAME)
            return [f"--option=host={postgres.host}", "--option=user=postgres"]
        if backend == "mysql":
            mariadb.create(NAME)
            mariadb.sql("CREATE TABLE t AS SELECT seq FROM seq_1_to_3", NAME)
            return [f"--defaults={mariadb.defaults_file()}"]
        with closing(sqlite3.connect(tmp_path / NAME)) as made:
            made.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)")
        return [f"--option=path={tmp_path / NAME}"]

    yield of
    postgres.drop(NAME)
    postgres.sql("DROP ROLE IF EXISTS drill_far")
    mariadb.drop(NAME)


@pytest.mark.parametrize(
    ("backend", "place", "sealed", "globals_"),
    [
        ("postgresql", "fabric", SEALED, ["--database=@globals"]),
        ("postgresql", "openssh", PLAIN, ["--database=@globals"]),
        ("postgresql", "sftp", PLAIN, []),
        ("mysql", "sftp", SEALED, []),
        ("sqlite", "fabric", PLAIN, []),
        ("sqlite", "openssh", SEALED, []),
        ("sqlite", "sftp", SEALED, []),
    ],
)
def test_it_is_drilled_as_if_it_were_here(drills, dbdump, database, there, gnupg, backend, place, sealed, globals_):
    """With the roles of its run, where those were stored; what was found is noted there, and status knows it."""
    where = there(place)
    drills.flags = [f"--backend={backend}", *database(backend), f"--database={NAME}", *where, *sealed]
    drills.datadir = Path(where[1].partition("=")[2])
    env = {"GNUPGHOME": str(gnupg.home), **drills.environment}
    done = dbdump("dump", *drills.flags, *globals_, env=env)
    assert done.returncode == 0, done.stdout
    done = dbdump(*drills.verify(*globals_), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 tables, 3 rows" in done.stdout
    assert "not noted" not in done.stdout
    drills.nothing_is_left()
    for each in (NAME, *(["@globals"] if globals_ else [])):
        record = drills.record(each)
        assert (record["level"], record["fault"], record["drill"]["fault"]) == ("restored", "", "")
    (record,) = drills.datadir.rglob(f"{NAME}/*.verified")
    assert record.stat().st_uid == drills.datadir.stat().st_uid != 0
    document = json.loads(dbdump("status", "--json", *drills.flags, env=env).stdout)
    (told,) = (each for each in document["results"] if each["database"] == NAME)
    assert told["drill"]["at"] == drills.record(NAME)["drill"]["at"]


def test_what_its_server_does_not_take_is_bad_there(drills, dbdump, database, there):
    """A dump that is what was stored, and restores with an error: exit 4, and noted beside it."""
    where = there("fabric")
    drills.flags = ["--backend=postgresql", *database("postgresql"), f"--database={NAME}", *where]
    drills.datadir = Path(where[1].partition("=")[2])
    drills.flags.append("--option=format=plain")
    drills.dump()
    drills.change(NAME, lambda sql: sql.replace(b"\nCREATE TABLE", b"\nSELECT 1 / 0;\nCREATE TABLE", 1))
    said = drills.drill(code=4)
    assert "division by zero" in said
    assert "division by zero" in drills.record(NAME)["drill"]["fault"]


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_connection_that_is_lost_while_it_is_restored(drills, started, relay, tmp_path, monkeypatch, transport):
    """That is no fault of the dump: no verdict, exit 1, and nothing of the drill is left; the next one is good."""
    between, sshd = relay
    path = sshd.accounts.directory_of("dash", tmp_path.name)
    monkeypatch.setenv("TMPDIR", str(drills.room))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "site.py").write_text(f"""
from dbdump import *
to = Remote({sshd.remote("dash")!r}, {str(path)!r}, transport={transport!r})

@recipe(localhost)
def app(host):
    return Dump(SQLite(path={str(sqlite_database(tmp_path / "app.db", 8_000_000))!r}), wrap=[], to=to)
""")
    drills.flags, drills.datadir = [f"--recipes={tmp_path / 'recipes'}"], path
    drills.dump()
    between.freeze_after(9_500_000)
    running = started(*drills.verify())
    wait_for(lambda: between.frozen, "the second reading to be in the middle", 60)
    between.cut()
    between.thaw()
    code, said = end_of(running)
    assert code == 1, said
    assert "FAILED   localhost/app/app.db: " in said
    assert "connection lost" in said
    drills.nothing_is_left()
    record = drills.record("app.db")
    assert (record["level"], record["fault"], record["drill"]) == ("structure", "", None)
    drills.drill()
    assert drills.record("app.db")["level"] == "restored"
