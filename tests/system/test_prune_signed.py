"""Pruning where the recipe signs: only what has a good signature counts, and goes."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from servers.history import days, left, put
from servers.pruning import Pruning, stamp, stamps


class Signing:
    """A recipe that signs, and dumps with signatures of any key."""

    def __init__(self, pruning: Pruning, gnupg) -> None:
        self.pruning = pruning
        self.gnupg = gnupg
        self.key = gnupg.keys["signer"]
        pruning.recipe(wrap=f"[GPG(sign='signer@example.org', homedir={str(gnupg.home)!r})]")

    def put(self, age: float, by: str = "signer", **more: object) -> Path:
        """Store a dump of so many days ago, whose manifest is signed by a key."""

        def sign(text: bytes) -> bytes:
            return self.gnupg.gpg("--local-user", self.gnupg.keys[by], "--detach-sign", data=text)

        return put(self.pruning.datadir, "orders", timedelta(days=age, minutes=5), sign=sign,
                   signer=self.gnupg.keys[by], **more)  # fmt: skip

    def days(self, count: int) -> list[Path]:
        """Store a dump for each of the last days."""
        return [self.put(age) for age in range(count)]


@pytest.fixture
def signing(pruning, gnupg):
    """A recipe that signs."""
    return Signing(pruning, gnupg)


def manifest(path: Path) -> Path:
    """Return the manifest of a dump."""
    return path.with_name(path.name + ".json")


def signature(path: Path) -> Path:
    """Return the signature of its manifest."""
    return path.with_name(path.name + ".json.sig")


def test_signed_dumps_are_pruned(signing, pruning):
    """With good signatures all is as it was, and no signature is left over; after a dump as well."""
    dumps = signing.days(5)
    said = pruning()
    assert left(dumps) == [0, 1]
    assert not [each for each in dumps[2:] if signature(each).exists()]
    assert "ignored" not in said
    pruning.dump()
    assert left(dumps) == [0]


def test_a_dump_that_is_not_signed_as_it_should_be_does_not_count(signing, pruning):
    """105: unsigned, by a stranger, or changed: each is left alone, takes no place, and is said with why."""
    dumps = signing.days(6)
    stranger = signing.put(0.5, by="second", size=1001)
    signature(dumps[0]).unlink()
    text = manifest(dumps[1]).read_text()
    manifest(dumps[1]).write_text(text.replace('"backend": "test"', '"backend": "none"'))
    said = pruning()
    assert left(dumps) == [0, 1, 2, 3]
    assert left([stranger]) == [0]
    assert f"ignored  {stamp(dumps[0])}  localhost/shop/orders  its manifest is not signed\n" in said
    assert f"ignored  {stamp(dumps[1])}  localhost/shop/orders  its manifest: bad signature" in said
    assert re.search(
        rf"ignored  {stamp(stranger)}  localhost/shop/orders  its manifest: signed by \w+, which is no key of", said
    )
    assert said.endswith("2 pruned, 5 kept; 2.0 kB\n")
    said = pruning.dump()
    assert re.search(
        r"^ignored  localhost/shop/orders: 3, which do not count; \w+: its manifest is not signed$", said, re.MULTILINE
    )
    assert stamps(said, "prune") == [stamp(dumps[3])]


def test_a_planted_history_prunes_nothing(signing, pruning):
    """Whoever can write there adds newer dumps, dated as they like: not one of ours goes for them."""
    dumps = signing.days(2)
    fakes = [put(pruning.datadir, "orders", timedelta(minutes=minute)) for minute in range(5)]
    pruning()
    assert left(dumps) == [0, 1]
    assert left(fakes) == [0, 1, 2, 3, 4]


def test_a_planted_small_dump_holds_nothing(signing, pruning):
    """Nobody who can write there keeps the disk from being pruned, as one that shrank would."""
    dumps = signing.days(4)
    fake = put(pruning.datadir, "orders", timedelta(minutes=1), size=1)
    said = pruning()
    assert "held" not in said
    assert f"ignored  {stamp(fake)}  localhost/shop/orders  its manifest is not signed\n" in said
    assert left(dumps) == [0, 1]


def test_where_none_is_signed_nothing_goes(signing, pruning, datadir):
    """A datadir from before the recipe signed is held, and that is said."""
    dumps = days(datadir, count=4)
    said = pruning()
    assert "held     localhost/shop/orders: none has a manifest that is signed as it should be" in said
    assert left(dumps) == [0, 1, 2, 3]


def test_signatures_are_looked_at_only_where_something_would_go(signing, pruning, tmp_path):
    """With nothing to prune no GnuPG is asked, so that one that is missing is no failure."""
    dumps = signing.days(2)
    said = pruning(env={"PATH": str(tmp_path)})
    assert "0 pruned, 2 kept" in said
    assert left(dumps) == [0, 1]


def test_where_nobody_can_check_signatures(signing, pruning, gnupg, tmp_path):
    """Without GnuPG here, or without the public key, nothing goes; it says so, and what to do."""
    dumps = signing.days(5)
    said = pruning(code=1, env={"PATH": str(tmp_path)})
    assert "prune: gpg: not found on PATH here: nobody can say whose signature is right" in said
    assert "hint: Install gpg on this machine." in said
    home = tmp_path / "empty"
    home.mkdir(mode=0o700)
    pruning.recipes.clear()
    pruning.recipe(wrap=f"[GPG(sign='signer@example.org', homedir={str(home)!r})]")
    said = pruning(code=1)
    assert "FAILED   localhost/shop: prune: gpg: no key 'signer@example.org' in the keyring here" in said
    assert "hint: Import its public key here" in said
    assert left(dumps) == [0, 1, 2, 3, 4]


def test_a_replaced_key_is_still_accepted(signing, pruning, gnupg):
    """Dumps by a key in `accept` count, and are pruned."""
    pruning.recipes.clear()
    accept = gnupg.keys["second"]
    pruning.recipe(wrap=f"[GPG(sign='signer@example.org', homedir={str(gnupg.home)!r}, accept=[{accept!r}])]")
    dumps = [signing.put(0), signing.put(1, by="second"), signing.put(2, by="second"), signing.put(3, by="rsa")]
    pruning()
    assert left(dumps) == [0, 1, 3]
