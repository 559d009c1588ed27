"""`invoke recipes` and `invoke backends`: what there is to dump, and what there is to dump it with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from .asked import load_recipes
from .backends.base import Backend
from .backends.registry import plugged_in
from .discover import discover, recipe_directory
from .progress import Plain
from .report import error_text, exit_code


def show_recipes(directory: str | None) -> int:
    """Print hosts, recipes, tags and what they are for, and return the exit status."""
    found = discover(recipe_directory(directory))
    plain = Plain()
    for recipe in found.recipes:
        tags = f"  [{', '.join(recipe.tags)}]" if recipe.tags else ""
        plain.say(f"{recipe.id:<30}{tags}  {recipe.title}".rstrip())
    for error in found.errors:
        plain.say(error_text(error))
    return exit_code([], broken_files=bool(found.errors), signal=None)


def show_backends(directory: str | None) -> int:
    """Print every backend with its options, those of recipe files too where there are any."""
    errors = load_recipes(directory)
    plain = Plain()
    for name, cls in sorted(plugged_in().items()):
        plain.say(f"{name}: {(cls.__doc__ or '').strip().splitlines()[0]}")
        for line in _options_of(cls):
            plain.say(f"    {line}")
    for error in errors:
        plain.say(error_text(error))
    return exit_code([], broken_files=bool(errors), signal=None)


def _options_of(cls: type[Backend]) -> Iterable[str]:
    for each in fields(cls):
        default = f" ({each.default})" if isinstance(each.default, str | int | float) and each.default != "" else ""
        yield f"{each.name:<20} {each.metadata.get('help', '')}{default}".rstrip()
