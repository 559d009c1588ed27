"""Restore what was chosen: look at the target, verify, clear what is in the way, load, and know what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rich.filesize import decimal

from .catalog import GLOBALS, DumpName, printable
from .choosing import Chosen
from .errors import DbdumpError, ReadError, StageError
from .examine import Examined
from .left import UNKNOWN, Left
from .place import Place
from .plan import Job
from .probe import PROGRAMS
from .progress import Plain
from .second_pass import SecondPass, Target, verified
from .stored import Stored


@dataclass(frozen=True)
class Contents:
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
        self._examined: dict[DumpName, Examined] = {}
        self._left = Left()
        self.agreed: Contents | None = None
        self.globals_fault: DbdumpError | None = None

    @property
    def database(self) -> str:
        """The name that it was dumped under."""
        return self._chosen.stored.manifest.database

    def look(self, place: Place) -> Contents:
        """Look at the target. Raises StageError where something is in the way, unless it is to be dropped."""
        return self._look(self._target(place, self._chosen.stored))

    def work(self, place: Place) -> None:
        """Do it. Raises BadDump before anything is touched, and StageError where a step fails."""
        first = place.job.dump.backend.globals_first
        with place.held():
            for each in filter(None, (self._chosen.stored, self._chosen.globals)):
                self._verify(place, each)
            target = self._target(place, self._chosen.stored)
            if first and self._chosen.globals:
                self._ready(target)  # else they could be restored in vain
                self._globals(place)
            self._database(place, target)
            if not first:
                self._globals(place)

    def left(self, place: Place) -> str:
        """Return what is left of a restore that failed."""
        if not self._left.touched:
            return "nothing was touched"
        target = self._target(place, self._chosen.stored)
        backend = target.backend
        into = backend.target_of(self.database, self._as_name)
        things = UNKNOWN if self.database == GLOBALS else _things(target, into)
        identity = "" if self._left.identity is None else backend.identity(into)
        return self._left.told(printable(into), things, identity)

    def _target(self, place: Place, stored: Stored) -> Target:
        shell = place.machines.reach(self._job).host
        return Target.on(self._job.dump.backend, shell, stored.raw_suffix)

    def _look(self, target: Target) -> Contents:
        if self.database == GLOBALS:
            return Contents(GLOBALS, None)
        into = target.backend.target_of(self.database, self._as_name)
        things = _things(target, into)
        if things and not self._force:
            name = f"{printable(into)} on {self._job.host.name}"
            raise StageError(
                "restore",
                f"{name} is not empty ({told_things(things)})",
                "Give it another name with --as, or drop it with --force.",
            )
        return Contents(into, things)

    def _verify(self, place: Place, stored: Stored) -> None:
        name = f"verify {stored.name.id} {stored.name.stamp}"
        began = time.monotonic()
        self.shown.started(name, stored.size)
        examined = verified(place, stored, partial(self.shown.advanced, name))
        self._examined[stored.name] = examined
        told = "".join(f"  ({printable(each)})" for each in examined.notes)
        self.shown.ended(name, f"verified {stored.name.id} {stored.name.stamp}  {_took(stored, began)}{told}")

    def _globals(self, place: Place) -> None:
        """Restore the globals, where they are asked for; what fails of them is told, and stops nothing else."""
        stored = self._chosen.globals
        if stored is None:
            return
        target = self._target(place, stored)
        try:
            argv = _there_is(target.backend.get_load_command(GLOBALS, GLOBALS, 1), target, stored)
            self._left.globals = "begun"
            self._load(self._second(place, stored), stored, target, argv, where=f"on {self._job.host.name}")
        except (StageError, ReadError) as error:
            self.globals_fault = error
        else:
            self._left.globals = "restored"

    def _ready(self, target: Target) -> tuple[Contents, list[str], bool]:
        """Look at the target again; return what is there, the argv that restores, and whether it replaces at once.

        Raises StageError where something is in the way that nobody was told of, or where that argv could not begin:
        nothing is dropped in vain.
        """
        found, backend, stored = self._look(target), target.backend, self._chosen.stored
        name = f"{printable(found.into)} on {self._job.host.name}"
        if self.agreed and (found.things or 0) > (self.agreed.things or 0):
            now = f"{name} has more in it now than when you were asked ({told_things(found.things)})"
            raise StageError("restore", now, "Somebody uses it: look at it, and restore again.")
        examined = self._examined[stored.name]
        if found.things and examined.record.level == "content":
            why = f"{'; '.join(examined.notes)}; and {name} would be dropped for it"
            hint = "Install that here, so that it is verified to its end; or restore it beside: --as=NAME."
            raise StageError("restore", why, hint)
        given = self.database, found.into, self._jobs
        argv = None if found.things is None else backend.get_replacing_command(*given)
        if argv is not None:
            return found, argv, True
        argv = _there_is(backend.get_load_command(*given), target, stored)
        if found.things:
            program = target.stage(argv, self.database).argv[0]
            if not target.ask(["sh", "-c", PROGRAMS, "sh", program]):
                raise StageError("restore", f"{program}: not found on the PATH of {self._job.host.name}", "Install it.")
            trial = backend.get_trial_command(*given)
            _hinted(target, lambda: trial and target.ask(trial))
        return found, argv, False

    def _database(self, place: Place, target: Target) -> None:
        found, argv, at_once = self._ready(target)
        self._left.before = found.things

        def clear() -> None:
            """Drop what is in the way, unless it is replaced at once."""
            if found.things and not at_once:
                self._left.step = "dropping"
                self._left.dropped = _discard(target, found.into)
            self._left.step = "loading"

        if at_once:
            self._left.identity = target.backend.identity(found.into)
        late = bool(found.things) and target.backend.spools(self.database, found.into, self._jobs)
        stored = self._chosen.stored
        second = self._second(place, stored)
        if not late:
            second.begin()  # what is dropped can be replaced, as far as is known
            clear()
        globals_ = self.database == GLOBALS
        where = f"on {self._job.host.name}" if globals_ else f"as {printable(found.into)} on {self._job.host.name}"
        self._load(second, stored, target, argv, where=where, before_end=clear if late else lambda: None)
        self._left.step = "loaded"

    def _second(self, place: Place, stored: Stored) -> SecondPass:
        name = _step(stored)
        self.shown.started(name, stored.size)
        return SecondPass(place, stored, self._examined[stored.name].marks, partial(self.shown.advanced, name))

    def _load(  # noqa: PLR0913  each is another thing
        self,
        second: SecondPass,
        stored: Stored,
        target: Target,
        argv: list[str],
        *,
        where: str,
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        began = time.monotonic()
        _hinted(target, lambda: second.into(target, argv, before_end))
        self.shown.ended(
            _step(stored), f"restored {stored.name.id} {stored.name.stamp} {where}  {_took(stored, began)}"
        )


def _step(stored: Stored) -> str:
    return f"restore {stored.name.id} {stored.name.stamp}"


def told_things(things: int | None) -> str:
    """Return in words how many things there are."""
    return "nobody can tell" if things == UNKNOWN else f"{things or 0} tables and the like"


def _things(target: Target, into: str) -> int | None:
    try:
        return target.backend.contents(into)
    except NotImplementedError:
        return UNKNOWN


def _there_is(argv: list[str] | None, target: Target, stored: Stored) -> list[str]:
    """Return the argv. Raises StageError where there is none."""
    if argv is None:
        raise StageError(
            "restore",
            f"{target.backend.name} has no command that restores {stored.name.id} so",
            "Restore it under its own name, or take --to-stdout.",
        )
    return argv


def _discard(target: Target, into: str) -> bool:
    """Drop it, and return whether it was: what restores will say else whether something is in the way."""
    try:
        _hinted(target, lambda: target.backend.discard(into))
    except NotImplementedError:
        return False
    return True


def _hinted(target: Target, step: Callable[[], object]) -> None:
    """Do a step of the target's. Raises StageError with what the backend says to do about it."""
    try:
        step()
    except StageError as error:
        error.hint = error.hint or target.backend.hint(error.message)
        raise


def _took(stored: Stored, began: float) -> str:
    return f"{decimal(stored.size)} in {time.monotonic() - began:.1f} s"
