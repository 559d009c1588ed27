"""Restore on a terminal: what is asked, what is agreed to, and how far it is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest
from support import COMMAND, rows, sqlite_database
from test_verify import Site


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


def on_terminal(site: Site, *flags: str, asked: Callable[[], object] | None = None) -> tuple[int, str]:
    """Restore on a terminal; when it asks, do that, and say y. Return the exit status, and all that was seen."""
    controller, terminal = pty.openpty()
    argv = [*COMMAND, "restore", f"--recipes={site.top}/recipes", "--database=app.db", *flags]
    process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, cwd=site.top, close_fds=True,
                               env={**os.environ, "TERM": "xterm", "COLUMNS": "140"})  # fmt: skip
    os.close(terminal)
    seen = b""
    try:
        with suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(controller, 4096):
                seen += piece
                if asked and seen.endswith(b"[y/N] "):
                    asked()
                    asked = None
                    os.write(controller, b"y\n")
        return process.wait(30), seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def test_it_asks_before_it_drops(site):
    """What is there is told, and dropped when that is agreed to."""
    before = rows(site.top / "app.db")
    site.dump()
    (site.top / "app.db").unlink()
    sqlite_database(site.top / "app.db", 1000)
    code, said = on_terminal(site, "--force", asked=lambda: None)
    assert code == 0, said
    assert f"on localhost as {site.top}/app.db, and drop what is there (1 tables and the like)? [y/N]" in said
    assert rows(site.top / "app.db") == before


def test_what_nobody_was_told_of_is_not_dropped(site):
    """Nothing was there when it asked: what has come since stays."""
    site.dump()
    (site.top / "app.db").unlink()
    code, said = on_terminal(site, "--force", asked=lambda: sqlite_database(site.top / "app.db", 1000))
    assert code == 1, said
    assert "and drop" not in said
    assert "has more in it now than when you were asked (1 tables and the like)" in said
    assert "nothing was touched" in said
    assert [len(row) for (row,) in rows(site.top / "app.db")] == [1000]


def test_a_terminal_shows_how_far_it_is(site):
    """A bar with bytes and the time that is left, while it is verified and while it is restored; then the lines."""
    site.more["before"] = """
class Slow:
    suffix, program = ".slow", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self): return ["sh", "-c", "head -c 200000; sleep 1; cat"]
    def most_bytes(self, size): return size
"""
    site.wrap = "Slow()"
    (site.top / "app.db").unlink()
    sqlite_database(site.top / "app.db", 3_000_000)
    site.dump()
    (site.top / "app.db").unlink()
    code, said = on_terminal(site, "--yes")
    assert code == 0, said
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    for step in ("verify", "restore"):
        assert re.search(rf"{step} localhost/app/app.db 2\d+T\d+Z.*\d/3\.\d+ MB .*\d+:\d\d:\d\d", said), said
    assert re.search(r"verified localhost/app/app.db 2\d+T\d+Z  3\.\d MB in \d\.\d s", said), said
    assert f" as {site.top}/app.db on localhost  " in said
