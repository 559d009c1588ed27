"""What is stored of a recipe, told from its files: dumps that were committed, and what is none. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal, get_args

from .catalog import (
    DUMP_FILE,
    MANIFEST_SUFFIX,
    RECORD_SUFFIX,
    SIGNATURE_SUFFIX,
    STAMP,
    DumpName,
    decode,
    encode,
    is_cut,
)
from .errors import WriteError
from .manifest import Manifest
from .retention import is_future

_PART = re.compile(rf"\.{STAMP.pattern}\..*\.part")  # also one that another version has left

_MOST = 1 << 63  # of seconds, tables or rows

Level = Literal["bytes", "content", "structure", "restored"]


@dataclass(frozen=True)
class Entry:
    """One file of a recipe: the directory of its database, its own name, its size in bytes.

    `text` is what is in it, where `is_text` says so of its name, and it can be read. One without a name, and of
    0 bytes, tells of the directory itself: there may be nothing in it.
    """

    directory: str
    file: str
    size: int
    text: bytes | None = None

    @staticmethod
    def is_text(file: str) -> bool:
        """Whether a store has to give the content of a file of this name: it is small, and all is told by it."""
        return file[:1].isdigit() and file.endswith((MANIFEST_SUFFIX, RECORD_SUFFIX))


def _is_moment(text: str) -> bool:
    """Whether it is a time with a zone. Raises ValueError, TypeError, or OverflowError where UTC has no such year."""
    when = datetime.fromisoformat(text)
    return when.tzinfo is not None and when.astimezone(UTC) == when


@dataclass(frozen=True)
class Drill:
    """What restoring a dump into a scratch database came to: seconds it took, tables and rows there were."""

    at: str
    seconds: float
    tables: int
    rows: int
    fault: str = ""


@dataclass(frozen=True)
class Record:
    """What verify found of one dump, in the file beside it: when, how deep it looked, what was wrong.

    `level` is the last step that was good: its bytes are the manifest's; its content could be unwrapped; its
    structure was read to the end; it was restored. `sha256` says which bytes it is about; `at` is UTC, ISO 8601.
    """

    sha256: str
    at: str
    level: Level | None
    fault: str = ""
    drill: Drill | None = None
    schema: int = 1

    def to_json(self) -> bytes:
        """Return it as one JSON object with a line end."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes, sha256: str) -> Record | None:
        """Return the record in `text`, or None where it is none, or about other bytes than those of `sha256`."""
        try:
            keys = json.loads(text)
            drill = keys.pop("drill")
            record = cls(**keys, drill=None if drill is None else Drill(**drill))
            whole = record.sha256 == sha256 and record.schema == cls.schema and record.is_sound()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            return None
        return record if whole else None

    def is_sound(self) -> bool:
        """Whether it holds what verify writes: anybody may have put it there. Raises what `from_json` catches."""
        drill = self.drill
        numbers = () if drill is None else (drill.seconds, drill.tables, drill.rows)
        return (
            self.level in (None, *get_args(Level))
            and all(isinstance(each.fault, str) and _is_moment(each.at) for each in (self, drill) if each)
            and all(type(each) in (int, float) and 0 <= each < _MOST for each in numbers)
        )


_DEPTH: tuple[Level | None, ...] = (None, "bytes", "content", "structure", "restored")


def remembered(before: Record | None, now: Record) -> Record:
    """Return what is to be noted of a dump: a fault that was found stays until somebody has looked further than that.

    Both are of the same bytes.
    """
    if before is None or not before.fault or now.fault or _DEPTH.index(now.level) > _DEPTH.index(before.level):
        return now
    return replace(before, drill=now.drill)


@dataclass(frozen=True)
class Stored:
    """One committed dump: its manifest, also as the text that a signature signs, and what verify found last.

    `size` is that of its file now, in bytes; `signed` says whether there is a signature of the manifest.
    """

    name: DumpName
    manifest: Manifest
    text: bytes
    size: int
    signed: bool
    record: Record | None = None

    def is_future(self, now: datetime) -> bool:
        """Whether it is from the future, and so counts for nothing: neither as the latest nor as a good one."""
        return is_future(self.manifest.begun, now)

    @property
    def future_note(self) -> str:
        """What is said then."""
        return f"{self.name.stamp} is from the future, and does not count: a clock is wrong"

    @property
    def wrapped(self) -> tuple[str, ...]:
        """The suffixes of its wrappers, in order: `.zst`, `.gpg`."""
        suffixes = _suffixes(self.name.suffix)
        return suffixes[max(1, len(suffixes) - len(self.manifest.stages) + 1) :]

    @property
    def raw_suffix(self) -> str:
        """The suffix of what is in the wrappers: `.pgdump`."""
        return self.name.suffix.removesuffix("".join(self.wrapped))

    @property
    def verified(self) -> bool:
        """Whether verify looked at it last and found it good."""
        return self.record is not None and not self.record.fault


