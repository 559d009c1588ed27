"""A dump that was copied from where it was stored: a file on this machine, with its manifest beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from .catalog import MANIFEST_SUFFIX, SIGNATURE_SUFFIX, DumpName, encode
from .errors import BadDump, DumpError, WriteError
from .links import Reach
from .manifest import Manifest
from .paths import absolute
from .stored import Entry, Stored, read_listing
from .writers.safe import read_file, translated


@dataclass(frozen=True)
class LocalCopy:
    """One dump in a file, as a writer and as its store: there is nothing else, and nothing is added."""

    path: Path

    @property
    def manifest(self) -> Path:
        """The path of its manifest."""
        return self._beside(MANIFEST_SUFFIX)

    def place(self, host: str, recipe: str) -> str:  # noqa: ARG002  it is the only one
        """Return the path of its directory."""
        return str(self.path.parent)

    def bound(self, reach: Reach) -> LocalCopy:  # noqa: ARG002  it is here
        """Return itself."""
        return self

    def location(self, name: DumpName) -> str:  # noqa: ARG002  as above
        """Return its path."""
        return str(self.path)

    def source(self, name: DumpName) -> list[str]:  # noqa: ARG002  as above
        """Return its path."""
        return [str(self.path)]

    def open(self, name: DumpName) -> Never:
        """Refuse."""
        raise WriteError(f"{self.location(name)}: a copy is not written to")

    def entries(self, host: str, recipe: str) -> Iterator[Entry]:  # noqa: ARG002  as above
        """Yield the file, and those beside it that are its own; see Store."""
        with translated(self.manifest):
            text = self.manifest.read_bytes()
        directory = encode(Manifest.from_json(text).database)
        with translated(self.path):
            yield Entry(directory, self.path.name, self.path.stat().st_size)
        yield Entry(directory, self.manifest.name, len(text), text)
        if (signature := self._beside(SIGNATURE_SUFFIX)).is_file():
            yield Entry(directory, signature.name, signature.stat().st_size)

    def read(self, name: DumpName) -> Iterator[bytes]:  # noqa: ARG002  as above
        """Yield its bytes."""
        return read_file(self.path)

    def signature(self, name: DumpName) -> bytes:  # noqa: ARG002  as above
        """Return the signature of its manifest; see Store."""
        path = self._beside(SIGNATURE_SUFFIX)
        with translated(path):
            return path.read_bytes()

    def note(self, name: DumpName, record: bytes) -> None:  # noqa: ARG002  as above
        """Refuse."""
        raise WriteError(f"{self.location(name)}: a copy is not written to")

    def delete(self, name: DumpName) -> None:
        """Refuse."""
        raise WriteError(f"{self.location(name)}: a copy is not removed")

    def condition(self, host: str, recipe: str, databases: Sequence[str]) -> Never:  # noqa: ARG002  as above
        """Refuse."""
        raise WriteError(f"{self.path}: nothing more is stored beside a copy")

    def held(self, host: str, recipe: str, *, alone: bool) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Hold nothing: nobody prunes it."""
        return contextlib.nullcontext()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def read_copy(path: str) -> tuple[Stored, LocalCopy]:
    """Return the dump in a file, and its store. Raises BadDump where it is none, or not that of its manifest."""
    copy = LocalCopy(absolute(path))
    if not copy.path.exists():
        raise BadDump(f"{path}: no such file", "Name the file of a dump, as its manifest calls it.")
    if copy.path.is_dir():
        raise BadDump(f"{path}: is a directory", "Name the file of one dump in it.")
    if path.endswith(MANIFEST_SUFFIX) and not copy.manifest.exists():
        raise BadDump(f"{path}: a manifest, and no dump", f"Name its dump: --file={path.removesuffix(MANIFEST_SUFFIX)}")
    if not (copy.path.name and copy.manifest.exists()):
        raise BadDump(f"{path}{MANIFEST_SUFFIX}: no such file", "A dump is restored with its manifest: copy that, too.")
    try:
        entries = list(copy.entries("", ""))
        manifest = Manifest.from_json(next(each.text or b"" for each in entries if Entry.is_text(each.file)))
        listing = read_listing(manifest.host, manifest.recipe, entries)
    except DumpError as error:
        raise BadDump(error.message, error.hint) from error
    except StopIteration:
        raise BadDump(f"{path}: not the name of a dump", "Give it back the name that its manifest has.") from None
    if not listing.dumps:
        why = listing.strays[0].why if listing.strays else "not the name of a dump"
        raise BadDump(f"{path}: {why}", "Give it back the name that its manifest has.")
    return listing.dumps[0], copy
