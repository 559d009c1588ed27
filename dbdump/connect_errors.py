"""Why a machine is not connected to, or does not let us in, in words and with what to do. Nothing is run here."""

from __future__ import annotations

import os
import shlex

from .down import Absent
from .errors import ConnectError
from .known_hosts import file_of, how_it_was_named, how_to_add, named
from .script import quote
from .ssh_words import Settings, loud

_NOBODY = "Is the machine up, and sshd on that port?"
_NO_KEY = (
    "No private key was found here: make one with ssh-keygen, or name it with -i; its public half goes into that "
    "account's authorized_keys."
)
_OTHER_KEY = "Put the public key into that account's authorized_keys; a key with a passphrase needs an agent."


def absent(account: str, said: str, *, unnamed: bool) -> Absent:
    """Return what to raise where nobody answers, or where nobody knows the name, which is `unnamed`."""
    hint = "Is its name right? See DNS, /etc/hosts and ssh_config." if unnamed else _NOBODY
    return Absent(f"{account}: {said}", hint)


def own_name(settings: Settings) -> str:
    """Return the name under which files of known hosts have that machine."""
    return settings.key_name or named(settings.hostname, settings.port)


def unknown_key(account: str, settings: Settings, name: str, said: str) -> ConnectError:
    """Return what to raise where no file has the host key of `name`: that machine's, or another's on the way to it."""
    return ConnectError(
        f"{account}: host key verification failed: {said}",
        f"Add it, and compare its fingerprint with its operator's: {_adding(settings, name)}",
    )


def changed_key(account: str, settings: Settings, name: str, said: str = "") -> ConnectError:
    """Return what to raise where the files have another host key for `name`."""
    file = file_of(settings.known_hosts, name) or settings.new_keys
    return ConnectError(
        f"{account}: the host key has changed, or this is another machine{said and ': ' + said}",
        f"Ask its operator. If it is right, replace the key: ssh-keygen -R {quote(name)} -f {quote(file)}; "
        f"{_adding(settings, name)}",
    )


def revoked_key(account: str, said: str) -> ConnectError:
    """Return what to raise where a file of known hosts takes the key back."""
    return ConnectError(
        f"{account}: the host key was revoked: {said}",
        "Ask its operator for its new key; a machine that still has this one may be an impostor.",
    )


def denied(account: str, settings: Settings, said: str) -> ConnectError:
    """Return what to raise where the account does not let us in."""
    keyless = not settings.identities and "SSH_AUTH_SOCK" not in os.environ
    return ConnectError(
        f"{account}: permission denied{said and ': ' + said}",
        _NO_KEY if keyless else _OTHER_KEY,
    )


def open_to_others(account: str, key: str) -> ConnectError:
    """Return what to raise for a private key that ssh would not use."""
    return ConnectError(
        f"{account}: others can read the private key {key}",
        f"It is the public key: name the private one, {key.removesuffix('.pub')}." if key.endswith(".pub")
        else f"chmod 600 {quote(key)}",
    )  # fmt: skip


def _adding(settings: Settings, name: str) -> str:
    """Return the line of shell that adds a host key: an ssh that shows it, where nothing else gets there."""
    alone = name == named(settings.hostname, settings.port) and settings.direct and "%" not in settings.new_keys
    if alone or name != own_name(settings):
        return how_to_add(*how_it_was_named(name), settings.new_keys)
    return f"ssh -o BatchMode=no -o StrictHostKeyChecking=ask {shlex.join(loud(settings.words))} true"
