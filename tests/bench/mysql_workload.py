"""A MariaDB server in a directory that is thrown away, and the rows of PostgreSQL in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.mariadb import MariaDB, start
from servers.postgres import Postgres
from servers.process import stop

from .workload import LARGE, Scale, make_large

# The buffer pool holds all rows: InnoDB reads past the cache of the kernel, and a disk would be measured otherwise.
_SETTINGS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=256M", "--key-buffer-size=16M")
_TABLES = """\
CREATE TABLE customer (id int PRIMARY KEY, name varchar(100), email varchar(200), city varchar(100), since date);
CREATE TABLE orders (id bigint PRIMARY KEY, customer int, placed datetime(6), status varchar(10),
  amount decimal(10, 2), items int, text text);
"""
_AFTER = """\
ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customer (id);
ANALYZE TABLE customer, orders;
SELECT sum(length(text)) FROM orders;
"""
_ROWS = {
    "customer": "SELECT * FROM customer ORDER BY id",
    "orders": "SELECT id, customer, placed AT TIME ZONE 'UTC', status, amount, items, text FROM orders ORDER BY id",
}


@contextmanager
def server(top: Path) -> Iterator[MariaDB]:
    """Run a server below `top`, and stop it at the end."""
    running = start(top / "mariadb", _SETTINGS)
    try:
        yield running
    finally:
        stop(running.process)


def copied(postgres: Postgres, mysql: MariaDB, scale: Scale) -> None:
    """Make the database LARGE, of the same rows as PostgreSQL's."""
    make_large(postgres, scale)
    mysql.create(LARGE)
    mysql.sql(_TABLES, LARGE)
    for table, rows in _ROWS.items():
        _copy(postgres, mysql, table, rows)
        asked = f"SELECT count(*) FROM {table}"
        if mysql.sql(asked, LARGE) != postgres.sql(asked, LARGE):
            raise RuntimeError(f"{table} did not get all of its rows")
    mysql.sql(_AFTER, LARGE)


def _copy(postgres: Postgres, mysql: MariaDB, table: str, rows: str) -> None:
    """Copy rows in PostgreSQL's text format, which is LOAD DATA's default."""
    out = ["psql", "-XAtqw", "-d", LARGE, "-c", f"COPY ({rows}) TO STDOUT"]
    load = f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table} CHARACTER SET utf8mb4"
    into = [*mysql.client(), "--local-infile=1", f"--database={LARGE}", f"--execute={load}"]
    with subprocess.Popen(out, env=postgres.environment, stdout=subprocess.PIPE) as source:
        subprocess.run(into, check=True, stdin=source.stdout)
    if source.returncode:
        raise RuntimeError(f"psql ended with {source.returncode}")
