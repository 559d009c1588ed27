"""What was tampered with, however it is stored: refused by verify and by restore, each kind in words of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers.gnupg import GnuPG
from support import COMMAND, sqlite_database

SEALED = 'Zstd(), GPG(sign="signer@example.org", encrypt=["ops@example.org"])'
RECIPE = """
from dbdump import *
@recipe(localhost)
def app(host):
    return Dump(SQLite(path={databases!r}), wrap=[{wrap}], to={to})
"""


@dataclass
class Dumps:
    """Two dumps of app.db, no byte alike, and two of other.db; and the keys."""

    directory: Path
    keys: GnuPG

    @property
    def old(self) -> Path:
        """The file of the older one."""
        return self._files("app.db")[0]

    @property
    def new(self) -> Path:
        """The file of the newer one, to which something is done."""
        return self._files("app.db")[-1]

    @property
    def other(self) -> Path:
        """The file of the other database's newest."""
        return self._files("other.db")[-1]

    def _files(self, database: str) -> list[Path]:
        return sorted((self.directory / "localhost" / "app" / database).glob("2*.gpg"))

    def replace(self, by: Path) -> None:
        """Put all that belongs to another dump in the place of the new one."""
        for end in ("", ".json", ".json.sig"):
            shutil.copy(f"{by}{end}", f"{self.new}{end}")

    def sign(self, key: str, *more: str) -> None:
        """Sign the new one's manifest with a key."""
        signature = Path(f"{self.new}.json.sig")
        signature.unlink()
        self.keys.gpg("--pinentry-mode", "error", *more, "--local-user", key, "--output", str(signature),
                      "--detach-sign", f"{self.new}.json")  # fmt: skip

    def forge(self, *how: str) -> None:
        """Encrypt the content of the new one again, as GnuPG's options say, with a manifest that fits, well signed."""
        plain = self.keys.gpg("--decrypt", str(self.new))
        content = self.keys.gpg("--pinentry-mode", "error", "--trust-model", "always", *how, data=plain)
        self.new.write_bytes(content)
        manifest = json.loads(Path(f"{self.new}.json").read_text())
        manifest |= {"stored_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        Path(f"{self.new}.json").write_text(json.dumps(manifest))
        self.sign("signer")


def truncated(dumps: Dumps) -> None:
    """Lose the last byte."""
    os.truncate(dumps.new, dumps.new.stat().st_size - 1)


def longer(dumps: Dumps) -> None:
    """Have a byte more."""
    with dumps.new.open("ab") as file:
        file.write(b"x")


def bit_flipped(dumps: Dumps) -> None:
    """Change one bit in the middle."""
    content = bytearray(dumps.new.read_bytes())
    content[len(content) // 2] ^= 1
    dumps.new.write_bytes(content)


def swapped(dumps: Dumps) -> None:
    """Have the bytes of another database's dump."""
    shutil.copy(dumps.other, dumps.new)


def swapped_wholly(dumps: Dumps) -> None:
    """Have all that belongs to another database's dump."""
    dumps.replace(dumps.other)


def rolled_back(dumps: Dumps) -> None:
    """Have the bytes of the older dump."""
    shutil.copy(dumps.old, dumps.new)


def rolled_back_wholly(dumps: Dumps) -> None:
    """Have all that belongs to the older dump."""
    dumps.replace(dumps.old)


def renamed(dumps: Dumps) -> None:
    """Have the stamp of a day that is long gone; the older dump is gone altogether."""
    new, old = dumps.new, dumps.old
    for end in ("", ".json", ".json.sig"):
        Path(f"{old}{end}").unlink()
        Path(f"{new}{end}").rename(f"{new.with_name('20200101T000000Z' + new.name[16:])}{end}")


def unsigned(dumps: Dumps) -> None:
    """Have a manifest without a signature."""
    Path(f"{dumps.new}.json.sig").unlink()


def unsigned_inside(dumps: Dumps) -> None:
    """Have a stream that nobody signed, under a manifest that is signed well."""
    dumps.forge("--recipient", "ops", "--encrypt")


def stranger(dumps: Dumps) -> None:
    """Have a manifest that was signed by somebody else, whose key is known here."""
    dumps.sign("second")


def stranger_inside(dumps: Dumps) -> None:
    """Have a stream that somebody else signed, under a manifest that is signed well."""
    dumps.forge("--recipient", "ops", "--local-user", "second", "--sign", "--encrypt")


def expired(dumps: Dumps) -> None:
    """Have a manifest that was signed by a key that has expired since."""
    dumps.sign("expired", "--faked-system-time", "20200105T000000")


def revoked(dumps: Dumps) -> None:
    """Have a signer who revoked the key."""
    certificate = dumps.keys.home / "openpgp-revocs.d" / f"{dumps.keys.keys['signer']}.rev"
    dumps.keys.gpg("--import", data=certificate.read_text().replace(":-----BEGIN", "-----BEGIN").encode())


# Each kind, what is done, and the words of its own.
KINDS: dict[Callable[[Dumps], None], str] = {
    truncated: "Z: truncated: ",
    longer: "Z: too long: ",
    bit_flipped: "Z: changed since it was stored: ",
    swapped: "Z: swapped: its bytes are those of localhost/app/other.db 2",
    swapped_wholly: ".json: its manifest is of a dump of localhost/app/other.db: it was moved or swapped",
    rolled_back: "Z: rolled back: its bytes are those of 2",
    rolled_back_wholly: ".sqlite.zst.gpg, which is there too: an old one was put in its place",
    renamed: ".sqlite.zst.gpg: it was renamed",
    unsigned: "Z: its manifest is not signed",
    unsigned_inside: "Z: not signed",
    stranger: "Z: its manifest: signed by {second}, which is no key of the recipe's",
    stranger_inside: "Z: signed by {second}, which is no key of the recipe's",
    expired: "Z: its manifest: signed by an expired key: ",
    revoked: "Z: its manifest: signed by a revoked key: ",
}
ANYWHERE = (truncated, bit_flipped, swapped, rolled_back_wholly, renamed, unsigned, stranger)
PLACES = {
    "fabric": ("dash", "fabric"), "openssh": ("dash", "openssh"),
    "sftp": ("sftp", "fabric"), "sftp-openssh": ("sftp", "openssh"),
}  # fmt: skip


def recipe_in(directory: Path, databases: Path, to: str) -> Path:
    """Write the recipe, and return its directory."""
    recipes = directory / "recipes"
    recipes.mkdir()
    (recipes / "app.py").write_text(RECIPE.format(databases=str(databases), wrap=SEALED, to=to))
    return recipes


@pytest.fixture(scope="module")
def made(gnupg, tmp_path_factory) -> Path:
    """The dumps as they were stored, for each test to copy."""
    top = tmp_path_factory.mktemp("made")
    sqlite_database(top / "app.db", 300_000)
    sqlite_database(top / "other.db", 100_000)
    (top / "dumps").mkdir(mode=0o700)
    recipes = recipe_in(top, top / "*.db", f"Directory({str(top / 'dumps')!r})")
    line = [*COMMAND, "dump", f"--recipes={recipes}"]
    for _ in range(2):
        subprocess.run(line, check=True, env=gnupg.environment, stdout=subprocess.DEVNULL, cwd=top)
    return top / "dumps"


@pytest.fixture
def dumps(made, private_home, tmp_path) -> Dumps:
    """A copy of the dumps, and of the keys, to spoil."""
    shutil.copytree(made, tmp_path / "dumps")
    return Dumps(tmp_path / "dumps", private_home)


@pytest.fixture
def is_refused(dbdump, dumps, tmp_path) -> Callable[..., None]:
    """See that what was done is refused by restore and by verify, in its own words, and that nothing is touched."""

    def see(kind: Callable[[Dumps], None], to: str) -> None:
        target = sqlite_database(tmp_path / "app.db", 1000)
        recipes = recipe_in(tmp_path, target, to)
        flags: dict[str, Any] = {"env": {"GNUPGHOME": str(dumps.keys.home)}}
        words = {each: text.format(**dumps.keys.keys) for each, text in KINDS.items()}
        before = target.read_bytes()
        for task in ("restore", "--force", "--yes"), ("verify",):
            done = dbdump(*task, f"--recipes={recipes}", "--database=app.db", **flags)
            said = done.stdout + done.stderr
            assert done.returncode == 4, said
            assert [each for each, text in words.items() if text in said] == [kind], said
            assert "hint: " in said
        assert target.read_bytes() == before
        assert not list(tmp_path.glob(".dbdump*"))

    return see


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_directory(dumps, is_refused, kind):
    """Each kind that there is."""
    kind(dumps)
    is_refused(kind, f"Directory({str(dumps.directory)!r})")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ANYWHERE)
def test_on_another_machine(dumps, is_refused, sshd, tmp_path, kind, place):
    """Those for which the other machine is asked for something else."""
    account, transport = PLACES[place]
    path = sshd.accounts.directory_of(account, tmp_path.name)
    kind(dumps)
    shutil.copytree(dumps.directory, path, dirs_exist_ok=True)
    sshd.accounts.own(account, path)
    try:
        is_refused(kind, f"Remote({sshd.remote(account)!r}, {str(path)!r}, transport={transport!r})")
    finally:
        shutil.rmtree(path)
