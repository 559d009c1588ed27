"""What is asked for, and the jobs that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .backends.registry import BUILT_IN
from .discover import discover, recipe_directory, select
from .errors import NoSuchBackend, NothingMatched, RecipeError, UsageError
from .overrides import Overrides, ad_hoc, jobs_of
from .plan import Job


@dataclass(frozen=True)
class Asked:
    """What is asked for: hosts, recipes, tags and databases (globs; empty: all), and where recipes are.

    With `backend` no recipe is read: flags say it all. `slots` is how many databases are worked on at once.
    With `as_json` stdout gets one JSON document, and all that is for people goes to stderr.
    """

    hosts: Sequence[str] = ()
    recipes: Sequence[str] = ()
    tags: Sequence[str] = ()
    databases: Sequence[str] = ()
    directory: str | None = None
    backend: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    slots: int = 1
    here: bool = False
    as_json: bool = False


def asked_jobs(asked: Asked) -> tuple[list[Job], list[RecipeError]]:
    """Return the jobs that are asked for, and the errors of recipe files that cannot be used.

    Raises UsageError for flags that make no sense, RecipeError and NothingMatched.
    """
    if asked.backend:
        if asked.recipes or asked.tags:
            raise UsageError("--backend is instead of recipes", "Leave --recipe and --tag out, or --backend.")
        broken = () if asked.backend in BUILT_IN else load_recipes(asked.directory)
        try:
            return ad_hoc(asked.backend, asked.hosts, asked.overrides), []
        except NoSuchBackend as error:
            if broken:  # it may be in one of these
                raise broken[0] from error
            raise
    found = discover(recipe_directory(asked.directory))
    try:
        chosen = select(found.recipes, asked.hosts, asked.recipes, asked.tags, whole=not found.errors)
    except NothingMatched:
        if not found.errors:
            raise
        chosen = []
    jobs, errors = jobs_of(chosen, asked.overrides)
    return jobs, [*found.errors, *errors]


def load_recipes(directory: str | None) -> Sequence[RecipeError]:
    """Load recipe files for the backends in them, where there is a directory of them; return their errors."""
    if not directory and not recipe_directory(None).is_dir():
        return ()
    return discover(recipe_directory(directory)).errors
