"""The directory writer: a dump is a file, and it has a name only when it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..boot import RemoteShell
from ..catalog import DumpName, Manifest, encode
from ..errors import RecipeError, WriteError
from ..links import Reach
from ..stored import Entry
from .base import Condition, Store
from .on_host import on_host
from .safe import (
    condition_of,
    hold,
    link_or_claim,
    lock,
    new_part,
    open_directories,
    remove,
    remove_dead_parts,
    sha256_of,
    translated,
)

_PIECE = 1 << 20


@dataclass(frozen=True)
class Directory:
    """A directory on the controller; a relative `path` is relative to where dbdump was started.

    It has to be there: one that is missing may be a disk that is not mounted. `create` makes it. With
    `on="host"` it is one of the dump's own host, and the bytes do not travel.
    """

    path: str
    create: bool = False
    on: Literal["controller", "host"] = "controller"

    def __post_init__(self) -> None:
        if self.on not in ("controller", "host"):
            raise RecipeError(f"Directory(on={self.on!r})", 'There are "controller" and "host".')

    def bound(self, reach: Reach) -> Store:
        """Return itself, or the directory on the dump's host where that is another machine."""
        if self.on == "host" and isinstance(reach.host, RemoteShell):
            return on_host(self.path, reach.host, reach)
        return self

    def place(self, host: str, recipe: str) -> str:
        """Return the absolute path of the recipe's dumps."""
        return str(self._root.joinpath(*DumpName(host, recipe, "x", "", "").directory[:2]))

    def location(self, name: DumpName) -> str:
        """Return the absolute path of the dump's file."""
        return str(self._root.joinpath(*name.directory, name.file))

    def source(self, name: DumpName) -> list[str]:
        """Return the path of the dump's file."""
        return [self.location(name)]

    def open(self, name: DumpName) -> DirectorySink:
        """Begin a dump; makes the directories below the path that are missing, 0700."""
        if self.create:
            with translated(self._root):
                self._root.mkdir(mode=0o700, exist_ok=True)
        with translated(self.location(name)):
            directory = open_directories(self._root, name.directory, create=True)
            try:
                return DirectorySink(directory, name, self.location(name))
            except BaseException:
                os.close(directory)
                raise

    def entries(self, host: str, recipe: str) -> Iterator[Entry]:
        """Yield every file of a recipe; see Store."""
        top = Path(self.place(host, recipe))
        if not self._is_there(top):
            return
        with translated(top), os.scandir(top) as directories:
            for directory in directories:
                if directory.is_dir(follow_symlinks=False):
                    yield Entry(directory.name, "", 0)
                    yield from _files(directory.path, directory.name)

    def read(self, name: DumpName) -> Iterator[bytes]:
        """Yield the bytes of a stored dump, 1 MiB at a time."""
        with translated(self.location(name)), Path(self.location(name)).open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def signature(self, name: DumpName) -> bytes:
        """Return the signature of a manifest; see Store."""
        path = self._root.joinpath(*name.directory, name.signature_file)
        with translated(path):
            return path.read_bytes()

    def note(self, name: DumpName, record: bytes) -> None:
        """Put a record beside a dump; see Store."""
        with self._opened(name) as directory:
            part, file = new_part(name.record_file, directory)
            with os.fdopen(file, "wb") as stream:
                try:
                    stream.write(record)
                    stream.flush()
                    os.fsync(file)
                    os.replace(part, name.record_file, src_dir_fd=directory, dst_dir_fd=directory)
                except BaseException:
                    os.unlink(part, dir_fd=directory)
                    raise
            os.fsync(directory)

    def delete(self, name: DumpName) -> None:
        """Remove a dump, and last its manifest; see Store."""
        with self._opened(name) as directory:
            for each in (name.file, name.record_file, name.signature_file, name.manifest_file):
                remove(each, directory)
            os.fsync(directory)

    def condition(self, host: str, recipe: str, databases: Sequence[str]) -> Condition:
        """Return how the place of a recipe is; see Store."""
        root, names = self._root, list(DumpName(host, recipe, "x", "", "").directory[:2])
        if self.create and not os.path.lexists(root):
            root, names = root.parent, []
        return condition_of(root, names, [*map(encode, databases)])

    @contextlib.contextmanager
    def held(self, host: str, recipe: str, *, alone: bool) -> Iterator[None]:
        """Hold the place of a recipe; see Store."""
        place = self.place(host, recipe)
        if not self._is_there(Path(place)):
            yield
            return
        with translated(place):
            directory = open_directories(self._root, DumpName(host, recipe, "x", "", "").directory[:2], create=False)
        try:
            hold(directory, place, alone=alone)
            yield
        finally:
            os.close(directory)

    def _is_there(self, place: Path) -> bool:
        """Whether anything was ever stored in a place. Raises WriteError where the datadir itself is missing."""
        with translated(place), contextlib.suppress(FileNotFoundError):
            place.lstat()
            return True
        if not self.create:
            with translated(self._root):
                self._root.stat()
        return False

    @contextlib.contextmanager
    def _opened(self, name: DumpName) -> Iterator[int]:
        """Open the directory of a dump; give its descriptor."""
        with translated(self.location(name)):
            directory = open_directories(self._root, name.directory, create=False)
            try:
                yield directory
            finally:
                os.close(directory)

    @property
    def _root(self) -> Path:
        return Path(self.path).expanduser().absolute()


