"""A process is killed in the middle of a dump."""

from __future__ import annotations

import os
import signal

import pytest
from resources import recipe_file
from support import end_of, pid_of, wait_for_bytes

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.testing import store


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_wrapper_dies(number, database, datadir, started, unharmed, said, tmp_path):
    """38: whoever dies first is the cause; nothing is committed."""
    recipes = recipe_file(
        tmp_path,
        f"""
        @recipe(localhost)
        def app(host):
            quick = "QUICK" in __import__("os").environ
            return Dump(SQLite(path={str(database)!r}), wrap=[] if quick else [Mine()], to=Directory({str(datadir)!r}))

        class Mine(Slow):
            def command(self): return [*super().command(), {str(tmp_path)!r}]
    """,
    )
    store(Directory(str(datadir)), DumpName("localhost", "app", "app.db", "20200101T000000Z", ".sqlite"), b"old")
    unharmed.begin()
    process = started("dump", f"--recipes={recipes}")
    wait_for_bytes(datadir, "app.db")
    os.kill(pid_of(f".05) {tmp_path}", "python3"), number)
    code, out = end_of(process)
    said.append(out)
    assert code == 1
    assert f"FAILED   localhost/app/app.db: python3: killed by {signal.Signals(number).name}" in out
    assert "stored   " not in out
    unharmed.check()
    unharmed.again("dump", f"--recipes={recipes}", env={"QUICK": "1"})
