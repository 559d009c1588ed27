"""Verify: what was stored is read back, and whatever was done to it is told, each in its own words."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from resources import PAUSING, recipe_file
from servers.gnupg import GnuPG
from servers.process import program, wait_for
from servers.terminal import on_terminal
from support import COMMAND, end_of, gone, needs_root, processes, sqlite_database

SIGNED = 'Zstd(), GPG(sign="signer@example.org")'
SEALED = 'Zstd(), GPG(sign="signer@example.org", encrypt=["ops@example.org"])'


@dataclass
class Site:
    """A recipe of SQLite files, how it is run, and what it has stored."""

    run: object
    top: Path
    datadir: Path
    home: GnuPG
    wrap: str = "Zstd()"
    more: dict[str, str] = field(default_factory=dict)

    def __call__(self, task: str, *flags: str, **more) -> subprocess.CompletedProcess[str]:
        """Run a task with the recipe."""
        recipes = self.top / "recipes"
        recipes.mkdir(exist_ok=True)
        (recipes / "site.py").write_text(f"""
from dbdump import *
{self.more.get("before", "")}
@recipe(localhost{self.more.get("tags", "")})
def app(host):
    return Dump(SQLite(path={str(self.top / "*.db")!r}{self.more.get("backend", "")}), wrap=[{self.wrap}],
                to=Directory({str(self.datadir)!r}){self.more.get("dump", "")})
