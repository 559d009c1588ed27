"""Where the dumps of one job are: what is stored there, read back, and held against a prune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from .catalog import DumpName
from .errors import Gone, ReadError, WriteError
from .machines import Machines
from .plan import Job
from .stored import Listing, Stored, read_listing
from .writers.base import Store

_LOOK = "Look at that disk, and whether the user who reads may read there."


@dataclass(frozen=True)
class Place:
    """Where the dumps of one job are, and the machines that it reaches.

    What cannot be read there is a ReadError: its store has but one word for what fails, whatever it was asked.
    """

    job: Job
    store: Store
    machines: Machines

    def listing(self) -> Listing:
        """Return what is stored of the job.

        While a dump is committed its manifest may be seen without it, as a directory is not read at once. Where one is
        lost all is looked at once more, and one is only lost that was so both times.
        """
        first = self.listed_once()
        lost = {each.path for each in first.strays if each.lost}
        if not lost:
            return first
        second = self.listed_once()
        strays = [each for each in second.strays if not each.lost or each.path in lost]
        return replace(second, strays=tuple(strays))

    def listed_once(self) -> Listing:
        """Return what is stored of the job, or so it seems while somebody commits; `listing` looks twice."""
        host, recipe = self.job.host.name, self.job.recipe
        with reading():
            return read_listing(host, recipe, self.store.entries(host, recipe))

    def read(self, stored: Stored) -> Iterator[bytes]:
        """Yield the bytes of a stored dump. Raises Gone where it and its manifest were removed since it was listed."""
        try:
            with reading():
                yield from self.store.read(stored.name)
        except ReadError as error:
            name, listing = stored.name, self.listing()
            if any(each.name == name for each in listing.dumps):
                raise
            paths = [f"{name.directory[-1]}/{each}" for each in (name.file, name.manifest_file)]
            left = [each for each in listing.strays if each.path in paths]
            if not left:
                told = f"{name.id} {name.stamp}: gone since it was listed"
                raise Gone(told, "Somebody removed it, perhaps a prune: invoke list says what there is.") from error
            if any(each.lost for each in left):
                told = f"{name.id} {name.stamp}: its file is gone, its manifest is not"
                hint = "Find out who removed it: a prune takes both, unless it was ended."
                raise ReadError(told, hint) from error
            raise

    def signature(self, name: DumpName) -> bytes:
        """Return the signature of a manifest."""
        with reading():
            return self.store.signature(name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have nobody prune the job's dumps meanwhile. Raises Locked where somebody does."""
        with ExitStack() as stack:
            with reading():
                stack.enter_context(self.store.held(self.job.host.name, self.job.recipe, alone=False))
            yield


@contextmanager
def reading() -> Iterator[None]:
    """Tell what a store could not do inside as a ReadError."""
    try:
        yield
    except WriteError as error:
        raise ReadError(error.message, error.hint or _LOOK) from error
