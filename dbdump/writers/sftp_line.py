"""The command that prints a file of an account that has SFTP and no shell: for the line in its manifest. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..ssh_words import destination, given_options

# sftp writes where it likes in a file, so not into a pipe. $0 is the path there, and the rest is where to go.
_BY_SFTP = (
    't=$(mktemp) && printf "get %s \\"%s\\"\\n" "$0" "$t" | sftp -q -b - "$@" >/dev/null && cat "$t"; '
    's=$?; rm -f "$t"; exit $s'
)
_SPECIAL = re.compile(r"[^\w@%+=:,./~-]")  # to sftp, which knows globs, quotes and comments

# What sftp calls otherwise than ssh, or has no letter for; what is of no use to it is left out.
_SFTP_OPTIONS = {"p": "Port", "l": "User", "b": "BindAddress", "B": "BindInterface", "m": "MACs", "S": "ControlPath",
                 "I": "PKCS11Provider"}  # fmt: skip
_SFTP_LETTERS = frozenset("46ACcFiJoq")


def sftp_line(words: Sequence[str], path: str) -> list[str]:
    """Return the argv that prints the file `path` of the account that the words of a REMOTE name."""
    path = path if path.startswith("/") else f"./{path}"  # sftp has an opinion of ~
    return ["sh", "-c", _BY_SFTP, _SPECIAL.sub(r"\\\g<0>", path), *sftp_words(words)]


def sftp_words(words: Sequence[str]) -> list[str]:
    """Return the words of a REMOTE as sftp takes them."""
    found = []
    for letter, value in given_options(words):
        if letter in _SFTP_OPTIONS:
            found += ["-o", f"{_SFTP_OPTIONS[letter]}={value}"]
        elif letter in _SFTP_LETTERS:
            found += [f"-{letter}", value] if value else [f"-{letter}"]
    user, at, host = destination(words).rpartition("@")
    if "://" in user + host:
        return [*found, "sftp://" + destination(words).partition("://")[2]]
    return [*found, f"{user}{at}[{host}]" if ":" in host and "[" not in host else user + at + host]
