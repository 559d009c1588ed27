"""The drill: a dump that was found good is restored into a scratch database, which is counted and dropped.

PostgreSQL and MySQL: on the server of a host, under a name of its own, or on a throw-away server of this machine, which
all dumps of a recipe share, and which goes after the last of them. SQLite: in a file here.

On a throw-away PostgreSQL server the roles of the dump's run are loaded first, from its @globals, and then it is
restored with owners and grants, as it would be after a fire. Where there are no globals, an archive is restored without
these; of plain SQL, which names them, nothing can be said then. Globals are drilled on a server of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from .backends.base import Backend
from .backends.postgresql import PostgreSQL
from .catalog import GLOBALS, utc_now
from .errors import BadDump, Gone, StageError
from .place import Place
from .plan import Job
from .scratch import Held, Scratch
from .scratch_host import scratch_database
from .scratch_postgresql import load_globals
from .second_pass import SecondPass
from .stored import Drill, Stored
from .throwaway import ThrowAway
from .unwrap import unwrapping

# What a tool says where something here or there is amiss, and not the dump.
_NOT_ITS_FAULT = (
    ("No space left|could not extend file|disk full|is full",
     "It needs as much room as the database: give TMPDIR a directory that has it, and that everybody may write to."),
    (r"(invalid|wrong) (LC_\w+ )?locale name|could not create locale",
     "Make that locale here (Debian: locale-gen), or name a host whose server has it: --to=HOST."),
    ("permission denied to create database|Access denied|password authentication failed|no password supplied",
     "Whom the recipe's backend connects as has to be allowed to make a database there."),
    (r"^(?!.*\bERROR\b).*not found$|cannot be run|unsupported version",  # what a function says is behind ERROR
     "Install the client programs of the dump's version, or newer."),
    ("^killed|was killed|could not connect|connection to server|server closed the connection|terminating connection",
     "Try once more; the server's log says why."),
    ("Can't connect|Lost connection|gone away|[Oo]ut of memory", "Try once more; the server's log says why."),
)  # fmt: skip
_NO_ROLE = re.compile('(?:role|tablespace) ".*" does not exist')


def drill(place: Place, stored: Stored, marks: bytes, to: Job | None, advanced: Callable[[int], object]) -> Drill:
    """Restore a dump, which gave `marks` when it was verified, into a scratch database; return what came of it.

    It is on the server that the job `to` says how to reach, or one to throw away. `advanced` is told of the stored
    bytes as they are read. The scratch database is dropped in any case. Raises StageError where nothing can be said
    of the dump, because of something else; ConnectError; Interrupted.
    """
    at = utc_now()
    dump = SecondPass(place, stored, marks, advanced)
    if to is not None and not place.job.dump.backend.is_file:
        with scratch_database(place, stored, to) as hosted:
            done = _Trial(place, stored, hosted.scratch, hosted.into).drill(at, dump)
        return replace(done, fault="; ".join(filter(None, [done.fault, hosted.left])))
    with _trial_here(place, stored) as trial:
        return trial.drill(at, dump)


def why_not(stored: Stored, to: Job | None) -> str:
    """Return why there is no drill of a dump, or an empty string."""
    if stored.manifest.database == GLOBALS and to is not None:
        return "not restored: globals would stay on that server; without --to they are drilled too"
    return ""


def end_drills(place: Place) -> None:
    """End the throw-away server of a recipe, after its last drill."""
    _shared(place).close()


def _shared(place: Place) -> ThrowAway:
    links = place.machines.reach(place.job).links
    return links.shared(("drills", place.job.id), lambda: ThrowAway(place))


@contextmanager
def _trial_here(place: Place, stored: Stored) -> Iterator[_Trial]:
    """Give one dump somewhere to be restored on this machine, for a while."""
    backend, database = place.job.dump.backend, stored.manifest.database
    if backend.is_file:
        shell = place.machines.local
        with closing(Held(shell, "drill", None, "")) as held:
            scratch = Scratch(shell, backend.for_files_here()).reading(stored.raw_suffix)
            yield _Trial(place, stored, scratch, f"{held.directory}/database")
    elif database == GLOBALS:
        with closing(ThrowAway(place)) as server:  # they may change who is allowed what
            scratch = server.scratch(stored)
            yield _Trial(place, stored, scratch, GLOBALS, directory=server.directory)
    else:
        server = _shared(place)
        scratch = server.scratch(stored)
        roles = not isinstance(backend, PostgreSQL) or server.has_roles_of(stored)
        with server.database(scratch.backend, database) as into:
            yield _Trial(place, stored, scratch, into, roles=roles)


@dataclass(frozen=True)
class _Trial:
    """One dump to be restored: the way to where that is, its name there, and whether all of its roles should be there.

    `directory` is that of the server.
    """

    place: Place
    stored: Stored
    scratch: Scratch
    into: str
    roles: bool = True
    directory: str = ""

    def drill(self, at: str, dump: SecondPass) -> Drill:
        """Restore it, count, and return what came of it."""
        began = time.monotonic()
        fault = self._fault_of(lambda: self._restore(dump))
        seconds = round(time.monotonic() - began, 3)
        counted = [(0, 0)]
        if not fault and self.stored.manifest.database != GLOBALS:
            fault = self._fault_of(lambda: counted.append(self.scratch.backend.count(self.into)))
        return Drill(at, seconds, *counted[-1], fault)

    def _restore(self, dump: SecondPass) -> None:
        backend, database = self.scratch.backend, self.stored.manifest.database
        if isinstance(backend, PostgreSQL) and database == GLOBALS:
            text = bytearray()
            dump.to(text.extend)
            load_globals(self.scratch, bytes(text), self.directory)
            return
        if isinstance(backend, PostgreSQL) and not self.roles:
            backend = backend.without_owners()
        argv = backend.get_load_command(database, self.into, 1)
        if argv is None:
            raise StageError("drill", f"{backend.name} cannot restore it as {self.into}", _without(backend))
        dump.into(self.scratch, argv)

    def _fault_of(self, action: Callable[[], None]) -> str:
        """Do it, and return what is wrong with the dump. Raises what is no fault of it."""
        try:
            action()
        except Gone:
            raise
        except BadDump as error:
            return error.message
        except StageError as error:
            unwrap = {each.name for each in unwrapping(self.stored, self.place.job.dump.wrap or ())}
            if error.stage in {"drill", *unwrap}:
                raise
            if not self.roles and _NO_ROLE.search(error.message):
                why = f"{error.message}; there are no good @globals of its run to take it from"
                raise StageError(
                    "drill", why, "Let the recipe dump globals, or name a host whose server has them: --to=HOST."
                ) from error
            for pattern, hint in _NOT_ITS_FAULT:
                if re.search(pattern, error.message):
                    raise StageError("drill", error.message, hint) from error
            return error.message
        return ""


def _without(backend: Backend) -> str:
    return f"Leave --to out: {backend.name} restores it under its own name, on a server to throw away."
