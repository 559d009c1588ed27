"""Whether the keys of GnuPG that a recipe names can be used, how long still, and what verify can do with them here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .errors import DbdumpError
from .findings import Finding, error_of, expiry, guarded
from .shell import Asker
from .wrappers.gpg import GPG, PinnedGPG
from .wrappers.gpg_keys import ANYWAY, Key, read_keys
from .wrappers.gpg_verify import gpg as reader


def key_findings(gpg: GPG, ask: Asker, here: Asker, *, prunes: bool) -> Iterator[Finding]:
    """Yield how each key of `gpg` is where it wraps, which `ask` asks, and what is known of it `here`, to verify.

    Where the recipe `prunes`, signatures have to be checked after each dump.
    """
    recipients: list[Key] = []
    signer: Key | None = None
    asked = [(name, False) for name in gpg.encrypt] + ([(gpg.sign, True)] if gpg.sign else [])
    for name, secret in asked:
        try:
            key = gpg.key(ask, name, secret=secret)
        except DbdumpError as error:
            yield error_of(error, "gpg")
            continue
        purpose = "sign with" if secret else "encrypt for"
        expires = key.expires("sign" if secret else "encrypt")
        yield expiry(f"the key {key.fingerprint} of {name!r}, to {purpose},", expires, time.time())
        if secret:
            signer = key
        else:
            recipients.append(key)
    pinned = gpg.pinned(signer, recipients)
    if pinned.proof:
        yield from guarded(_tried(pinned, signer, ask), "gpg")
        yield from guarded(_here(pinned, here, prunes=prunes), "gpg")


def _tried(pinned: PinnedGPG, signer: Key | None, ask: Asker) -> Iterator[Finding]:
    pinned.tried(ask, signer)
    done = [*(["signs"] if pinned.signer else []), *(["encrypts"] if pinned.recipients else [])]
    yield Finding("ok", "gpg", f"{' and '.join(done)}, and asks for nothing")


def _here(pinned: PinnedGPG, here: Asker, *, prunes: bool) -> Iterator[Finding]:
    """Yield whether verify can check the signature, and decrypt: the latter it need not."""
    signer, recipients = pinned.signer, pinned.recipients
    if signer and not _listed(pinned, "--list-keys", [signer], here):
        who = "neither verify nor prune, after each dump, can" if prunes else "verify cannot"
        yield Finding(
            "error" if prunes else "warning", "gpg", f"{who} check signatures here: {signer} is not in the keyring",
            "Import its public key here: gpg --import.",
        )  # fmt: skip
    if recipients:
        secret = _listed(pinned, "--list-secret-keys", recipients, here)
        able = any("e" in part.can and part.place != "#" for key in secret for part in key.parts)
        told = "can decrypt here" if able else "cannot decrypt here: no recipient's secret key is here"
        yield Finding("ok", "gpg", f"verify {told}")


def _listed(pinned: PinnedGPG, listing: str, names: Sequence[str], here: Asker) -> list[Key]:
    argv = [*reader(pinned.homedir), "--with-colons", listing, "--", *names]
    return read_keys(here(["sh", "-c", ANYWAY, "sh", *argv]).decode("utf-8", "backslashreplace"))
