"""Find and import recipe files, and select recipes by host, name and tag."""

from __future__ import annotations

import grp
import importlib
import os
import pwd
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from types import ModuleType

from .aside import stdout_aside
from .errors import DbdumpError, NothingMatched, RecipeError
from .recipes import Recipe, taken

# Recipe files are modules of a package of this name, wherever their directory is and whatever it is called,
# so that one may import another and none is found on sys.path.
PACKAGE = "recipes"


@dataclass(frozen=True)
class Discovery:
    """The recipes that were found, and the errors of the files that cannot be used."""

    recipes: tuple[Recipe, ...]
    errors: tuple[RecipeError, ...]


def recipe_directory(flag: str | None) -> Path:
    """Return the directory of recipe files: the flag's, that of DBDUMP_RECIPES, or ./recipes."""
    return Path(flag or os.environ.get("DBDUMP_RECIPES") or "recipes").absolute()


def discover(directory: Path) -> Discovery:
    """Import every recipe file of `directory`; those that begin with `_` are for others to import.

    A file that is broken, or that others can write, is reported, and the others are used. What they print goes to
    stderr. Raises RecipeError where the directory itself is missing, unsafe or none, or where two recipes have one id,
    or two machines one name.
    """
    _refuse_unsafe(directory)
    if not directory.is_dir():
        raise RecipeError(f"{directory}: not a directory", f"Name the one it is in: --recipes={directory.parent}")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise RecipeError(f"{directory}: cannot be read", "Run dbdump as a user who may read it.")
    files = sorted(directory.glob("*.py"))
    for each in _importable(directory):
        if each not in files or each.name.startswith("_"):
            _refuse_unsafe(each)  # any recipe may import it
    _new_package(directory)
    taken()
    recipes: list[Recipe] = []
    errors: list[RecipeError] = []
    safe: list[Path] = []
    for file in (file for file in files if not file.name.startswith("_")):
        try:
            _refuse_unsafe(file)
            safe.append(file)
        except RecipeError as error:
            errors.append(error)
            sys.modules[f"{PACKAGE}.{file.stem}"] = None  # type: ignore[assignment]  # none imports it
    for file in safe:
        try:
            with stdout_aside(), _no_bytecode():
                recipes += _import(file)
        except RecipeError as error:
            errors.append(error)
            # What it had declared itself is not used; what it imported is whole.
            recipes += [recipe for recipe in taken() if not recipe.source.startswith(f"{file}:")]
    _refuse_twins(recipes)
    return Discovery(tuple(recipes), tuple(errors))


def select(
    recipes: Iterable[Recipe], hosts: Sequence[str], names: Sequence[str], tags: Sequence[str], *, whole: bool = True
) -> list[Recipe]:
    """Return the recipes of any of `hosts`, with any of `names` (globs) and any of `tags`; empty: all.

    Raises NothingMatched where that is none, or one of them is of no recipe at all; that of a name or a tag is not
    known unless the recipes are the `whole`.
    """
    recipes = list(recipes)
    known = list(dict.fromkeys(recipe.host.name for recipe in recipes))
    for host in hosts:
        if not any(fnmatchcase(name, host) for name in known):
            raise NothingMatched(f"no recipe is for host {host!r}", _there_are("hosts", known))
    for name in names if whole else ():
        if not any(fnmatchcase(recipe.name, name) for recipe in recipes):
            called = list(dict.fromkeys(recipe.name for recipe in recipes))
            raise NothingMatched(f"no recipe is called {name!r}", _there_are("recipes", called))
    for tag in tags if whole else ():
        if not any(tag in recipe.tags for recipe in recipes):
            there = list(dict.fromkeys(chain.from_iterable(recipe.tags for recipe in recipes)))
            raise NothingMatched(f"no recipe has the tag {tag!r}", _there_are("tags", there))
    chosen = [
        recipe
        for recipe in recipes
        if (not hosts or any(fnmatchcase(recipe.host.name, host) for host in hosts))
        and (not names or any(fnmatchcase(recipe.name, name) for name in names))
        and (not tags or set(tags) & set(recipe.tags))
    ]
    if not chosen:
        raise NothingMatched("no recipe matches", _there_are("recipes", [each.id for each in recipes]))
    return chosen


