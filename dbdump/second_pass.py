"""Read a verified dump once more, and hand its target only what is as it was verified, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import PurePath
from typing import Self

from .backends.base import Backend
from .errors import BadDump, Gone, Interrupted, RecipeError, StageError
from .examine import Examined, examine
from .gate import Gate
from .pieces import Changed, same
from .pipeline import Look, Pipeline, Write
from .place import Place
from .plan import checked_argv, checked_backend, checked_secrets
from .probe import become
from .script import Stage
from .shell import Shell
from .stored import Stored
from .unwrap import unwrapping
from .user import User

_PATIENCE = 20 * 86400.0  # seconds: an index may take its time, and the gate knows whether anybody is there


@dataclass(frozen=True)
class Target:
    """Where a dump is restored: the backend bound to its host, and how commands run there."""

    shell: Shell
    backend: Backend
    user: User | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def on(cls, backend: Backend, shell: Shell, suffix: str) -> Self:
        """Return the target for dumps whose raw stream has that suffix.

        Raises StageError where the host cannot become the backend's `su`, RecipeError for secrets that cannot be
        handed over, or a backend that makes no such dumps.
        """
        checked_backend(backend)
        secrets = checked_secrets(backend)
        user = become(shell, backend.su) if backend.su else None
        bare = cls(shell, backend, user, secrets)
        bound = backend.reading(suffix).on(bare.ask, here=shell.here)
        return cls(shell, bound, user, secrets)

    def ask(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout there."""
        return Pipeline((self.stage(argv),), self.secrets).answer(self.shell)

    def stage(self, argv: Sequence[str], database: str = "") -> Stage:
        """Return the stage that runs `argv` there."""
        words = checked_argv(argv, self.secrets, database)
        name = self.backend.stage or ("restore" if words[0] == "sh" else PurePath(words[0]).name)
        hidden = tuple(self.backend.hidden_variables)
        return Stage(name, words, secrets=tuple(self.secrets), user=self.user, without=hidden)


def verified(place: Place, stored: Stored, advanced: Callable[[int], object]) -> Examined:
    """Read a dump back, all of it, and return what was found.

    Raises BadDump where it is bad, and StageError where it cannot be unwrapped here.
    """
    examined = examine(place, stored, advanced)
    record = examined.record
    if record.fault:
        raise BadDump(f"{stored.name.id} {stored.name.stamp}: {record.fault}", examined.hint)
    if record.level in (None, "bytes"):
        why = "; ".join(examined.notes) or "it could not be unwrapped"
        raise StageError("unwrap", f"cannot be decrypted here: {why}", "Restore where its secret key is.")
    if stored.manifest.backend != place.job.dump.backend.name:
        raise RecipeError(
            f"{stored.name.id} is of {stored.manifest.backend}, and the recipe of {place.job.dump.backend.name}",
            f"Say --backend={stored.manifest.backend}.",
        )
    return examined


class SecondPass:
    """Reads a dump that was verified once more. Raises BadDump where it has changed since.

    `marks` are of the reading that verified it: nothing goes anywhere that is not what was read then. It reads once.
    """

    def __init__(self, place: Place, stored: Stored, marks: bytes, advanced: Callable[[int], object]) -> None:
        self._stored = stored
        self._pieces: Iterator[memoryview] = same(self._read(place), marks, stored.manifest.sha256)
        self._advanced = advanced
        self._shell = place.machines.local
        self._stages = unwrapping(stored, place.job.dump.wrap or ())
        self._fault: BadDump | None = None
        self._stopped = False
        self._look: Look = lambda: None  # raises where nobody wants any more of it

    def begin(self) -> None:
        """Read the first piece, and compare it. Raises what is wrong with it, before anything is dropped."""
        with self._noting_its_fault():
            self._pieces = chain([*islice(self._pieces, 1)], self._pieces)

    def into(self, target: Target, argv: Sequence[str], before_end: Callable[[], object] = lambda: None) -> None:
        """Have `argv` restore it there; do `before_end` when all was handed over, before it hears of the end.

        Raises StageError where that fails; it never sees the end of what is bad.
        """
        # What is done on this machine alone is one pipeline, and its bytes are copied no more often than by hand.
        alone = target.shell is self._shell and not (target.user and target.user.relays_stdin)
        gate = Gate(self._stages if alone else ())
        feed = self._bytes if alone else self._raw
        self._look = gate.look

        def hear(piece: memoryview) -> None:
            """Take what the gate says. Raises Interrupted after a signal."""
            if target.shell.ended:
                raise Interrupted("ended before it was restored")
            gate.hear(piece)

        stage = gate.stage(target.stage(argv, self._stored.manifest.database))
        restoring = Pipeline((stage,), target.secrets, _PATIENCE, fed=True)
        with self._its_fault_first():
            restoring.run(target.shell, hear, lambda write: gate.send(write, feed, before_end))

    def to(self, write: Write) -> None:
        """Write the raw stream."""
        with self._its_fault_first():
            self._raw(write)

    @contextmanager
    def _its_fault_first(self) -> Iterator[None]:
        """Raise what is wrong with the dump instead of what that has led to."""
        try:
            yield
        except Exception:
            if self._fault is not None:
                raise self._fault from None
            raise

    def _raw(self, write: Write) -> None:
        if self._stages:
            Pipeline(self._stages, {}, _PATIENCE, fed=True).run(
                self._shell, self._onward(write), self._feed, self._look
            )
        else:
            self._bytes(write)

    def _bytes(self, write: Write) -> None:
        self._feed(self._onward(write))

    def _onward(self, write: Write) -> Write:
        """Return what writes, and notes that nobody takes any more."""

        def onward(piece: memoryview) -> None:
            """Write all of `piece`. Raises what `write` raises."""
            try:
                write(piece)
            except BaseException:
                self._stopped = True
                raise

        return onward

    def _feed(self, write: Write) -> None:
        """Write the stored bytes, and compare all of them, also where what unwraps them has had enough."""
        refused = None
        with self._noting_its_fault():
            for piece in self._pieces:
                try:
                    if refused is None:
                        write(piece)
                except OSError as error:
                    if self._stopped:
                        raise
                    refused = error
        if refused is not None:
            raise refused

    @contextmanager
    def _noting_its_fault(self) -> Iterator[None]:
        """Note what is found to be wrong with the dump inside, and raise it as BadDump."""
        try:
            yield
        except Gone as error:
            self._fault = error
            raise
        except Changed:
            self._fault = BadDump(
                f"{self._stored.name.id} {self._stored.name.stamp}: changed since it was verified, a moment ago",
                "Somebody writes where it is stored: find out who, and take another dump.",
            )
            raise self._fault from None

    def _read(self, place: Place) -> Iterator[bytes]:
        for piece in place.read(self._stored):
            if self._shell.ended:
                raise Interrupted("ended before it was restored")
            if not piece:
                self._look()
            self._advanced(len(piece))
            yield piece
