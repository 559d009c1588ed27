"""Read a SQLite database from stdin into a temporary file, and have all of it checked. Sent as text, like its sibling.

Exits 0 where it is sound, 1 where it is not, and 75 where that could not be found out. The file has no name any more
when it is checked, so that nothing of it stays, however this ends.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from urllib.parse import quote

MAGIC = b"SQLite format 3\0"


def opened() -> sqlite3.Connection:
    """Return a connection to a copy of what is on stdin; nothing beside that file is read or made."""
    with tempfile.NamedTemporaryFile(prefix="dbdump-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise sqlite3.DatabaseError("not a SQLite database")
        file.flush()
        database = sqlite3.connect("file:" + quote(file.name) + "?immutable=1", uri=True)
        database.execute("PRAGMA cache_size")  # it is open from now on
        return database


def check() -> None:
    """Raise DatabaseError unless the database on stdin is sound; a long check is heard of."""
    with contextlib.closing(opened()) as database:
        database.set_progress_handler(lambda: print("checking", file=sys.stderr), 100_000_000)  # noqa: T201
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"corrupt: {verdict}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    try:
        check()
    except sqlite3.Error as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        os._exit(75)