""")
        env = {"GNUPGHOME": str(self.home.home), **more.pop("env", {})}
        return self.run(task, f"--recipes={recipes}", *flags, env=env, **more)

    def dump(self, *flags: str) -> Path:
        """Dump, and return the newest file of the database app.db."""
        done = self("dump", *flags)
        assert done.returncode == 0, done.stdout
        return self.files()[-1]

    def files(self, database: str = "app.db") -> list[Path]:
        """Return the dumps of a database, the oldest first."""
        found = (self.datadir / "localhost" / "app" / database).glob("*")
        return sorted(path for path in found if path.suffix not in (".json", ".sig", ".verified"))

    def record(self, file: Path) -> dict[str, object]:
        """Return what is noted beside a dump."""
        return json.loads(Path(f"{file}.verified").read_text())

    def sign(self, file: Path, key: str, *more: str, home: GnuPG | None = None) -> None:
        """Sign the manifest of a dump with another key, or again."""
        signature = Path(f"{file}.json.sig")
        signature.unlink(missing_ok=True)
        (home or self.home).gpg("--pinentry-mode", "error", *more, "--local-user", key, "--output", str(signature),
                                "--detach-sign", f"{file}.json")  # fmt: skip

    def forge(self, file: Path, content: bytes, **changes: object) -> None:
        """Put other bytes there, with a manifest that fits them."""
        file.write_bytes(content)
        manifest = json.loads(Path(f"{file}.json").read_text())
        manifest |= {"stored_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **changes}
        Path(f"{file}.json").write_text(json.dumps(manifest))

    def ahead(self, file: Path) -> Path:
        """Have a dump be of a day to come, as if a clock had been wrong, and return where it is then."""
        future = file.with_name("20991231T235959Z" + file.name[16:])
        manifest = json.loads(Path(f"{file}.json").read_text())
        manifest |= {"file": future.name, "started": "2099-12-31T23:59:59Z", "finished": "2099-12-31T23:59:59Z"}
        Path(f"{file}.json").unlink()
        Path(f"{future}.json").write_text(json.dumps(manifest))
        return file.rename(future)

    def refused(self, said: str, *flags: str, **more) -> str:
        """Verify, and see that it fails with what is said, and a hint; return all of it."""
        done = self("verify", *flags, **more)
        assert done.returncode == 4, done.stdout + done.stderr
        assert said in done.stdout, done.stdout
        assert "hint: " in done.stdout
        return done.stdout


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


@pytest.mark.parametrize(
    ("wrap", "suffix"),
    [("", ".sqlite"), ("Zstd()", ".sqlite.zst"), ("Gzip()", ".sqlite.gz"), (SIGNED, ".sqlite.zst.gpg"),
     (SEALED, ".sqlite.zst.gpg"), ('GPG(encrypt=["ops"])', ".sqlite.gpg")],
)  # fmt: skip
def test_a_good_dump(site, gnupg, wrap, suffix):
    """However it is wrapped: read to the end of its structure, told whose it is, and noted beside it."""
    site.wrap = wrap
    file = site.dump()
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert file.name.endswith(suffix)
    line = done.stdout.splitlines()[0]
    assert line.startswith(f"good     localhost/app/app.db {file.name.split('.')[0]}  structure  ")
    assert (f"signed by …{gnupg.keys['signer'][-16:]}" in line) == ("sign=" in wrap)
    assert done.stdout.splitlines()[1].startswith("1 good, 0 bad; ")
    record = site.record(file)
    assert (record["level"], record["fault"]) == ("structure", "")
    assert record["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "verified structure" in site("list").stdout


def truncated(file: Path) -> None:
    """Lose the last byte."""
    os.truncate(file, file.stat().st_size - 1)


def flipped(file: Path) -> None:
    """Change one bit in the middle."""
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))


def grown(file: Path) -> None:
    """Add to it."""
    with file.open("ab") as stream:
        stream.write(b"x")


@pytest.mark.parametrize("wrap", ["", "Zstd()", SEALED])
@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (truncated, "truncated: "),
        (flipped, "changed since it was stored: its SHA-256 is "),
        (grown, "too long: "),
    ],
)
def test_its_bytes_were_changed(site, wrap, tamper, said):
    """Truncated, bit-flipped or longer: the dump is named, and it is noted, and told by list."""
    site.wrap = wrap
    file = site.dump()
    tamper(file)
    assert f"BAD      localhost/app/app.db {file.name.split('.')[0]}: {said}" in site.refused(said)
    assert site.record(file)["level"] is None
    assert site.record(file)["fault"].startswith(said)
    assert f"FAILED verify 0 min ago: {said}" in site("list").stdout


@pytest.mark.parametrize("wrap", ["Zstd()", SIGNED])
@pytest.mark.parametrize("other", [1000, 300_000])
def test_swapped_for_the_dump_of_another_database(site, wrap, other):
    """Only the file, or all that belongs to it, of the same size or not."""
    site.wrap = wrap
    sqlite_database(site.top / "other.db", other)
    file = site.dump()
    (stolen,) = site.files("other.db")
    before = file.read_bytes()
    file.write_bytes(stolen.read_bytes())
    site.refused(f"swapped: its bytes are those of localhost/app/other.db {stolen.name.split('.')[0]}")
    file.write_bytes(before)
    for end in ("", ".json", *([".json.sig"] if "GPG" in wrap else [])):
        shutil.copy(f"{stolen}{end}", f"{file}{end}")
    site.refused("its manifest is of a dump of localhost/app/other.db: it was moved or swapped")


@pytest.mark.parametrize("wrap", ["Zstd()", SIGNED])
def test_rolled_back_to_an_older_dump(site, wrap):
    """Under the newest name only the bytes of an older dump, or all that belongs to it."""
    site.wrap = wrap
    old = site.dump()
    with closing(sqlite3.connect(site.top / "app.db")) as database:
        database.execute("UPDATE t SET x = x || 'y'")
        database.commit()
    new = site.dump()
    new.write_bytes(old.read_bytes())
    site.refused(f"rolled back: its bytes are those of {old.name.split('.')[0]}")
    for end in (".json", *([".json.sig"] if "GPG" in wrap else [])):
        shutil.copy(f"{old}{end}", f"{new}{end}")
    site.refused(f"its manifest is of {old.name}, which is there too: an old one was put in its place")


@pytest.mark.parametrize("wrap", ["Zstd()", SIGNED])
def test_renamed(site, wrap):
    """With all that belongs to it: a stamp says when it was made, and the manifest knows."""
    site.wrap = wrap
    file = site.dump()
    for path in file.parent.iterdir():
        path.rename(path.with_name(path.name.replace("20", "30", 1)))
    site.refused(f"its manifest is of {file.name}: it was renamed")


def test_a_manifest_that_is_none_and_one_whose_dump_is_gone(site):
    """Neither is a dump; each is told apart from what a run that was killed has left, which is no failure."""
    file = site.dump()
    file.with_name(".20200101T000000Z.sqlite.zst.abcd.part").write_bytes(b"half")
    done = site("verify")
    assert done.returncode == 0
    assert "notice   uncommitted: localhost/app/app.db/.20200101T000000Z" in done.stdout
    Path(f"{file}.json").write_text("{")
    site.refused("not a manifest")
    file = site.dump()
    file.unlink()
    site.refused("MISSING  ")
    site.refused("its dump is gone, the manifest is there")


@pytest.fixture
def signed(site) -> Path:
    """A dump that is signed and encrypted."""
    site.wrap = SEALED
    return site.dump()


def test_a_manifest_that_was_changed(site, signed):
    """However well it fits the bytes."""
    site.forge(signed, signed.read_bytes(), finished="2026-01-01T00:00:00Z")
    site.refused("its manifest: bad signature: it is not of these bytes")


def test_a_recipe_that_signs_no_more(site, signed):
    """Nobody says then whose signature it should have, and that is told."""
    site.wrap = 'Zstd(), GPG(encrypt=["ops@example.org"])'
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert "(signature not checked: the recipe names no key)" in done.stdout


def test_an_unsigned_manifest(site, signed):
    """A recipe that signs takes none without."""
    Path(f"{signed}.json.sig").unlink()
    site.refused("its manifest is not signed")
    Path(f"{signed}.json.sig").write_bytes(b"")
    site.refused("its manifest: not signed")
    Path(f"{signed}.json.sig").write_bytes(b"x" * 20_000)
    site.refused("its manifest has no signature, but a signature of 20000 bytes")


def test_signed_by_a_stranger(site, signed, gnupg):
    """A good signature of a key that is in the keyring, and that the recipe does not name; accept names it."""
    manifest = json.loads(Path(f"{signed}.json").read_text())
    site.sign(signed, "second")
    site.refused(f"its manifest: signed by {gnupg.keys['second']}, which is no key of the recipe's")
    site.wrap = site.wrap.replace("GPG(", f"GPG(accept=[{gnupg.keys['second']!r}], ")
    assert site("verify").returncode == 0  # the stream's own signature is still the first one's
    manifest["signer"] = gnupg.keys["ops"]
    Path(f"{signed}.json").write_text(json.dumps(manifest))
    site.sign(signed, "second")
    site.refused("its manifest names another signer")


def test_signed_twice(site, signed):
    """A stranger's signature beside the right one is no right one."""
    signature = Path(f"{signed}.json.sig")
    right = signature.read_bytes()
    site.sign(signed, "second")
    signature.write_bytes(right + signature.read_bytes())
    site.refused("its manifest: another signature than one good one")


