"""What GnuPG says of signatures and of decrypting, judged line by line; the lines are those of real ones."""

from __future__ import annotations

import pytest

from dbdump.errors import StageError
from dbdump.wrappers.gpg import GPG
from dbdump.wrappers.gpg_verify import allowed, checking, decryption_fault, locked, signature_fault

OURS, THEIRS, SUB = "A" * 40, "B" * 40, "C" * 40
NEW = "NEWSIG signer@example.org"
GOOD = "GOODSIG AAAAAAAAAAAAAAAA signer <signer@example.org>"
KEY = "KEY_CONSIDERED " + OURS + " 0"


def valid(primary: str, own: str = "") -> str:
    """Return the line that names the key, and its primary."""
    return f"VALIDSIG {own or primary} 2026-11-25 1795582413 0 4 0 22 8 00 {primary}"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([NEW, KEY, GOOD, valid(OURS), "TRUST_UNDEFINED 0 always"], ""),
        ([NEW, GOOD, valid(OURS, SUB)], ""),  # a subkey of ours
        ([NEW, GOOD, valid(OURS).rpartition(" ")[0]], ""),  # as GnuPG 1 has it, without the primary
        ([NEW, GOOD, valid(THEIRS)], f"signed by {THEIRS}, which is no key of the recipe's"),
        ([NEW, GOOD, valid(THEIRS, OURS)], f"signed by {THEIRS}, which is no key of the recipe's"),
        ([], "not signed"),
        (["PLAINTEXT 62 0 ", "DECRYPTION_OKAY"], "not signed"),
        (["NODATA 4"], "not signed"),
        ([NEW, "EXPKEYSIG AAAAAAAAAAAAAAAA signer", valid(OURS)], "signed by an expired key: AAAAAAAAAAAAAAAA"),
        ([NEW, "REVKEYSIG AAAAAAAAAAAAAAAA signer", valid(OURS)], "signed by a revoked key: AAAAAAAAAAAAAAAA"),
        ([NEW, "EXPSIG AAAAAAAAAAAAAAAA signer", valid(OURS)], "its signature has expired: AAAAAAAAAAAAAAAA"),
        ([NEW, "BADSIG AAAAAAAAAAAAAAAA s"], "bad signature: it is not of these bytes, by AAAAAAAAAAAAAAAA"),
        ([NEW, f"ERRSIG BBBBBBBBBBBBBBBB 22 8 00 1795582413 9 {THEIRS}", "NO_PUBKEY BBBBBBBBBBBBBBBB"],
         "signed by a key that is not in the keyring here: BBBBBBBBBBBBBBBB"),
        ([NEW, "ERRSIG BBBBBBBBBBBBBBBB 22 1 00 1795582413 5"],
         "its signature cannot be checked: by BBBBBBBBBBBBBBBB, error 5"),
        ([NEW, GOOD, valid(OURS), NEW, GOOD, valid(OURS)], "another signature than one good one"),
        ([NEW, GOOD, valid(OURS), NEW, GOOD, valid(THEIRS)], "another signature than one good one"),
        ([NEW, GOOD, valid(OURS), NEW, "BADSIG BBBBBBBBBBBBBBBB s"],
         "bad signature: it is not of these bytes, by BBBBBBBBBBBBBBBB"),
        ([NEW, GOOD, valid(OURS), NEW, "ERRSIG BBBBBBBBBBBBBBBB 22 8 00 1795582413 9"],
         "signed by a key that is not in the keyring here: BBBBBBBBBBBBBBBB"),
        ([NEW, GOOD], "another signature than one good one"),
        ([NEW, valid(OURS)], "another signature than one good one"),
        ([GOOD, valid(OURS)], "another signature than one good one"),
        ([NEW, "GOODSIG BBBBBBBBBBBBBBBB VALIDSIG " + OURS], "another signature than one good one"),
        ([NEW, GOOD, "VALIDSIG"], "signed by , which is no key of the recipe's"),
        ([NEW, "BADSIG"], "bad signature: it is not of these bytes, by "),
        ([NEW, "ERRSIG"], "its signature cannot be checked: by , error "),
    ],
)  # fmt: skip
def test_whose_signature_it_is(lines, fault):
    """Only exactly one, good and valid, of a primary key that is allowed, is no fault."""
    assert signature_fault(lines, {OURS}) == fault


def test_nobody_is_allowed():
    """Without keys no signature is right."""
    assert signature_fault([NEW, GOOD, valid(OURS)], frozenset())


