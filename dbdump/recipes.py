"""Recipes: what to dump, how to wrap it and where it goes, as values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, overload

from .aside import stdout_aside
from .backends.base import Backend
from .errors import DbdumpError, RecipeError, UsageError
from .host import Host
from .retention import Keep
from .wrappers.base import Wrapper, wrapper_fault
from .writers.base import Writer


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
        if not isinstance(self.backend, Backend):
            raise RecipeError(f"{_shown(self.backend)}: not a backend", "Write Dump(PostgreSQL(), …).")
        refuse_odd(self)

    def or_else(self, other: Dump) -> Dump:
        """Return it with `other`'s value where it has none of its own; lists replace, nothing is merged."""
        missing = {each.name: getattr(other, each.name) for each in fields(self) if getattr(self, each.name) is None}
        return replace(self, **missing)


def refuse_odd(said: Dump | Site) -> None:
    """Raise RecipeError for a value of what a Dump and a Site both say that is not of its kind."""
    wrap, to, patience = said.wrap, said.to, said.stall_timeout
    if not isinstance(wrap, list | tuple | None):
        raise RecipeError(f"wrap={_shown(wrap)}: not a list of wrappers", "Write wrap=[Zstd()], or [] for none.")
    for each in wrap or ():
        if fault := wrapper_fault(each):
            hint = "Write wrap=[Zstd()]; what a wrapper of your own has to have is in dbdump/wrappers/base.py."
            raise RecipeError(f"wrap: {_shown(each)}: {fault}", hint)
    if wrap and [each.suffix for each in wrap].count(".gpg") > 1:
        raise RecipeError("wrap: GPG twice", "Say all in one: GPG(sign=…, encrypt=[…]).")
    if not (to is None or _has(to, "bound", "place")):
        raise RecipeError(f"to={_shown(to)}: not a writer", 'Write to=Directory("/srv/dumps").')
    if not (patience is None or (isinstance(patience, int | float) and patience > 0)):
        raise RecipeError(f"stall_timeout={_shown(patience)}: not a number of seconds", "Write stall_timeout=600.")
    if said.wrap_at not in (None, "host", "controller"):
        raise RecipeError(f"wrap_at={_shown(said.wrap_at)}", 'There are "host" and "controller".')
    if not isinstance(said.keep, Keep | None):
        raise RecipeError(f"keep={_shown(said.keep)}: not a Keep", "Write keep=Keep(last=3, daily=31, monthly=12).")


def _has(value: object, *names: str) -> bool:
    """Whether it is a thing, and no class, that has what a protocol names."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in names)


def _shown(value: object) -> str:
    """Return a value as it is written in a recipe: of a class its name, which lacks its parentheses."""
    return f"{value.__name__}, without ()" if isinstance(value, type) else repr(value)


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
        return self.made(lambda dump: dump)

    def made(self, over: Callable[[Dump], Dump]) -> Dump:
        """Return what `over` makes of its dump, with the site's defaults. Raises RecipeError as `dump` does."""
        with self._blamed(), stdout_aside():
            dump = self._whole(self.function(self.host))
        with self._blamed(UsageError):  # what is wrong with a flag is not the recipe's fault
            return over(dump)

    @contextmanager
    def _blamed(self, *others: type[Exception]) -> Iterator[None]:
        """Raise what goes wrong inside as a RecipeError that names file and line, but for errors of `others`."""
        try:
            yield
        except others:
            raise
        except DbdumpError as error:
            raise RecipeError(f"{self.source}: {self.id}: {error.message}", error.hint) from error
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise RecipeError(f"{self.source}: {self.id}: {reason}", "Mend the recipe.") from error

    def _whole(self, dump: Dump) -> Dump:
        """Return it with the defaults of its site."""
        if not isinstance(dump, Dump):
            raise RecipeError(f"it returned {type(dump).__name__}, not a Dump", "Write: return Dump(BACKEND, …).")
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
    tags = tuple(tags)
    if odd := [each for each in tags if not isinstance(each, str)]:
        raise RecipeError(f"tags: {odd[0]!r} is no text", "Write tags=['prod', '2024'].")
    code = inspect.unwrap(function).__code__
    source = f"{code.co_filename}:{code.co_firstlineno}"
    _recipes.extend(Recipe(host, function.__name__, function, tags, site, source) for host in hosts)


def recipe(host: Host, *, tags: Sequence[str] = ()) -> Callable[[RecipeFunction], RecipeFunction]:
    """Declare the decorated function, which takes its host and returns a Dump, as a recipe of `host`."""
    if not isinstance(host, Host):
        raise RecipeError(f"@recipe({host!r}): not a host", 'Write @recipe(Host("db1")) or @recipe(localhost).')

    def declare(function: RecipeFunction) -> RecipeFunction:
        """Note the function as a recipe of that host."""
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

    def __post_init__(self) -> None:
        if not (isinstance(self.hosts, list | tuple) and self.hosts and all(isinstance(h, Host) for h in self.hosts)):
            raise RecipeError(f"hosts={_shown(self.hosts)}: not a list of hosts", 'Write Site([Host("db1")], …).')
        refuse_odd(self)

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
        if only is not None and not only:
            raise RecipeError("only=[]: of no host at all", "Leave it out for all of the site.")
        names = [host.name for host in self.hosts]
        if strangers := [name for name in only or () if name not in names]:
            raise RecipeError(f"only={strangers[0]!r}: not a host of this site", f"It has: {', '.join(names)}.")

        def declare(function: RecipeFunction) -> RecipeFunction:
            """Note the function as a recipe of each of those hosts."""
            hosts = [host for host in self.hosts if only is None or host.name in only]
            _declare(function, hosts, tags, self)
            return function

        return declare if function is None else declare(function)
