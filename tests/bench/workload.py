"""What is dumped: a database of a shop, the same rows each time, in one large copy or many small ones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from servers.postgres import Postgres

LARGE = "large"
BLOBS = "blobs"
TEMPLATE = "shop"
SMALL = "shop_"  # and a number
MANY = "many_"


@dataclass(frozen=True)
class Scale:
    """How much there is of everything; `rows` are customers, and orders in each of `copies`."""

    rows: int
    copies: int
    small_rows: int
    databases: int
    many: int
    stream_bytes: int
    list_runs: int
    blobs: int  # of _BLOB_BYTES
    hosts: int
    history: int  # dumps of each of `databases`, to be listed


FULL = Scale(rows=300_000, copies=10, small_rows=1500, databases=100, many=1000, stream_bytes=500 << 20, list_runs=20,
             blobs=50, hosts=16, history=100)  # fmt: skip
TINY = Scale(
    rows=500,
    copies=2,
    small_rows=50,
    databases=3,
    many=5,
    stream_bytes=2 << 20,
    list_runs=0,
    blobs=2,
    hosts=2,
    history=2,
)

_BLOB_BYTES = 10_000_000

# Words are made of syllables, and some are far more frequent than others. Remarks are 6 to 22 words; the
# copies of an order share its remark, and are further apart than the window of zstd -3 (2 MiB) or gzip.
# No parallel plans, and an order wherever one could vary: the same seed gives the same rows.
_TABLES = """\
SET work_mem = '256MB';
SET max_parallel_workers_per_gather = 0;
SET timezone = 'UTC';
SELECT setseed(0.5);
CREATE TEMP TABLE syllable AS
SELECT part FROM regexp_split_to_table(
  'an be cor del er fi gal hu in jo ka lor mi net ol per qua ri sen tu ul ver wa xi yo zen', ' ') AS part;
CREATE TEMP TABLE lexicon AS
SELECT row_number() OVER (ORDER BY md5(word)) - 1 AS number, word
FROM (SELECT a.part || b.part || ending AS word
      FROM syllable a, syllable b, (VALUES (''), ('s'), ('ing'), ('ed')) AS endings (ending)) AS words;
CREATE TEMP TABLE remark AS
SELECT id, string_agg(word, ' ' ORDER BY place) AS text
FROM (SELECT id, place, floor(random() * random() * 2700)::int AS number
      FROM generate_series(1, {rows}) AS id, generate_series(1, 6 + id % 17) AS place) AS picked
JOIN lexicon USING (number) GROUP BY id;
CREATE TABLE customer AS
SELECT id, initcap(first.word || ' ' || last.word) AS name,
  first.word || '.' || last.word || id || '@' || town.word || '.example' AS email,
  initcap(town.word) AS city, since
FROM (SELECT id, floor(random() * 2700)::int AS a, floor(random() * 2700)::int AS b,
        floor(random() * random() * 2700)::int AS c, date '2010-01-01' + (random() * 5000)::int AS since
      FROM generate_series(1, {rows}) AS id) AS picked
JOIN lexicon AS first ON first.number = a JOIN lexicon AS last ON last.number = b
JOIN lexicon AS town ON town.number = c ORDER BY id;
CREATE TABLE orders AS
SELECT (copy * {rows} + id)::bigint AS id, 1 + floor(random() * {rows})::int AS customer,
  timestamptz '2020-01-01' + (copy * {rows} + id) * interval '21 s' + random() * interval '20 s' AS placed,
  (ARRAY['new', 'paid', 'packed', 'sent', 'returned'])[1 + floor(random() * 5)::int] AS status,
  (random() * random() * 2000)::numeric(10, 2) AS amount, 1 + (random() * random() * 9)::int AS items, text
FROM (SELECT copy, remark.id, text FROM generate_series(0, {copies} - 1) AS copy, remark
      ORDER BY copy, remark.id) AS ordered;
ALTER TABLE customer ADD PRIMARY KEY (id);
ALTER TABLE orders ADD PRIMARY KEY (id), ADD FOREIGN KEY (customer) REFERENCES customer;
VACUUM ANALYZE;
"""


def query(prefix: str) -> str:
    """Return the SQL that lists the databases of a prefix."""
    return f"SELECT datname FROM pg_database WHERE starts_with(datname, '{prefix}') ORDER BY datname"


def make_large(server: Postgres, scale: Scale) -> None:
    """Make the database LARGE, if it is not there."""
    if not _there(server, LARGE):
        _make(server, LARGE, scale.rows, scale.copies)


def make_small(server: Postgres, scale: Scale) -> list[str]:
    """Make the databases of the prefix SMALL, copies of one, if they are not there; return their names."""
    return _copies(server, scale, SMALL, scale.databases)


def make_many(server: Postgres, scale: Scale) -> list[str]:
    """Make the databases of the prefix MANY, copies of the same one; return their names."""
    return _copies(server, scale, MANY, scale.many)


def make_blobs(server: Postgres, scale: Scale, top: Path) -> None:
    """Make the database BLOBS, of large objects of random bytes, no two alike; `top` the server can read."""
    if _there(server, BLOBS):
        return
    server.create(BLOBS)
    file = top / "blob"
    for number in range(scale.blobs):
        file.write_bytes(random.Random(number).randbytes(_BLOB_BYTES))  # noqa: S311  the same each time
        file.chmod(0o644)
        server.sql(f"SELECT lo_import('{file}')", BLOBS)
    server.sql("CHECKPOINT")
    file.unlink()


def _copies(server: Postgres, scale: Scale, prefix: str, count: int) -> list[str]:
    names = [f"{prefix}{number:03}" for number in range(1, count + 1)]
    if not _there(server, TEMPLATE):
        _make(server, TEMPLATE, scale.small_rows, 1)
    if not _there(server, names[-1]):
        for name in names:
            server.sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        server.sql("CHECKPOINT")
    return names


def _there(server: Postgres, database: str) -> bool:
    return bool(server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{database}'"))


def _make(server: Postgres, database: str, rows: int, copies: int) -> None:
    server.create(database)
    server.sql(_TABLES.format(rows=rows, copies=copies), database)
    server.sql("CHECKPOINT")