def test_signed_by_an_expired_key(site, signed, gnupg):
    """GnuPG exits 0 for it."""
    site.sign(signed, "expired", "--faked-system-time", "20200105T000000")
    site.refused(f"its manifest: signed by an expired key: {gnupg.keys['expired'][-16:]}")


def test_an_expired_signature(site, signed):
    """A signature may have an end of its own."""
    site.sign(signed, "signer", "--default-sig-expire", "seconds=1")
    made = time.time()
    wait_for(lambda: time.time() > made + 2, "its end")
    site.refused("its manifest: its signature has expired")


def test_signed_by_a_key_that_was_revoked_since(site, private_home):
    """Whoever has the key could sign; GnuPG exits 0 for it."""
    site.home, site.wrap = private_home, SIGNED
    site.dump()
    certificate = private_home.home / "openpgp-revocs.d" / f"{private_home.keys['signer']}.rev"
    private_home.gpg("--import", data=certificate.read_text().replace(":-----BEGIN", "-----BEGIN").encode())
    site.refused(f"its manifest: signed by a revoked key: {private_home.keys['signer'][-16:]}")


@pytest.fixture
def elsewhere(gnupg):
    """Make a home with some public keys only."""
    with tempfile.TemporaryDirectory(prefix="dbdump-gpg-", dir="/tmp") as top:
        home = GnuPG(Path(top), dict(gnupg.keys))

        def with_keys(*names: str) -> GnuPG:
            for name in names:
                home.gpg("--import", data=gnupg.gpg("--export", gnupg.keys[name]))
            return home

        yield with_keys
        home.stop()


def test_signed_by_a_key_that_is_not_here(site, signed, elsewhere, gnupg):
    """It cannot be checked whether it is good: not in the keyring is not good."""
    site.sign(signed, "second")
    site.home = elsewhere("signer")
    site.refused(f"its manifest: signed by a key that is not in the keyring here: {gnupg.keys['second'][-16:]}")


