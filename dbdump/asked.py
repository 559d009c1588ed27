"""What is asked for, and the jobs that answer it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from .backends.registry import BUILT_IN
from .catalog import printable
from .discover import discover, recipe_directory, select
from .errors import DbdumpError, NoSuchBackend, NothingMatched, RecipeError, UsageError, WriteError, with_hint
from .options import Overrides, ad_hoc, jobs_of
from .plan import Job
from .report import COMMANDS, document, hand_over


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


def told(error: DbdumpError) -> str:
    """Return an error in words, with its hint on a line of its own."""
    return "\n".join(with_hint(printable(error.message), error.hint))


def complain(error: DbdumpError, command: str = "", *, as_json: bool = False, nagios: bool = False) -> int:
    """Print an error that ended it all on stderr, and return its exit status.

    stdout gets what it was promised to: the JSON document of `command`, or the line for Nagios.
    """
    with contextlib.suppress(OSError):  # nobody hears it there
        print(f"dbdump: {told(error)}", file=sys.stderr, flush=True)  # noqa: T201
    if nagios:
        from .monitor import unknown  # noqa: PLC0415  as below

        return unknown(error.message)
    if as_json and command in COMMANDS:
        with contextlib.suppress(WriteError):  # the first error is the one to tell
            hand_over(document(command, error.exit_code, (), [error]))
    return error.exit_code


def bug_for_nagios(error: Exception) -> int:
    """Print the traceback of an error that no operator can cause, and the line for Nagios; return its exit status."""
    from .monitor import unknown  # noqa: PLC0415  only for Nagios

    traceback.print_exception(error)
    return unknown(f"bug: {type(error).__name__}: {error}")