def _suffixes(suffix: str) -> tuple[str, ...]:
    return tuple(f".{each}" for each in suffix.split(".")[1:])


@dataclass(frozen=True)
class Stray:
    """A file that looks as if it were of a dump, and is of none: its path below the recipe's, and why.

    `bad` ones have been changed or moved; the others are what a run that was ended has left, or one goes on with.
    `lost` is what a manifest is of whose dump is gone, of 0 bytes.
    """

    path: str
    size: int
    why: str
    bad: bool = False
    lost: Stored | None = None

    @property
    def directory(self) -> str:
        """That of its database."""
        return self.path.partition("/")[0]

    @property
    def file(self) -> str:
        """Its own name."""
        return self.path.partition("/")[2]

    @property
    def stamp(self) -> str:
        """That of the dump whose manifest it is."""
        return self.file.partition(".")[0]


@dataclass(frozen=True)
class Listing:
    """All dumps of a recipe, the newest first, and what is none.

    `directories` are those of its databases, also of those that have no dump.
    """

    dumps: tuple[Stored, ...]
    strays: tuple[Stray, ...]
    directories: tuple[str, ...] = ()

    def of(self, database: str) -> Sequence[Stored]:
        """Return the dumps of one database, the newest first."""
        return [each for each in self.dumps if each.manifest.database == database]


def read_listing(host: str, recipe: str, entries: Iterable[Entry]) -> Listing:
    """Return what the files of a recipe are; what is not of dbdump is passed over."""
    directories: dict[str, dict[str, Entry]] = {}
    for each in entries:
        files = directories.setdefault(each.directory, {})
        if each.file:
            files[each.file] = each
    dumps: list[Stored] = []
    strays: list[Stray] = []
    for directory, files in directories.items():
        for file in _read_directory(host, recipe, directory, files):
            if isinstance(file, Stored):
                dumps.append(file)
            else:
                strays.append(file)
    dumps.sort(key=lambda each: (each.manifest.begun, each.name.directory), reverse=True)
    ours = sorted(each for each in directories if decode(each) is not None or is_cut(each))
    return Listing(tuple(dumps), tuple(sorted(strays, key=lambda each: each.path)), tuple(ours))


def _read_directory(host: str, recipe: str, directory: str, files: dict[str, Entry]) -> Iterator[Stored | Stray]:
    for file, entry in files.items():
        dump = file.removesuffix(MANIFEST_SUFFIX)
        path = f"{directory}/{file}"
        if _PART.fullmatch(file):
            yield Stray(path, entry.size, "not finished: a run is at it, or was killed")
        elif dump != file and DUMP_FILE.fullmatch(dump):
            try:
                stored = _stored(host, recipe, directory, files, dump)
            except WriteError as error:
                yield Stray(path, entry.size, error.message, bad=True)
            else:
                gone = Stray(path, entry.size, "a manifest whose dump is gone", lost=stored)
                yield stored if dump in files else gone
        elif DUMP_FILE.fullmatch(file) and not _is_beside(file) and file + MANIFEST_SUFFIX not in files:
            yield Stray(path, entry.size, "no manifest: it was never finished")


def _is_beside(file: str) -> bool:
    return file.endswith((SIGNATURE_SUFFIX, RECORD_SUFFIX))


def _stored(host: str, recipe: str, directory: str, files: dict[str, Entry], dump: str) -> Stored:
    """Return the dump called `dump`. Raises WriteError where its manifest is none, or is another dump's."""
    text = files[dump + MANIFEST_SUFFIX].text
    if text is None:
        raise WriteError("its manifest cannot be read")
    manifest = Manifest.from_json(text)
    if (manifest.host, manifest.recipe) != (host, recipe) or encode(manifest.database) != directory:
        whose = f"{manifest.host}/{manifest.recipe}/{manifest.database}"
        raise WriteError(f"its manifest is of a dump of {whose}: it was moved or swapped")
    if manifest.file != dump:
        both = manifest.file + MANIFEST_SUFFIX in files
        what = ", which is there too: an old one was put in its place" if both else ": it was renamed"
        raise WriteError(f"its manifest is of {manifest.file}{what}")
    name = DumpName.of_file(host, recipe, manifest.database, dump)
    record = files.get(dump + RECORD_SUFFIX)
    return Stored(
        name, manifest, text, files[dump].size if dump in files else 0, dump + SIGNATURE_SUFFIX in files,
        Record.from_json(record.text, manifest.sha256) if record and record.text else None,
    )  # fmt: skip
