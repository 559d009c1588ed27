"""A job bound to its host: it asks there, and makes a plan of the answers. Nothing is dumped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import PurePath
from typing import TypeVar

from . import __version__
from .backends.base import Backend
from .catalog import GLOBALS, SCRATCH, DumpName
from .errors import DumpError, ListError, RecipeError, Skip, StageError
from .links import Reach
from .pipeline import Pipeline, asker
from .plan import (
    Job,
    Plan,
    Planned,
    Refused,
    Skipped,
    checked_argv,
    checked_backend,
    checked_secrets,
    chosen_wrappers,
    empty_bytes,
    is_glob,
    matches,
    retries_of,
    selected,
    wanted_wrappers,
)
from .probe import probe
from .redact import redact
from .script import Stage, restore_line
from .talk import Talk
from .wrappers.base import Wrapper
from .wrappers.compress import COMPRESSORS, Compress
from .wrappers.gpg import PinnedGPG

# stdio writes 4 KiB at once, and each time whoever reads wakes up; zstd reads as many bytes as these at once.
_LARGE_PIECES = ("stdbuf", "-o131072")
_DAY = 86400.0  # seconds without a question, after which what is kept running is ended


class Bound:
    """A job on its host, with a backend that can ask it.

    Raises StageError where the host cannot become the backend's `su`, and RecipeError for secrets that cannot be
    handed over.
    """

    def __init__(self, job: Job, reach: Reach, stamp: str) -> None:
        self.job = job
        self.shell = reach.host
        self.wrapper_shell = reach.controller if job.dump.wrap_at == "controller" else reach.host
        self.store = _given(job.dump.to).bound(reach)
        self._stamp = stamp
        checked_backend(job.dump.backend)
        self._secrets = checked_secrets(job.dump.backend)
        wanted = wanted_wrappers(job.dump.wrap)
        programs = {*COMPRESSORS, _LARGE_PIECES[0], *(each.program for each in wanted)}
        facts = probe(self.shell, sorted(programs), job.dump.backend.su)
        self._user = facts.user
        larger = job.dump.backend.by_stdio and _LARGE_PIECES[0] in facts.programs
        self._starter = _LARGE_PIECES if larger else ()
        if self.wrapper_shell is not self.shell:
            facts = probe(self.wrapper_shell, sorted(programs), None)
        self._choose = cache(partial(chosen_wrappers, wanted, facts.programs, asker(self.wrapper_shell)))
        self._wrap: list[Wrapper] = []
        self._talks: list[Talk] = []
        self.backend = job.dump.backend.on(_Asking(self), here=self.shell.here)
        self.notice = ""
        if Compress() in wanted and "zstd" not in facts.programs:
            self.notice = f"{job.host.name} has no zstd: compressing with gzip"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that nobody is to see."""
        return tuple(self._secrets.values())

    def choose_before_prepare(self) -> None:
        """Choose the wrappers, so that nothing is prepared where a key is no good. Raises StageError for that.

        Where the backend prepares nothing they are chosen while the server is asked, which takes as long.
        """
        if type(self.backend).prepare is not Backend.prepare:
            self._choose()

    def plan(self, patterns: Sequence[str]) -> list[Plan]:
        """Return what to do with each database; with `patterns` (globs), only with those that match one.

        Raises ListError where there is nothing to dump, what the backend's query raises, and StageError where a
        wrapper cannot be used.
        """
        with ThreadPoolExecutor(1, "wrappers") as pool:  # GnuPG takes its time, and so does the server
            choosing = pool.submit(self._choose)
            try:
                names = list(dict.fromkeys(self.backend.get_db_list()))
                globals_command = self.backend.get_globals_command()
            except (ListError, StageError) as error:
                self._add_fault_of_wrappers(error, choosing)
                raise
        self._wrap = choosing.result()
        if not names and globals_command is None:
            raise ListError("the server lists no databases", "Look at the server, and at who asks it.")
        if names and not any(selected(name, self.backend) for name in names):
            raise ListError(f"include and exclude leave none of {len(names)} databases", "Mend those globs.")
        versions = {"dbdump": __version__, **self.backend.versions()}
        plans = [self._plan(name, versions) for name in names if not patterns or matches(name, patterns)]
        plans += [self._absent(name) for name in self._not_listed(names) if not patterns or matches(name, patterns)]
        if not patterns and all(isinstance(each, Skipped) for each in plans):
            raise ListError(f"none of {len(names)} databases can be dumped", "Look at what its user may see.")
        if globals_command is not None and (not patterns or matches(GLOBALS, patterns)):
            plans.append(self._planned(self._name(GLOBALS), globals_command, versions))
        return plans

    def _add_fault_of_wrappers(self, error: DumpError, choosing: Future[list[Wrapper]]) -> None:
        """Have `error`, the server's, say what is wrong with the wrappers too, so that both are mended at once."""
        other = choosing.exception()
        if isinstance(other, StageError):
            hints = error.hint or self.backend.hint(error.message), other.hint
            error.message += f"; and {other.stage}: {other.message}"
            error.hint = " ".join(filter(None, hints))

    def _plan(self, database: str, versions: dict[str, str]) -> Plan:
        name = self._name(database)
        if reason := self._left_out(database):
            return Skipped(name, reason)
        if database == GLOBALS:
            return Refused(name, ListError("the dump of the globals has that name", "Rename the database."))
        try:
            argv = self.backend.get_command(database)
            if argv is None:
                return Skipped(name, "the backend has no command for it")
            return self._planned(name, argv, versions)
        except Skip as skip:
            return Skipped(name, str(skip))
        except (DumpError, RecipeError) as error:
            stage = error.stage if isinstance(error, DumpError) else "command"
            return Refused(name, StageError(stage, redact(error.message, self._secrets.values()), error.hint))

    def _not_listed(self, names: Sequence[str]) -> list[str]:
        """Return what the recipe includes by its name, and is not there, or not for who asks."""
        wanted = [each for each in self.backend.include if selected(each, self.backend) and not is_glob(each)]
        return [each for each in wanted if each not in (*names, GLOBALS)]

    def _absent(self, database: str) -> Plan:
        error = ListError(
            "the recipe includes it, and the server does not list it", "Was it dropped? May its user see it?"
        )
        return Refused(self._name(database), error)

    def _left_out(self, database: str) -> str:
        if not selected(database, self.backend):
            return "left out by the recipe"
        scratch = re.fullmatch(f"{SCRATCH}[0-9a-f]{{8}}", database)
        return "scratch database of a drill; where none runs, drop it" if scratch else ""

    def _planned(self, name: DumpName, argv: Sequence[str], versions: dict[str, str]) -> Planned:
        patience = _given(self.job.dump.stall_timeout)
        check = self.backend.check_stream
        stages = [replace(self._stage(argv, name.database), starter=self._starter)]
        wrapping = tuple(
            Stage(each.program, tuple(each.command()), proof=each.proof if isinstance(each, PinnedGPG) else ())
            for each in self._wrap
        )
        travels = bool(wrapping) and self.wrapper_shell is not self.shell
        if not travels:
            stages += wrapping
        pipeline = Pipeline(
            tuple(stages),
            self._secrets,
            patience,
            self.backend.checks_stream(name.database) if check is None else check,
        )
        restore = self.backend.get_restore_command(name.database)
        line = partial(
            restore_line,
            unwrap=[each.inverse() for each in reversed(self._wrap)],
            restore=None if restore is None else self._stage(restore, name.database),
        )
        retries = retries_of(None if self.shell.here else self.job.host, self.job.dump.to)
        return Planned(
            name, self.backend, pipeline, self.store, versions, line, empty_bytes(self._wrap), self.shell,
            Pipeline(wrapping, {}, patience, fed=True) if travels else None,
            next((each for each in self._wrap if isinstance(each, PinnedGPG)), None), retries,
        )  # fmt: skip

    def _name(self, database: str) -> DumpName:
        suffix = "".join([self.backend.suffix_of(database), *(each.suffix for each in self._wrap)])
        return DumpName(self.job.host.name, self.job.recipe, database, self._stamp, suffix)

    def _stage(self, argv: Sequence[str], database: str = "") -> Stage:
        words = checked_argv(argv, self._secrets, database)
        name = self.backend.stage or PurePath(words[0]).name
        return Stage(
            name, words, secrets=tuple(self._secrets), user=self._user,
            without=tuple(self.backend.hidden_variables), detail=self.backend.detail,
        )  # fmt: skip

    def answer(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout, run on the host as the backend's user. Raises StageError."""
        return Pipeline((self._stage(argv),), self._secrets).answer(self.shell)

    def keep(self, argv: Sequence[str]) -> Talk:
        """Start `argv` there, as that user, to be asked again and again until `close`."""
        talk = Talk(Pipeline((self._stage(argv),), self._secrets, _DAY, fed=True), self.shell)
        self._talks.append(talk)
        return talk

    def close(self) -> None:
        """End what is kept running."""
        for each in self._talks:
            each.close()


class _Asking:
    """What a backend asks its host by; see Asker and Keeper."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def __call__(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout."""
        return self._bound.answer(argv)

    def keep(self, argv: Sequence[str]) -> Talk:
        """Start `argv`, and return what asks it."""
        return self._bound.keep(argv)


Value = TypeVar("Value")


def _given(value: Value | None) -> Value:
    if value is None:
        raise RuntimeError("a job is planned before its defaults are filled in")
    return value