def test_the_name_of_the_key_is_of_none_here_or_of_several(site, signed, elsewhere, gnupg):
    """Then nobody can say whose signature is right: no verdict, but a failure that says what to do."""
    site.home = elsewhere()
    done = site("verify")
    assert done.returncode == 1
    assert "gpg: no key 'signer@example.org' in the keyring here" in done.stdout
    assert not Path(f"{signed}.verified").exists()
    site.home = elsewhere("signer", "twin", "other twin")
    site.wrap = SEALED.replace("signer@", "twins@")
    done = site("verify")
    assert done.returncode == 1
    assert "'twins@example.org' is ambiguous: " in done.stdout
    assert "fingerprint" in done.stdout
    site.wrap = SEALED.replace("signer@example.org", gnupg.keys["signer"])
    assert site("verify").returncode == 0


def test_without_the_secret_key(site, signed, elsewhere):
    """Its signature is checked, its bytes are; that it was not decrypted is said and is no failure."""
    site.home = elsewhere("signer")
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert "  bytes  " in done.stdout
    assert "(not decrypted: no secret key here)" in done.stdout
    assert "signed by …" in done.stdout
    assert site.record(signed)["level"] == "bytes"
    flipped(signed)
    site.refused("changed since it was stored")


def test_a_secret_key_with_a_passphrase(site, elsewhere):
    """Nobody is there to give it: the same."""
    site.wrap = 'Zstd(), GPG(encrypt=["guarded"])'
    file = site.dump()
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert "(not decrypted: the secret key here needs its passphrase)" in done.stdout
    assert site.record(file)["level"] == "bytes"


def test_a_stream_that_a_stranger_signed(site, gnupg):
    """Or nobody, however good the manifest's own signature is."""
    site.wrap = SIGNED
    file = site.dump()
    plain = gnupg.gpg("--decrypt", str(file))
    site.forge(file, gnupg.gpg("--pinentry-mode", "error", "-u", "second", "--sign", data=plain))
    site.sign(file, "signer")
    site.refused(f"signed by {gnupg.keys['second']}, which is no key of the recipe's")
    assert site.record(file)["level"] == "bytes"
    site.forge(file, gnupg.gpg("--store", data=plain))
    site.sign(file, "signer")
    site.refused(": not signed")
    site.forge(file, plain)
    site.sign(file, "signer")
    site.refused(": not signed")


def test_a_stream_that_should_be_encrypted(site, gnupg):
    """Its manifest has recipients: then nobody else may have been able to read it."""
    site.wrap = SEALED
    file = site.dump()
    plain = gnupg.gpg("--decrypt", str(file))
    site.forge(file, gnupg.gpg("--pinentry-mode", "error", "-u", "signer", "--sign", data=plain))
    site.sign(file, "signer")
    site.refused("it is not encrypted, as its manifest says")


def zstd(content: bytes) -> bytes:
    """Compress."""
    return subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True).stdout


