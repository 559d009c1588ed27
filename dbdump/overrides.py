"""What the command line says over a recipe, or instead of one, and the jobs that come of it."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from .backends.base import Backend
from .backends.registry import find
from .errors import RecipeError, UsageError
from .host import Host
from .plan import Job, wanted_wrappers
from .recipes import Dump, Recipe
from .ssh_words import destination, split_remote
from .wrappers.base import Wrapper
from .wrappers.gpg import GPG
from .writers.base import Writer
from .writers.directory import Directory
from .writers.remote import Remote

# What is taken where neither a flag nor the recipe nor its site says it; README and the flags' help tell them.
DATADIR = "/var/backups"
STALL_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Overrides:
    """What flags say: where to, and options of backends by name, each with all its values as typed."""

    datadir: str | None = None
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remote: str | None = None
    sign: str | None = None
    encrypt: Sequence[str] = ()

    def over(self, dump: Dump) -> Dump:
        """Return `dump` with what the flags say, as far as its backend has such options, and the defaults."""
        known = {each.name for each in fields(dump.backend)}
        said = {name: values for name, values in self.options.items() if name in known}
        defaults = Dump(dump.backend, to=Directory(DATADIR), stall_timeout=STALL_TIMEOUT, wrap=dump.wrap)
        chosen = replace(
            dump,
            backend=replace(dump.backend, **converted(type(dump.backend), said)),
            to=self._to(dump.to),
            wrap=self._wrap(dump.wrap),
        )
        return _without_detour(chosen.or_else(defaults))

    def _wrap(self, wrap: Sequence[Wrapper] | None) -> Sequence[Wrapper] | None:
        """Return the wrappers with the flags' keys: in the recipe's GPG, or in one that comes last."""
        if not (self.sign or self.encrypt):
            return wrap
        chosen = wanted_wrappers(wrap)
        for index, each in enumerate(chosen):
            if isinstance(each, GPG):
                chosen[index] = replace(each, sign=self.sign or each.sign, encrypt=self.encrypt or each.encrypt)
                return chosen
        return [*chosen, GPG(self.sign, self.encrypt)]

    def _to(self, writer: Writer | None) -> Writer | None:
        """Return where to: the flags' machine and directory, and of the recipe's what they do not say."""
        if self.remote:
            path = self.datadir or (writer.path if isinstance(writer, Remote | Directory) else DATADIR)
            known = writer if isinstance(writer, Remote) else Remote(self.remote, path)
            return replace(known, target=self.remote, path=path)
        if self.datadir and isinstance(writer, Remote | Directory):
            return replace(writer, path=self.datadir)
        return Directory(self.datadir) if self.datadir else writer


def _without_detour(dump: Dump) -> Dump:
    """Return `dump`. Raises RecipeError where it stays on its host and yet is to be wrapped elsewhere."""
    if dump.wrap_at == "controller" and isinstance(dump.to, Directory) and dump.to.on == "host":
        raise RecipeError(
            'wrap_at="controller" with Directory(on="host"): the bytes never come to the controller',
            "Leave out one of them; wrap=[] stores them as they are.",
        )
    return dump


def split_options(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of `key=value` pairs by key. Raises UsageError for what is no pair."""
    options: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"--option {pair!r}: no key=value", "Write for example --option format=plain.")
        options.setdefault(key.replace("-", "_"), []).append(value)
    return options


def jobs_of(recipes: Sequence[Recipe], overrides: Overrides) -> tuple[list[Job], list[RecipeError]]:
    """Return a job for each recipe, and the errors of those that do not make one.

    Raises UsageError for an option that no selected recipe's backend has, and RecipeError where two
    recipes would write to one place.
    """
    jobs: list[Job] = []
    errors: list[RecipeError] = []
    for recipe in recipes:
        try:
            jobs.append(Job(recipe.host, recipe.name, recipe.made(overrides.over)))
        except RecipeError as error:
            errors.append(error)
    known = {each.name for job in jobs for each in fields(job.dump.backend)}
    if jobs and (unknown := sorted(set(overrides.options) - known)):
        raise UsageError(f"no selected recipe's backend has the option {unknown[0]!r}", _SEE_BACKENDS)
    refuse_one_place(jobs)
    return jobs, errors


def ad_hoc(backend: str, hosts: Sequence[str], overrides: Overrides) -> list[Job]:
    """Return a job for each of `hosts`, localhost if there are none, made of flags alone.

    Raises UsageError for a backend that there is not, or an option that it has not, and RecipeError for a
    host that ssh does not take, or two that are called alike.
    """
    cls = find(backend)
    known = {each.name for each in fields(cls)}
    if unknown := sorted(set(overrides.options) - known):
        raise UsageError(f"{backend} has no option {unknown[0]!r}", _SEE_BACKENDS)
    try:
        dump = overrides.over(Dump(cls(**converted(cls, overrides.options))))
    except RecipeError as error:
        raise UsageError(error.message, error.hint) from error
    jobs = [Job(_host(host), backend, dump) for host in dict.fromkeys(hosts or ["localhost"])]
    refuse_one_place(jobs)
    return jobs


def _host(remote: str) -> Host:
    """Return the host that ssh reaches as `remote`; it is called what its destination is."""
    words = split_remote(remote)
    return Host(remote) if len(words) == 1 else Host(destination(words), ssh=remote)


_SEE_BACKENDS = "See: invoke backends."


def refuse_one_place(jobs: Sequence[Job]) -> None:
    """Raise RecipeError where the dumps of one job would be stored among those of another."""
    places = sorted((job.dump.to.place(job.host.name, job.recipe) + "/", job.id) for job in jobs if job.dump.to)
    for (one, first), (other, second) in pairwise(places):
        if other.startswith(one):
            raise RecipeError(f"{first} and {second} would write to one place, {one}", "Change one's datadir.")


def converted(cls: type[Backend], options: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return `options` as the types that `cls` declares. Raises UsageError for a value that is not of it."""
    hints = get_type_hints(cls)
    return {name: _convert(name, hints[name], values) for name, values in options.items()}


_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_PARSERS: dict[Any, Callable[[str], Any]] = {bool: lambda text: _YES_NO[text.lower()], int: int, float: float}


def _convert(name: str, kind: Any, values: Sequence[str]) -> Any:
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    origins = [get_origin(each) or each for each in kinds]
    if Mapping in origins:
        raise UsageError(f"option {name}: not on a command line, where all can read it", "Use a recipe.")
    if Sequence in origins and (len(values) > 1 or str not in origins):
        return list(values)
    if len(values) > 1:
        raise UsageError(f"option {name}: given {len(values)} times, and takes one value", _SEE_BACKENDS)
    for each in (each for each in origins if each in _PARSERS):
        try:
            return _PARSERS[each](values[0])
        except (KeyError, ValueError):
            raise UsageError(f"option {name}: {values[0]!r} is no {each.__name__}", _SEE_BACKENDS) from None
    return values[0]


def refuse_empty(flags: Mapping[str, str | Sequence[str] | None]) -> None:
    """Raise UsageError for a flag that was given nothing: a variable that is not set must not mean the default."""
    for flag, value in flags.items():
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            raise UsageError(f"{flag} is empty", "Is the variable set that you give it?")


def positive(flag: str, text: str | None) -> int | None:
    """Return the number in `text`, None where there is none. Raises UsageError unless it is 1 or more."""
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{flag}={text}: not a number of 1 or more", f"Write for example {flag}=4.")
    return int(text)
