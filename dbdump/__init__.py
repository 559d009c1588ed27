"""dbdump: composable dump recipes for PostgreSQL, MySQL/MariaDB and SQLite."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .public import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """Return a public name; all are imported when one is asked for, and `invoke --list` asks for none."""
        from importlib import import_module  # noqa: PLC0415  as `from . import public` would ask for it here

        public = import_module(".public", __name__)
        if name not in ("__all__", *public.__all__):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(public, name)

    def __dir__() -> list[str]:
        """Return what is here, and the public names."""
        return sorted({*globals(), *__getattr__("__all__")})
