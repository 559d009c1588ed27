"""Dumps that stay on their database's own host: all that is asked of them from here, over either transport."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.gnupg import ring_of
from servers.history import put
from support import rows, sqlite_database

KIND = "dash"  # the account that is db1
SEALED = 'Zstd(), GPG(sign="signer@example.org", encrypt=["ops@example.org"])'
RECIPE = """
from dbdump import *
db1 = Host("db1", ssh={remote!r}, transport={transport!r}, retries=0)
@recipe(db1)
def shop(host):
    return Dump({backend}, wrap=[{wrap}], to=Directory({path!r}, on="host"), keep=Keep(last=2))
"""


class OnHost:
    """A recipe of db1, whose dumps stay on db1; what is stored there, and the database that is there."""

    def __init__(self, run: Callable[..., Any], accounts: Any, home: Path, top: Path, transport: str) -> None:
        self._run = run
        self._accounts = accounts
        self._env = {"GNUPGHOME": str(home)}
        self._recipes = top / "recipes"
        self._recipes.mkdir()
        self._transport = transport
        self.path = accounts.directory_of(KIND, top.name)
        self.own = accounts.directory_of(KIND, f"{top.name}-own")
        self.database = sqlite_database(self.own / "app.db", 200_000)
        self.give()

    def give(self) -> None:
        """Have all that is there belong to the account."""
        for each in (self.path, self.own):
            self._accounts.own(KIND, each)

    def says(self, remote: str, *, wrap: str = "Zstd()", backend: str = "") -> None:
        """Write the recipe: of the host where `remote` leads."""
        backend = backend or f"SQLite(path={str(self.own / '*.db')!r}, python='/usr/bin/python3')"
        (self._recipes / "db1.py").write_text(RECIPE.format(
            remote=remote, transport=self._transport, path=str(self.path), wrap=wrap, backend=backend,
        ))  # fmt: skip

    def __call__(self, task: str, *flags: str, code: int = 0) -> str:
        """Run a task, see how that ended, and return all that was said."""
        done = self._run(task, f"--recipes={self._recipes}", *flags, env=self._env)
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    def document(self, task: str, *flags: str) -> dict[str, Any]:
        """Return the one result that a task tells of."""
        done = self._run(task, f"--recipes={self._recipes}", *flags, "--json", env=self._env)
        (result,) = json.loads(done.stdout)["results"]
        return dict(result)

    def files(self, end: str, database: str = "app.db") -> list[Path]:
        """Return the files of a database with names that end so, the oldest first."""
        return sorted((self.path / "db1" / "shop" / database).glob(f"*{end}"))

    def is_refused(self, file: Path, said: str) -> None:
        """See that neither verify nor restore takes a dump, that each says so, and that nothing is touched."""
        before = self.database.read_bytes()
        for task in ("verify",), ("restore", "--force", "--yes", f"--at={file.name[:16]}"):
            told = self(*task, "--database=app.db", code=4)
            assert said in told
            assert "hint: " in told
        assert self.database.read_bytes() == before


@pytest.fixture
def own_ring(accounts, gnupg):
    """The tests' keys as the account's own; its agent ends with the test."""
    with ring_of(gnupg, accounts, KIND):
        yield


@pytest.fixture(params=["fabric", "openssh"])
def shop(request, dbdump, accounts, gnupg, tmp_path):
    """The recipe, over each transport."""
    made = OnHost(dbdump, accounts, gnupg.home, tmp_path, request.param)
    yield made
    shutil.rmtree(made.path)
    shutil.rmtree(made.own)


def test_a_life_there(shop, sshd, accounts):
    """Checked, dumped, verified, drilled, listed, told of, wiped and restored: all of it by db1's account."""
    shop.says(sshd.remote(KIND))
    before = rows(shop.database)
    assert "0 errors, 0 warnings" in shop("check")
    shop("dump")
    (file,) = shop.files(".zst")
    assert "  structure  " in shop("verify")
    assert "1 tables, 2 rows" in shop("verify", "--restore")
    (record,) = shop.files(".verified")
    assert record.stat().st_uid == accounts.uids[KIND]
    listed = shop.document("list")
    assert listed["location"] == f"{accounts.user(KIND)}@127.0.0.1:{file}"
    assert (listed["stored_bytes"], listed["record"]["level"]) == (file.stat().st_size, "restored")
    found = shop.document("status")
    assert (found["status"], found["dumps"], found["drill"]["rows"]) == ("ok", 1, 2)
    shop.database.unlink()
    assert f" as {shop.database} on db1  " in shop("restore", "--yes")
    assert rows(shop.database) == before
    assert shop.database.stat().st_uid == accounts.uids[KIND]


