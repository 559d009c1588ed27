"""Restore: never what is bad, or changes meanwhile, and nothing is touched by it; test_refused has the kinds."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from servers.gnupg import GnuPG
from servers.process import wait_for
from support import sqlite_database
from test_verify import SEALED, Site, flipped, grown, truncated


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


def refused(site: Site, said: str, *flags: str, code: int = 4) -> str:
    """Restore over what is there, and see that it is refused with what is said, and that nothing was touched."""
    target = site.top / "app.db"
    before = target.read_bytes()
    done = site("restore", "--yes", "--force", "--database=app.db", *flags)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr, done.stdout + done.stderr
    assert "hint: " in done.stdout + done.stderr
    assert target.read_bytes() == before
    assert not list(site.top.glob(".dbdump*"))
    return done.stdout + done.stderr


@pytest.mark.parametrize("wrap", ["", "Zstd()", SEALED])
@pytest.mark.parametrize(
    ("tamper", "said"),
    [(truncated, "truncated: "), (flipped, "changed since it was stored: "), (grown, "too long: ")],
)
def test_bytes_that_were_changed(site, wrap, tamper, said):
    """Truncated, bit-flipped or longer: nothing is touched."""
    site.wrap = wrap
    tamper(site.dump())
    assert "nothing was touched" in refused(site, said)


def test_a_manifest_that_is_of_another_dump(site):
    """The newest is bad by its name alone: it is refused, and only a stamp makes an older one do."""
    old = site.dump()
    new = site.dump()
    for end in ("", ".json"):
        shutil.copy(f"{old}{end}", f"{new}{end}")
    said = refused(site, "which is there too: an old one was put in its place")
    stamp = old.name.split(".")[0]
    assert f"--at={stamp}" in said
    refused(site, "an old one was put in its place", f"--at={new.name.split('.')[0]}")
    done = site("restore", "--yes", "--force", "--database=app.db", f"--at={stamp}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_verify_found_is_not_forgotten(site):
    """The newest failed its verify, or its drill elsewhere: it is restored where its stamp is said, with a word."""
    old, new = site.dump(), site.dump()
    content = new.read_bytes()
    flipped(new)
    assert site("verify").returncode == 4
    new.write_bytes(content)  # it may have been the disk, or the memory
    stamps = [each.name.split(".")[0] for each in (old, new)]
    said = refused(site, f"{stamps[1]} failed verify 0 min ago: changed since it was stored")
    assert f"all the same: --at={stamps[1]}, or the one before that is not known to be bad: --at={stamps[0]}." in said
    for stamp in stamps:
        done = site("restore", "--yes", "--force", "--database=app.db", f"--at={stamp}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("failed verify 0 min ago" in done.stderr) == (stamp == stamps[1])


def test_one_that_verify_found_cut_is_not_offered(site):
    """What was found is told in its own words; who has to restore is sent to the one before, and not in vain."""
    old, new = site.dump(), site.dump()
    truncated(new)
    assert site("verify").returncode == 4
    said = refused(site, "failed verify 0 min ago: truncated: ")
    assert f"hint: Restore the one before that is not known to be bad: --at={old.name[:16]}." in said
    assert f"--at={new.name[:16]}" not in said
    truncated(old)
    assert "hint: No other one is there that is not known to be bad." in refused(site, "truncated: ")


def test_all_that_there_is_is_bad(site):
    """There is no good one to speak of."""
    file = site.dump()
    Path(f"{file}.json").write_text("{")
    refused(site, "not a manifest")


def test_the_newest_is_gone(site):
    """A manifest whose dump is gone is no reason to take an older dump without a word."""
    site.dump()
    site.dump().unlink()
    refused(site, "a manifest whose dump is gone")


def test_without_the_secret_key(site, gnupg, tmp_path_factory):
    """What cannot be decrypted here cannot be restored here; that is no fault of the dump."""
    site.wrap = SEALED
    site.dump()
    home = GnuPG(Path(f"/tmp/dbdump-gpg-{os.getpid()}"), dict(gnupg.keys))
    home.home.mkdir(mode=0o700)
    try:
        home.gpg("--import", data=gnupg.gpg("--export"))
        site.home = home
        refused(site, "cannot be decrypted here", code=1)
    finally:
        home.stop()
        shutil.rmtree(home.home)


# Stores as a directory does; its second reader gets other bytes than the first one.
CHANGING = """
class Changing(Directory):
    seen = []
    def bound(self, reach): return self
    def read(self, name):
        self.seen.append(name)
        for number, piece in enumerate(super().read(name)):
            yield piece if len(self.seen) < 2 or number < {first} else {how}
"""
CHANGES = ["piece[:-1] + bytes([piece[-1] ^ 1])", "piece[:-9]", "piece + b'x'", "b'x' * len(piece)", "b''"]


@pytest.mark.parametrize(
    ("form", "wrap", "how", "first"),
    [
        *(("plain", "", how, 0) for how in CHANGES),  # as psql reads it, whatever is cut would be taken for the end
        ("plain", "Zstd()", CHANGES[0], 0),
        *((form, "", CHANGES[1], 1) for form in ("plain", "custom")),
    ],
)
def test_changed_while_it_is_restored(postgres, dbdump, datadir, tmp_path, form, wrap, how, first):
    """The second pass is compared too: psql never commits what was not verified, whatever it was given."""
    many = 100_000 if first else 1000  # where the first piece of 1 MiB is as it was: else nothing is begun
    postgres.create("moving")
    try:
        postgres.sql(f"CREATE TABLE t AS SELECT md5(g::text) AS m FROM generate_series(1, {many}) g", "moving")
        recipes = tmp_path / "recipes"
        recipes.mkdir()
        (recipes / "r.py").write_text(f"""
from dbdump import *
{CHANGING.format(how=how, first=first)}
@recipe(localhost)
def app(host):
    return Dump(PostgreSQL(host={postgres.host!r}, user="postgres", format={form!r}, check_stream=False),
                wrap=[{wrap}], to=Changing({str(datadir)!r}))
""")
        flags = [f"--recipes={recipes}", "--database=moving"]
        assert dbdump("dump", *flags).returncode == 0
        postgres.drop("moving")
        done = dbdump("restore", *flags, "--yes")
        assert done.returncode == 4, done.stdout + done.stderr
        assert "changed since it was verified, a moment ago" in done.stdout
        if not first:
            assert "nothing was touched" in done.stdout
        elif form == "plain":
            assert "left: moving, empty" in done.stdout or "left: nothing of moving" in done.stdout
            if "empty" in done.stdout:
                assert postgres.sql("SELECT count(*) FROM pg_class WHERE relname = 't'", "moving") == "0"
        else:
            assert "left: nothing of moving" in done.stdout  # the archive was never begun to be read
        wait_for(lambda: not postgres.clients(), "the end of every client")
    finally:
        postgres.drop("moving")


def test_a_prune_keeps_it_out(site):
    """Nothing is restored from where somebody is removing dumps: exit 75, and who is at it."""
    site.dump()
    place = os.open(site.datadir / "localhost" / "app", os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        assert "LOCKED   localhost/app/app.db: " in refused(site, "a prune is at work there", code=75)
    finally:
        os.close(place)
