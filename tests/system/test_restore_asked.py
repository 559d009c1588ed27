"""Restore on a terminal: what is asked, what is agreed to, and how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from resources import PAUSING
from servers.terminal import beside_terminal, on_terminal
from support import rows, sqlite_database
from test_verify import Site


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


def restored(site: Site, *flags: str, asked: Callable[[], object] | None = None) -> tuple[int, str]:
    """Restore on a terminal; when it asks, do that, and say y. Return the exit status, and all that was seen."""

    def answer() -> str:
        if asked:
            asked()
        return "y"

    flags = (f"--recipes={site.top}/recipes", "--database=app.db", *flags)
    return on_terminal("restore", *flags, cwd=site.top, answer=answer)


def test_it_asks_before_it_drops(site):
    """What is there is told, and dropped when that is agreed to."""
    before = rows(site.top / "app.db")
    site.dump()
    (site.top / "app.db").unlink()
    sqlite_database(site.top / "app.db", 1000)
    code, said = restored(site, "--force")
    assert code == 0, said
    assert f"on localhost as {site.top}/app.db, and drop what is there (1 tables and the like)? [y/N]" in said
    assert rows(site.top / "app.db") == before


def test_what_nobody_was_told_of_is_not_dropped(site):
    """Nothing was there when it asked: what has come since stays."""
    site.dump()
    (site.top / "app.db").unlink()
    code, said = restored(site, "--force", asked=lambda: sqlite_database(site.top / "app.db", 1000))
    assert code == 1, said
    assert "and drop" not in said
    assert "has more in it now than when you were asked (1 tables and the like)" in said
    assert "nothing was touched" in said
    assert [len(row) for (row,) in rows(site.top / "app.db")] == [1000]


def test_a_terminal_shows_how_far_it_is(site):
    """A bar with bytes and the time that is left, while it is verified and while it is restored; then the lines."""
    site.more["before"] = PAUSING
    site.wrap = "Pausing()"
    (site.top / "app.db").unlink()
    sqlite_database(site.top / "app.db", 3_000_000)
    site.dump()
    (site.top / "app.db").unlink()
    code, said = restored(site, "--yes")
    assert code == 0, said
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    for step in ("verify", "restore"):
        assert re.search(rf"{step} localhost/app/app.db 2\d+T\d+Z.*\d/3\.\d+ MB .*\d+:\d\d:\d\d", said), said
    assert re.search(r"verified localhost/app/app.db 2\d+T\d+Z  3\.\d MB in \d+\.\d s", said), said
    assert f" as {site.top}/app.db on localhost  " in said


def test_a_terminal_beside_a_pipe_shows_it_too(site):
    """Both readings have their bar on stderr, and stdout has the bytes of the dump and no others."""
    site.more["before"] = PAUSING
    site.wrap = "Pausing()"  # which stores them as they are
    (site.top / "app.db").unlink()
    sqlite_database(site.top / "app.db", 3_000_000)
    file = site.dump()
    argv = ["restore", f"--recipes={site.top}/recipes", "--database=app.db", "--to-stdout"]
    code, raw, said = beside_terminal(*argv, cwd=site.top)
    assert code == 0, said
    assert raw == file.read_bytes()
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    for step in ("verify", "restore"):
        assert re.search(rf"{step} localhost/app/app.db 2\d+T\d+Z.*\d/3\.\d+ MB .*\d+:\d\d:\d\d", said), said
    assert re.search(r"verified localhost/app/app.db 2\d+T\d+Z\s*\n", said), said