def test_signed_and_encrypted_there(shop, sshd, gnupg, own_ring, tmp_path):
    """By keys of db1's account; verified and decrypted here, and restored here or there."""
    shop.says(sshd.remote(KIND), wrap=SEALED)
    before = rows(shop.database)
    shop("dump")
    assert f"  signed by …{gnupg.keys['signer'][-16:]}" in shop("verify")
    assert f" as {tmp_path}/app.db on localhost  " in shop(
        "restore", "--yes", "--to=localhost", f"--as={tmp_path}/app.db"
    )
    shop("restore", "--yes", f"--as={shop.own}/copy")
    assert rows(tmp_path / "app.db") == rows(shop.own / "copy") == before


@pytest.mark.parametrize("shop", ["openssh"], indirect=True)
def test_a_drill_with_roles_that_are_stored_there(shop, sshd, postgres):
    """A throw-away server is made here, from the globals and the archive that are fetched from there."""
    postgres.create("far_drill")
    try:
        postgres.sql("CREATE ROLE far_tenant", "far_drill")
        postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 5); ALTER TABLE t OWNER TO far_tenant", "far_drill")
        shop.says(sshd.remote(KIND), backend=f"PostgreSQL(host={postgres.host!r}, user='postgres')")
        shop("dump", "--database=far_drill", "--database=@globals")
        assert "1 tables, 5 rows" in shop("verify", "--restore", "--database=far_drill")
    finally:
        postgres.drop("far_drill")
        postgres.sql("DROP ROLE IF EXISTS far_tenant")


def test_only_what_keep_leaves_out_goes(shop, sshd):
    """The plan first, then each dump before its manifest's; the newest and the newest verified stay."""
    shop.says(sshd.remote(KIND))
    old = [put(shop.path, "app.db", timedelta(days=day), host="db1", fault="" if day == 5 else None)
           for day in (5, 4, 3, 2, 1)]  # fmt: skip
    other = put(shop.path, "app.db", timedelta(days=9), host="db1", recipe="other")
    shop.give()
    said = shop("prune", "--dry-run")
    assert [said.count(f"{word} {old[day].name[:16]}") for word, day in PLAN] == [1, 1, 1, 1, 1]
    assert len(shop.files(".bin")) == 5
    shop("prune")
    assert shop.files(".bin") == [old[0], *old[3:]]
    assert len(shop.files(".json")) == 3
    assert other.exists()


PLAN = [("keep    ", 0), ("prune   ", 1), ("prune   ", 2), ("keep    ", 3), ("keep    ", 4)]


def test_whatever_was_done_to_it_there(shop, sshd, own_ring):
    """Cut, changed, swapped for another's, or unsigned: each told by verify and by restore, in words of its own."""
    sqlite_database(shop.own / "other.db", 1000)
    shop.give()
    shop.says(sshd.remote(KIND), wrap=SEALED)
    shop("dump")
    (file,), (other,) = shop.files(".gpg"), shop.files(".gpg", "other.db")
    content = file.read_bytes()
    middle = len(content) // 2
    for changed, said in [
        (content[:-1], f"truncated: {len(content) - 1} of {len(content)} bytes are there"),
        (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], "changed since it was stored"),
        (other.read_bytes(), "swapped: its bytes are those of db1/shop/other.db"),
    ]:
        file.write_bytes(changed)
        shop.is_refused(file, said)
    file.write_bytes(content)
    Path(f"{file}.json.sig").unlink()
    shop.is_refused(file, "its manifest is not signed")


def test_a_host_that_is_down(shop):
    """Each task says that it is the connection, exits 1, and does not take its dumps for missing."""
    shop.says("-p 1 nobody@127.0.0.1")
    for task in (["list"], ["verify"], ["verify", "--restore"], ["restore", "--yes"], ["prune"], ["status"], ["check"]):
        said = shop(*task, code=1)
        assert "no connection" in said
        assert "hint: " in said
        assert "MISSING" not in said


def test_somebody_is_at_work_there(shop, sshd):
    """Who prunes there is not disturbed; who reads there keeps prunes away: 75, and it is said."""
    shop.says(sshd.remote(KIND))
    shop("dump")
    place = os.open(shop.path / "db1" / "shop", os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_SH)
        assert "LOCKED   db1/shop" in shop("prune", code=75)
        assert "good     db1/shop/app.db" in shop("verify")
        fcntl.flock(place, fcntl.LOCK_EX)
        for task in (["verify"], ["verify", "--restore"], ["restore", "--yes", "--force"], ["dump"]):
            assert "LOCKED   db1/shop" in shop(*task, code=75)
    finally:
        os.close(place)
    assert len(shop.files(".zst")) == 1
