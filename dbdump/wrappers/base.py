"""What a wrapper is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol


class Wrapper(Protocol):
    """A filter on the byte stream, with an inverse; runs on the host, after the backend's command."""

    @property
    def suffix(self) -> str:
        """What it adds to the file's name: `.zst`."""
        ...

    @property
    def program(self) -> str:
        """The program that has to be on the host's PATH."""
        ...

    def on(self, programs: AbstractSet[str], ask: Callable[[Sequence[str]], bytes]) -> Wrapper:
        """Return the wrapper to use on a host whose PATH has `programs`: of gzip, pigz, zstd and its own.

        `ask` runs an argv there, as the user that wraps, and gives its stdout. Raises StageError where it
        cannot be used.
        """
        ...

    def command(self) -> list[str]:
        """Return the argv that wraps stdin to stdout."""
        ...

    def inverse(self) -> list[str]:
        """Return the argv that unwraps stdin to stdout."""
        ...

    def most_bytes(self, size: int) -> int:
        """Return an upper bound, in bytes, of what `size` bytes become; how an empty dump is known."""
        ...
