"""SQLite dumps whose file somebody else holds."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import timedelta

from servers.history import put
from support import manifests, sqlite_database

# A python3 that does not wait for a lock for a minute.
IMPATIENT = f"""#!{sys.executable} -I
import os, sys
words = [word.replace("BUSY_SECONDS = 60.0", "BUSY_SECONDS = 0.3") for word in sys.argv[1:]]
assert words != sys.argv[1:] or "dump" not in words
os.execv(sys.executable, [sys.executable, *words])
"""


def test_somebody_locks_the_file(dbdump, datadir, tmp_path, unharmed):
    """35: it is waited for, then fails; nothing is copied; another database is stored."""
    locked, other = (sqlite_database(tmp_path / name, 1000) for name in ("locked.db", "other.db"))
    (tmp_path / "python").write_text(IMPATIENT)
    (tmp_path / "python").chmod(0o755)
    put(datadir, "locked.db", timedelta(days=1), recipe="sqlite")
    unharmed.begin()
    flags = ["dump", "--backend=sqlite", f"--option=path={locked}", f"--option=path={other}", f"--datadir={datadir}",
             f"--option=python={tmp_path}/python"]  # fmt: skip
    with closing(sqlite3.connect(locked, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = dbdump(*flags)
    assert done.returncode == 1
    assert "FAILED   localhost/sqlite/locked.db: sqlite: exit status 1: error: database is locked" in done.stdout
    assert "hint: Somebody holds an exclusive lock on it; find out who with: fuser" in done.stdout
    assert manifests(datadir)["other.db"]["stored_bytes"]
    unharmed.check()
    unharmed.again(*flags, "--database=locked.db")
