"""The directory writer: a dump is a file, and it has a name only when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from ..catalog import DumpName, encode, place_of
from ..errors import RecipeError, WriteError
from ..links import Reach
from ..paths import absolute
from ..remote_shell import RemoteShell
from ..stored import Entry
from .base import Condition, Store
from .directory_sink import DirectorySink
from .on_host import on_host
from .safe import (
    GONE_HINT,
    condition_of,
    hold,
    new_part,
    open_directories,
    read_file,
    remove,
    translated,
)


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
        path = os.fspath(self.path) if isinstance(self.path, str | os.PathLike) else ""
        if not path or {"\n", "\0"} & set(path):
            raise RecipeError(f"Directory({self.path!r}): not a path", 'Write Directory("/srv/dumps").')
        object.__setattr__(self, "path", path)
        if self.on not in ("controller", "host"):
            raise RecipeError(f"Directory(on={self.on!r})", 'There are "controller" and "host".')
        if self.on == "controller":
            absolute(path)

    def bound(self, reach: Reach) -> Store:
        """Return itself, or the directory on the dump's host where that is another machine."""
        if self.on == "host" and isinstance(reach.host, RemoteShell):
            return on_host(self.path, reach.host, reach)
        return self

    def place(self, host: str, recipe: str) -> str:
        """Return the absolute path of the recipe's dumps."""
        return str(self._root.joinpath(*place_of(host, recipe)))

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
                if directory.is_symlink():  # of which nothing is stored, nor read
                    yield Entry(directory.name, "", 0)
                elif directory.is_dir(follow_symlinks=False):
                    yield Entry(directory.name, "", 0)
                    yield from _files(directory.path, directory.name)

    def read(self, name: DumpName) -> Iterator[bytes]:
        """Yield the bytes of a stored dump; see Store."""
        return read_file(Path(self.location(name)))

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
            # Who removes a dump takes its file first, and then the record that it finds.
            if not os.access(name.file, os.F_OK, dir_fd=directory):
                remove(name.record_file, directory)
                raise WriteError(f"{self.location(name)} is gone", GONE_HINT)
            os.fsync(directory)

    def delete(self, name: DumpName) -> None:
        """Remove a dump, and last its manifest; see Store."""
        with self._opened(name) as directory:
            for each in (name.file, name.record_file, name.signature_file, name.manifest_file):
                remove(each, directory)
            os.fsync(directory)

    def condition(self, host: str, recipe: str, databases: Sequence[str]) -> Condition:
        """Return how the place of a recipe is; see Store."""
        root, names = self._root, list(place_of(host, recipe))
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
            directory = open_directories(self._root, place_of(host, recipe), create=False)
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
        return absolute(self.path)


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
        with FileIO(path) as file:
            return file.readall()
    except FileNotFoundError:
        raise
    except OSError:  # one that cannot be read hides none of the others
        return None
