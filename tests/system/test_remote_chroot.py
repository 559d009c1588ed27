"""An account for SFTP only that sshd shuts in: its home is root's, and all that it sees."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from resources import recipe_file
from support import paste, rows, sqlite_database

from dbdump import Remote
from dbdump.errors import WriteError
from dbdump.testing import dump_name, store

KIND = "chroot"
TRANSPORTS = ("fabric", "openssh")


@pytest.fixture
def shared(accounts, tmp_path) -> Path:
    """A directory in its home where everybody can make some of their own."""
    path = accounts.home(KIND) / tmp_path.name
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_that_is_done_with_a_dump(accounts, sshd, dbdump, tmp_path, transport):
    """79: dump, prune, list, verify and restore, also by the manifest's own line."""
    path = accounts.directory_of(KIND, tmp_path.name)
    database = sqlite_database(tmp_path / "app.db", 10_000)
    before = rows(database)
    recipe_file(tmp_path, f"""
        @recipe(localhost)
        def app(host):
            to = Remote({sshd.remote(KIND)!r}, "dumps/{tmp_path.name}", transport={transport!r})
            return Dump(SQLite(path={str(database)!r}), to=to, keep=Keep(last=1))
    """)  # fmt: skip

    def run(*arguments: str) -> str:
        """Run a task, and return what it printed."""
        done = dbdump(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for _ in range(2):
        run("dump")
    (manifest,) = path.rglob("*.json")  # the first was pruned
    assert len(json.loads(run("list", "--json"))["results"]) == 1
    assert "1 good" in run("verify")
    run("restore", "--database=app.db", "--as=again.db", "--yes")
    assert rows(tmp_path / "again.db") == before
    database.unlink()
    paste(json.loads(manifest.read_text())["restore"])
    assert rows(database) == before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_directories_that_everybody_can_make(accounts, sshd, reach, shared, transport):
    """79, 122: the account's own are known by what it makes, and those of others are refused; nothing else is left."""
    remote = sshd.remote(KIND)
    to = Remote(remote, shared.name, transport=transport).bound(reach)
    (shared / "db1").mkdir(0o700)
    os.chown(shared / "db1", 65534, 65534)
    with pytest.raises(WriteError, match="belongs to somebody else, user 65534"):
        store(to, dump_name(), b"whole")
    with pytest.raises(WriteError, match="belongs to somebody else, user 65534"):
        list(to.entries("db1", "shop"))
    (shared / "db1").rmdir()
    for database in ("one", "two"):
        store(Remote(remote, shared.name, transport=transport).bound(reach), dump_name(database), b"whole")
    assert len([each for each in to.entries("db1", "shop") if each.file]) == 4
    assert os.listdir(shared) == ["db1"]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_of_somebody_else(accounts, sshd, reach, tmp_path, mode):
    """79, 122: it is refused in a datadir that is the account's alone too."""
    path = accounts.directory_of(KIND, tmp_path.name)
    to = Remote(sshd.remote(KIND), f"dumps/{path.name}").bound(reach)
    (path / "db1").mkdir(mode)
    os.chown(path / "db1", 65534, 65534)
    with pytest.raises(WriteError, match="belongs to somebody else, user 65534"):
        store(to, dump_name(), b"whole")
    shutil.chown(path / "db1", "root")
    with pytest.raises(WriteError, match="ermission denied"):
        store(to, dump_name(), b"whole")