def _there_are(what: str, names: Sequence[str]) -> str:
    return f"There are these {what}: {', '.join(names)}." if names else f"There are no {what}."


def _new_package(directory: Path) -> None:
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]:
        del sys.modules[name]
    package = ModuleType(PACKAGE)
    package.__path__ = [str(directory)]
    sys.modules[PACKAGE] = package
    importlib.invalidate_caches()


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Write none beside recipes meanwhile: that is the operator's directory, and some umasks let others write it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _import(file: Path) -> list[Recipe]:
    if "." in file.stem:  # Python would look for it in a package
        hint = f"Rename it, to {file.stem.replace('.', '_')}.py perhaps."
        raise RecipeError(f"{file}: its name is none that Python imports", hint)
    try:
        importlib.import_module(f"{PACKAGE}.{file.stem}")
    except (Exception, SystemExit) as error:
        if isinstance(error, RecipeError) and error.message.startswith(str(file.parent)):
            raise
        reason = error.message if isinstance(error, DbdumpError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, DbdumpError) else "Mend the recipe file."
        raise RecipeError(f"{_where(error, file)}: {reason}", hint) from error
    return taken()


def _where(error: BaseException, file: Path) -> str:
    """The last place in a recipe file that the error came through, as FILE:LINE."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent == file.parent]
    return f"{ours[-1].filename}:{ours[-1].lineno}" if ours else str(file)


def _refuse_twins(recipes: Sequence[Recipe]) -> None:
    """Raise RecipeError for two recipes of one id, and for two machines of one name: they would share a place."""
    seen: dict[str, Recipe] = {}
    hosts: dict[str, Recipe] = {}
    for recipe in recipes:
        known = hosts.setdefault(recipe.host.name, recipe)
        if _way(recipe) != _way(known):
            raise RecipeError(
                f"host {recipe.host.name!r} is reached in two ways: {known.source} and {recipe.source}",
                "Give two machines two names, as their dumps are stored by name; write one the same everywhere.",
            )
        if other := seen.get(recipe.id):
            raise RecipeError(
                f"two recipes are called {recipe.id}: {other.source} and {recipe.source}",
                "Rename one of the functions.",
            )
        seen[recipe.id] = recipe


def _way(recipe: Recipe) -> tuple[bool, str]:
    """Where the machine of a recipe is: that two recipes go there by two transports is nobody's mistake."""
    return recipe.host.is_local, recipe.host.remote


def _importable(directory: Path) -> Iterator[Path]:
    """Yield the files here that Python would run for an import, those below too, and the directories they are in."""
    with suppress(PermissionError):  # nor may the import look there
        for each in sorted(directory.iterdir()):
            if each.is_dir() and each.name.isidentifier():
                yield each
                yield from _importable(each)
            elif each.suffix in (".py", ".pyc", ".so") and each.is_file():
                yield each


def _refuse_unsafe(path: Path) -> None:
    """Refuse what others than its owner, or root, could have written: it is run with our rights."""
    try:
        status = path.stat()
    except OSError as error:
        raise RecipeError(
            f"{path}: {os.strerror(error.errno or 0).lower()}",
            "Name the directory of your recipe files with --recipes or DBDUMP_RECIPES; without recipes, use --backend.",
        ) from error
    if status.st_uid not in (0, os.geteuid()):
        raise RecipeError(f"{path}: belongs to another user", f"Look at it, then: chown {os.geteuid()} {path}")
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and _is_shared(status)):
        raise RecipeError(f"{path}: others can write it", f"Look at it, then: chmod go-w {path}")


def _is_shared(status: os.stat_result) -> bool:
    """Whether anybody but the owner is in the group: a group of one's own is what umask 002 is for."""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return True
    members = {*group.gr_mem, *(each.pw_name for each in pwd.getpwall() if each.pw_gid == status.st_gid)}
    return bool(members - {owner})
