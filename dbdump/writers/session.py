"""A session at the far end of a Remote: what is asked of it, whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..errors import WriteError
from ..stored import Entry
from .base import Condition


class Missing(WriteError):  # noqa: N818  what is the matter
    """What should be there is not."""


class Session(Protocol):
    """One way in to where dumps are stored, used by one dump after another. Raises WriteError or ConnectError."""

    def go(self, root: str, names: Sequence[str], *, make: bool) -> str:
        """Go to the directory `names` below `root`, and return its path there.

        Each is made, 0700, where it is missing and `make` says so; else Missing is raised.
        """
        ...

    def hold(self, *, alone: bool) -> None:
        """Hold the directory here until `drop`, where there are locks. Raises Locked where that cannot be."""
        ...

    def open(self, part: str, *, adding: bool) -> tuple[str, ...] | None:
        """Begin the file `part`, which must not be there.

        With `adding` the directory above is held, with others, until `drop`; and what dead runs left here is
        removed, and returned. None where another run has just taken the new file for dead: try another name.
        """
        ...

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of it."""
        ...

    def received(self, size: int) -> tuple[int, str]:
        """Return its size in bytes and its SHA-256, computed there on what was synced.

        `size` is what it should be: the more there is, the longer that may take.
        """
        ...

    def name(self, part: str, final: str, sha256: str, size: int) -> bool:
        """Give it its final name; return whether that is new. What is there already and differs is refused.

        `size` is as for `received`: who was not asked that before reads it all.

        Raises ConnectionLost where neither is there.
        """
        ...

    def replace(self, part: str, final: str, of: str) -> None:
        """Give it a final name, in place of the file that has it; but none where the file `of` is gone by then."""
        ...

    def unname(self, final: str, sha256: str, size: int) -> None:
        """Take back a new name; with a SHA-256 one that may have been given, and only from a file that has it.

        One that has a manifest by then is another run's, which made the same dump. `size` is as for `received`.
        """
        ...

    def drop(self) -> None:
        """Remove the file that was begun, if it has no name yet, and let go of what is held."""
        ...

    def entries(self) -> Sequence[Entry]:
        """Return all directories here, and all files in them, but no symbolic link; see Store."""
        ...

    def condition(self, names: Sequence[str]) -> Condition:
        """Return how the directory here is, and those of `names` below it that are there; nothing is written."""
        ...

    def fetch(self, file: str) -> Iterator[bytes]:
        """Yield the bytes of a file here, and perhaps nothing now and then while none come."""
        ...

    def delete(self, files: Sequence[str]) -> None:
        """Remove files here, in that order, as far as they are there."""
        ...

    def clear(self, group: str, part: str) -> None:
        """End the processes of another session, which hangs, and remove its file here."""
        ...

    def close(self) -> None:
        """End it."""
        ...

    has_shell: bool  # commands can be run there
    broken: bool  # it cannot be used any more
    group: str  # its processes there, for `clear`
