"""The files of a recipe on another machine, from what ls and grep say of them there (look.sh, `entries`). Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from ..stored import Entry

_GONE = re.compile(rb"(\./[^/:]+/[^/:]+): No such file or directory")
# Of ls: mode, links, user, group, size, and three words of the time. A name with a line end in it is nobody's of ours.
_LISTED = re.compile(rb"-\S*(?:\s+\S+){3}\s+([0-9]{1,18})(?:\s+\S+){3}\s+(\./[^/]+/[^/]+)")
_DIRECTORY = re.compile(rb"d\S*(?:\s+\S+){7}\s+\./([^/]+)")


def read_entries(lines: Iterable[bytes]) -> list[Entry]:
    """Return what `lines` tell of: `drwx… ./DIRECTORY`, `-rw… ./DIRECTORY/FILE`, `./DIRECTORY/FILE:LINE OF ITS TEXT`.

    A text that could not be read is None; a file that went before its text was read is left out.
    """
    sizes: dict[bytes, int] = {}
    texts: defaultdict[bytes, bytearray] = defaultdict(bytearray)
    gone: set[bytes] = set()
    directories: list[bytes] = []
    before, of = b"\n", bytearray()  # what the last line of a text began with, and where it went
    for line in lines:
        if line.startswith(before):
            of += line[len(before) :]
            of += b"\n"
        elif line.startswith(b"./"):
            path, _, text = line.partition(b":")
            before, of = path + b":", texts[path]
            of += text
            of += b"\n"
        elif listed := _LISTED.fullmatch(line):
            sizes[listed[2]] = int(listed[1])
        elif match := _DIRECTORY.fullmatch(line):
            directories.append(match[1])
        elif match := _GONE.search(line):
            gone.add(match[1])
    return [Entry(each.decode("utf-8", "surrogateescape"), "", 0) for each in directories] + [
        _entry(path, size, texts.get(path)) for path, size in sizes.items() if path not in gone
    ]


def _entry(path: bytes, size: int, lines: bytearray | None) -> Entry:
    directory, file = path.decode("utf-8", "surrogateescape").split("/")[1:]
    if not Entry.is_text(file):
        return Entry(directory, file, size)
    if lines is None:
        return Entry(directory, file, size, None if size else b"")
    # Whether its last line has an end is not to be seen of grep's, but a signature is of every byte.
    text = bytes(lines[:-1] if len(lines) == size + 1 else lines)
    return Entry(directory, file, size, text)
