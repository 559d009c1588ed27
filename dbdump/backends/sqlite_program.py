"""The SQLite backend's commands, for any python3: sent to the host as text, so nothing of dbdump is there.

list PATTERN...        the files that match, in hex, a line each
dump binary|sql PATH   a consistent copy of the database, or SQL that makes one, on stdout
things PATH            how many things it has: tables, and whatever else a database may have
count PATH             how many tables it has, and how many rows they have, each counted
"""

import contextlib
import glob
import math
import os
import re
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from typing import IO
from urllib.parse import quote

BUSY_SECONDS = 60.0
SHORT = 15  # characters of a decimal that fits into 53 bits
SCRIPT = 100  # lines of a text that may be ends of statements, at each of which whoever loads it looks from the first
BEAT_PAGES = 16384  # 64 MiB of the usual pages
MODE_AT, ROLLBACK = 18, b"\1\1"  # of the header; https://www.sqlite.org/fileformat.html, section 1.3.3
ODD = re.compile("[\0\ud800-\udfff\ufffe\uffff]")  # ends a literal, is half a pair, or is replaced in UTF-16
TEXT_BY_ENCODING = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}


def say(text: str) -> None:
    """Say that a step goes on: a long one writes nothing to stdout, and is not stalled."""
    sys.stderr.write(text + "\n")


@contextlib.contextmanager
def copied(path: str) -> Iterator[tuple[sqlite3.Connection, IO[bytes], bytes]]:
    """Copy the database at `path`, check the copy, and give it: as a database, as a file, and its bytes at MODE_AT.

    In the file these say that it has no journal. It has no name any more when the first byte is in it, so that nothing
    of it stays, however this ends.
    """
    with tempfile.NamedTemporaryFile(prefix="dbdump-", delete=False) as file:
        try:
            into, reader = sqlite3.connect(file.name), sqlite3.connect(file.name)
        finally:
            os.unlink(file.name)
        with contextlib.closing(into):
            into.execute("PRAGMA journal_mode=OFF")  # a journal would have a name
            copy(path, into)
        mode = os.pread(file.fileno(), len(ROLLBACK), MODE_AT)
        os.pwrite(file.fileno(), ROLLBACK, MODE_AT)  # in WAL mode its reader would make a journal
        with contextlib.closing(reader):
            reader.set_progress_handler(lambda: say("checking"), 100_000_000)
            (verdict,) = reader.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"database is corrupt: {verdict}")
            reader.set_progress_handler(None, 0)
            yield reader, file.file, mode


def copy(path: str, into: sqlite3.Connection) -> None:
    """Copy the database at `path` as it is at one moment, while others write."""
    # mode=ro: a file that is missing is not made.
    uri = "file:" + quote(os.fsencode(os.path.abspath(path))) + "?mode=ro"
    source = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    with contextlib.closing(source):
        # With a read transaction of our own the snapshot stays the same from the first page to the last,
        # and a lock is waited for with a timeout; backup() by itself would wait for ever.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(into, pages=BEAT_PAGES, progress=lambda _, left, total: say(f"{left} of {total} left"))


class Text(bytes):
    """The bytes of a TEXT value: they need not be UTF-8, and may hold a NUL."""


def name(identifier: str) -> str:
    """Return a quoted SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: object, encoding: str) -> str:
    """Return `value` as the SQL literal that gives it back, in a database of that `encoding`."""
    if isinstance(value, Text):
        errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
        text = value.decode(errors=errors)
        if ODD.search(text) or text.count(";\n") > SCRIPT:
            return f"CAST(X'{text.encode(encoding, errors).hex()}' AS TEXT)"
        return "'" + text.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return real(value) if isinstance(value, float) else "NULL" if value is None else str(value)


def real(value: float) -> str:
    """Return SQL for exactly `value`: many a decimal is read by SQLite as its neighbour.

    One that is a fraction of a power of two, such as 0.25, is read right; any other is written as an integer
    divided, or multiplied, by powers of two, which no rounding touches.
    """
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if len(repr(value)) <= SHORT and Decimal(repr(value)) == Decimal(value):
        return repr(value)
    mantissa, exponent = math.frexp(value)
    exponent -= 53  # the bits of a double's mantissa
    text = f"{int(math.ldexp(mantissa, 53))}*1.0"  # a real from here on
    while exponent:
        step = max(-62, min(62, exponent))  # 2^62 is the largest that is an integer of SQLite's
        text += f"{'*' if step > 0 else '/'}{1 << abs(step)}.0"
        exponent -= step
    return f"({text})"


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    """Return the columns whose values are stored, and first the row number where no column shows it.

    An FTS index may go by the row number of another table, so it has to stay.
    """
    info = db.execute(f"PRAGMA table_info({name(table)})").fetchall()
    names = [column[1] for column in info]
    keys = [column[2].upper() for column in info if column[5]]
    without_rowid = db.execute("SELECT wr FROM pragma_table_list(?) WHERE schema='main'", (table,)).fetchone()[0]
    # Of DESC, and of another type, the key is an index of its own.
    indexed = db.execute("SELECT 1 FROM pragma_index_list(?) WHERE origin='pk'", (table,)).fetchone()
    if without_rowid or (keys == ["INTEGER"] and not indexed):
        return names
    taken = [each.lower() for each in names]
    return [*[each for each in ("rowid", "_rowid_", "oid") if each not in taken][:1], *names]


def inserts(db: sqlite3.Connection, table: str, encoding: str) -> Iterator[str]:
    """Yield an INSERT for each row of `table`."""
    listed = ",".join(map(name, columns(db, table)))
    for row in values(db, f"SELECT {listed} FROM {name(table)}"):
        yield f"INSERT INTO {name(table)}({listed}) VALUES({','.join(literal(v, encoding) for v in row)});"


def values(db: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows of `query`, with TEXT as Text."""
    db.text_factory = Text
    try:
        yield from db.execute(query)
    finally:
        db.text_factory = str


