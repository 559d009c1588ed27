"""The backends there are, by name: built in, of recipe files, and of other packages' entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar, dataclass_transform

from ..errors import NoSuchBackend, RecipeError
from .base import Backend, option

ENTRY_POINTS = "dbdump.backends"

BUILT_IN = ("mysql", "postgresql", "sqlite")
_registered: dict[str, type[Backend]] = {}

AnyBackend = TypeVar("AnyBackend", bound=Backend)


@dataclass_transform(kw_only_default=True, field_specifiers=(option,))
def backend(name: str) -> Callable[[type[AnyBackend]], type[AnyBackend]]:
    """Register a Backend as `name`, and make its annotated attributes its options.

    Raises RecipeError where another class has that name.
    """

    def register(cls: type[AnyBackend]) -> type[AnyBackend]:
        """Make a dataclass of `cls`, and note it under the name. Raises RecipeError where another class has that."""
        cls = dataclass(kw_only=True)(cls)
        cls.name = name
        other = _registered.get(name)
        # A file that is loaded again defines its classes again.
        if other and _origin(other) != _origin(cls):
            raise RecipeError(
                f"two backends are called {name!r}: {_origin(other)} and {_origin(cls)}",
                "Give one of them another name.",
            )
        _registered[name] = cls
        return cls

    return register


def _origin(cls: type[Backend]) -> str:
    return f"{inspect.getfile(cls)}:{cls.__qualname__}"


def plugged_in() -> dict[str, type[Backend]]:
    """Import every backend there is, and return them by name.

    Raises RecipeError for an entry point that cannot be imported, or is no backend.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415  as slow as all the rest of dbdump

    for name in BUILT_IN:
        import_module(f"dbdump.backends.{name}")
    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
        except Exception as error:
            raise RecipeError(f"entry point {point.value}: {error}", "Mend or remove that package.") from error
        if not (isinstance(loaded, type) and issubclass(loaded, Backend) and loaded.name == point.name):
            raise RecipeError(
                f"entry point {point.name} = {point.value} is no backend of that name",
                f'It has to be a subclass of dbdump.Backend with @backend("{point.name}").',
            )
    return dict(_registered)


def find(name: str) -> type[Backend]:
    """Return the backend called `name`. Raises NoSuchBackend where there is none."""
    if name in BUILT_IN:
        import_module(f"dbdump.backends.{name}")
        return _registered[name]
    known = plugged_in()
    if name not in known:
        raise NoSuchBackend(f"no backend is called {name!r}", f"There are: {', '.join(sorted(known))}.")
    return known[name]
