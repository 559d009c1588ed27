"""Keys as GnuPG lists them, and which of them is meant. Pure: nothing is run here.

Source: GnuPG's doc/DETAILS, "Format of the colon listings".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import StageError

Purpose = Literal["encrypt", "sign"]

_STATES = {"r": "revoked", "e": "expired", "d": "disabled", "i": "invalid", "n": "not valid"}
_HINTS = {
    "revoked": "Its owner took it back: import the new key, and name that.",
    "expired": "Import it again if its owner has extended it, or name another one.",
    "disabled": "Enable it with: gpg --edit-key FINGERPRINT enable",
    "invalid": "Look at it with: gpg --list-keys",
    "not valid": "Look at it with: gpg --list-keys",
}

FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
# Answers with all that a command says, its exit status last: of GnuPG a failure is an answer too.
ANYWAY = '"$@" </dev/null 2>&1; printf "\\nexit %d\\n" $?'

_SECONDS = re.compile(r"[0-9]{1,18}")
_FIELDS = 15  # as many are read; a line may have fewer
_EXACT = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{8,64})!")
_SPECIAL = frozenset(" <>=*+&|")  # with one of these a name already says how it is meant; gpg(1), user ids


@dataclass
class Part:
    """A primary key or a subkey: its state, and what it alone can do."""

    state: str
    can: str
    place: str  # of its secret: # where there is none
    fingerprint: str = ""
    grip: str = ""
    expires: int | None = None  # seconds since 1970


@dataclass
class Key:
    """A key with its subkeys; the first part is the primary."""

    can: str  # what all of it can do now, in capitals
    users: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    exactly: Part | None = None  # the only part that is to be used

    @property
    def told(self) -> str:
        """What GnuPG is told in order to use it."""
        return f"{self.exactly.fingerprint}!" if self.exactly else self.fingerprint

    @property
    def fingerprint(self) -> str:
        """That of the primary key."""
        return self.parts[0].fingerprint

    def fault(self, purpose: Purpose) -> str:
        """Return why it cannot be used, in a word or two, or an empty string."""
        if "D" in self.can:
            return "disabled"
        if state := _STATES.get(self.parts[0].state, ""):
            return state
        fit = self._that_can(purpose)
        good = [part for part in fit if part.state not in _STATES]
        if fit and not good:
            return _STATES[fit[-1].state]
        if purpose == "sign":
            good = [part for part in good if part.place != "#"]
        return "" if good else f"not able to {purpose}"

    def expires(self, purpose: Purpose) -> int | None:
        """Return when it can be used no more, in seconds since 1970, or None: with the last of its parts that can."""
        fit = [part.expires for part in self._that_can(purpose) if part.state not in _STATES]
        last = None if None in fit else max(filter(None, fit), default=None)
        return min(filter(None, [self.parts[0].expires, last]), default=None)

    def _that_can(self, purpose: Purpose) -> list[Part]:
        parts = self.parts if self.exactly is None else [self.exactly]
        return [part for part in parts if purpose[0] in part.can]


def read_keys(listing: str) -> list[Key]:
    """Return the keys of a listing with colons."""
    keys: list[Key] = []
    for line in listing.split("\n"):  # and at nothing else that ends lines: a user id may hold it
        kind, *fields = [*line.split(":"), *[""] * _FIELDS]
        if kind in ("pub", "sec"):
            keys.append(Key("".join(filter(str.isupper, fields[10]))))
        if not keys:
            continue
        if kind in ("pub", "sec", "sub", "ssb"):
            expires = int(fields[5]) if _SECONDS.fullmatch(fields[5]) else None
            keys[-1].parts.append(
                Part(fields[0], "".join(filter(str.islower, fields[10])), fields[13], expires=expires)
            )
        elif kind == "fpr":
            keys[-1].parts[-1].fingerprint = fields[8]
        elif kind == "grp":
            keys[-1].parts[-1].grip = fields[8]
        elif kind == "uid":
            keys[-1].users.append(fields[8])
    return [key for key in keys if key.fingerprint]


def lookup(name: str) -> str:
    """Return what GnuPG is asked for: an address by itself means exactly that address, not a part of another."""
    return f"<{name}>" if "@" in name and not _SPECIAL & set(name) else name


def chosen(keys: Sequence[Key], name: str, purpose: Purpose) -> Key:
    """Return the key that `name` means. Raises StageError where there is none, or none that is fit, or several.

    A fingerprint with ! at its end means that subkey and no other; gpg(1), "How to specify a user ID".
    """
    if found := _EXACT.fullmatch(name):
        for key in keys:
            key.exactly = next((part for part in key.parts if part.fingerprint.endswith(found[1].upper())), None)
        if keys and not (keys := [key for key in keys if key.exactly]):
            raise StageError("gpg", f"no such subkey: {name!r}", "See: gpg --list-keys --with-subkey-fingerprint")
    if not keys:
        what = "secret key to sign with" if purpose == "sign" else "public key to encrypt for"
        raise StageError("gpg", f"no {what}: {name!r}", "Import it there, as the user that runs dbdump: gpg --import")
    fit = [key for key in keys if not key.fault(purpose)]
    if len(fit) > 1:
        which = ", ".join(key.fingerprint for key in fit)
        raise StageError("gpg", f"{name!r} is ambiguous: {which}", "Name the one you mean by its fingerprint.")
    if not fit:
        fault = keys[-1].fault(purpose)
        hint = _HINTS.get(fault, "Add a subkey that is, or name another key.")
        raise StageError("gpg", f"the key {keys[-1].fingerprint} of {name!r} is {fault}", hint)
    return fit[0]
