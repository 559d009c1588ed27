"""What a wrapper is."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Protocol

from ..catalog import BESIDE
from ..shell import Asker

_SUFFIX = re.compile(r"\.\w+")


class Wrapper(Protocol):
    """A filter on the byte stream, with an inverse; runs on the host, after the backend's command."""

    @property
    def suffix(self) -> str:
        """What it adds to the file's name: a dot and one word, `.zst`, by which verify and restore know it."""
        ...

    @property
    def program(self) -> str:
        """The program that has to be on the host's PATH."""
        ...

    def on(self, programs: AbstractSet[str], ask: Asker) -> Wrapper:
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


def wrapper_fault(wrapper: object) -> str:
    """Return what keeps a thing from being a wrapper, or nothing."""
    if isinstance(wrapper, type):
        return "no wrapper, but a class"
    for name in ("command", "inverse", "on", "most_bytes"):
        if not callable(getattr(wrapper, name, None)):
            return f"no wrapper: it has no {name}()"
    for name in ("program", "suffix"):
        if not (isinstance(value := getattr(wrapper, name, None), str) and value):
            return f"no wrapper: its {name} is {value!r}"
    suffix = getattr(wrapper, "suffix", "")
    if suffix in BESIDE:
        return f"its suffix {suffix!r} is that of what stands beside a dump"
    return "" if _SUFFIX.fullmatch(suffix) else f"its suffix {suffix!r} is not a dot and one word"
