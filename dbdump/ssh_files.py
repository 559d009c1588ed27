"""The files that ssh is told of, as it finds them itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .paths import home


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
