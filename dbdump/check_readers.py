"""Whether the machine that runs dbdump has what no dump needs, but verify, restore and the drill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .backends.base import Backend, Reader
from .findings import Finding
from .probe import probe
from .shell import Shell


def reader_findings(shell: Shell, backend: Backend) -> Iterator[Finding]:
    """Yield a warning for each of the backend's readers that is not on the PATH of `shell`, this machine's."""
    if readers := backend.readers:
        yield from missing(shell, readers)


def missing(shell: Shell, readers: Sequence[Reader]) -> Iterator[Finding]:
    """Yield a warning for each of `readers` that is not there; see reader_findings."""
    found = probe(shell, [name for each in readers for name in each.names], None).programs
    for each in readers:
        if found.isdisjoint(each.names):
            first, *others = each.names
            nor = "".join(f", nor is {name}" for name in others)
            yield Finding(
                "warning", first, f"not found on the PATH of this machine{nor}: {each.lost}",
                f"Install {each.install} here; dumps are made without it.",
            )  # fmt: skip
