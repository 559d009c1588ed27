"""Read one stored dump back, to its end, and say how far it is what it should be.

It is read once: its bytes are counted and hashed while they are unwrapped and read to the end of their structure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath

from .backends.base import Backend
from .catalog import utc_now
from .errors import RecipeError, StageError
from .host import is_here
from .intake import Fault, Intake
from .pipeline import Ended, Pipeline
from .place import Place
from .script import Stage
from .signatures import Signatures
from .stored import Level, Record, Stored
from .stream_ends import Ends
from .unwrap import signing, unwrapping
from .wrappers.gpg import GPG
from .wrappers.gpg_verify import HINTS, decryption_fault, locked, signature_fault

# Some readers stop before the end of the stream, or fail there, which would end those that unwrap it.
_TO_THE_END = '"$@"; status=$?; cat >/dev/null; exit $status'

_CANNOT = 75  # EX_TEMPFAIL of sysexits(3): a check command that could not look, which is no fault of the dump
_KILLED = 126  # the exit statuses of what could not be run, or was killed, begin here
_TOO_OLD = re.compile("unsupported version", re.IGNORECASE)  # pg_restore's, of an archive by a newer pg_dump

_MADE_SO = "It is as it was stored, so it was made so: take another dump."


@dataclass(frozen=True)
class Examined:
    """What was found of one dump: the record of it, what to do where it is bad, and what is said besides.

    `signer` is the fingerprint of the key whose signature was looked at and found good; `marks` are what a second
    reading is compared to.
    """

    record: Record
    hint: str = ""
    notes: tuple[str, ...] = ()
    signer: str | None = None
    marks: bytes = field(default=b"", repr=False)


def examine(place: Place, stored: Stored, advanced: Callable[[int], object]) -> Examined:
    """Read one dump back, all of it, and return what was found.

    `advanced` is told of the bytes as they come. Raises DumpError where it could not be looked at: a lost connection,
    a tool that is missing here, a name that is of no key; and Interrupted.
    """
    examination = _Examination(place, stored, advanced)
    try:
        level = examination.level()
    except _Bad as bad:
        return Examined(_record(stored, bad.level, bad.fault.text), bad.fault.hint or _hint(bad.fault.text))
    return Examined(_record(stored, level), "", tuple(examination.notes), examination.signer, examination.marks)


class _Bad(Exception):  # noqa: N818  what it is
    """The dump is bad: the level it reached before, and what is wrong."""

    def __init__(self, level: Level | None, fault: Fault) -> None:
        super().__init__(fault.text)
        self.level = level
        self.fault = fault


class _Examination:
    """One dump being read; `notes` are what is no fault, and yet to be said."""

    def __init__(self, place: Place, stored: Stored, advanced: Callable[[int], object]) -> None:
        self._stored = stored
        self._manifest = stored.manifest
        self._shell = place.machines.local
        self._dump = place.job.dump
        self._wrappers = place.job.dump.wrap or ()
        self._signing = signing(self._wrappers)
        self._signatures = Signatures(place)
        self._intake = Intake(place, stored, advanced)
        self.notes: list[str] = []
        self.signer: str | None = None

    @property
    def marks(self) -> bytes:
        """What a second reading is compared to."""
        return self._intake.marks

    def level(self) -> Level:
        """Return the level that was reached. Raises _Bad, and what `examine` does."""
        _refuse(None, self._intake.fault_of_size())
        keys = self._signers()
        unwrap = unwrapping(self._stored, self._wrappers)
        for stage in unwrap:
            _refuse_missing(stage.argv[0])
        backend = self._backend()
        check = self._check(backend)
        pipeline = Pipeline((*unwrap, check or Ends.stage()), {}, self._dump.stall_timeout or 0.0, fed=True)
        said = bytearray()
        ended = pipeline.pump(self._shell, said.extend, self._intake.feed)
        _refuse(None, self._intake.fault())
        if level := self._unwrapped(ended, keys) or self._structure(pipeline, ended):
            return level
        return "structure" if check else self._ends(Ends.read(bytes(said)), backend)

    def _signers(self) -> frozenset[str]:
        """Judge the manifest's signature; return the keys that may sign."""
        if self._signing is None:
            if self._stored.signed:
                self.notes.append("signature not checked: the recipe names no key")
            return frozenset()
        if fault := self._signatures.fault(self._stored):
            raise _Bad(None, Fault(fault))
        self.signer = self._manifest.signer
        return self._signatures.keys

    def _backend(self) -> Backend | None:
        """Return the backend that reads the raw stream, or None where the recipe's does not."""
        backend = self._dump.backend
        if backend.name != self._manifest.backend:
            self.notes.append(f"structure not read: it is of {self._manifest.backend}, the recipe of {backend.name}")
            return None
        try:
            return backend.reading(self._stored.raw_suffix)
        except RecipeError as error:
            self.notes.append(f"structure not read: {error.message}")
            return None

    def _check(self, backend: Backend | None) -> Stage | None:
        argv = backend and backend.get_check_command(self._manifest.database)
        if not argv:
            return None
        name = PurePath(argv[0]).name if backend is None or backend.stage is None else backend.stage
        if is_here(argv[0]):
            return Stage(name, ("sh", "-c", _TO_THE_END, "sh", *argv))
        self.notes.append(f"structure not read: no {name} here")
        return None

    def _unwrapped(self, ended: Ended, keys: frozenset[str]) -> Level | None:
        """Judge what GnuPG said of the stream; return the level where it went no further."""
        lines = ended.said.status_lines
        if GPG.suffix not in self._stored.wrapped:
            return None
        if why := locked(lines):
            self.notes.append(f"not decrypted: {why}")
            return "bytes"
        fault = decryption_fault(lines, encrypted=bool(self._manifest.recipients))
        if fault := fault or (signature_fault(lines, keys) if self._signing else ""):
            raise _Bad("bytes", Fault(fault))
        return None

    def _structure(self, pipeline: Pipeline, ended: Ended) -> Level | None:
        """Judge how the stages ended. Raises StageError for what is no fault of the dump."""
        statuses = [ended.said.statuses.get(index) for index in range(len(pipeline.stages))]
        # Each reads to its end what comes: the first that failed is the cause.
        index = next((index for index, status in enumerate(statuses) if status != 0), None)
        if index is None:
            pipeline.judge(ended)
            return None
        error, status, last = pipeline.blame(ended, index), statuses[index], index == len(statuses) - 1
        if status is None or status >= _KILLED or (last and status == _CANNOT):
            raise error
        if last and _TOO_OLD.search(error.message):
            self.notes.append(f"structure not read: {error.stage} here is older than the dump")
            return "content"
        raise _Bad("content" if last else "bytes", Fault(f"{error.stage}: {error.message}", error.hint or _MADE_SO))

    def _ends(self, ends: Ends, backend: Backend | None) -> Level:
        if self._manifest.raw_bytes not in (None, ends.size):
            raise _Bad("bytes", Fault(f"unwrapped it is {ends.size} bytes, not {self._manifest.raw_bytes}", _MADE_SO))
        if backend is None:
            return "content"
        if fault := backend.shape_of(self._manifest.database).fault(ends.first, ends.first + ends.last):
            raise _Bad("content", Fault(fault, _MADE_SO))
        # Where there is a command that reads the structure, it is not here, and the ends are no proof.
        return "content" if backend.get_check_command(self._manifest.database) else "structure"


def _refuse(level: Level | None, fault: Fault | None) -> None:
    if fault is not None:
        raise _Bad(level, fault)


def _record(stored: Stored, level: Level | None, fault: str = "") -> Record:
    """Return the record; what a drill found before stays in it."""
    return Record(stored.manifest.sha256, utc_now(), level, fault, stored.record.drill if stored.record else None)


def _hint(fault: str) -> str:
    return next((hint for pattern, hint in HINTS if re.search(pattern, fault)), "Take another dump.")


def _refuse_missing(program: str) -> None:
    if not is_here(program):
        raise StageError(program, "not found on PATH here", f"Install {program} on this machine.")
