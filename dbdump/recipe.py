"""Recipes: what to dump, how to wrap it and where it goes, as values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, overload

from .aside import stdout_aside
from .backends.base import Backend
from .errors import RecipeError
from .host import Host
from .retention import Keep
from .wrappers.base import Wrapper
from .writers.base import Writer

DEFAULT_DATADIR = "/var/backups"


@dataclass(frozen=True)
class Dump:
    """What a recipe returns: a backend, and what is to be done with its bytes.

    `wrap` is a list of wrappers, in order; None is the site's, or zstd. `to` is a writer; None is the site's,
    or /var/backups. `stall_timeout` is in seconds: a dump without a byte for so long is ended as failed.
    `wrap_at` is "controller" for a host that lacks the wrappers' programs: then plain bytes leave it, through
    SSH only; otherwise it is "host". `keep` says which dumps stay when there are more; without it all of them do.
    """

    backend: Backend
    wrap: Sequence[Wrapper] | None = None
    to: Writer | None = None
    stall_timeout: float | None = None
    wrap_at: Literal["host", "controller"] | None = None
    keep: Keep | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.keep, Keep | None):
            raise RecipeError(f"keep={self.keep!r}: not a Keep", "Write keep=Keep(last=3, daily=31, monthly=12).")

    def or_else(self, other: Dump) -> Dump:
        """Return it with `other`'s value where it has none of its own; lists replace, nothing is merged."""
        missing = {each.name: getattr(other, each.name) for each in fields(self) if getattr(self, each.name) is None}
        return replace(self, **missing)


@dataclass(frozen=True)
class Recipe:
    """A function that makes a Dump for a host, and what the listing says of it."""

    host: Host
    name: str
    function: Callable[[Host], Dump]
    tags: tuple[str, ...]
    site: Site | None
    source: str  # FILE:LINE

    @property
    def id(self) -> str:
        """`host/recipe`."""
        return f"{self.host.name}/{self.name}"

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    def dump(self) -> Dump:
        """Call the function. Raises RecipeError, naming file and line, for whatever goes wrong in it."""
        try:
            with stdout_aside():
                dump = self.function(self.host)
        except RecipeError as error:
            raise RecipeError(f"{self.source}: {self.id}: {error.message}", error.hint) from error
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise RecipeError(f"{self.source}: {self.id}: {reason}", "Mend the recipe.") from error
        if not isinstance(dump, Dump):
            raise RecipeError(
                f"{self.source}: {self.id} returned {type(dump).__name__}, not a Dump",
                "Write: return Dump(BACKEND, …).",
            )
        return dump.or_else(self.site.defaults(dump.backend)) if self.site else dump


RecipeFunction = Callable[[Host], Dump]

_recipes: list[Recipe] = []


def taken() -> list[Recipe]:
    """Return the recipes that were declared since the last call, and forget them."""
    recipes = list(_recipes)
    _recipes.clear()
    return recipes


def _declare(function: RecipeFunction, hosts: Iterable[Host], tags: Iterable[str], site: Site | None) -> None:
    if isinstance(tags, str):
        raise RecipeError(f"tags={tags!r}: not a list", f"Write tags=[{tags!r}].")
    code = inspect.unwrap(function).__code__
    source = f"{code.co_filename}:{code.co_firstlineno}"
    _recipes.extend(Recipe(host, function.__name__, function, tuple(tags), site, source) for host in hosts)


def recipe(host: Host, *, tags: Sequence[str] = ()) -> Callable[[RecipeFunction], RecipeFunction]:
    """Declare the decorated function, which takes its host and returns a Dump, as a recipe of `host`."""
    if not isinstance(host, Host):
        raise RecipeError(f"@recipe({host!r}): not a host", 'Write @recipe(Host("db1")) or @recipe(localhost).')

    def declare(function: RecipeFunction) -> RecipeFunction:
        _declare(function, [host], tags, None)
        return function

    return declare


@dataclass(frozen=True, eq=False)
class Site:
    """Hosts that share defaults: what a recipe of the site does not say itself is as the site says."""

    hosts: Sequence[Host]
    wrap: Sequence[Wrapper] | None = None
    to: Writer | None = None
    stall_timeout: float | None = None
    wrap_at: Literal["host", "controller"] | None = None
    keep: Keep | None = None

    def defaults(self, backend: Backend) -> Dump:
        """Return a Dump of `backend` that says only what the site says."""
        said = {each.name: getattr(self, each.name) for each in fields(Dump) if each.name != "backend"}
        return Dump(backend, **said)

    @overload
    def recipe(self, function: RecipeFunction, /) -> RecipeFunction: ...

    @overload
    def recipe(
        self, /, *, only: Sequence[str] | None = None, tags: Sequence[str] = ()
    ) -> Callable[[RecipeFunction], RecipeFunction]: ...

    def recipe(
        self,
        function: RecipeFunction | None = None,
        /,
        *,
        only: Sequence[str] | None = None,
        tags: Sequence[str] = (),
    ) -> Any:
        """Declare the decorated function as a recipe of every host of the site, or of those named in `only`.

        Raises RecipeError where `only` names a host that the site has not.
        """
        names = [host.name for host in self.hosts]
        if strangers := [name for name in only or () if name not in names]:
            raise RecipeError(f"only={strangers[0]!r}: not a host of this site", f"It has: {', '.join(names)}.")

        def declare(function: RecipeFunction) -> RecipeFunction:
            hosts = [host for host in self.hosts if only is None or host.name in only]
            _declare(function, hosts, tags, self)
            return function

        return declare if function is None else declare(function)
