"""Make a SQLite database file of a raw dump on stdin, for any python3: sent to the host as text.

binary|sql PATH new|replace    PATH gets its name when it is whole; a file that is there stays, or is replaced at once
left PATH                      the files that are not whole, in hex, each on a line

Until then it is called .dbdump-NAME-….part. One that was killed leaves that. It is told, and never removed by another:
nobody can know that it is dead, and a lock on it would be in SQLite's way where flock is a lock of fcntl (NFS, BSD).
"""

import contextlib
import fcntl
import os
import re
import signal
import sqlite3
import stat
import sys
import tempfile
import urllib.parse
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


def must_be_there(descriptor: int, part: str) -> None:
    """Raise FileNotFoundError unless the open file is still the one that is called `part`."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.lstat(part)):
            return
    raise FileNotFoundError(f"{part} was removed while it was written")


def opened(part: str) -> "contextlib.closing[sqlite3.Connection]":
    """Open a database that is there: SQLite would make an empty one of a name that is not."""
    name = urllib.parse.quote(os.fsencode(part))
    return contextlib.closing(sqlite3.connect(f"file://{name}?mode=rw", uri=True, isolation_level=None))


def copy(descriptor: int) -> None:
    """Write stdin to the open file."""
    with open(descriptor, "wb", closefd=False) as file:
        while piece := sys.stdin.buffer.read(PIECE):
            file.write(piece)


def execute(part: str) -> None:
    """Run the SQL on stdin in the file `part`."""
    statement = last = ""
    with opened(part) as db:
        for line in sys.stdin.buffer:
            statement += line.decode()
            if line.endswith(b";\n") and sqlite3.complete_statement(statement):
                last, statement = statement, ""
                db.execute(last)
    if last != "COMMIT;\n":
        raise sqlite3.DatabaseError("the dump is not complete")


def check(part: str) -> None:
    """Raise sqlite3.DatabaseError unless SQLite finds the file sound."""
    with opened(part) as db:
        (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"restored, but corrupt: {verdict}")


def fill(form: str, descriptor: int, part: str) -> None:
    """Make it of stdin. Raises sqlite3.Error unless it is sound, and FileNotFoundError where it was removed."""
    try:
        if form == "binary":
            copy(descriptor)
        else:
            execute(part)
        check(part)
    except sqlite3.Error:
        must_be_there(descriptor, part)  # else SQLite tells only what came of that
        raise


def like(descriptor: int, path: str) -> None:
    """Give the open file the owner and the mode of the file that it replaces, where there is one."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, old.st_uid, old.st_gid)


def remove(part: str) -> None:
    """Remove a file, with its journals."""
    for each in (part, part + "-journal", part + "-wal", part + "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(each)


def prefix_of(name: str) -> str:
    """Return how a file begins that will be called `name`."""
    return f".dbdump-{os.fsdecode(os.fsencode(name)[:100])}-"


def left(path: str) -> None:
    """Print the files, and their journals, that have been begun for `path`: of no other name, and of no person's."""
    directory, name = os.path.split(os.path.realpath(path))
    ours = re.compile(re.escape(prefix_of(name)) + r"[a-z0-9_]{8}\.part(-journal|-wal|-shm)?")  # as mkstemp has it
    for each in sorted(filter(ours.fullmatch, os.listdir(directory))):
        sys.stdout.write(os.fsencode(os.path.join(directory, each)).hex() + "\n")


def sync(path: str) -> None:
    """Have a directory on disk."""
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
    descriptor, part = tempfile.mkstemp(".part", prefix_of(name), directory)
    try:
        fill(form, descriptor, part)
        like(descriptor, path)
        os.fsync(descriptor)
        refuse_journals(path)
        with locked(path):
            must_be_there(descriptor, part)
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
        if arguments[0] == "left":
            left(arguments[1])
        else:
            restore(*arguments)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    # Ended by a signal, the file that has no name yet goes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended by SIGTERM"))
    main(*sys.argv[1:])
