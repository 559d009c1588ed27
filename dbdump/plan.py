"""What will be done with each database, as values, and the rules that decide it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from .backends.base import Backend
from .catalog import DumpName, decode, encode
from .errors import DumpError, RecipeError, StageError
from .host import Host
from .pipeline import Pipeline
from .recipes import Dump
from .redact import looks_secret, redact
from .script import Stage
from .shell import Asker, Shell
from .wrappers.base import Wrapper
from .wrappers.compress import Compress
from .wrappers.gpg import PinnedGPG
from .writers.base import Store

_SUFFIX = re.compile(r"(?:\.\w+)+")
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
    """One database as it will be dumped: by `pipeline` on the host, then by `wrapping`, if any, on the controller.

    `restore` makes, of the argv that prints the file, the line that restores it. A file of `empty_bytes`, or fewer, is
    what the wrappers make of nothing. After a lost connection it is dumped anew, up to `retries` times. `keys` are
    those of GnuPG, if it is signed or encrypted.
    """

    name: DumpName
    backend: Backend
    pipeline: Pipeline
    store: Store
    versions: Mapping[str, str]
    restore: Callable[[Sequence[str]], str]
    empty_bytes: int
    shell: Shell
    wrapping: Pipeline | None = None
    keys: PinnedGPG | None = None
    retries: int = 0

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, wherever they run."""
        return self.pipeline.stages + (self.wrapping.stages if self.wrapping else ())

    def by(self, argv: Sequence[str]) -> Planned:
        """Return the same, dumped by another argv of its backend."""
        first, *others = self.pipeline.stages
        first = replace(first, argv=checked_argv(argv, self.pipeline.values, self.name.database))
        return replace(self, pipeline=replace(self.pipeline, stages=(first, *others)))


@dataclass(frozen=True)
class Skipped:
    """One database that will not be dumped, and need not be."""

    name: DumpName
    reason: str


@dataclass(frozen=True)
class Refused:
    """One database that should be dumped, and cannot be."""

    name: DumpName
    error: DumpError


Plan = Planned | Skipped | Refused


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether `name` is one of `globs`, or matches one; a name that looks like a glob is still a name."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def is_glob(pattern: str) -> bool:
    """Whether it may match names other than itself."""
    return bool(set("*?[") & set(pattern))


def is_directory_of(directory: str, globs: Iterable[str]) -> bool:
    """Whether a directory is that of a database whose name is one of `globs`, or matches one.

    Where a long name was cut, only the name itself tells.
    """
    name = decode(directory)
    return any(encode(glob) == directory for glob in globs) if name is None else matches(name, globs)


def selected(database: str, backend: Backend) -> bool:
    """Whether a backend's `include` and `exclude` leave `database` in."""
    return (not backend.include or matches(database, backend.include)) and not matches(database, backend.exclude)


def wanted_wrappers(wrap: Sequence[Wrapper] | None) -> list[Wrapper]:
    """Return the wrappers that a recipe wants; one that says nothing wants its dumps compressed."""
    return [Compress()] if wrap is None else list(wrap)


def chosen_wrappers(wanted: Sequence[Wrapper], programs: AbstractSet[str], ask: Asker) -> list[Wrapper]:
    """Return the wrappers for a host whose PATH has `programs`, and where `ask` runs a command.

    Raises StageError where it has not what the recipe wants.
    """
    chosen = []
    for each in wanted:
        wrapper = each if each.program not in programs and not isinstance(each, Compress) else each.on(programs, ask)
        chosen.append(wrapper)
        if wrapper.program not in programs:
            raise StageError(
                wrapper.program,
                "not found on the host's PATH",
                f"Install {wrapper.program} there, or give the recipe another wrap.",
            )
    return chosen


def empty_bytes(wrappers: Iterable[Wrapper]) -> int:
    """Return the most bytes that `wrappers`, one after the other, make of nothing."""
    size = 0
    for wrapper in wrappers:
        size = wrapper.most_bytes(size)
    return size


def retries_of(host: Host | None, to: object) -> int:
    """Return how often a dump whose connection was lost is begun anew: that to another `host`, or to where it goes.

    Of the two, who says nothing leaves it to the other.
    """
    ways = [*([] if host is None else [host.retries]), *([to.retries] if hasattr(to, "retries") else [])]
    return max((each for each in ways if each is not None), default=1 if ways else 0)


def checked_secrets(backend: Backend) -> dict[str, str]:
    """Return a backend's secret variables. Raises RecipeError for what cannot be handed over as a line."""
    secrets = backend.environment()
    for name, value in secrets.items():
        if not _VARIABLE.fullmatch(name):
            raise RecipeError(f"environment: {name!r} cannot be the name of a variable", "Rename it.")
        if not isinstance(value, str) or {"\n", "\0"} & set(value):
            raise RecipeError(f"environment: the value of {name} is no text of one line", "Change it.")
    return secrets


def known_secrets(backend: Backend) -> tuple[str, ...]:
    """Return the values that no line may show, as far as a backend tells them before it is bound; it never raises."""
    values: list[object] = []
    with suppress(Exception):  # what is wrong with it is told where it is used
        values += backend.env.values()
        values += backend.environment().values()
    return tuple(each for each in values if isinstance(each, str))


def checked_backend(backend: Backend) -> None:
    """Raise RecipeError for a backend that has no name, whose suffix would hide its dumps, or whose globs are none."""
    if not backend.name:
        raise RecipeError(f"{type(backend).__name__} has no name", 'Decorate the class with @backend("name").')
    if not _SUFFIX.fullmatch(backend.suffix):
        raise RecipeError(f"{backend.name}: suffix {backend.suffix!r}", 'Write it with a dot: ".rdb".')
    for option, globs in {"include": backend.include, "exclude": backend.exclude}.items():
        if isinstance(globs, str):
            raise RecipeError(f"{backend.name}: {option}={globs!r} is not a list", f"Write {option}=[{globs!r}].")
        if not (isinstance(globs, Sequence) and all(isinstance(each, str) for each in globs)):
            raise RecipeError(
                f"{backend.name}: {option}={globs!r} is not a list of globs", f'Write {option}=["shop*"].'
            )


def checked_argv(argv: Sequence[str], secrets: Mapping[str, str], database: str = "") -> tuple[str, ...]:
    """Return a backend's command. Raises RecipeError for what is no list of words, or holds a secret.

    What is in the name of the `database` is nobody's secret, whatever it looks like.
    """
    if isinstance(argv, str) or not argv or not all(isinstance(word, str) for word in argv):
        raise RecipeError(
            f"a command has to be a list of words, not {type(argv).__name__}",
            'Write ["redis-cli", "--rdb", "-"]; no shell will split it.',
        )
    words = [word.replace(database, "") for word in argv] if database else argv
    if any(looks_secret(word) or redact(word, secrets.values()) != word for word in words):
        raise RecipeError(
            f"a secret stands in the arguments of {argv[0]}, where every user of the host could read it",
            "Return it from environment() instead.",
        )
    return tuple(argv)
