"""Restore what was chosen: look at the target, verify, clear what is in the way, load, and know what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rich.filesize import decimal

from .catalog import GLOBALS, DumpName, printable
from .choosing import Chosen
from .errors import DbdumpError, StageError
from .plan import Job
from .progress import Plain
from .restoring import SecondPass, Target, verified
from .stored import Stored
from .survey import Place

UNKNOWN = -1  # things in a target of a backend that cannot tell


@dataclass(frozen=True)
class Look:
    """What the target is called, and how many things are in it: None where it is not there."""

    into: str
    things: int | None


class Restorer:
    """One restore: of `chosen`, where `job` says, under the name `as_name`; `jobs` at once; told to `shown`."""

    def __init__(self, chosen: Chosen, job: Job, as_name: str | None, jobs: int, *, force: bool) -> None:
        self.shown = Plain()
        self._chosen = chosen
        self._job = job
        self._as_name = as_name
        self._jobs = jobs
        self._force = force
        self._marks: dict[DumpName, bytes] = {}
        self._before: int | None = None
        self._loading = False
        self._touched = False
        self._dropped = False
        self._kept = False
        self.globals_fault: DbdumpError | None = None

    @property
    def database(self) -> str:
        """The name that it was dumped under."""
        return self._chosen.stored.manifest.database

    def look(self, place: Place) -> Look:
        """Look at the target. Raises StageError where something is in the way, unless it is to be dropped."""
        return self._look(self._target(place, self._chosen.stored))

    def work(self, place: Place) -> None:
        """Do it. Raises BadDump before anything is touched, and StageError where a step fails."""
        host, recipe = place.job.host.name, place.job.recipe
        first = place.job.dump.backend.globals_first
        with place.store.held(host, recipe, alone=False):
            for each in filter(None, (self._chosen.stored, self._chosen.globals)):
                self._verify(place, each)
            if first:
                self._globals(place)
            self._database(place)
            if not first:
                self._globals(place)

    def left(self, place: Place) -> str:
        """Return what is left of a restore that failed."""
        if not self._touched:
            return "nothing was touched"
        before = "; what was there before was dropped" if self._dropped else ""
        target = self._target(place, self._chosen.stored)
        into = target.backend.target_of(self.database, self._as_name)
        things = UNKNOWN if self.database == GLOBALS else _things(target, into)
        name = printable(into)
        if things is None:
            return f"left: nothing of {name}{before}"
        if self._kept or (things == self._before and not self._loading):
            return f"left: {name}, as it was before"
        if things == 0:
            return f"left: {name}, empty{before}"
        perhaps = "perhaps " if things == UNKNOWN else ""
        return f"left: {perhaps}{name}, as far as it came: drop it, or restore again with --force{before}"

    def _target(self, place: Place, stored: Stored) -> Target:
        shell = place.machines.reach(self._job).host
        return Target.on(self._job.dump.backend, shell, stored.raw_suffix)

    def _look(self, target: Target) -> Look:
        if self.database == GLOBALS:
            return Look(GLOBALS, None)
        into = target.backend.target_of(self.database, self._as_name)
        things = _things(target, into)
        if things and not self._force:
            name = f"{printable(into)} on {self._job.host.name}"
            raise StageError(
                "restore",
                f"{name} is not empty ({told_things(things)})",
                "Give it another name with --as, or drop it with --force.",
            )
        return Look(into, things)

    def _verify(self, place: Place, stored: Stored) -> None:
        name = f"verify {stored.name.id} {stored.name.stamp}"
        began = time.monotonic()
        self.shown.started(name, stored.size)
        examined = verified(place, stored, partial(self.shown.advanced, name))
        self._marks[stored.name] = examined.marks
        told = "".join(f"  ({printable(each)})" for each in examined.notes)
        self.shown.ended(name, f"verified {stored.name.id} {stored.name.stamp}  {_took(stored, began)}{told}")

    def _globals(self, place: Place) -> None:
        """Restore the globals, where they are asked for; what fails of them is told, and stops nothing else."""
        stored = self._chosen.globals
        if stored is None:
            return
        target = self._target(place, stored)
        argv = target.backend.get_restoring_command(GLOBALS, GLOBALS, 1)
        try:
            self._load(place, stored, target, argv, self._job.host.name)
        except StageError as error:
            self.globals_fault = error

    def _database(self, place: Place) -> None:
        stored, database = self._chosen.stored, self.database
        target = self._target(place, stored)
        look = self._look(target)
        backend, into = target.backend, look.into
        argv = None if look.things is None else backend.get_replacing_command(database, into, self._jobs)
        self._kept = argv is not None
        if argv is None:
            if look.things:
                self._touched, self._before = True, look.things
                _discard(target, into)
                self._dropped = True
            argv = backend.get_restoring_command(database, into, self._jobs)
        where = self._job.host.name if database == GLOBALS else f"{printable(into)} on {self._job.host.name}"
        self._load(place, stored, target, argv, where)

    def _load(self, place: Place, stored: Stored, target: Target, argv: list[str] | None, where: str) -> None:
        if argv is None:
            raise StageError(
                "restore",
                f"{target.backend.name} has no command that restores {stored.name.id} so",
                "Restore it under its own name, or take --to-stdout.",
            )
        name = f"restore {stored.name.id} {stored.name.stamp}"
        began = time.monotonic()
        self.shown.started(name, stored.size)
        second = SecondPass(place, stored, self._marks[stored.name], partial(self.shown.advanced, name))
        self._touched = self._loading = True
        _hinted(target, lambda: second.into(target, argv))
        self.shown.ended(name, f"restored {stored.name.id} {stored.name.stamp} as {where}  {_took(stored, began)}")


def told_things(things: int) -> str:
    """Return in words how many things there are."""
    return "nobody can tell" if things == UNKNOWN else f"{things} tables and the like"


def _things(target: Target, into: str) -> int | None:
    try:
        return target.backend.contents(into)
    except NotImplementedError:
        return UNKNOWN


def _discard(target: Target, into: str) -> None:
    try:
        _hinted(target, lambda: target.backend.discard(into))
    except NotImplementedError:
        return  # what restores will say whether something is in the way


def _hinted(target: Target, step: Callable[[], None]) -> None:
    """Do a step of the target's. Raises StageError with what the backend says to do about it."""
    try:
        step()
    except StageError as error:
        error.hint = error.hint or target.backend.hint(error.message)
        raise


def _took(stored: Stored, began: float) -> str:
    return f"{decimal(stored.size)} in {time.monotonic() - began:.1f} s"
