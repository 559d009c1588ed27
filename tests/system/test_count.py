"""How many tables and rows a database has, counted in real servers and files."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing

import pytest
from servers.mariadb import identifier as quoted
from servers.postgres import identifier

from dbdump.backends.base import Backend
from dbdump.backends.mysql import MySQL
from dbdump.backends.postgresql import PostgreSQL
from dbdump.backends.sqlite import SQLite
from dbdump.host import LocalShell
from dbdump.pipeline import Pipeline
from dbdump.script import Stage

ODD = ["a b", "q'\"\\$(id)*?", "UPPER", "upper", "-v", "é", "x" * 60, "tab\tx", "new\nline", "back`tick", "% %s"]


def bound(backend: Backend) -> Backend:
    """Return a backend that asks on this machine."""

    def ask(argv: Sequence[str]) -> bytes:
        return Pipeline((Stage(argv[0], tuple(argv)),)).answer(LocalShell())

    return backend.on(ask)


@pytest.fixture
def in_postgres(postgres):
    """An odd database of PostgreSQL, which is dropped at the end; and one whose name differs in case only."""
    names = ["dbname=postgres Count", "dbname=postgres count"]
    for name in names:
        postgres.create(name)
    yield names
    postgres.drop(*names)


def test_postgresql_counts_tables_and_partitions(postgres, in_postgres):
    """Ordinary tables and partitions are counted, each once, whatever their names; nothing else is."""
    database, other = in_postgres
    backend = bound(PostgreSQL(host=postgres.host, user="postgres"))
    assert backend.count(other) == (0, 0)
    odd = "".join(
        f"CREATE TABLE {identifier(name)} AS SELECT g FROM generate_series(1, {index}) g;"
        for index, name in enumerate(ODD, 1)
    )
    postgres.sql(f"""
        CREATE SCHEMA "an odd; schema"; SET search_path = "an odd; schema"; {odd}
        CREATE TABLE parted (k int) PARTITION BY RANGE (k);
        CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
        CREATE TABLE p2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
        INSERT INTO parted SELECT generate_series(0, 19);
        CREATE TABLE child () INHERITS (upper); INSERT INTO child VALUES (1);
        CREATE VIEW seen AS SELECT * FROM upper; CREATE MATERIALIZED VIEW made AS SELECT * FROM upper;
        CREATE SEQUENCE counter; CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS one;
    """, database)  # fmt: skip
    assert backend.count(database) == (len(ODD) + 4, sum(range(len(ODD) + 1)) + 20 + 1 + 1)


def test_postgresql_counts_more_tables_than_one_transaction_may_lock(postgres, in_postgres):
    """Thousands of tables are counted: 64 locks for each of 100 connections would not be enough for all at once."""
    postgres.sql(
        "DO $$ BEGIN FOR i IN 1..8000 LOOP EXECUTE format('CREATE TABLE t%s (x int)', i); "
        "IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$",
        in_postgres[0],
    )
    assert bound(PostgreSQL(host=postgres.host, user="postgres")).count(in_postgres[0]) == (8000, 0)


def test_mysql_counts_base_tables(mariadb):
    """Tables are counted, with their current rows, whatever their names; views and sequences are not."""
    names = ["count `;Odd", "count `;odd"]
    backend = bound(MySQL(defaults=mariadb.defaults_file()))
    odd = [name for name in ODD if "\n" not in name]
    try:
        for name in names:
            mariadb.create(name)
        assert backend.count(names[0]) == (0, 0)
        for index, name in enumerate(odd, 1):
            mariadb.sql(f"CREATE TABLE {quoted(name)} AS SELECT seq FROM seq_1_to_{index}", names[0])
        mariadb.sql(
            "CREATE TABLE kept (id int PRIMARY KEY) WITH SYSTEM VERSIONING; INSERT INTO kept VALUES (1), (2); "
            "DELETE FROM kept WHERE id = 1; CREATE VIEW seen AS SELECT * FROM kept; CREATE SEQUENCE counter; "
            "CREATE TABLE parted (k int PRIMARY KEY) PARTITION BY HASH (k) PARTITIONS 3; "
            "INSERT INTO parted SELECT seq FROM seq_1_to_9",
            names[0],
        )
        assert backend.count(names[0]) == (len(odd) + 2, sum(range(len(odd) + 1)) + 1 + 9)
        assert backend.count(names[1]) == (0, 0)
    finally:
        mariadb.drop(*names)


def test_mysql_counts_more_tables_than_an_argument_holds(mariadb):
    """A thousand tables with long names are counted, by questions that each fit into an argument."""
    name = "count_many"
    try:
        mariadb.create(name)
        tables = [f"{'€' * 40}{index}" for index in range(800)]
        mariadb.sql("".join(f"CREATE TABLE {quoted(table)} (x int) ENGINE=MEMORY;" for table in tables), name)
        mariadb.sql(f"INSERT INTO {quoted(tables[-1])} VALUES (1), (2)", name)
        assert bound(MySQL(defaults=mariadb.defaults_file())).count(name) == (800, 2)
    finally:
        mariadb.drop(name)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_sqlite_counts_tables(tmp_path, journal):
    """Tables of any name are counted, and those without row numbers; views, virtual tables and SQLite's own are not."""
    path = tmp_path / "an odd?name#.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={journal}")
        for index, name in enumerate(ODD, 1):
            if name != "upper":
                database.execute(f"CREATE TABLE {identifier(name)} (x)")
                database.executemany(f"INSERT INTO {identifier(name)} VALUES (?)", [(n,) for n in range(index)])
        database.execute("CREATE TABLE keyed (k TEXT PRIMARY KEY) WITHOUT ROWID")
        database.execute("INSERT INTO keyed VALUES ('a'), ('b')")
        database.execute("CREATE TABLE counted (k INTEGER PRIMARY KEY AUTOINCREMENT)")
        database.execute("CREATE VIEW seen AS SELECT * FROM keyed")
        database.commit()
    expected = sum(range(1, len(ODD) + 1)) - (ODD.index("upper") + 1) + 2
    assert bound(SQLite(path=str(path), python=sys.executable)).count(str(path)) == (len(ODD) - 1 + 2, expected)