def _files(path: str, directory: str) -> Iterator[Entry]:
    gone = contextlib.suppress(FileNotFoundError)  # it went meanwhile
    with gone, os.scandir(path) as files:
        for each in files:
            if each.is_file(follow_symlinks=False):
                with gone:
                    text = _text(each.path) if Entry.is_text(each.name) else None
                    yield Entry(directory, each.name, each.stat(follow_symlinks=False).st_size, text)


def _text(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise
    except OSError:  # one that cannot be read hides none of the others
        return None


class DirectorySink:
    """One dump on its way into a directory; see Sink."""

    def __init__(self, directory: int, name: DumpName, location: str) -> None:
        self._directory = directory
        self._name = name
        self._location = location
        self._digest = hashlib.sha256()
        self._parts: dict[str, int] = {}
        self._place = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            hold(self._place, location, alone=False)
            self.leftovers = remove_dead_parts(directory)
            self._part, self._file = self._new_part(name.file)
        except BaseException:
            os.close(self._place)  # who goes on holding it keeps the prune of the same run out
            raise

    def write(self, piece: memoryview) -> None:
        """Write all of `piece`, and hash what was really taken."""
        with translated(self._location):
            while piece:
                count = os.write(self._file, piece)
                self._digest.update(piece[:count])
                piece = piece[count:]

    def look(self) -> None:
        """Raise nothing: what keeps it from being stored was raised when it was opened."""

    def commit(self, manifest: Manifest, signature: bytes | None = None) -> None:
        """Make it durable under its name, then the signature and the manifest the same way."""
        named: list[str] = []
        with translated(self._location):
            os.fsync(self._file)
            self._compare(manifest)
            # One commit at a time in a directory: one that is rolled back takes nothing of another's along.
            lock(self._directory, fcntl.LOCK_EX)
            try:
                self._give_name(self._part, self._name.file, manifest.sha256, named)
                small = {} if signature is None else {self._name.signature_file: signature}
                for final, text in (small | {self._name.manifest_file: manifest.to_json()}).items():
                    part = self._written(final, text)
                    self._give_name(part, final, hashlib.sha256(text).hexdigest(), named)
            except BaseException as error:
                self._take_back(named, error)
                raise
        self.abort()

    def abort(self) -> None:
        """Remove the temporary files and let go of the directory; what cannot be removed, the next run reports."""
        if self._directory < 0:
            return
        for part, file in self._parts.items():
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=self._directory)
            os.close(file)
        os.close(self._directory)
        os.close(self._place)
        self._directory = -1

    def _take_back(self, named: Sequence[str], error: BaseException) -> None:
        """Remove what has its name already, after `error`. Raises WriteError of both where that cannot be."""
        for name in reversed(named):
            try:
                os.unlink(name, dir_fd=self._directory)
            except OSError as second:
                first, why = (os.strerror(each.errno or 0).lower() if isinstance(each, OSError) else str(each)
                              for each in (error, second))  # fmt: skip
                raise WriteError(
                    f"{self._location}: {first}; and {name} cannot be removed: {why}",
                    "Look at that disk, and at what list says of it.",
                ) from error

    def _new_part(self, final: str) -> tuple[str, int]:
        part, file = new_part(final, self._directory)
        self._parts[part] = file
        return part, file

    def _compare(self, manifest: Manifest) -> None:
        own = os.fstat(self._file).st_size, self._digest.hexdigest()
        if own != (manifest.stored_bytes, manifest.sha256):
            raise WriteError(
                f"{own[0]} bytes, SHA-256 {own[1]} were written, but {manifest.stored_bytes} bytes, "
                f"SHA-256 {manifest.sha256} were sent",
                "The file system lost or changed bytes; look at the kernel's log.",
            )

    def _written(self, final: str, text: bytes) -> str:
        part, file = self._new_part(final)
        while text:
            text = text[os.write(file, text) :]
        os.fsync(file)
        return part

    def _give_name(self, part: str, final: str, sha256: str, named: list[str]) -> None:
        """Make `part` durable as `final`, and note in `named` that it is new. Refuses what differs."""
        try:
            link_or_claim(part, final, self._directory, named)
        except FileExistsError:
            if sha256_of(final, self._directory) != sha256:
                raise WriteError(
                    f"{final} is there already, and differs",
                    "Another run began in the same second, or the clock went back; run it again.",
                ) from None
        os.fsync(self._directory)
