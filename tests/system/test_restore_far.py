"""Restore from another machine: each kind of bad dump is refused there as it is here."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import sqlite_database
from test_verify_far import Vault


@pytest.fixture
def vault(dbdump, started, accounts, gnupg, tmp_path, sshd) -> Vault:
    """Dumps of two databases, signed and encrypted, in an account that fabric reaches."""
    vault = Vault(dbdump, started, accounts, gnupg, tmp_path, "dash", "fabric")
    sqlite_database(vault.top / "app.db", 300_000)
    sqlite_database(vault.top / "other.db", 1000)
    vault.recipe(sshd.remote("dash"))
    assert vault("dump").returncode == 0
    return vault


def refused(vault: Vault, said: str) -> None:
    """Restore over what is there, and see that it is refused with what is said, and that nothing was touched."""
    before = (vault.top / "app.db").read_bytes()
    done = vault("restore", "--database=app.db", "--force", "--yes")
    assert done.returncode == 4, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "hint: " in done.stdout + done.stderr
    assert (vault.top / "app.db").read_bytes() == before


def test_whatever_was_done_to_it_there(vault):
    """Swapped, truncated, longer, bit-flipped, unsigned, gone and renamed: each in its own words."""
    file, other = vault.file(), vault.file("other.db")
    content = file.read_bytes()
    middle = len(content) // 2
    for changed, said in [
        (other.read_bytes(), "swapped: its bytes are those of localhost/app/other.db"),
        (content[:-1], f"truncated: {len(content) - 1} of {len(content)} bytes are there"),
        (content + b"x", f"too long: {len(content) + 1} bytes are there"),
        (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], "changed since it was stored"),
    ]:
        file.write_bytes(changed)
        refused(vault, said)
    file.write_bytes(content)
    Path(f"{file}.json.sig").unlink()
    refused(vault, "its manifest is not signed")
    file.rename(vault.top / "aside")
    refused(vault, "a manifest whose dump is gone")
    (vault.top / "aside").rename(file)
    for path in file.parent.iterdir():
        path.rename(path.with_name(path.name.replace("202", "201", 1)))
    refused(vault, "it was renamed, or an old one put in its place")
