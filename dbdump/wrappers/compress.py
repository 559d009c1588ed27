"""Compression: zstd on all cores, or gzip (pigz where there is one)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from ..errors import RecipeError

COMPRESSORS = ("zstd", "gzip", "pigz")  # the programs that a host is asked for, whatever is wanted


@dataclass(frozen=True)
class Zstd:
    """zstd, at a `level` from 1 to 19, on `threads` cores; 0 is all of them."""

    level: int = 3
    threads: int = 0

    suffix = ".zst"
    program = "zstd"

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 19:  # noqa: PLR2004  zstd(1)
            raise RecipeError(f"Zstd(level={self.level}): not a level", "zstd has the levels 1 to 19.")

    def on(self, programs: AbstractSet[str], ask: object = None) -> Zstd:  # noqa: ARG002  the same everywhere
        """Return itself: zstd is zstd."""
        return self

    def command(self) -> list[str]:
        """Return the argv that compresses; zstd adds a checksum of the content to each frame."""
        return ["zstd", "-q", "-c", f"-{self.level}", f"-T{self.threads}"]

    def inverse(self) -> list[str]:
        """Return the argv that decompresses."""
        return ["zstd", "-q", "-d", "-c"]

    def most_bytes(self, size: int) -> int:
        """Return the bound: header 6, checksum 4, 3 a block of 128 KiB, of which there is one at least.

        Source: RFC 8878, section 3.1.1.
        """
        return size + 10 + 3 * (size // (128 << 10) + 1)


@dataclass(frozen=True)
class Gzip:
    """gzip, at a `level` from 1 to 9; `program` is pigz on a host that has it."""

    level: int = 6
    program: str = "gzip"

    suffix = ".gz"

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:  # noqa: PLR2004  gzip(1)
            raise RecipeError(f"Gzip(level={self.level}): not a level", "gzip has the levels 1 to 9.")

    def on(self, programs: AbstractSet[str], ask: object = None) -> Gzip:  # noqa: ARG002  it asks nothing
        """Return it with pigz where the host has one."""
        return replace(self, program="pigz") if "pigz" in programs else self

    def command(self) -> list[str]:
        """Return the argv that compresses, without a time stamp: the same bytes give the same file."""
        return [self.program, "-n", "-c", f"-{self.level}"]

    def inverse(self) -> list[str]:
        """Return the argv that decompresses."""
        return ["gzip", "-d", "-c"]

    def most_bytes(self, size: int) -> int:
        """Return the bound: header 10, trailer 8, 5 a stored block of 16 KiB, of which there is one at least.

        Source: RFC 1952, section 2.2, and RFC 1951, section 3.2.4; zlib stores in blocks of 16 KiB and up.
        """
        return size + 18 + 5 * (size // (16 << 10) + 1)


@dataclass(frozen=True)
class Compress(Zstd):
    """What is done where nobody says how: zstd, or gzip on a host that has no zstd."""

    def on(self, programs: AbstractSet[str], ask: object = None) -> Any:  # noqa: ARG002  it asks nothing
        """Return what the host has."""
        return Zstd() if "zstd" in programs else Gzip().on(programs)