def test_what_is_inside_is_not_whole(site):
    """The bytes are the manifest's: how far they unwrap, and what is in them, is looked at all the same."""
    file = site.dump()
    temporary = site.top / "temporary"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    raw = subprocess.run(["zstd", "-dqc", file], capture_output=True, check=True).stdout
    site.forge(file, zstd(raw)[:-9])
    assert "zstd: exit status 1: " in site.refused("BAD", env=env)
    assert site.record(file)["level"] == "bytes"
    for content, said in [
        (raw[: len(raw) // 2], "sqlite: exit status 1: error: "),
        (b"", "sqlite: exit status 1: error: not a SQLite database"),
        (b"x" * 100_000, "sqlite: exit status 1: error: not a SQLite database"),
    ]:
        site.forge(file, zstd(content))
        site.refused(said, env=env)
        assert site.record(file)["level"] == "content"
    assert not list(temporary.iterdir())


def test_sql_without_its_end(site):
    """Where no tool reads the structure, the first bytes, the end marker and the size are looked at."""
    site.more["backend"] = ', format="sql", check_stream=True'
    file = site.dump()
    assert site("verify").returncode == 0
    assert site.record(file)["level"] == "structure"
    raw = subprocess.run(["zstd", "-dqc", file], capture_output=True, check=True).stdout
    site.forge(file, zstd(raw[:-9]))
    site.refused(f"unwrapped it is {len(raw) - 9} bytes, not {len(raw)}")
    site.forge(file, zstd(raw[:-9]), raw_bytes=None)
    site.refused("the dump does not end with b'\\nCOMMIT;\\n': it is not complete")
    site.forge(file, zstd(b"x" + raw), raw_bytes=None)
    site.refused('the dump begins with b"xPRAGMA ')


def test_a_window_that_would_take_all_memory(site):
    """zstd's own limit stays: 2 GiB for one dump is refused."""
    file = site.dump()
    raw = os.urandom(1 << 20) * 2
    made = subprocess.run(["zstd", "-q", "--ultra", "--long=31"], input=raw, capture_output=True, check=True).stdout
    site.forge(file, made)
    site.refused("zstd: exit status 1: ")


def test_the_latest_or_all(site):
    """Without --all only the latest dump of each database is read."""
    sqlite_database(site.top / "other.db", 1000)
    old, new = site.dump(), site.dump()
    done = site("verify")
    assert "2 good, 0 bad" in done.stdout
    assert not Path(f"{old}.verified").exists()
    truncated(old)
    assert site("verify", "--latest").returncode == 0
    said = site.refused("truncated", "--all")
    assert "3 good, 1 bad" in said
    assert Path(f"{new}.verified").exists()


def test_the_latest_is_none_from_the_future(site):
    """It is said that there is one; --all reads that as well, and where there is no other the latest is missing."""
    future = site.ahead(site.dump())
    said = site.refused("MISSING  localhost/app/app.db: no dump but from the future: a clock is wrong")
    assert "0 good, 0 bad, 1 missing; " in said
    (item,) = json.loads(site("verify", "--json").stdout)["results"]
    assert (item["status"], item["database"]) == ("missing", "app.db")
    site.dump()
    file = site.files()[0]
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert f"good     localhost/app/app.db {file.name[:16]}  " in done.stdout
    note = "localhost/app/app.db: 20991231T235959Z is from the future, and does not count: a clock is wrong"
    assert note in done.stdout
    done = site("verify", "--all")
    assert f"good     localhost/app/app.db {future.name[:16]}  " in done.stdout
    assert "2 good, 0 bad; " in done.stdout
    assert note not in done.stdout


def test_one_that_is_missing(site):
    """A recipe with no dump, or a name of no dump, is a failure; a glob of none matches nothing."""
    site.refused("MISSING  localhost/app: no dump of it is stored")
    site.dump()
    site.refused("MISSING  nobody: no dump of it is stored", "--database=nobody", "--database=app.db")
    assert site("verify", "--database=nobod*").returncode == 3
    assert site("verify", "--database=app*").returncode == 0


def test_the_json_document(site, signed, gnupg):
    """One document on stdout, whatever is found; lines go to stderr."""
    done = site("verify", "--json")
    document = json.loads(done.stdout)
    assert (document["command"], document["exit"], document["errors"]) == ("verify", 0, [])
    (item,) = document["results"]
    assert (item["status"], item["record"]["level"], item["message"]) == ("good", "structure", "")
    assert item["signer"] == gnupg.keys["signer"]
    assert done.stderr.startswith("good     ")
    truncated(signed)
    done = site("verify", "--json")
    assert done.returncode == 4
    (item,) = json.loads(done.stdout)["results"]
    assert item["status"] == "bad"
    assert item["message"].startswith("truncated: ")
    assert item["hint"]


def shim(site: Site, without: str) -> dict[str, str]:
    """Return a PATH on which everything is but one program."""
    directory = site.top / "bin"
    directory.mkdir()
    for name in ("sh", "zstd", "gpg", "gpgconf", "gpg-agent", "cat", "date", "pg_restore"):
        if name != without:
            (directory / name).symlink_to(shutil.which(name) or "/nonexistent")
    return {"PATH": str(directory)}


def test_a_tool_that_is_missing_here(site):
    """Without zstd nothing can be said of a dump: no verdict, and nothing is noted."""
    file = site.dump()
    done = site("verify", env=shim(site, "zstd"))
    assert done.returncode == 1
    assert "zstd: not found on PATH here" in done.stdout
    assert "Install zstd" in done.stdout
    assert not Path(f"{file}.verified").exists()


def test_a_reader_that_takes_nothing(site):
    """It is ended as stalled: no verdict, whoever of the two at the ends of the pipe sees it first."""
    site.more["before"] = """
class Stuck:
    suffix, program = ".stuck", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self): return ["sleep", "1618.03"]
    def most_bytes(self, size): return size
"""
    site.wrap = "Stuck()"
    sqlite_database(site.top / "other.db", 3_000_000)
    site.dump()
    site.more["dump"] = ", stall_timeout=1"
    done = site("verify")
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("ended as stalled") >= 2
    assert "BAD" not in done.stdout
    assert not list(site.datadir.rglob("*.verified"))
    gone("1618.03")


def test_no_room_for_a_copy(site, small_disk):
    """SQLite's check needs a copy in TMPDIR: a full disk there is no fault of the dump."""
    sqlite_database(site.top / "big.db", 3_000_000)
    site.dump()
    done = site("verify", "--database=big.db", env={"TMPDIR": str(small_disk)})
    assert done.returncode == 1, done.stdout
    assert "No space left on device" in done.stdout
    assert "hint: The copy goes to TMPDIR first" in done.stdout
    assert not list(site.datadir.rglob("*.verified"))
    assert not list(small_disk.iterdir())


def test_a_wrapper_of_the_recipe_s_own(site):
    """Its inverse is what takes it off; without it nothing can be said."""
    site.more["before"] = """
class Rot13:
    suffix, program = ".rot13", "tr"
    def on(self, programs, ask): return self
    def command(self): return ["tr", "A-Za-z", "N-ZA-Mn-za-m"]
    inverse = command
    def most_bytes(self, size): return size
"""
    site.wrap = "Zstd(), Rot13()"
    file = site.dump()
    assert site("verify").returncode == 0
    assert site.record(file)["level"] == "structure"
    site.wrap = "Zstd()"
    done = site("verify")
    assert done.returncode == 1
    assert "no wrapper of the recipe takes .rot13 off" in done.stdout


def test_a_file_that_goes_or_cannot_be_read(site):
    """A disk that cannot be read is no verdict on the dump."""
    file = site.dump()
    content = file.read_bytes()
    file.unlink()
    file.mkdir()
    done = site("verify")
    assert done.returncode == 4  # no file is there
    file.rmdir()
    file.write_bytes(content)
    assert site("verify").returncode == 0


@needs_root
def test_what_cannot_be_noted(site, small_disk):
    """On a disk that is read-only the verdict is told, and that it was not noted; that is no failure."""
    site.datadir = small_disk
    site.dump()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert "notice   localhost/app/app.db" in done.stdout
    assert ": not noted: " in done.stdout
    assert "good     " in done.stdout


COMMITTING = """
class Committing(Directory):
    looks = []
    def entries(self, host, recipe):
        self.looks.append(1)
        hidden = sorted(each.file for each in super().entries(host, recipe) if each.file.endswith(".zst"))[{which}]
        for each in super().entries(host, recipe):
            if each.file not in hidden or len(self.looks) > {times}:
                yield each
"""


@pytest.mark.parametrize(
    ("which", "times", "lost"), [("-1:", 1, False), ("-1:", 9, True), ("len(self.looks) - 2:][:1", 2, False)]
)
def test_while_a_dump_is_committed(site, which, times, lost):
    """A manifest that is seen without its dump, as a directory is not read at once, is looked at once more."""
    site.dump()
    site.dump()
    recipe = site.top / "recipes" / "site.py"
    text = recipe.read_text().replace("to=Directory", "to=Committing")
    recipe.write_text(text.replace("@recipe", f"{COMMITTING.format(which=which, times=times)}@recipe"))
    for task in (["list"], ["status"], ["verify"], ["restore", "--yes", "--force"]):
        done = site.run(*task, f"--recipes={recipe.parent}", "--database=app.db")
        said = done.stdout + done.stderr
        assert ("dump is gone" in said) is lost, said
        assert done.returncode == (4 if lost and task != ["list"] else 0), said


def test_while_somebody_removes_dumps(site):
    """Who holds the place alone is not disturbed: exit 75, and it is said."""
    site.dump()
    place = os.open(site.datadir / "localhost" / "app", os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        for flags in ([], ["--restore"]):
            done = site("verify", *flags)
            assert done.returncode == 75, done.stdout
            assert "LOCKED   localhost/app" in done.stdout
        fcntl.flock(place, fcntl.LOCK_SH)
        assert site("verify").returncode == 0
    finally:
        os.close(place)


def test_what_a_drill_found_stays(site):
    """The next verify without a drill keeps what the last drill found, beside its own."""
    file = site.dump()
    site("verify")
    record = site.record(file)
    drill = {"at": "2026-01-01T00:00:00Z", "seconds": 2.5, "tables": 3, "rows": 7, "fault": ""}
    Path(f"{file}.verified").write_text(json.dumps(record | {"drill": drill, "level": "restored"}))
    assert site("verify").returncode == 0
    assert site.record(file)["drill"] == drill
    assert site.record(file)["level"] == "structure"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal(site, started, number):
    """In the middle, in order: 128 and the signal, nothing is noted, nothing goes on."""
    seconds = f"2718.{number.value}"
    site.more["before"] = f"""
class Slow:
    suffix, program = ".slow", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self): return ["sh", "-c", "cat; exec sleep {seconds}"]
    def most_bytes(self, size): return size
"""
    site.wrap = "Slow()"
    file = site.dump()
    process = started("verify", f"--recipes={site.top / 'recipes'}")
    wait_for(lambda: processes(f"sleep {seconds}"), "the reader to sleep")
    process.send_signal(number)
    code, said = end_of(process)
    assert code == 128 + number, said
    gone(seconds)
    assert not Path(f"{file}.verified").exists()


def test_a_terminal_shows_how_far_it_is(site):
    """A bar with bytes and the time that is left, above it a line for each dump when it is done."""
    site.more["before"], site.wrap = PAUSING, "Pausing()"
    sqlite_database(site.top / "other.db", 3_000_000)
    site.dump()
    code, text = on_terminal("verify", f"--recipes={site.top / 'recipes'}", cwd=site.top)
    assert code == 0, text
    assert re.search(r"localhost/app/other.db 2\d+T\d+Z.*\d/3\.\d+ MB .*\d+:\d\d:\d\d", text), text
    assert "good     localhost/app/app.db" in text
    assert "2 good, 0 bad; " in text


@pytest.mark.parametrize("flags", [["--to=db2"], ["--at=latest"], ["--jobs=0"]])
def test_flags_that_make_no_sense(site, flags):
    """A usage error, before anything is read."""
    site.dump()
    assert site("verify", *flags).returncode == 2


@pytest.fixture
def shop(dbdump, postgres, datadir):
    """Dump one database of PostgreSQL; return how to run a task with it, and its file."""
    postgres.sql("DROP DATABASE IF EXISTS verified")
    postgres.create("verified")
    postgres.sql("CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 50000) g", "verified")

    def run(task: str, *flags: str, **more):
        how = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres"]
        return dbdump(task, *how, f"--datadir={datadir}", "--database=verified", *flags, **more)

    yield run
    postgres.drop("verified")


def file_of(datadir: Path, suffix: str) -> Path:
    """Return the one dump below a directory."""
    (path,) = datadir.rglob(f"*{suffix}")
    return path


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_postgresql(site, shop, form, datadir, dbdump, postgres):
    """An archive is read to its end by pg_restore, plain SQL has an end marker, and so have the globals."""
    how = f"--option=format={form}"
    assert shop("dump", how, "--database=@globals").returncode == 0
    done = shop("verify", how, "--database=@globals")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("  structure  ") == 2
    file = file_of(datadir / "localhost/postgresql/verified", ".zst")
    raw = subprocess.run(["zstd", "-dqc", file], capture_output=True, check=True).stdout
    site.forge(file, zstd(raw[: len(raw) // 2]), raw_bytes=None)
    done = shop("verify", how)
    assert done.returncode == 4, done.stdout
    said = "pg_restore: exit status 1: pg_restore: error: " if form == "custom" else "it is not complete"
    assert said in done.stdout
    assert site.record(file)["level"] == "content"
    other = "custom" if form == "plain" else "plain"
    site.forge(file, zstd(raw), raw_bytes=None)
    assert "  structure  " in shop("verify", f"--option=format={other}").stdout  # what it is, its suffix says


def test_an_archive_by_a_newer_pg_dump_or_without_pg_restore(site, shop, datadir):
    """What is here is too old for it, or not here: no fault of the dump; how far it was read is said."""
    shop("dump")
    env = shim(site, "pg_restore")
    done = shop("verify", env=env)
    assert done.returncode == 0, done.stdout
    assert "  content  " in done.stdout
    assert "(structure not read: no pg_restore here)" in done.stdout
    file = file_of(datadir, ".zst")
    raw = bytearray(subprocess.run(["zstd", "-dqc", file], capture_output=True, check=True).stdout)
    raw[6] = 99  # the minor version of the archive's format
    site.forge(file, zstd(bytes(raw)))
    done = shop("verify")
    assert done.returncode == 0, done.stdout
    assert "(structure not read: pg_restore here is older than the dump)" in done.stdout
    assert site.record(file)["level"] == "content"


def test_a_recipe_whose_backend_was_changed(site, shop, datadir, dbdump):
    """An older dump is of another backend: how far it was read is said, and it is no fault."""
    shop("dump")
    file = file_of(datadir, ".zst")
    site.forge(file, file.read_bytes(), backend="mysql")
    done = shop("verify")
    assert done.returncode == 0, done.stdout
    assert "(structure not read: it is of mysql, the recipe of postgresql)" in done.stdout


def test_a_recipe_whose_backend_makes_other_dumps_by_now(site):
    """An older dump is of another format than any that it makes: that is no fault either."""
    site.more["before"] = """
@backend("odd")
class SQLite(Backend):
    path: str = option(default="", help="a file")
    suffix = ".one"
    def get_db_list(self): return ["app.db"]
    def get_command(self, database): return ["echo", "odd"]
"""
    site.dump()
    site.more["before"] = site.more["before"].replace(".one", ".two")
    done = site("verify")
    assert done.returncode == 0, done.stdout
    assert "(structure not read: odd makes no .one dumps)" in done.stdout


def test_mysql(dbdump, mariadb, datadir):
    """The end marker is what says that it is whole."""
    mariadb.sql("CREATE OR REPLACE DATABASE verified; CREATE TABLE verified.t AS SELECT 1 AS x")
    flags = ["--backend=mysql", f"--defaults={mariadb.defaults_file()}", f"--datadir={datadir}", "--database=verified"]
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("verify", *flags)
    mariadb.sql("DROP DATABASE verified")
    assert done.returncode == 0, done.stdout
    assert "  structure  " in done.stdout


def test_a_look_that_goes_less_far_refutes_nothing(dbdump, tmp_path, datadir):
    """What was found with a tool is so still where that is missing: status, prune and the exit status heed it."""
    recipes = recipe_file(tmp_path, f"""
        @backend("toy")
        class Toy(Backend):
            def get_db_list(self): return ["one"]
            def get_command(self, database): return ["cat", {str(tmp_path / "data")!r}]
            def get_check_command(self, database): return ["toycheck"]

        @recipe(localhost)
        def toy(host): return Dump(Toy(), wrap=[], to=Directory({str(datadir)!r}), keep=Keep(last=1))
        """)  # fmt: skip
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "toycheck").write_text("#!/bin/sh\n! grep -q odd || { echo toycheck: error: it is odd >&2; exit 1; }\n")
    (programs / "toycheck").chmod(0o755)
    given, here = (f"--recipes={recipes}",), {"env": {"PATH": f"{programs}:{os.environ['PATH']}"}}
    (tmp_path / "data").write_text("good")
    assert dbdump("dump", *given).returncode == 0
    assert dbdump("verify", *given, **here).returncode == 0
    (tmp_path / "data").write_text("odd")
    dbdump("dump", *given)
    assert dbdump("verify", *given, **here).returncode == 4
    done = dbdump("verify", *given)
    assert done.returncode == 4, done.stdout
    assert "it is odd" in done.stdout
    assert "hint: Found 2" in done.stdout
    assert dbdump("status", *given).returncode == 4
    dbdump("prune", *given)
    assert len(list(datadir.rglob("*.json"))) == 2
    (programs / "toycheck").write_text("#!/bin/sh\ncat >/dev/null\n")
    assert dbdump("verify", *given, **here).returncode == 0
    assert dbdump("status", *given).returncode == 0


def test_a_disk_that_fails_says_what_to_do(dbdump, datadir, tmp_path):
    """It is no fault of the dump, and no error goes without a hint."""
    path = sqlite_database(tmp_path / "app.db", 10)
    flags = ["--backend=sqlite", f"--option=path={path}", f"--datadir={datadir}"]
    assert dbdump("dump", *flags).returncode == 0
    (file,) = datadir.glob("*/*/*/2*[!n]")
    strace = [program("strace", "strace"), "-f", "-qq", "-o", "/dev/null", "-P", str(file)]
    argv = [*strace, "-e", "trace=read", "-e", "inject=read:error=EIO", *COMMAND, "verify", *flags]
    done = subprocess.run(argv, capture_output=True, check=False, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "read: " in done.stdout
    assert "input/output error" in done.stdout
    assert "hint: Look at that disk, and whether the user who reads may read there." in done.stdout
