"""The directory of this user's locks, on this machine: of runs, and of places whose machine has none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import StageError

_HINT = "Set XDG_STATE_HOME to a directory of yours, on a disk of this machine."


def look_at_locks() -> None:
    """Raise StageError where no run could be locked; nothing is made."""
    path = state_path()
    with translated(path):
        if path.exists():
            _refuse_shared(path)


def state_path() -> Path:
    """Return the path of the directory of the locks. Raises StageError where nothing says it."""
    import platformdirs  # noqa: PLC0415  only a run needs it

    path = platformdirs.user_state_path("dbdump")
    if not path.is_absolute():
        raise StageError("lock", f"no directory for locks: {path} is not absolute", _HINT)
    return path


def state_directory() -> Path:
    """Return the directory of the locks, and make it where it is missing. Raises StageError."""
    path = state_path()
    with translated(path):
        for each in (*reversed(path.parents[:2]), path):  # never a home, which may be one that is not mounted
            if not each.is_dir():
                with contextlib.suppress(FileExistsError):
                    each.mkdir(0o700)
        _refuse_shared(path)
    return path


def _refuse_shared(path: Path) -> None:
    status = path.stat()
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise StageError("lock", f"{path}: others can write there", _HINT)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError inside, about `path` where it does not say, into a StageError."""
    try:
        yield
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise StageError("lock", f"{error.filename or path}: {reason}", _HINT) from error
