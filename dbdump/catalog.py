"""What is on disk, by name: the directories and files of dumps, and their stamps."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote_to_bytes

from .errors import WriteError

GLOBALS = "@globals"  # no encoded database name begins with @
SCRATCH = "dbdump_drill_"  # what a drill restores into is called so, and eight digits
MANIFEST_SUFFIX = ".json"
SIGNATURE_SUFFIX = MANIFEST_SUFFIX + ".sig"
RECORD_SUFFIX = ".verified"
BESIDE = (MANIFEST_SUFFIX, ".sig", RECORD_SUFFIX)  # what the names of the files beside a dump end with

_STAMP = r"\d{8}T\d{6}Z"
STAMP = re.compile(_STAMP)
DUMP_FILE = re.compile(rf"(?P<stamp>{_STAMP})(?P<suffix>(?:\.\w+)+)")  # those beside it match, too
PART = re.compile(rf"\.{_STAMP}\.[\w.]+\.[0-9a-f]{{8}}\.part")  # what `part_name` makes of the name of one

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_CAPITALS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # JSON can hold half a character, and no name of a file can
_CUT = re.compile(r"[\w.%~-]{120}~sha256-[0-9a-f]{64}", re.ASCII)  # the directory of a long name
_LONGEST = 200  # bytes; a file name may have 255, and a temporary one is longer than its final one


@lru_cache(maxsize=4096)  # a listing asks for each name as often as it has dumps
def encode(name: str) -> str:
    """Return `name` as one path component, a different one for each name, whatever the file system.

    Percent-encoded where it is not an ASCII letter, digit, `_`, `-` or `.`, or where a leading or trailing
    `-` or `.` would mean something. A name with capitals gets `~` and a bit mask of where they are, so that
    two names that differ in case only do so on a file system that does not care as well. A long one is cut
    and gets a hash. `@globals` stays what it is.
    """
    if name == GLOBALS:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)
    if text[:1] in ("-", "."):
        text = f"%{ord(text[0]):02x}{text[1:]}"
    if text[-1:] == ".":
        text = text[:-1] + "%2e"
    capitals = sum(1 << index for index, byte in enumerate(raw) if byte in _CAPITALS)
    if capitals:
        text += f"~{capitals:x}"
    if len(text) > _LONGEST:
        text = f"{text[:120]}~sha256-{hashlib.sha256(raw).hexdigest()}"
    return text or "%"


def decode(directory: str) -> str | None:
    """Return the name that `encode` makes `directory` of; None where it makes none, or has cut a long one."""
    if not directory.isascii():
        return None
    whole = directory.rpartition("~")[0] or directory
    name = unquote_to_bytes(whole).decode("utf-8", "surrogateescape")
    return name if encode(name) == directory else None


def is_cut(directory: str) -> bool:
    """Whether `encode` may have made it of a long name, which it does not tell."""
    return bool(_CUT.fullmatch(directory))


def new_stamp(now: datetime | None = None) -> str:
    """Return the UTC stamp of a run, to the second: `20261122T203000Z`."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def utc_now(timespec: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """Return the time as manifests and records have it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def place_of(host: str, recipe: str) -> tuple[str, str]:
    """Return the directories below the datadir that the dumps of a recipe are in, each database's in one more."""
    return encode(host), encode(recipe)


def part_name(final: str) -> str:
    """Return a temporary name for the file `final`, which no other run has."""
    return f".{final}.{os.urandom(4).hex()}.part"


@dataclass(frozen=True)
class DumpName:
    """Which dump it is, and so where it is stored below a datadir."""

    host: str
    recipe: str
    database: str
    stamp: str
    suffix: str

    @property
    def directory(self) -> tuple[str, str, str]:
        """The directories below the datadir: host, recipe, database."""
        return *place_of(self.host, self.recipe), encode(self.database)

    @property
    def file(self) -> str:
        """The name of the dump's file."""
        return self.stamp + self.suffix

    @property
    def manifest_file(self) -> str:
        """The name of its manifest's file, beside it."""
        return self.file + MANIFEST_SUFFIX

    @property
    def signature_file(self) -> str:
        """The name of the detached signature of its manifest, where it is signed."""
        return self.file + SIGNATURE_SUFFIX

    @property
    def record_file(self) -> str:
        """The name of the file that says what verify found, beside it."""
        return self.file + RECORD_SUFFIX

    @classmethod
    def of_file(cls, host: str, recipe: str, database: str, file: str) -> DumpName:
        """Return the name whose file is called `file`. Raises WriteError where that is none of ours."""
        match = DUMP_FILE.fullmatch(file)
        if not match:
            raise WriteError(f"not the name of a dump: {file!r}")
        return cls(host, recipe, database, match["stamp"], match["suffix"])

    @property
    def id(self) -> str:
        """How lines for people call it."""
        return f"{self.host}/{self.recipe}/{printable(self.database)}"


def printable(name: str) -> str:
    """Return `name` for a line of text: what would break the line, or is not text, is escaped."""
    if name.isascii() and name.isprintable():
        return name  # as most are
    whole = LONE_SURROGATE.sub(lambda match: repr(match[0])[1:-1], name)
    escaped = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in escaped)
