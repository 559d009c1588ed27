"""Make a SQLite database file of a raw dump on stdin, for any python3: sent to the host as text.

binary|sql PATH new|replace    PATH gets its name when it is whole; a file that is there stays, or is replaced at once

Until then it is called .dbdump-NAME-….part, and locked: one that was killed has left one that is not, and the next of
that PATH removes it.
"""

import contextlib
import fcntl
import os
import signal
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterator

PIECE = 1 << 20
LOCKS = (0x40000000, 512)  # the bytes that SQLite locks in a file: where they begin, and how many


def refuse_journals(path: str) -> None:
    """Raise FileExistsError for the journal of a file that is in use, or was when its user died.

    SQLite would replay it into the new file.
    """
    for suffix in ("-wal", "-journal"):
        if os.path.exists(path + suffix) and os.path.getsize(path + suffix):
            raise FileExistsError(f"{path}{suffix} is in the way: somebody uses the file, or died over it")


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the locks of SQLite on a file that is there. Raises FileExistsError where somebody else has one of them.

    In WAL mode everybody has who has it open. A file that this user cannot write to cannot be locked either.
    """
    if not os.access(path, os.W_OK):
        yield
        return
    with open(path, "r+b") as file:
        start, count = LOCKS
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, start)
        except BlockingIOError:
            raise FileExistsError(f"{path} is in use") from None
        refuse_journals(path)
        yield


def copy(part: str) -> None:
    """Write stdin to the file `part`."""
    with open(part, "wb") as file:
        while piece := sys.stdin.buffer.read(PIECE):
            file.write(piece)


def execute(part: str) -> None:
    """Run the SQL on stdin in the file `part`."""
    db = sqlite3.connect(part, isolation_level=None)
    statement = last = ""
    for line in sys.stdin.buffer:
        statement += line.decode()
        if line.endswith(b";\n") and sqlite3.complete_statement(statement):
            last, statement = statement, ""
            db.execute(last)
    db.close()
    if last != "COMMIT;\n":
        raise sqlite3.DatabaseError("the dump is not complete")


def check(part: str) -> None:
    """Raise sqlite3.DatabaseError unless SQLite finds the file sound."""
    db = sqlite3.connect(part)
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    db.close()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"restored, but corrupt: {verdict}")


def like(part: str, path: str) -> None:
    """Give `part` the owner and the mode of the file that it replaces, where there is one."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    os.chmod(part, stat.S_IMODE(old.st_mode))
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(part, old.st_uid, old.st_gid)


def remove(part: str) -> None:
    """Remove a file, with its journals."""
    for each in (part, part + "-journal", part + "-wal", part + "-shm"):
        if os.path.exists(each):
            os.unlink(each)


def remove_dead(directory: str, prefix: str) -> None:
    """Remove what those have left that were killed here over the same file."""
    for name in os.listdir(directory):
        if name.startswith(prefix) and name.endswith(".part"):
            part = os.path.join(directory, name)
            with contextlib.suppress(OSError):  # it is no file, or another user's, or alive
                descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(part)
                finally:
                    os.close(descriptor)


def sync(path: str) -> None:
    """Have a file or a directory on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore(form: str, path: str, how: str) -> None:
    """Make the file."""
    path = os.path.realpath(path)
    refuse_journals(path)
    with locked(path):
        pass
    if how == "new" and os.path.lexists(path):
        raise FileExistsError(f"{path} is in the way")
    directory, name = os.path.split(path)
    prefix = f".dbdump-{os.fsdecode(os.fsencode(name)[:100])}-"
    remove_dead(directory, prefix)
    descriptor, part = tempfile.mkstemp(".part", prefix, directory)
    try:
        with contextlib.suppress(OSError):  # where nothing can be locked, nothing is removed either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        (copy if form == "binary" else execute)(part)
        check(part)
        like(part, path)
        sync(part)
        refuse_journals(path)
        with locked(path):
            if how == "new":
                os.link(part, path)
            else:
                os.replace(part, path)
        sync(directory)
    finally:
        remove(part)
        os.close(descriptor)


def main(*arguments: str) -> None:
    """Run it; an error of the database or the system is one line on stderr and exit status 1."""
    try:
        restore(*arguments)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    # Ended by a signal, the file that has no name yet goes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended by SIGTERM"))
    main(*sys.argv[1:])
