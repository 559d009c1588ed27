"""Restore: what was not verified reaches nobody, not even the first piece of it, wherever it would go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import COMMAND

# Stores as a directory does, and yields pieces of an odd size; its second reader gets what is in another file.
SWITCHING = """
from dbdump import *
class Switching(Directory):
    seen = []
    def bound(self, reach): return self
    def read(self, name):
        self.seen.append(name)
        switch = len(self.seen) == 2
        whole = open({other!r}, "rb").read() if switch else b"".join(super().read(name))
        yield from (whole[at:at + 300_001] for at in range(0, len(whole), 300_001))
"""
BYTES = """
@backend("bytes")
class Bytes(Backend):
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["cat", {raw!r}]
    def get_load_command(self, database, into, jobs): return ["sh", "-c", 'cat >"$1"; exit 1', "sh", {got!r}]
    def contents(self, database): return None
@recipe(localhost)
def near(host): return Dump(Bytes(), wrap=[{wrap}], to=Switching({datadir!r}))
@recipe(Host("far", ssh={remote!r}))
def far(host): return Dump(Bytes(), to=Directory({datadir!r}))
"""
MIB = 1 << 20
SAME = 2 * MIB  # so many bytes of the second reading
CHANGED = "changed since it was verified, a moment ago"


@pytest.fixture
def bytes_of_two(tmp_path, datadir, sshd, dbdump):
    """Dump bytes that end in others when they are read again; return the flags, those bytes, and where they go."""

    def dumped(wrap: str) -> tuple[list[str], bytes, Path]:
        directory = sshd.accounts.directory_of("bash", tmp_path.name)
        raw = os.urandom(6 * MIB)  # the gate sends 4 MiB at once
        (tmp_path / "raw").write_bytes(raw)
        text = SWITCHING + BYTES
        given = {"other": str(tmp_path / "other"), "raw": str(tmp_path / "raw"), "got": str(directory / "got")}
        (recipes := tmp_path / "recipes").mkdir()
        (recipes / "r.py").write_text(text.format(**given, wrap=wrap, datadir=str(datadir), remote=sshd.remote("bash")))
        flags = [f"--recipes={recipes}", "--host=localhost"]
        assert dbdump("dump", *flags).returncode == 0
        (stored,) = (each for each in datadir.rglob("2*") if each.suffix != ".json")
        whole = stored.read_bytes()
        (tmp_path / "other").write_bytes(whole[:SAME] + bytes([whole[SAME] ^ 1]) + whole[SAME + 1 :])
        return flags, raw, directory / "got"

    return dumped


@pytest.mark.parametrize(("wrap", "to"), [("", "far"), ("Zstd()", "localhost")])
def test_what_comes_before_it_is_all_that_arrives(bytes_of_two, dbdump, wrap, to):
    """Here and on another host, unwrapped here or there: nothing but the beginning of what was verified."""
    flags, raw, got = bytes_of_two(wrap)
    done = dbdump("restore", *flags, "--yes", *([] if to == "localhost" else ["--to=far"]))
    assert done.returncode == 4, done.stdout + done.stderr
    assert CHANGED in done.stdout
    arrived = got.read_bytes() if got.exists() else b""  # it may be ended before it has begun
    assert len(arrived) <= SAME
    assert raw.startswith(arrived)


def test_nor_does_more_come_to_stdout(bytes_of_two, tmp_path):
    """The whole pieces before it are written, and no other byte."""
    flags, raw, _ = bytes_of_two("")
    argv = [*COMMAND, "restore", *flags, "--to-stdout"]
    done = subprocess.run(argv, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert CHANGED in done.stderr.decode()
    assert len(done.stdout) == SAME
    assert raw.startswith(done.stdout)


@pytest.fixture
def moving(request, tmp_path, datadir, dbdump):
    """Dump the database `moving` of a server, whose second reader gets other SQL; return the flags."""
    server = request.getfixturevalue("postgres" if request.param == "PostgreSQL" else "mariadb")
    server.create("moving")
    server.sql("CREATE TABLE t AS SELECT 1 AS one", "moving")
    if request.param == "MySQL":
        how, text = f"defaults={server.defaults_file()!r}", "CREATE DATABASE came;\n"
    else:
        how = f'host={server.host!r}, user="postgres", format="plain"'
        text = "CREATE DATABASE moving TEMPLATE template0;\n\\connect moving\n-- Name: x; Type: TABLE\n"
        text += f"\\! touch {tmp_path}/came\n"
    (tmp_path / "other").write_text(text + "-- filler\n" * 600_000)
    (recipes := tmp_path / "recipes").mkdir()
    (recipes / "r.py").write_text(
        SWITCHING.format(other=str(tmp_path / "other"))
        + f"""
@recipe(localhost)
def app(host): return Dump({request.param}({how}), wrap=[], to=Switching({str(datadir)!r}))
"""
    )
    flags = [f"--recipes={recipes}", "--database=moving"]
    assert dbdump("dump", *flags).returncode == 0
    server.drop("moving")
    yield flags
    came = request.param == "MySQL" and server.sql("SHOW DATABASES LIKE 'came'")
    server.drop("moving", "came")
    assert not came
    assert not (tmp_path / "came").exists()


@pytest.mark.parametrize(
    ("moving", "task"),
    [("PostgreSQL", ["restore", "--yes"]), ("MySQL", ["restore", "--yes"]),
     ("PostgreSQL", ["verify", "--restore", "--to=localhost"])],
    indirect=["moving"],
)  # fmt: skip
def test_no_server_and_no_shell_sees_it(moving, dbdump, task):
    """Neither psql nor the client of MariaDB is given one line of other SQL, restored or in the drill."""
    done = dbdump(*task, *moving)
    assert done.returncode == 4, done.stdout + done.stderr
    assert CHANGED in done.stdout
