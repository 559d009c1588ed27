"""Whether SQLite files can be dumped, for any python3: sent to the host as text, like its siblings.

Each argument is a path; for each that cannot be dumped, a line comes back: the path in hex, and why. No file is opened
as a database, as SQLite makes files beside it then.
"""

import os
import sys
from pathlib import Path

MAGIC = b"SQLite format 3\0"  # the file format's section 1.3, as is what follows
WAL = b"\2\2"  # at byte 18: its writers keep a journal and an index beside it


def fault(path: Path) -> str:
    """Return why the file cannot be dumped, or nothing."""
    if path.exists() and not path.is_file():  # to open a FIFO would wait for its writer
        return "not a file"
    with path.open("rb") as file:
        head = file.read(20)
    if not head:
        return "file is empty, not a database"
    if not head.startswith(MAGIC):
        return "not a database"
    if head[18:] == WAL and not Path(f"{path}-shm").exists() and not os.access(path.absolute().parent, os.W_OK):
        return f"in WAL mode, and its reader may not make files in {path.absolute().parent}"
    return too_large(path, os.environ.get("TMPDIR") or "/tmp")  # noqa: S108  where tempfile looks first


def too_large(path: Path, directory: str) -> str:
    """Return that a copy does not fit into `directory`, or nothing."""
    status = os.statvfs(directory)
    free, size = status.f_bavail * status.f_frsize, path.stat().st_size
    return f"disk is full: a copy of {size} bytes, and {free} are free in {directory}" if free < size else ""


def main(*paths: str) -> None:
    """Write a line for each file that cannot be dumped."""
    for path in paths:
        try:
            told = fault(Path(path))
        except OSError as error:
            told = (error.strerror or str(error)).lower()
        if told:
            sys.stdout.buffer.write(os.fsencode(path).hex().encode() + b" " + os.fsencode(told) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
