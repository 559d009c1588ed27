"""The far end of a Remote that has no shell: the same steps by SFTP, and the bytes are read back to be hashed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from posixpath import basename, dirname, join
from typing import Any

from ..catalog import MANIFEST_SUFFIX, PART
from ..channel import closed
from ..errors import ConnectionLost, WriteError
from ..remote_shell import Link
from ..stored import Entry
from .base import Condition
from .far import sha256_of
from .lock_here import LockHere
from .safe import GONE_HINT, hint_for
from .session import Missing
from .sftp_files import list_directories, read_files
from .sftp_read import Ahead, Line

_OWNER_WRITES = stat.S_IWUSR | stat.S_IXUSR
_NO_WORD_HINT = "SFTP has no word for it: perhaps the disk there is full, over its quota, or read-only."
_DEAD_SECONDS = 2 * 86400.0  # what nobody has written for so long has no writer: a part has no lock there


class SFTPSession:
    """An SFTP session; see Session. Without `read_back` the size alone is compared."""

    has_shell = False
    group = "0"  # nothing of ours runs there

    def __init__(self, link: Link, place: str, stall_timeout: float, *, read_back: bool) -> None:
        from ..ssh import in_words  # noqa: PLC0415  the room of its client is slow to import

        self._spoken = in_words
        self._place = place
        self._account = link.account
        self._kept = LockHere(link.address, place)
        self._read_back = read_back
        self._sftp = link.sftp()
        self._sftp.sock = Line(self._sftp.get_channel(), stall_timeout)
        self._home_owner = self._sftp.stat(".").st_uid
        self._maker: int | None = None  # who makes directories below the root, where that is known
        self._home: str = self._sftp.normalize(".")
        self._here = self._home
        self._part = ""
        self._file: Any = None
        self.broken = False

    def go(self, root: str, names: Sequence[str], *, make: bool) -> str:
        """Go to a directory; see Session."""
        with self._words():
            self._here = str(self._sftp.normalize(join(self._home, root)))
            status = self._sftp.stat(self._here)
            self._refuse_shared(status, self._here, is_root=True)
            # Where others can write too, it is sticky, and nothing is said of the account by whose it is.
            self._maker = None if status.st_mode & 0o022 else status.st_uid
            for name in names:
                path = self._at(name)
                if make and not self._exists(name):
                    self._make(name)
                status = self._sftp.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    raise WriteError(f"{self._place}: {path}: is a symbolic link", "Look at it, then remove it.")
                self._refuse_shared(status, path, is_root=False)
                self._here = path
        return str(self._here)

    def hold(self, *, alone: bool) -> None:
        """Hold this directory, by a lock on this machine: SFTP has none; see Session."""
        self._kept.keep(self._here, alone=alone)

    def open(self, part: str, *, adding: bool) -> tuple[str, ...]:
        """Begin a file; see Session."""
        if adding:
            self._kept.keep(dirname(self._here), alone=False)
        with self._words():
            left = tuple(self._swept()) if adding else ()
            self._file = self._sftp.open(self._at(part), "wbx", bufsize=0)
            self._part = part
            self._sftp.chmod(self._at(part), 0o600)
            self._file.set_pipelined(True)
        return left

    def write(self, piece: memoryview) -> None:
        """Take the next bytes; see Session."""
        with self._words():
            self._file.write(bytes(piece))

    def received(self, size: int) -> tuple[int, str]:  # noqa: ARG002  each answer comes soon
        """Return what was stored: its size, and the SHA-256 of what is read back, or nothing; see Session."""
        from ..ssh import settled, synced  # noqa: PLC0415

        with self._words():
            settled(self._sftp, self._file)
            synced(self._sftp, self._file)
            self._file.close()
            stored = int(self._sftp.stat(self._at(self._part)).st_size)
        return stored, sha256_of(self.fetch(self._part)) if self._read_back else ""

    def name(self, part: str, final: str, sha256: str, size: int) -> bool:  # noqa: ARG002  as above
        """Give a final name; see Session. SFTP's own rename never replaces a file."""
        with self._words():
            if self._exists(final):
                if sha256_of(self.fetch(final)) != sha256:
                    raise WriteError(f"{self._place}: {final} is there already, and differs", "Run it again.")
                return False
            if not self._exists(part):
                raise ConnectionLost(f"{self._place}: the temporary file is gone", "Run it again.")
            self._sftp.rename(self._at(part), self._at(final))
            self._part = ""
        return True

    def replace(self, part: str, final: str, of: str) -> None:
        """Give a name that another file has; see Session."""
        with self._words():
            try:
                self._sftp.posix_rename(self._at(part), self._at(final))
            except FileNotFoundError:
                raise
            except OSError:  # there is no such request there, or it is not allowed
                if self._exists(final):
                    self._sftp.remove(self._at(final))
                self._sftp.rename(self._at(part), self._at(final))
            self._part = ""
            if not self._exists(of):
                self._sftp.remove(self._at(final))
                raise WriteError(f"{self._place}: {of} is gone", GONE_HINT)

    def unname(self, final: str, sha256: str, size: int) -> None:  # noqa: ARG002  as above
        """Take back a name; see Session."""
        with self._words(), contextlib.suppress(FileNotFoundError):
            ours = stat.S_ISREG(self._sftp.lstat(self._at(final)).st_mode) and not self._exists(final + MANIFEST_SUFFIX)
            if not sha256 or (ours and sha256_of(self.fetch(final)) == sha256):
                self._sftp.remove(self._at(final))

    def drop(self) -> None:
        """Remove what was begun; see Session."""
        part, self._part = self._part, ""
        try:
            if part:
                with self._words():
                    self._file.close()
                    self._sftp.remove(self._at(part))
        finally:
            self._kept.let_go()

    def entries(self) -> Sequence[Entry]:
        """Return all files below; see Session."""
        with self._words():
            found = chain.from_iterable(each for _, each in list_directories(self._sftp, [self._here]))
            directories = [each.name for each in found if stat.S_ISDIR(each.mode)]
            below = list_directories(self._sftp, [*map(self._at, directories)])
            files = {
                join(path, each.name): each for path, inside in below for each in inside if stat.S_ISREG(each.mode)
            }
            texts = dict(read_files(self._sftp, [path for path, each in files.items() if Entry.is_text(each.name)]))
        return [Entry(each, "", 0) for each in directories] + [
            Entry(basename(dirname(path)), each.name, each.size, texts.get(path))
            for path, each in files.items() if path in texts or not Entry.is_text(each.name)
        ]  # fmt: skip

    def condition(self, names: Sequence[str]) -> Condition:
        """Return how it is here; see Session. There is no clock, and whether one may write only an owner is told."""
        from ..ssh import room  # noqa: PLC0415

        with self._words():
            known = room(self._sftp, self._here)
            status = self._sftp.stat(self._here)
            faults = [f"{self._here}: read-only file system"] if known and known[1] else []
            faults += self._faults(status, self._here)
            for each in self._sftp.listdir_attr(self._here) if names else ():
                if each.filename in names:
                    faults += self._faults(each, self._at(each.filename))
        sure = status.st_uid == self._home_owner != 0  # a home of root's is one that sshd shuts the account in
        writable = False if faults else True if sure else None
        return Condition(self._here, tuple(faults), writable, known[0] if known else None, None)

    def fetch(self, file: str) -> Iterator[bytes]:
        """Yield the bytes of a file; see Session."""
        with self._words(), self._sftp.open(self._at(file), "rb") as stream:
            try:
                yield from Ahead(self._sftp, stream.handle, stream.stat().st_size).pieces()
            except (GeneratorExit, TimeoutError):
                self.close()  # else an answer to the file's close is waited for, behind all that was asked
                raise

    def delete(self, files: Sequence[str]) -> None:
        """Remove files; see Session."""
        with self._words():
            for each in files:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISLNK(self._sftp.lstat(self._at(each)).st_mode):
                        raise WriteError(f"{self._place}: {each}: is a symbolic link", "Look at it, then remove it.")
                    self._sftp.remove(self._at(each))

    def clear(self, group: str, part: str) -> None:  # noqa: ARG002  nothing of ours runs there
        """Remove what another session left; see Session."""
        with self._words(), contextlib.suppress(FileNotFoundError):
            self._sftp.remove(self._at(part))

    def close(self) -> None:
        """End it; see Session."""
        self.broken = True
        self._kept.let_go()
        closed(self._sftp)

    def _at(self, name: str) -> str:
        return join(self._here, name)

    def _make(self, name: str) -> None:
        try:
            self._sftp.mkdir(self._at(name), 0o700)
        except OSError:
            if not self._exists(name):  # another session may have made it
                raise

    def _exists(self, name: str) -> bool:
        try:
            self._sftp.lstat(self._at(name))
        except FileNotFoundError:
            return False
        return True

    def _swept(self) -> Iterable[str]:
        for each in chain.from_iterable(found for _, found in list_directories(self._sftp, [self._here])):
            if PART.fullmatch(each.name) and time.time() - each.written > _DEAD_SECONDS:
                self._sftp.remove(self._at(each.name))
                yield each.name

    def _faults(self, status: Any, path: str) -> Iterator[str]:
        """Yield in words why a dump could not be stored in a directory; who owns the account's home is taken for it."""
        if stat.S_ISLNK(status.st_mode):
            yield f"{path}: is a symbolic link"
            return
        if not stat.S_ISDIR(status.st_mode):
            yield f"{path}: not a directory"
            return
        try:
            self._refuse_shared(status, path, is_root=path == self._here)
        except WriteError as error:
            yield error.message
        if status.st_uid == self._home_owner and status.st_mode & _OWNER_WRITES != _OWNER_WRITES:
            yield f"{path}: cannot be written"

    def _refuse_shared(self, status: Any, path: str, *, is_root: bool) -> None:
        sticky = is_root and status.st_mode & stat.S_ISVTX
        if status.st_mode & 0o022 and not sticky:
            raise WriteError(f"{self._place}: {path}: others can write there", f"Look at it, then: chmod go-w {path}")
        if not is_root and not self._is_ours(status.st_uid):
            raise WriteError(f"{self._place}: {path}: belongs to somebody else, user {status.st_uid}", "Look at it.")

    def _is_ours(self, owner: int) -> bool:
        """Whether a directory of this owner is root's or the account's; the protocol does not tell which that is.

        It is who owns the home, or where sshd shuts it in, whose home is root's, who makes directories at the root.
        """
        if owner in (0, self._home_owner):
            return True
        if self._home_owner:
            return False
        if self._maker is None:
            self._maker = self._who_makes()
        return owner == self._maker

    def _who_makes(self) -> int:
        """Return whose a new directory here is, or nobody's number where none can be made."""
        path = self._at(f".dbdump-{os.urandom(4).hex()}")
        try:
            self._sftp.mkdir(path, 0o700)
        except OSError:
            return -1
        try:
            return int(self._sftp.lstat(path).st_uid)
        finally:
            self._sftp.rmdir(path)

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        try:
            with self._spoken(self._account):
                yield
        except ConnectionLost:
            self.broken = True
            raise
        except FileNotFoundError as error:
            raise Missing(f"{self._place}: no such file or directory", hint_for(os.strerror(errno.ENOENT))) from error
        except OSError as error:
            said = error.strerror or str(error)
            hint = hint_for(os.strerror(error.errno)) if error.errno else _NO_WORD_HINT
            raise WriteError(f"{self._place}: {said.lower()}", hint) from error
