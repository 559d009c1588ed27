"""MySQL dumps whose server, database or program fails them."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from resources import recipe_file
from servers.history import put
from support import end_of, manifests, wait_for_bytes

BIG = "CREATE TABLE z (a int); CREATE TABLE big AS SELECT seq, CONCAT(MD5(seq), MD5(seq * 7)) AS f FROM seq_1_to_30000"
QUICK = {"QUICK": "1"}
WRAP = '[] if __import__("os").environ.get("QUICK") else [Slow()]'


@pytest.fixture
def created(mariadb):
    """Make databases, and drop them after the test."""
    made = []

    def create(name: str, sql: str = "CREATE TABLE t AS SELECT 1 AS one") -> str:
        made.append(name)
        mariadb.create(name)
        mariadb.sql(sql, name)
        return name

    yield create
    mariadb.drop(*made)


@pytest.fixture
def site(mariadb, tmp_path, datadir, unharmed):
    """Write a recipe of some databases, each with an old dump, and return the flags to run it."""
    unharmed.clients.append(mariadb.clients)

    def write(*databases: str, wrap: str = "[]", defaults: str = "") -> list[str]:
        recipes = recipe_file(tmp_path, f"""
            @recipe(localhost)
            def site(host):
                server = MySQL(defaults={defaults or mariadb.defaults_file(name="producers")!r},
                               include={list(databases)!r}, globals=False)
                return Dump(server, wrap={wrap}, to=Directory({str(datadir)!r}))
            """)  # fmt: skip
        for each in databases:
            put(datadir, each, timedelta(days=1), recipe="site")
        unharmed.begin()
        return ["dump", f"--recipes={recipes}", "--jobs=1"]

    return write


def failure(text: str, database: str) -> str:
    """Return the last line that says how the dump of `database` failed, with the hint after it."""
    return text.rpartition(f"FAILED   localhost/site/{database}: ")[2].partition("\nFAILED")[0]


def test_a_table_is_dropped_meanwhile(mariadb, created, site, started, datadir, unharmed, said):
    """11: one that the dump has still to come to is missing there: it fails, and says to run it again."""
    created("fa_ddl", BIG.replace("30000", "100000"))  # 5 s through Slow
    flags = site("fa_ddl", wrap=WRAP)
    process = started(*flags)
    wait_for_bytes(datadir, "fa_ddl")
    mariadb.sql("DROP TABLE z", "fa_ddl")
    code, out = end_of(process)
    said.append(out)
    assert code == 1
    told = failure(out, "fa_ddl")
    assert told.startswith("mariadb-dump: exit status ")
    assert "table z ()" in told or "1146" in told  # missing in its list of tables, or a moment later
    assert "hint: A table was altered or dropped during the dump; run it again." in told
    unharmed.check()
    unharmed.again(*flags, env=QUICK)


def test_errors_are_not_forgiven_by_an_option_file(mariadb, created, site, dbdump, unharmed):
    """22: with `force` there the program goes on after an error, to the end marker; its exit status counts."""
    created("fa_sound")
    created("fa_view", "CREATE TABLE u (a int); CREATE VIEW v AS SELECT * FROM u; DROP TABLE u; CREATE TABLE z (a int)")
    path = mariadb.defaults_file(name="forced")
    with Path(path).open("a") as file:
        file.write("[mysqldump]\nforce\n")
    flags = site("fa_view", "fa_sound", defaults=path)
    done = dbdump(*flags)
    assert done.returncode == 1
    assert "1 stored, " in done.stdout
    assert "View 'fa_view.v' references invalid table(s)" in failure(done.stdout, "fa_view")
    unharmed.check()
    mariadb.sql("DROP VIEW v", "fa_view")
    unharmed.again(*flags, "--database=fa_view")


def test_a_user_who_sees_nothing(mariadb, datadir, dbdump, unharmed):
    """31: a list without a database of anybody's is a failure, not a success of no dumps."""
    mariadb.sql("CREATE OR REPLACE USER nothing@localhost")
    flags = ["dump", "--backend=mysql", f"--defaults={mariadb.defaults_file('nothing')}", f"--datadir={datadir}"]
    try:
        done = dbdump(*flags, "--option", "globals=no")
        assert done.returncode == 1
        assert "FAILED   localhost/mysql: list: none of 1 databases can be dumped" in done.stdout
        assert "hint: Look at what its user may see." in done.stdout
        unharmed.check()
        mariadb.sql("GRANT ALL ON *.* TO nothing@localhost")
        unharmed.again(*flags, "--database=@globals")
    finally:
        mariadb.sql("DROP USER nothing@localhost")


def test_memory_runs_out(created, site, dbdump, datadir, unharmed, tmp_path):
    """33: a table that is larger than the memory goes row by row; a row that is larger fails its database."""
    created("fa_rows", "CREATE TABLE t (a longblob); INSERT INTO t SELECT REPEAT('x', 1 << 20) FROM seq_1_to_24")
    created("fa_row", "CREATE TABLE t (a longblob); INSERT INTO t VALUES (REPEAT('x', 12 << 20))")
    flags = site("fa_rows", "fa_row")
    path = tmp_path / "bin"
    path.mkdir()
    real = shutil.which("mariadb-dump")
    (path / "mariadb-dump").write_text(f'#!/bin/sh\nexec prlimit --as={40 << 20} {real} "$@"\n')
    (path / "mariadb-dump").chmod(0o755)
    done = dbdump(*flags, env={"PATH": f"{path}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert failure(done.stdout, "fa_row").startswith("mariadb-dump: exit status ")
    assert "hint: The host has too little memory for the largest row" in failure(done.stdout, "fa_row")
    assert "1 stored, " in done.stdout
    unharmed.check()
    unharmed.again(*flags, "--database=fa_row")
    assert set(manifests(datadir)) == {"fa_rows", "fa_row"}


def test_a_password_that_nobody_gives(mariadb, site, created, dbdump, unharmed):
    """37: nobody is asked for it: it fails at once."""
    created("fa_sound")
    mariadb.sql("CREATE OR REPLACE USER guarded@localhost IDENTIFIED BY 'right'; GRANT ALL ON *.* TO guarded@localhost")
    flags = site("fa_sound", defaults=mariadb.defaults_file("guarded"))
    try:
        done = dbdump(*flags, timeout=60)
        assert done.returncode == 1
        assert "FAILED   localhost/site: mariadb: exit status 1: ERROR 1045 (28000): Access denied" in done.stdout
        assert "hint: Look at user and password" in done.stdout
        unharmed.check()
        mariadb.defaults_file("guarded", "right")
        unharmed.again(*flags)
    finally:
        mariadb.sql("DROP USER guarded@localhost")
