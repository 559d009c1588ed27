"""Directories that nobody else can play with, temporary files whose writer died, errors in words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..catalog import PART, part_name
from ..errors import Locked, WriteError
from ..holders import holders, told
from ..pieces import PIECE
from .base import Condition

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_HINTS = {
    errno.ENOSPC: "The disk is full: make room, or give another --datadir.",
    errno.EDQUOT: "The quota is used up: make room, or give another --datadir.",
    errno.EACCES: "Run as a user that may read and write there, or give another --datadir.",
    errno.EROFS: "It is mounted read-only: remount it, or give another --datadir.",
    errno.ENOENT: "Mount or make the datadir first (mkdir -m 700), or give another --datadir.",
    errno.ELOOP: "Somebody put a symbolic link there: look at it, then remove it.",
    errno.ENOTDIR: "Something that is no directory is in the way, perhaps a symbolic link: look at it.",
}

GONE_HINT = "Somebody removed it, perhaps a prune."


def hint_for(said: str) -> str:
    """Return what to do about the error of a system call that `said` speaks of, or an empty string."""
    return next((hint for number, hint in _HINTS.items() if os.strerror(number).lower() in said.lower()), "")


@contextlib.contextmanager
def translated(where: str | Path) -> Iterator[None]:
    """Turn an OSError inside into a WriteError that says where, what and what to do."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WriteError(f"{where}: {reason.lower()}", _HINTS.get(error.errno or 0, "")) from error


def read_file(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, in the pieces that whoever compares them wants. Raises WriteError."""
    with translated(path), path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def open_directories(root: Path, names: Sequence[str], *, create: bool) -> int:
    """Open the directory `names` below `root`, component by component, and return its descriptor.

    With `create`, those that are missing are made, 0700; never `root`, which may be a disk that is not
    mounted. Raises WriteError, also for a symbolic link on the way or a directory that others may write.
    """
    with translated(root):
        current = os.open(root, _OPEN_DIRECTORY)
    path = root
    try:
        _refuse_shared(current, path, sticky_is_enough=True)
        for name in names:
            path = path / name
            with translated(path):
                if create:
                    _make_directory(name, current)
                inner = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = inner
            _refuse_shared(current, path, sticky_is_enough=False)
    except BaseException:
        os.close(current)
        raise
    return current


def _make_directory(name: str, parent: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)


def _refuse_shared(directory: int, path: Path, *, sticky_is_enough: bool) -> None:
    status = os.fstat(directory)
    hint = f"Look at what is in it; then: chown {os.geteuid()} {path}; chmod go-w {path}"
    if status.st_uid not in (0, os.geteuid()) and not sticky_is_enough:
        raise WriteError(f"{path}: belongs to somebody else, user {status.st_uid}", f"Run it as that user. Or: {hint}")
    shared = status.st_mode & 0o022 and not (sticky_is_enough and status.st_mode & stat.S_ISVTX)
    if shared:
        raise WriteError(f"{path}: others can write there", hint)


def condition_of(root: Path, names: Sequence[str], below: Sequence[str]) -> Condition:
    """Return how the directory `names` below `root` is, or the last on the way to it that is there. See Store.

    Where it is there, the directories `below` it are looked at as well.
    """
    there = len(names)
    while there and not os.path.lexists(root.joinpath(*names[:there])):
        there -= 1
    path = root.joinpath(*names[:there])
    directory = open_directories(root, names[:there], create=False)
    try:
        with translated(path):
            faults = tuple(_faults(directory, path, below if there and there == len(names) else []))
            status = os.fstatvfs(directory)
    finally:
        os.close(directory)
    return Condition(str(path), faults, not faults, status.f_bavail * status.f_frsize, time.time())


def _faults(directory: int, path: Path, below: Sequence[str]) -> Iterator[str]:
    """Yield in words why a dump could not be stored in an open directory, or in one of those `below` it."""
    if not _writable(".", directory):
        yield f"{path}: cannot be written"
    for name in below:
        if os.path.lexists(path / name):
            try:
                os.close(open_directories(path, [name], create=False))
            except WriteError as error:
                yield error.message
            else:
                yield from [] if _writable(name, directory) else [f"{path / name}: cannot be written"]


def _writable(name: str, directory: int) -> bool:
    return os.access(name, os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True)


def new_part(final: str, directory: int) -> tuple[str, int]:
    """Make a temporary file for `final` in an open directory; return its name and its descriptor.

    The lock on it says to other runs, until it is closed, that its writer lives.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        part = part_name(final)
        file = os.open(part, flags, 0o600, dir_fd=directory)
        try:
            lock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:  # none of them removed it before it was locked
                return part, file
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=directory)
            raise
        os.close(file)


def remove_dead_parts(directory: int) -> tuple[str, ...]:
    """Remove the temporary files whose writer is gone, and return their names.

    A writer that lives holds a lock on its file; the lock of one that was killed is gone with it.
    """
    return tuple(name for name in os.listdir(directory) if PART.fullmatch(name) and _removed(name, directory))


def _removed(name: str, directory: int) -> bool:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:  # somebody else's, or gone by now
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def remove(name: str, directory: int) -> None:
    """Remove a file of an open directory, if it is there. Raises OSError for a symbolic link, which is somebody's."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        os.unlink(name, dir_fd=directory)


def hold(directory: int, where: str | Path, *, alone: bool) -> None:
    """Hold an open directory until it is closed: `alone`, or with others. Raises Locked where that cannot be."""
    try:
        lock(directory, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise at_work(where, alone=alone, who=", ".join(map(told, holders(directory)))) from None


def lock(file: int, how: int) -> None:
    """Lock an open file, as flock does; on a file system without locks do nothing."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise


def at_work(where: str | Path, *, alone: bool, who: str = "") -> Locked:
    """Return what to raise where a directory could not be held, `alone` or with others; `who` is there, if known."""
    what = "a dump, verify, restore or prune" if alone else "a prune"
    return Locked(f"{where}: {what} is at work there{who and f': {who}'}", "Wait for it to end, then run this again.")


def link_or_claim(part: str, final: str, directory: int, named: list[str]) -> None:
    """Give `part` in `directory` the name `final`, and note it in `named`. Raises FileExistsError where it is taken."""
    try:
        os.link(part, final, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # No hard links there (exFAT, some network file systems): claim the name, then replace the claim.
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory))
        named.append(final)
        os.replace(part, final, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        named.append(final)
        os.unlink(part, dir_fd=directory)


def file_sha256(name: str, directory: int) -> str:
    """Return the SHA-256 of the file `name` in `directory`, in hex."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    with os.fdopen(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
