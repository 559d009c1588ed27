"""Whose signature it is: GnuPG's status lines, judged by an allow-list of primary fingerprints.

Its exit status says nothing: 0 is also that of an unsigned, an expired and a revoked one (row 112 of tests/FAULTS.md).
Source: GnuPG's doc/DETAILS, "General status codes". What is judged here is pure; two functions ask GnuPG.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ..errors import StageError
from ..shell import Asker
from .gpg import GPG
from .gpg_keys import ANYWAY, FINGERPRINT, Key, lookup, read_keys

_VALIDSIG_FIELDS = 11  # the last of them is the primary key's fingerprint

# Each of these words, and what it says of a dump; of several, the first one here.
_FAULTS = {
    "BADSIG": "bad signature: it is not of these bytes, by {}",
    "REVKEYSIG": "signed by a revoked key: {}",
    "EXPKEYSIG": "signed by an expired key: {}",
    "EXPSIG": "its signature has expired: {}",
}

_CODE = re.compile(r"[0-9]{1,10}")
_NO_PASSPHRASE = {11, 62, 85, 99}  # of gpg-error.h: BAD_PASSPHRASE, TIMEOUT, NO_PINENTRY, CANCELED

HINTS = (
    ("not signed", "The recipe signs: whoever made this one did not. Take another dump."),
    ("bad signature|another signature", "It was changed since it was signed. Take another dump."),
    ("revoked", "Whoever has that key can have made it. Take a dump by another key."),
    ("expired", "Where its owner has extended the key, import it again."),
    ("not in the keyring", "If it should be accepted, import the public key here, and name it in accept."),
    ("no key of the recipe's", "If it should be accepted, name its fingerprint in GPG(accept=[…])."),
)

# $1 is the signature as octal escapes, the data is on stdin; the rest is the command of GnuPG.
_VERIFY = 'exec 4<&0; sig=$1; shift; printf "$sig" | "$@" --enable-special-filenames --verify -- - "-&4"'
_LONGEST_SIGNATURE = 16 << 10  # bytes: as an argument it is four times as long, and 128 KiB is the most


def signature_fault(lines: Sequence[str], allowed: AbstractSet[str]) -> str:
    """Return what is wrong with what GnuPG said of a signature, or nothing: exactly one, good, of a key in `allowed`.

    `lines` are its status lines without their `[GNUPG:]`, `allowed` fingerprints of primary keys.
    """
    said = [[*line.split(), ""] for line in lines]
    found = {words[0]: words[1] for words in reversed(said)}
    if bad := [text.format(found[word]) for word, text in _FAULTS.items() if word in found]:
        return bad[0]
    if "ERRSIG" in found:
        return _unchecked(next(words for words in said if words[0] == "ERRSIG"))
    good, valid, new = ([words for words in said if words[0] == word] for word in ("GOODSIG", "VALIDSIG", "NEWSIG"))
    if not good and not valid:
        return "not signed"
    if not len(good) == len(valid) == len(new) == 1:
        return "another signature than one good one"
    primary = valid[0][_VALIDSIG_FIELDS - 1] if len(valid[0]) > _VALIDSIG_FIELDS else valid[0][1]
    return "" if primary in allowed else f"signed by {primary}, which is no key of the recipe's"


def _unchecked(words: Sequence[str]) -> str:
    _, key, *rest = words
    if rest[4:5] == ["9"]:
        return f"signed by a key that is not in the keyring here: {key}"
    return f"its signature cannot be checked: by {key}, error {' '.join(rest[4:5])}"


def decryption_fault(lines: Sequence[str], *, encrypted: bool) -> str:
    """Return what is wrong with what GnuPG said of decrypting, or nothing."""
    words = {line.split(" ", 1)[0] for line in lines}
    if "DECRYPTION_FAILED" in words or "BADMDC" in words:
        return "it cannot be decrypted"
    if encrypted and "DECRYPTION_OKAY" not in words:
        return "it is not encrypted, as its manifest says"
    return ""


def locked(lines: Sequence[str]) -> str:
    """Return why the secret key is not at hand, in a few words, or nothing where it is, or none is needed."""
    words = {line.split(" ", 1)[0] for line in lines}
    if "ENC_TO" not in words or words & {"DECRYPTION_OKAY", "DECRYPTION_KEY", "DECRYPTION_INFO"}:
        return ""
    failed = [line.split()[2] for line in lines if line.startswith("ERROR pkdecrypt_failed ")]
    if not failed:
        return "no secret key here"
    unanswered = any(_CODE.fullmatch(each) and int(each) & 0xFFFF in _NO_PASSPHRASE for each in failed)
    return "the secret key here needs its passphrase" if unanswered else "the secret key here cannot be used"


def gpg(homedir: str | None) -> list[str]:
    """Return the beginning of a command that reads: it asks nobody, is told by no option file, and uses no network.

    `homedir` is of the machine that dumped: it is used where there is one here. On a terminal GnuPG's agent may
    ask for a passphrase. Not --quiet: then it does not say either why it cannot decrypt.
    """
    home = ["--homedir", homedir] if homedir and os.path.isdir(homedir) else []  # noqa: PTH112
    silent = [] if sys.stdin.isatty() else ["--pinentry-mode", "error"]
    return ["gpg", *home, "--batch", "--no-tty", "--no-options", *silent, "--trust-model", "always",
            "--no-auto-key-locate", "--disable-dirmngr", "--status-fd", "2"]  # fmt: skip


def decrypting(homedir: str | None) -> list[str]:
    """Return the argv that decrypts stdin to stdout, and says on its status lines who signed it."""
    return [*gpg(homedir), "--decrypt"]


def checking(homedir: str | None, signature: bytes) -> list[str]:
    """Return the argv that says on its status lines who made the detached `signature` of what is on stdin.

    Raises ValueError for one that is too long to be one.
    """
    if len(signature) > _LONGEST_SIGNATURE:
        raise ValueError(f"a signature of {len(signature)} bytes")
    octal = "".join(f"\\{byte:03o}" for byte in signature)
    return ["sh", "-c", _VERIFY, "sh", octal, *gpg(homedir)]


def allowed(wrapper: GPG, ask: Asker) -> frozenset[str]:
    """Return the fingerprints of the primary keys whose signature a recipe accepts.

    `ask` runs an argv on the controller. Raises StageError where the name of the signing key is of none here, or
    of several.
    """
    name = wrapper.sign or ""
    plain = name.upper().removeprefix("0X").removesuffix("!")
    listing = [*gpg(wrapper.homedir), "--with-colons", "--list-keys", "--", lookup(name)]
    said = ask(["sh", "-c", ANYWAY, "sh", *listing]).decode("utf-8", "backslashreplace")
    return frozenset({_primary(read_keys(said), name, plain), *wrapper.accept})


def _primary(keys: Sequence[Key], name: str, plain: str) -> str:
    if FINGERPRINT.fullmatch(plain) and (not keys or any(key.fingerprint == plain for key in keys)):
        return plain
    if not keys:
        raise StageError(
            "gpg",
            f"no key {name!r} in the keyring here: nobody can say whose signature is right",
            "Import its public key here: gpg --import; or name it by its fingerprint.",
        )
    fit = [key for key in keys if not key.fault("sign")] or list(keys)
    if len(fit) > 1:
        which = ", ".join(key.fingerprint for key in fit)
        raise StageError("gpg", f"{name!r} is ambiguous: {which}", "Name the one you mean by its fingerprint.")
    return fit[0].fingerprint
