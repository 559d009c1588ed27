"""A scratch database on the server of a host: made by what is restored, and dropped whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from .backends.base import Backend
from .errors import ConnectError, DumpError, Interrupted, StageError
from .machines import Machines
from .place import Place
from .plan import Job
from .scratch import Scratch
from .stored import Stored
from .throwaway import scratch_name


@dataclass
class Hosted:
    """The way to the server, the name of the scratch database, and what is left where it could not be dropped."""

    scratch: Scratch
    into: str
    left: str = ""


@contextmanager
def scratch_database(place: Place, stored: Stored, job: Job) -> Iterator[Hosted]:
    """Have a scratch database on the server of a host, reached as `job` says.

    Raises StageError for a backend that could not drop it again, and what reaching that host raises.
    """
    backend = job.dump.backend
    if type(backend).discard is Backend.discard or type(backend).count is Backend.count:
        raise StageError("drill", f"{backend.name} can neither count nor drop what it restores", "Leave it out.")
    hosted = Hosted(Scratch.on(backend, place.machines.reach(job).host, stored.raw_suffix), scratch_name())
    try:
        yield hosted
    except BaseException as error:
        hosted.left = _dropped(hosted, job, stored)
        if hosted.left and isinstance(error, DumpError):
            error.message = f"{error.message}; {hosted.left}"
        raise
    hosted.left = _dropped(hosted, job, stored)


def _dropped(hosted: Hosted, job: Job, stored: Stored) -> str:
    """Drop the scratch database; return what is left, if anything is."""
    name = f"the scratch database {hosted.into}"
    try:
        try:
            why = _drop(hosted.scratch.backend, hosted.into)
        except (Interrupted, ConnectError):  # by ways of its own: those of the run are gone
            with closing(Machines(here=hosted.scratch.shell.here)) as machines:
                way = Scratch.on(job.dump.backend, machines.reach(job).host, stored.raw_suffix)
                why = _drop(way.backend, hosted.into)
    except DumpError as error:
        return f"{name} is perhaps left on {job.host.name}: {error.message}"
    return f"{name} is left on {job.host.name}: {why}" if why else ""


def _drop(backend: Backend, database: str) -> str:
    """Drop it; return why it is still there, if it is. Raises DumpError where nobody can tell."""
    with suppress(StageError):  # perhaps it is not there, or needs nothing to be let go of
        backend.let_go(database)
    try:
        backend.discard(database)
    except StageError as error:
        if backend.contents(database) is not None:
            return error.message
    return ""
