"""Paths as an operator writes them."""

from __future__ import annotations

from pathlib import Path

from .errors import UsageError


def absolute(path: str) -> Path:
    """Return `path` with a leading `~` or `~user` put in full, below where dbdump was started if it is relative.

    Raises UsageError where there is no such user.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        user = path.partition("/")[0]
        raise UsageError(
            f"{path}: there is no user {user.removeprefix('~')!r} here", "Write the path in full."
        ) from None
