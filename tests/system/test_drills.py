"""The drill: dumps are restored into scratch databases, counted, and nothing of that is left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from servers.process import wait_for
from support import processes


@pytest.fixture
def drill(dbdump, datadir):
    """Dump with flags, run the drill, and return its exit status, its output and the records by database."""

    def run(*flags: str, more: tuple[str, ...] = (), env: dict[str, str] | None = None):
        flags = (*flags, f"--datadir={datadir}")
        done = dbdump("dump", *flags)
        assert done.returncode == 0, done.stdout
        done = dbdump("verify", "--restore", *flags, *more, env=env)
        records = {path.parent.name: json.loads(path.read_text()) for path in datadir.rglob("*.verified")}
        return done.returncode, done.stdout + done.stderr, records

    return run


def _no_server_is_left(before: set[int]) -> None:
    wait_for(lambda: not (set(processes("dbdump-drill")) - before), "the end of every throw-away server", 15)


def test_sqlite_is_drilled_in_a_file(drill, tmp_path):
    """Its tables and rows are counted, the time is told, and the record says so."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1), (2), (3);")
    code, said, records = drill("--backend=sqlite", f"--option=path={tmp_path / 'app.db'}")
    assert code == 0, said
    assert "2 tables, 3 rows" in said
    assert records["app.db"]["level"] == "restored"
    assert (records["app.db"]["drill"]["tables"], records["app.db"]["drill"]["rows"]) == (2, 3)


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_postgresql_is_drilled_on_a_server_to_throw_away(drill, postgres, form):
    """With its roles, from the globals of the same run; the server and its files are gone after."""
    before = set(processes("dbdump-drill"))
    postgres.create(f"drilled_{form}")
    try:
        postgres.sql("CREATE TABLE a AS SELECT generate_series(1, 5); CREATE TABLE b ()", f"drilled_{form}")
        code, said, records = drill(
            "--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres",
            f"--option=format={form}", f"--option=include=drilled_{form}", "--option=include=nothing_else",
        )  # fmt: skip
    finally:
        postgres.drop(f"drilled_{form}")
    assert code == 0, said
    assert "2 tables, 5 rows" in said
    assert records[f"drilled_{form}"]["drill"]["fault"] == ""
    _no_server_is_left(before)


def test_mariadb_is_drilled_on_a_server_to_throw_away(drill, mariadb):
    """As PostgreSQL is."""
    before = set(processes("dbdump-drill"))
    mariadb.create("drilled")
    try:
        mariadb.sql("CREATE TABLE a AS SELECT 1 AS one UNION SELECT 2", "drilled")
        code, said, records = drill(
            "--backend=mysql", f"--defaults={mariadb.defaults_file()}", "--option=include=drilled",
            "--option=globals=no", "--option=include=nothing_else",
        )  # fmt: skip
    finally:
        mariadb.drop("drilled")
    assert code == 0, said
    assert "1 tables, 2 rows" in said
    assert records["drilled"]["level"] == "restored"
    _no_server_is_left(before)


def test_a_scratch_database_on_a_server_that_is_named_is_dropped(drill, postgres):
    """With --to the server of the recipe takes it, and has no more databases after than before."""
    postgres.create("drilled_there")
    try:
        postgres.sql("CREATE TABLE a AS SELECT generate_series(1, 4)", "drilled_there")
        code, said, _ = drill(
            "--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres",
            "--option=globals=no", "--option=include=drilled_there", "--option=include=nothing_else",
            more=("--to=localhost",),
        )  # fmt: skip
        left = postgres.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dbdump_drill%'")
    finally:
        postgres.drop("drilled_there")
    assert code == 0, said
    assert "1 tables, 4 rows" in said
    assert left == "0"


def test_what_restores_with_errors_is_bad(drill, postgres):
    """A dump that is whole, and that a server does not take as it is, fails: exit status 4, and it is recorded."""
    postgres.create("drilled_badly")
    try:
        # A check that holds no more for what is there already: dumped without a word, refused when it is loaded.
        postgres.sql(
            "CREATE FUNCTION fine(int) RETURNS bool LANGUAGE sql AS 'SELECT true'; "
            "CREATE TABLE a (x int CHECK (fine(x))); INSERT INTO a VALUES (1); "
            "CREATE OR REPLACE FUNCTION fine(int) RETURNS bool LANGUAGE sql AS 'SELECT false'",
            "drilled_badly",
        )
        code, said, records = drill(
            "--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres",
            "--option=include=drilled_badly", "--option=include=nothing_else",
        )  # fmt: skip
    finally:
        postgres.drop("drilled_badly")
    assert code == 4, said
    assert "BAD" in said
    assert "violates check constraint" in records["drilled_badly"]["drill"]["fault"]