def ended(sql: str) -> str:
    """Return a statement with its end, which must not be part of a comment at the end of the text."""
    return sql + ("\n;" if "--" in sql.rpartition("\n")[2] else ";")


def statements(db: sqlite3.Connection) -> Iterator[str]:
    """Yield SQL that makes the database again: header, tables with their rows, then all else."""
    (encoding,) = db.execute("PRAGMA encoding").fetchone()
    yield f"PRAGMA encoding='{encoding}';"
    for pragma in ("user_version", "application_id"):
        yield f"PRAGMA {pragma}={db.execute(f'PRAGMA {pragma}').fetchone()[0]};"
    yield "PRAGMA foreign_keys=OFF;"
    yield "BEGIN TRANSACTION;"
    yield "PRAGMA writable_schema=ON;"
    later = []
    for kind, own, of, sql in db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    ).fetchall():
        if kind != "table":
            later.append(ended(sql))
        elif sql.upper().startswith("CREATE VIRTUAL"):
            # Its rows are in its shadow tables, which are tables of their own; sqlite3's .dump does this too.
            quoted = ",".join("'" + text.replace("'", "''") + "'" for text in (kind, own, of, sql))
            yield f"INSERT INTO sqlite_schema(type,name,tbl_name,sql,rootpage) VALUES({quoted},0);"
        else:
            yield ended(sql)
            yield from inserts(db, own, TEXT_BY_ENCODING[encoding])
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name='sqlite_sequence'").fetchone():
        yield "CREATE TABLE IF NOT EXISTS sqlite_sequence(name,seq);"  # the last AUTOINCREMENT may be gone
        yield "DELETE FROM sqlite_sequence;"
        yield from inserts(db, "sqlite_sequence", TEXT_BY_ENCODING[encoding])
    yield from later
    yield "PRAGMA writable_schema=OFF;"
    yield "COMMIT;"


def dump(form: str, path: str) -> None:
    """Write the database at `path` to stdout, as `form` says."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such file: {path}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"not a file: {path}")
    if os.path.getsize(path) == 0:
        raise sqlite3.DatabaseError(f"file is empty, not a database: {path}")
    with copied(path) as (db, file, mode):
        if form == "binary":
            os.pwrite(file.fileno(), mode, MODE_AT)
            while piece := file.read(1 << 20):
                sys.stdout.buffer.write(piece)
        else:
            for statement in statements(db):
                sys.stdout.buffer.write(statement.encode() + b"\n")
        sys.stdout.buffer.flush()


def count(path: str) -> None:
    """Write how many tables the database at `path` has, and how many rows; a virtual one has none of its own."""
    uri = "file:" + quote(os.fsencode(os.path.abspath(path))) + "?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        db.set_progress_handler(lambda: say("counting"), 100_000_000)
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND sql NOT LIKE 'CREATE VIRTUAL%'"
        ).fetchall()
        rows = sum(db.execute(f"SELECT count(*) FROM {name(table)}").fetchone()[0] for (table,) in tables)
    sys.stdout.write(f"{len(tables)} {rows}\n")


def things(path: str) -> None:
    """Write how many things the database at `path` has; as is a number in its header; no sound one has 1."""
    uri = "file:" + quote(os.fsencode(os.path.abspath(path))) + "?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            (found,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            for pragma in ("user_version", "application_id"):
                found += db.execute(f"PRAGMA {pragma}").fetchone()[0] != 0
    except sqlite3.Error:
        found = 1
    sys.stdout.write(f"{found}\n")


def main(verb: str, *arguments: str) -> None:
    """Run one command; an error of the database or the system is one line on stderr and exit status 1."""
    try:
        if verb == "list":
            for pattern in arguments:
                for path in [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern)):
                    sys.stdout.write(os.fsencode(path).hex() + "\n")
        elif verb == "count":
            count(*arguments)
        elif verb == "things":
            things(*arguments)
        else:
            dump(*arguments)
    except (sqlite3.Error, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended by SIGTERM"))
    main(*sys.argv[1:])