@pytest.mark.parametrize(
    ("lines", "encrypted", "fault"),
    [
        (["BEGIN_DECRYPTION", "DECRYPTION_OKAY", "GOODMDC"], True, ""),
        (["PLAINTEXT 62 0 "], False, ""),
        (["PLAINTEXT 62 0 "], True, "it is not encrypted, as its manifest says"),
        (["DECRYPTION_KEY A B u", "BEGIN_DECRYPTION", "DECRYPTION_FAILED"], True, "it cannot be decrypted"),
        (["DECRYPTION_OKAY", "BADMDC"], True, "it cannot be decrypted"),
    ],
)
def test_whether_it_could_be_decrypted(lines, encrypted, fault):
    """What was encrypted has to say so to its end."""
    assert decryption_fault(lines, encrypted=encrypted) == fault


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["ENC_TO 1 18 0", "NO_SECKEY 1", "BEGIN_DECRYPTION", "DECRYPTION_FAILED"], "no secret key here"),
        (["ENC_TO 1 18 0", "BEGIN_DECRYPTION", "DECRYPTION_FAILED"], "no secret key here"),
        (["ENC_TO 1 18 0", "NO_SECKEY 1", "ENC_TO 2 18 0", "DECRYPTION_KEY A B u", "DECRYPTION_OKAY"], ""),
        (["ENC_TO 1 18 0", "DECRYPTION_KEY A B u", "BEGIN_DECRYPTION", "DECRYPTION_FAILED"], ""),
        (["ENC_TO 1 18 0", "ERROR pkdecrypt_failed 67108949", "DECRYPTION_FAILED"],
         "the secret key here needs its passphrase"),
        (["ENC_TO 1 18 0", "NO_SECKEY 1", "ENC_TO 2 18 0", "ERROR pkdecrypt_failed 11", "DECRYPTION_FAILED"],
         "the secret key here needs its passphrase"),
        (["ENC_TO 1 18 0", "ERROR pkdecrypt_failed 50331649", "DECRYPTION_FAILED"],
         "the secret key here cannot be used"),
        (["NODATA 4"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_whether_the_secret_key_is_at_hand(lines, why):
    """One of the recipients is enough; a dump that was damaged is another matter."""
    assert locked(lines) == why


def listing(*keys: tuple[str, str]) -> bytes:
    """Return what GnuPG lists, of each key its state and its fingerprint, and that it exits 0."""
    lines = [f"pub:{state}:255:22:x:1:::u:::scSC:::::ed25519:::0:\nfpr:::::::::{print_}:" for state, print_ in keys]
    return "\n".join([*lines, "", "exit 0"]).encode()


@pytest.mark.parametrize(
    ("sign", "keys", "right"),
    [
        ("signer", [("u", OURS)], {OURS}),
        ("signer", [("e", THEIRS), ("u", OURS)], {OURS}),  # the one that replaced it
        ("signer", [("e", OURS)], {OURS}),  # its signatures are then told as what they are
        (OURS, [], {OURS}),
        (OURS.lower(), [], {OURS}),
        ("0x" + OURS, [("u", OURS)], {OURS}),
        (OURS, [("u", THEIRS), ("u", OURS)], {OURS}),  # a stranger's, that has it for a subkey
        (SUB, [("u", OURS)], {OURS}),
    ],
)
def test_which_keys_are_allowed(sign, keys, right):
    """The primary key of the name, and those that the recipe accepts."""
    asked = []

    def ask(argv):
        asked.append(argv)
        return listing(*keys)

    assert allowed(GPG(sign=sign), ask) == right
    assert asked[0][-1] == sign
    assert allowed(GPG(sign=sign, accept=["D" * 40]), ask) == {*right, "D" * 40}


@pytest.mark.parametrize(
    ("sign", "keys", "said"),
    [
        ("signer", [], "no key 'signer' in the keyring here"),
        ("signer", [("u", OURS), ("u", THEIRS)], f"'signer' is ambiguous: {OURS}, {THEIRS}"),
        ("signer", [("e", OURS), ("r", THEIRS)], f"'signer' is ambiguous: {OURS}, {THEIRS}"),
        (SUB, [("u", OURS), ("u", THEIRS)], "is ambiguous"),
    ],
)
def test_a_name_that_says_nothing(sign, keys, said):
    """Nobody guesses which key is meant."""
    with pytest.raises(StageError, match=said) as caught:
        allowed(GPG(sign=sign), lambda _: listing(*keys))
    assert "fingerprint" in caught.value.hint


def test_a_signature_that_is_no_argument():
    """Every byte comes through, and one that is too long is told."""
    assert "\\000\\377\\134\\045" in checking(None, b"\0\xff\\%")
    with pytest.raises(ValueError, match="a signature of 16385 bytes"):
        checking(None, b"x" * 16385)
