"""A process is killed in the middle of a dump."""

from __future__ import annotations

import os
import signal

import pytest
from resources import recipe_file
from support import end_of, pid_of, wait_for_bytes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_wrapper_dies(number, database, datadir, started, dbdump, unharmed, said, tmp_path):
    """38: whoever dies first is the cause; nothing is committed."""
    recipes = recipe_file(
        tmp_path,
        f"""
        @recipe(localhost)
        def app(host):
            return Dump(SQLite(path={str(database)!r}), wrap=[Slow()] if not __import__("os").environ.get("QUICK") else [],
                        to=Directory({str(datadir)!r}))
    """,
    )
    assert dbdump("dump", f"--recipes={recipes}", env={"QUICK": "1"}).returncode == 0
    unharmed.begin()
    process = started("dump", f"--recipes={recipes}")
    wait_for_bytes(datadir, "app.db")
    os.kill(pid_of("time.sleep(.05)", "python3"), number)
    code, out = end_of(process)
    said.append(out)
    assert code == 1
    unharmed.check()
    unharmed.again("dump", f"--recipes={recipes}", env={"QUICK": "1"})
