"""What a writer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..catalog import DumpName
from ..links import Reach
from ..manifest import Manifest
from ..stored import Entry


class Sink(Protocol):
    """One dump on its way to where it is stored; nothing of it has its final name before `commit`."""

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Temporary files of runs that died, found and removed when the sink was opened: told of at its end."""
        ...

    def write(self, piece: memoryview) -> None:
        """Take the next bytes. Raises WriteError; so do the others."""
        ...

    def look(self) -> None:
        """Raise what is known by now to keep the dump from being stored: asked again and again while no byte comes."""
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


@dataclass(frozen=True)
class Condition:
    """How the place of a recipe's dumps is, told without writing there: its path, as deep as it is there by now.

    `faults` say in words by which of its directories a dump would fail; `writable` is whether it can be written,
    None where only writing would tell. `free_bytes` are those of its file system, and `clock` is what its machine's
    clock said, in seconds since 1970; None where they cannot be known.
    """

    path: str
    faults: tuple[str, ...]
    writable: bool | None
    free_bytes: int | None
    clock: float | None


class Store(Protocol):
    """Where dumps are stored, by `DumpName`."""

    def location(self, name: DumpName) -> str:
        """Return where one dump is, for people."""
        ...

    def source(self, name: DumpName) -> Sequence[str]:
        """Return the argv that writes a stored dump to stdout, for the manifest; one word is a file.

        It is asked for when the dump's sink was opened, and so may wait for what that has begun.
        """
        ...

    def open(self, name: DumpName) -> Sink:
        """Begin to store the dump `name`. While the sink is open, nobody can hold its recipe's place alone."""
        ...

    def entries(self, host: str, recipe: str) -> Iterator[Entry]:
        """Yield every file of a recipe, in no order, but no symbolic link; nothing where nothing was ever stored.

        Each of its directories is one more, without a name of a file: a database may have no other. Raises
        WriteError where what all recipes are stored under is missing; so does `held`.
        """
        ...

    def read(self, name: DumpName) -> Iterator[bytes]:
        """Yield the bytes of a stored dump, and perhaps nothing now and then while none come: who reads may look then.

        Raises WriteError where there is none.
        """
        ...

    def signature(self, name: DumpName) -> bytes:
        """Return the signature of a manifest. Raises WriteError where there is none."""
        ...

    def note(self, name: DumpName, record: bytes) -> None:
        """Put `record` beside a dump, at once and whole, in place of the one that is there.

        Raises WriteError where the dump is gone by then, and leaves nothing: prune would not know whose that is.
        """
        ...

    def delete(self, name: DumpName) -> None:
        """Remove a dump, its record, its manifest's signature, and last its manifest.

        Of what is gone already the rest is removed: it can be done again after it was interrupted.
        """
        ...

    def condition(self, host: str, recipe: str, databases: Sequence[str]) -> Condition:
        """Return how the place of a recipe is, with the directories of `databases`; nothing is made or written.

        Raises WriteError where it is not there.
        """
        ...

    def held(self, host: str, recipe: str, *, alone: bool) -> AbstractContextManager[None]:
        """Hold the place of a recipe: with others that only read or add to it, or `alone`.

        Raises Locked where that cannot be, at once. Where another machine has no locks (SFTP alone, no flock) it is
        only held against runs of the same user on this one.
        """
        ...
