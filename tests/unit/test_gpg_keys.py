"""Keys as GnuPG lists them: which is meant, and why one cannot be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.errors import DbdumpError, StageError
from dbdump.wrappers.gpg_keys import chosen, lookup, read_keys

PRIMARY, SUB, OTHER = "A" * 40, "B" * 40, "C" * 40


def listing(*records: str) -> str:
    """Return a listing of `type:state:capabilities:place:fingerprint`, a word each."""
    lines = []
    for record in records:
        kind, state, can, place, fingerprint = record.split(":")
        lines += [f"{kind}:{state}:255:22:X:1:::u:::{can}:::{place}:::23::0:", f"fpr:::::::::{fingerprint}:",
                  f"grp:::::::::{fingerprint[:4]}:"]  # fmt: skip
    return "\n".join(lines) + "\n"


def fault(purpose: str, *records: str) -> str:
    """Return why the only key of a listing cannot be used."""
    (key,) = read_keys(listing(*records))
    return key.fault(purpose)


def test_a_listing_is_read():
    """A key has its parts, with fingerprint, keygrip and state each, and its user ids."""
    text = listing(f"pub:u:scESC::{PRIMARY}", f"sub:e:e::{SUB}") + "uid:u::::1::H::ops <ops@example.org>::::::::::0:\n"
    (key,) = read_keys("tru::1:1:0:3:1:5\n" + text)
    assert (key.fingerprint, key.can, key.users) == (PRIMARY, "ESC", ["ops <ops@example.org>"])
    assert [(part.fingerprint, part.grip, part.state, part.can) for part in key.parts] == [
        (PRIMARY, "AAAA", "u", "sc"), (SUB, "BBBB", "e", "e"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([f"pub:u:scESC::{PRIMARY}", f"sub:u:e::{SUB}"], ""),
        ([f"pub:-:scESC::{PRIMARY}", f"sub:-:e::{SUB}"], ""),
        ([f"pub:u:scESCD::{PRIMARY}", f"sub:u:e::{SUB}"], "disabled"),
        ([f"pub:r:sc::{PRIMARY}", f"sub:r:e::{SUB}"], "revoked"),
        ([f"pub:i:sc::{PRIMARY}", f"sub:i:e::{SUB}"], "invalid"),
        ([f"pub:n:sc::{PRIMARY}", f"sub:n:e::{SUB}"], "not valid"),
        ([f"pub:u:scSC::{PRIMARY}", f"sub:e:e::{SUB}"], "expired"),
        ([f"pub:u:scSC::{PRIMARY}", f"sub:r:e::{SUB}"], "revoked"),
        ([f"pub:u:scSC::{PRIMARY}", f"sub:e:e::{SUB}", f"sub:r:e::{OTHER}"], "revoked"),
        ([f"pub:u:scESC::{PRIMARY}", f"sub:e:e::{SUB}", f"sub:u:e::{OTHER}"], ""),
        ([f"pub:u:scSC::{PRIMARY}", f"sub:u:s::{SUB}"], "not able to encrypt"),
    ],
)
def test_why_nobody_can_encrypt_for_it(records, expected):
    """One good subkey is enough; where none is left, its state is what is wrong."""
    assert fault("encrypt", *records) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([f"sec:u:scESC:+:{PRIMARY}"], ""),
        ([f"sec:u:scESC:#:{PRIMARY}"], "not able to sign"),
        ([f"sec:u:scESC:#:{PRIMARY}", f"ssb:u:s:+:{SUB}"], ""),
        ([f"sec:u:scESC:#:{PRIMARY}", f"ssb:u:s:#:{SUB}"], "not able to sign"),
        ([f"sec:u:cESC:#:{PRIMARY}", f"ssb:e:s:+:{SUB}"], "expired"),
        ([f"sec:u:scESC:#:{PRIMARY}", f"ssb:e:s:+:{SUB}"], "not able to sign"),
        ([f"sec:u:scESC:D276000124:{PRIMARY}"], ""),
        ([f"sec:u:cC:+:{PRIMARY}", f"ssb:u:e:+:{SUB}"], "not able to sign"),
        ([f"sec:e:sc:+:{PRIMARY}", f"ssb:e:s:+:{SUB}"], "expired"),
    ],
)
def test_why_it_cannot_sign(records, expected):
    """Its secret has to be here, or on a card; that of the primary may be away where a subkey signs."""
    assert fault("sign", *records) == expected


def test_one_part_and_no_other():
    """A fingerprint with ! is of one part, which has to be able to do it by itself; without ! any part will do."""
    parts = (f"pub:u:scESC::{PRIMARY}", f"sub:e:e::{SUB}", f"sub:u:e::{OTHER}")
    assert chosen(read_keys(listing(*parts)), f"0x{OTHER[:16].lower()}!", "encrypt").told == f"{OTHER}!"
    assert chosen(read_keys(listing(*parts)), OTHER, "encrypt").told == PRIMARY
    for name, why in ((SUB, "expired"), (PRIMARY, "not able to encrypt")):
        with pytest.raises(StageError, match=f"is {why}"):
            chosen(read_keys(listing(*parts)), f"{name}!", "encrypt")


def test_a_part_that_is_not_there():
    """Whoever means one part is not given another, nor the whole key."""
    text = listing(f"pub:u:scESC::{PRIMARY}", f"sub:u:e::{SUB}")
    with pytest.raises(StageError, match=f"no such subkey: '{OTHER}!'") as caught:
        chosen(read_keys(text), f"{OTHER}!", "encrypt")
    assert "--with-subkey-fingerprint" in caught.value.hint
    both = text.replace(PRIMARY, "D" * 40).replace(SUB, "E" * 40) + text
    assert chosen(read_keys(both), f"{SUB}!", "encrypt").told == f"{SUB}!"


def test_the_one_that_is_meant():
    """Of several keys the only one that can be used; where that is more than one, each is named."""
    old, new = listing(f"pub:e:sc::{PRIMARY}", f"sub:e:e::{SUB}"), listing(f"pub:u:scESC::{OTHER}", f"sub:u:e::{SUB}")
    assert chosen(read_keys(old + new), "ops", "encrypt").fingerprint == OTHER
    with pytest.raises(StageError, match=f"'ops' is ambiguous: {OTHER}, {PRIMARY}") as caught:
        chosen(read_keys(new + new.replace(OTHER, PRIMARY)), "ops", "encrypt")
    assert "fingerprint" in caught.value.hint
    with pytest.raises(StageError, match="is expired") as caught:
        chosen(read_keys(old), "ops", "encrypt")
    assert "extended it" in caught.value.hint
    for purpose, what in {"sign": "secret key to sign with", "encrypt": "public key to encrypt for"}.items():
        with pytest.raises(StageError, match=f"no {what}: 'ops'"):
            chosen([], "ops", purpose)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ops@example.org", "<ops@example.org>"),
        (PRIMARY, PRIMARY),
        ("ops", "ops"),
        ("<ops@example.org>", "<ops@example.org>"),
        ("=Ops <ops@example.org>", "=Ops <ops@example.org>"),
        ("*ops@example.org", "*ops@example.org"),
    ],
)
def test_an_address_is_asked_for_whole(name, asked):
    """An address by itself is no part of a longer one; what says how it is meant is left alone."""
    assert lookup(name) == asked


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_a_user_id_makes_no_key(end):
    """What else may end a line somewhere ends none here: whoever chose the user id chooses no key with it."""
    text = listing(f"pub:u:scESC::{PRIMARY}", f"sub:u:e::{SUB}")
    planted = listing(f"pub:u:scESC::{OTHER}").replace("\n", end)
    (key,) = read_keys(f"{text}uid:u::::1::H::ops{end}{planted}::::::::::0:\n")
    assert key.fingerprint == PRIMARY


RECORDS = st.sampled_from(["pub", "sec", "sub", "ssb", "fpr", "grp", "uid", "tru"])
LINES = st.builds(lambda kind, rest: ":".join([kind, *rest]), RECORDS, st.lists(st.text("ureEScD#+A1\\x", max_size=3)))


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)), st.sampled_from(["sign", "encrypt"]))
def test_no_listing_breaks_it(text, purpose):
    """Whatever a gpg prints, a key is chosen, or there are words."""
    try:
        key = chosen(read_keys(text), "name", purpose)
    except DbdumpError:
        return
    assert key.fingerprint
