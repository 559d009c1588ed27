"""The throw-away server of one recipe's drills: started for the first of them, and shared by databases of any name."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator

from . import scratch_mysql, scratch_postgresql
from .backends.base import Backend
from .backends.mysql import MySQL
from .backends.postgresql import PostgreSQL
from .catalog import GLOBALS, SCRATCH
from .errors import DumpError, StageError
from .examine import examine
from .place import Place
from .scratch import Held, Scratch
from .second_pass import SecondPass
from .stored import Stored


def scratch_name() -> str:
    """Return a name that no database has."""
    return f"{SCRATCH}{secrets.token_hex(4)}"


class ThrowAway:
    """A throw-away server for the dumps of a recipe. To be closed; harmless where it was never started."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._scratch: Scratch | None = None
        self._names: set[str] = set()
        self._roles: dict[str, bool] = {}

    def scratch(self, stored: Stored) -> Scratch:
        """Return the way to it; it is started where it is not there. Raises StageError where it cannot be."""
        with self._lock:
            if self._scratch is None:
                self._held, self._scratch = _started(self._place, stored)
            return self._scratch.reading(stored.raw_suffix)

    @property
    def directory(self) -> str:
        """Its directory, where files of it may be."""
        if self._held is None:
            raise RuntimeError("the server was never started")
        return self._held.directory

    @contextlib.contextmanager
    def database(self, backend: Backend, database: str) -> Iterator[str]:
        """Have a name for what is restored, and drop it after: its own, unless that is taken.

        Nothing has to be renamed then.
        """
        with self._lock:
            free = database not in self._names and backend.contents(database) is None
            name = database if free else scratch_name()
            self._names.add(name)
        try:
            yield name
        finally:
            with contextlib.suppress(DumpError):  # there may be none, and it goes with the server
                backend.discard(name)
            with self._lock:
                self._names.discard(name)

    def has_roles_of(self, stored: Stored) -> bool:
        """Whether it has the roles of the run that made a dump: they are loaded once, from its @globals.

        What goes wrong then is for the drill of the globals to tell.
        """
        scratch = self.scratch(stored)
        with self._lock:
            if stored.name.stamp not in self._roles:
                self._roles[stored.name.stamp] = self._load_roles(scratch, stored)
            return self._roles[stored.name.stamp]

    def _load_roles(self, scratch: Scratch, stored: Stored) -> bool:
        globals_ = next(
            (each for each in self._place.listed_once().of(GLOBALS) if each.name.stamp == stored.name.stamp), None
        )
        if globals_ is None:
            return False
        examined = examine(self._place, globals_, lambda _: None)
        if examined.record.fault:
            return False
        text = bytearray()
        SecondPass(self._place, globals_, examined.marks, lambda _: None).to(text.extend)
        try:
            scratch_postgresql.load_globals(scratch.reading(globals_.raw_suffix), bytes(text), self.directory)
        except StageError:
            return False
        return True

    def close(self) -> None:
        """End it, and wait for that."""
        with self._lock:
            if self._held is not None:
                self._held.close()
            self._held = self._scratch = None
            self._roles = {}


def _started(place: Place, stored: Stored) -> tuple[Held, Scratch]:
    shell, backend, versions = place.machines.local, place.job.dump.backend, stored.manifest.versions
    if isinstance(backend, PostgreSQL):
        return scratch_postgresql.throw_away(shell, backend, versions.get("pg_dump", ""))
    if isinstance(backend, MySQL):
        return scratch_mysql.throw_away(shell, backend, versions.get("server", ""))
    raise StageError(
        "drill", f"there is no throw-away server of {backend.name}",
        "Name a host of the recipes whose server may be used: --to=HOST.",
    )  # fmt: skip
