"""Files of known hosts, as sshd(8) describes them. Nothing is verified here."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path

from .script import quote

# Lines of authorities and of revoked keys, and those with patterns in place of names: paramiko passes over them.
_NOT_A_NAME = re.compile(r"@|[^|\s]*[*?!]")


def known_keys(file: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield each name with the kind of its key and the key; like ssh it passes over lines that are none."""
    for line in _lines(file):
        try:
            names, kind, text = line.split(maxsplit=3)[:3]
            key = b64decode(text, validate=True)
        except ValueError:
            continue
        for name in names.split(","):
            yield name if name.startswith("|") else name.lower(), kind, key  # a hash is of the name in small letters


def for_ssh_alone(files: Iterable[str], host: str, port: int) -> bool:
    """Whether only ssh itself understands the files.

    That is where a pattern is in them, or two keys of one kind for that host, or one without its port, which ssh takes
    where there is none with it.
    """
    files = tuple(files)
    found = _keys_of(files, named(host, port))
    kinds = {kind for kind, _ in found}
    without_port = not found and _keys_of(files, host)
    several = len(found) > len(kinds)
    return bool(without_port or several or any(_NOT_A_NAME.match(line) for file in files for line in _lines(file)))


def _keys_of(files: Iterable[str], wanted: str) -> set[tuple[str, bytes]]:
    return {(kind, key) for file in files for name, kind, key in known_keys(file) if _is(wanted, name)}


def named(host: str, port: int) -> str:
    """Return the name of a machine in those files."""
    return host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004  ssh's own


def file_of(files: Iterable[str], name: str) -> str | None:
    """Return the first of the files that has a key under that name, if one has."""
    return next((file for file in files if any(_is(name, each) for each, _, _ in known_keys(file))), None)


def how_to_add(host: str, port: int, file: str) -> str:
    """Return the line of shell that adds the key of a machine to a file."""
    return " ".join(["ssh-keyscan", *([] if port == 22 else ["-p", str(port)]), quote(host), ">>", quote(file)])  # noqa: PLR2004


def how_it_was_named(name: str) -> tuple[str, int]:
    """Return the host and the port of a name in those files."""
    bracket = re.fullmatch(r"\[(.+)\]:([0-9]{1,5})", name)
    return (bracket[1], int(bracket[2])) if bracket else (name, 22)


def _lines(file: str) -> Iterator[str]:
    for line in Path(file).read_text("utf-8", "replace").split("\n"):
        if (text := line.strip()) and not text.startswith("#"):
            yield text


def _is(wanted: str, name: str) -> bool:
    """Whether a name, perhaps hashed, is that one, which ssh has in small letters."""
    wanted = wanted.lower()
    if not name.startswith("|1|"):
        return name == wanted
    try:
        salt, digest = map(b64decode, name.split("|")[2:4])
    except ValueError:
        return False
    return hmac.digest(salt, wanted.encode(), "sha1") == digest
