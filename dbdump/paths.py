"""Paths as an operator writes them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from .errors import UsageError


def absolute(path: str) -> Path:
    """Return `path` with a leading `~` or `~user` put in full, below where dbdump was started if it is relative.

    Raises UsageError where there is no such user.
    """
    if path.partition("/")[0] == "~" and os.environ.get("HOME") == "":  # Python takes that for /
        path = home() + path[1:]
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        user = path.partition("/")[0]
        raise UsageError(
            f"{path}: there is no user {user.removeprefix('~')!r} here", "Write the path in full."
        ) from None


def home() -> str:
    """Return our home as the system has it, and ssh means it, whatever HOME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # an account without a name, as in a container
        return os.path.expanduser("~")  # noqa: PTH111  it never raises
