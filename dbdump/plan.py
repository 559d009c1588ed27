"""From a recipe's Dump and the host's answers to one pipeline per database. Nothing is dumped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TypeVar

from . import __version__
from .backends.base import Backend
from .catalog import GLOBALS, DumpName
from .errors import ListError, RecipeError, Skip, StageError
from .host import Host, Shell
from .pipeline import Pipeline
from .probe import Facts, probe
from .recipe import Dump
from .redact import looks_secret, redact
from .script import Stage, restore_line
from .wrappers.base import Wrapper
from .wrappers.compress import Gzip, Zstd
from .writers.base import Writer

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Job:
    """One recipe as it will be run: all defaults filled in, but for `wrap`, which the host may decide."""

    host: Host
    recipe: str
    dump: Dump

    @property
    def id(self) -> str:
        """`host/recipe`."""
        return f"{self.host.name}/{self.recipe}"


@dataclass(frozen=True)
class Planned:
    """One database as it will be dumped."""

    name: DumpName
    backend: Backend
    pipeline: Pipeline
    writer: Writer
    versions: dict[str, str]
    restore: str
    empty_bytes: int  # a file of that size, or less, is what the wrappers make of nothing


@dataclass(frozen=True)
class Skipped:
    """One database that will not be dumped, and why."""

    name: DumpName
    reason: str


class Bound:
    """A job bound to its host: its backend can ask there, and its wrappers are ones the host has.

    Raises StageError where the host cannot become the backend's `su` or lacks a wrapper's program, and
    RecipeError for secrets that cannot be handed over.
    """

    def __init__(self, job: Job, shell: Shell, stamp: str) -> None:
        self.job = job
        self._shell = shell
        self._stamp = stamp
        self._secrets = _checked_secrets(job.dump.backend)
        wanted = job.dump.wrap
        programs = {"zstd", "gzip", "pigz", *(each.program for each in wanted or ())}
        facts = probe(shell, sorted(programs), job.dump.backend.su)
        self._user = facts.user
        self._wrap = _chosen(wanted, facts)
        self.backend = job.dump.backend.on(self._ask)
        self.notice = ""
        if wanted is None and "zstd" not in facts.programs:
            self.notice = f"{job.host.name} has no zstd: compressing with {self._wrap[0].program}"

    def plan(self, patterns: Sequence[str]) -> list[Planned | Skipped]:
        """Return what to do with each database; with `patterns` (globs), only with those that match one.

        Raises ListError where there is nothing to dump, or what the backend's query raises.
        """
        names = list(dict.fromkeys(self.backend.get_db_list()))
        if GLOBALS in names:
            raise ListError(f"a database is called {GLOBALS}, as the dump of the globals is", "Rename it.")
        globals_command = self.backend.get_globals_command()
        if not names and globals_command is None:
            raise ListError("the server lists no databases", "Look at the server, and at who asks it.")
        if names and not any(_selected(name, self.backend) for name in names):
            raise ListError(
                f"include and exclude leave none of {len(names)} databases", "Look at the recipe's globs."
            )
        asked = [name for name in names if not patterns or any(fnmatchcase(name, glob) for glob in patterns)]
        if globals_command is not None and (not patterns or GLOBALS in patterns):
            asked.append(GLOBALS)
        versions = {"dbdump": __version__, **self.backend.versions()}
        return [self._plan_one(name, versions) for name in asked]

    def _plan_one(self, database: str, versions: dict[str, str]) -> Planned | Skipped:
        job, backend = self.job, self.backend
        suffix = "".join([backend.suffix_of(database), *(each.suffix for each in self._wrap)])
        name = DumpName(job.host.name, job.recipe, database, self._stamp, suffix)
        if database == GLOBALS:
            argv = backend.get_globals_command()
        elif not _selected(database, backend):
            return Skipped(name, "left out by the recipe")
        else:
            try:
                argv = backend.get_command(database)
            except Skip as skip:
                return Skipped(name, str(skip))
        if argv is None:
            return Skipped(name, "the backend has no command for it")
        writer = _given(job.dump.to)
        return Planned(
            name,
            backend,
            self._pipeline(argv),
            writer,
            versions,
            self._restore_line(database, writer.location(name)),
            self._empty_bytes,
        )

    def _pipeline(self, argv: Sequence[str]) -> Pipeline:
        wrappers = (Stage(each.program, tuple(each.command())) for each in self._wrap)
        check = self.backend.check_stream
        return Pipeline(
            (self._stage(argv), *wrappers),
            self._secrets,
            _given(self.job.dump.stall_timeout),
            self.backend.checks_stream if check is None else check,
        )

    def _stage(self, argv: Sequence[str]) -> Stage:
        _refuse_bad_argv(argv, self._secrets)
        name = self.backend.stage or PurePath(argv[0]).name
        return Stage(name, tuple(argv), secrets=tuple(self._secrets), user=self._user)

    def _restore_line(self, database: str, location: str) -> str:
        argv = self.backend.get_restore_command(database)
        unwrap = [each.inverse() for each in reversed(self._wrap)]
        return restore_line(location, unwrap, None if argv is None else self._stage(argv))

    @property
    def _empty_bytes(self) -> int:
        size = 0
        for wrapper in self._wrap:
            size = wrapper.most_bytes(size)
        return size

    def _ask(self, argv: Sequence[str]) -> bytes:
        return Pipeline((self._stage(argv),), self._secrets).answer(self._shell)


def _selected(database: str, backend: Backend) -> bool:
    included = not backend.include or any(fnmatchcase(database, glob) for glob in backend.include)
    return included and not any(fnmatchcase(database, glob) for glob in backend.exclude)


def _chosen(wanted: Sequence[Wrapper] | None, facts: Facts) -> list[Wrapper]:
    if wanted is None:
        wanted = [Zstd() if "zstd" in facts.programs else Gzip()]
    chosen = [wrapper.on(facts.programs) for wrapper in wanted]
    for wrapper in chosen:
        if wrapper.program not in facts.programs:
            raise StageError(
                wrapper.program,
                "not found on the host's PATH",
                f"Install {wrapper.program} there, or give the recipe another wrap.",
            )
    return chosen


def _checked_secrets(backend: Backend) -> dict[str, str]:
    secrets = backend.environment()
    for name, value in secrets.items():
        if not _VARIABLE.fullmatch(name):
            raise RecipeError(f"environment: {name!r} cannot be the name of a variable")
        if {"\n", "\0"} & set(value):
            raise RecipeError(f"environment: the value of {name} has a line end or a NUL in it")
    return secrets


def _refuse_bad_argv(argv: Sequence[str], secrets: dict[str, str]) -> None:
    if isinstance(argv, str) or not argv or not all(isinstance(word, str) for word in argv):
        raise RecipeError(
            f"a command has to be a list of words, not {type(argv).__name__}",
            'Write ["redis-cli", "--rdb", "-"]; no shell will split it.',
        )
    if any(looks_secret(word) or redact(word, secrets.values()) != word for word in argv):
        raise RecipeError(
            f"a secret stands in the arguments of {argv[0]}, where every user of the host could read it",
            "Return it from environment() instead.",
        )


Value = TypeVar("Value")


def _given(value: Value | None) -> Value:
    if value is None:
        raise RuntimeError("a job is planned before its defaults are filled in")
    return value
