"""One dump on its way into a directory: written, synced, compared, and only then named."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Sequence

from ..catalog import DumpName
from ..errors import WriteError
from ..manifest import Manifest
from .safe import file_sha256, hold, link_or_claim, lock, new_part, remove_dead_parts, translated


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
            if file_sha256(final, self._directory) != sha256:
                raise WriteError(
                    f"{final} is there already, and differs",
                    "Another run began in the same second, or the clock went back; run it again.",
                ) from None
        os.fsync(self._directory)
