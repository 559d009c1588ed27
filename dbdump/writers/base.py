"""What a writer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..catalog import DumpName, Manifest
from ..links import Reach


class Sink(Protocol):
    """One dump on its way to where it is stored; nothing of it has its final name before `commit`."""

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Temporary files of runs that died, found and removed when the sink was opened."""
        ...

    def write(self, piece: memoryview) -> None:
        """Take the next bytes. Raises WriteError; so do the others."""
        ...

    def commit(self, manifest: Manifest, signature: bytes | None = None) -> None:
        """Make the bytes durable, compare their own count and SHA-256 to the manifest's, name them.

        The manifest comes last, after its signature if it has one: it is the commit record. Nothing is ever
        overwritten; the same dump there already is a success, another one an error. On an error nothing is left
        under a final name.
        """
        ...

    def abort(self) -> None:
        """Remove what was written; harmless after `commit`."""
        ...


class Writer(Protocol):
    """Where dumps are to be stored, as a recipe says it."""

    def place(self, host: str, recipe: str) -> str:
        """Return where the dumps of a recipe go, in a form that differs where the places differ."""
        ...

    def bound(self, reach: Reach) -> Store:
        """Return where that is for one job of one run: how it is reached, and from which host."""
        ...


class Store(Protocol):
    """Where dumps are stored, by `DumpName`."""

    def location(self, name: DumpName) -> str:
        """Return where one dump is, for people."""
        ...

    def source(self, name: DumpName) -> Sequence[str]:
        """Return the argv that writes a stored dump to stdout, for the manifest; one word is a file."""
        ...

    def open(self, name: DumpName) -> Sink:
        """Begin to store the dump `name`."""
        ...

    def list(self, host: str, recipe: str) -> Iterator[tuple[DumpName, Manifest]]:
        """Yield the names and manifests of a recipe's committed dumps, in no order."""
        ...

    def read(self, name: DumpName) -> Iterator[bytes]:
        """Yield the bytes of a stored dump."""
        ...

    def delete(self, name: DumpName) -> None:
        """Remove a dump, then its manifest's signature if there is one, then its manifest."""
        ...
