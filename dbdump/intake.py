"""The bytes of one stored dump on their way in: counted and hashed, and compared to what was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import Interrupted, StageError
from .pieces import Hashed
from .pipeline import Write
from .place import Place
from .shell import Stalled
from .stored import Stored

_MOVED = "Somebody moved files where it is stored: take another dump, and find out who."
_STALLED = "A stopped process or a stuck disk here; if this machine is only slow, raise stall_timeout."


@dataclass(frozen=True)
class Fault:
    """What is wrong with a dump, and what to do."""

    text: str
    hint: str = ""


class Intake:
    """Reads one dump, once. `advanced` is told of its bytes as they come."""

    def __init__(self, place: Place, stored: Stored, advanced: Callable[[int], object]) -> None:
        self._place = place
        self._stored = stored
        self._advanced = advanced
        self._hashed = Hashed()

    @property
    def marks(self) -> bytes:
        """What a second reading is compared to; see `pieces`."""
        return bytes(self._hashed.marks)

    def feed(self, write: Write) -> None:
        """Hash all bytes, and write them as long as they are taken."""
        taken = True
        for piece in self._place.read(self._stored):
            if self._place.machines.local.ended:
                raise Interrupted("ended before it was read to the end")
            self._hashed.add(piece)
            self._advanced(len(piece))
            if taken:
                try:
                    write(memoryview(piece))
                except OSError:
                    taken = False  # who takes no more will have said why
                except Stalled:  # what was read by then is not all there is
                    raise StageError("verify", "nobody took a byte for too long, ended as stalled", _STALLED) from None

    def fault_of_size(self) -> Fault | None:
        """Return what is wrong with the size of the file, without reading it where that says nothing more."""
        if self._stored.size == self._stored.manifest.stored_bytes:
            return None
        if any(each.manifest.stored_bytes == self._stored.size for each in self._others()):
            self.feed(lambda _: None)
            return self._moved() or _other_size(self._stored, self._hashed.size)
        return _other_size(self._stored, self._stored.size)

    def fault(self) -> Fault | None:
        """Return what is wrong with the bytes, after all of them were read."""
        manifest, sha256, size = self._stored.manifest, self._hashed.sha256, self._hashed.size
        if sha256 == manifest.sha256 and size == manifest.stored_bytes:
            return None
        if moved := self._moved():
            return moved
        if size != manifest.stored_bytes:
            return _other_size(self._stored, size)
        return Fault(
            f"changed since it was stored: its SHA-256 is {sha256[:16]}…, not {manifest.sha256[:16]}…",
            "Bit rot or tampering: take another dump, and look at the disk.",
        )

    def _moved(self) -> Fault | None:
        """Return what is wrong where the bytes are those of another dump of the recipe."""
        for each in self._others():
            if each.manifest.sha256 == self._hashed.sha256:
                own = each.manifest.database == self._stored.manifest.database
                what = (
                    "rolled back: its bytes are those of" if own else f"swapped: its bytes are those of {each.name.id}"
                )
                return Fault(f"{what} {each.name.stamp}", _MOVED)
        return None

    def _others(self) -> Iterator[Stored]:
        for each in self._place.listed_once().dumps:
            if each.name != self._stored.name:
                yield each


def _other_size(stored: Stored, size: int) -> Fault:
    expected = stored.manifest.stored_bytes
    if size < expected:
        return Fault(f"truncated: {size} of {expected} bytes are there", "Take another dump, and look at the disk.")
    return Fault(f"too long: {size} bytes are there, of a dump of {expected}", "Take another dump.")
