"""The files that ssh is told of, as it finds them itself."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def existing(files: Iterable[str]) -> Iterable[str]:
    """Yield those of the files that there are, and that can be read."""
    for file in files:
        # ssh passes over what it cannot read, be it of a user that there is not, or too long for a name.
        with suppress(RuntimeError, OSError):
            path = Path(expanded(file)).expanduser()
            if path.is_file() and os.access(path, os.R_OK):
                yield str(path)


def expanded(file: str) -> str:
    """Return the name of a file with that home in the place of a tilde."""
    return home() + file[1:] if file.startswith("~/") else file


def home() -> str:
    """Return the home that ssh means, whatever HOME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # an account without a name, as in a container
        return os.path.expanduser("~")  # noqa: PTH111  it never raises
