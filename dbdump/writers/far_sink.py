"""One dump on its way to another machine: sent, compared with what was stored there, and only then named."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import NamedTuple

from ..catalog import DumpName, part_name
from ..errors import ConnectionLost, DbdumpError, WriteError
from ..manifest import Manifest
from .session import Session
from .sessions import Sessions

_AHEAD = 8 << 20  # bytes of the first dump that are held while its connection is made


class Given(NamedTuple):
    """Of a final name: the SHA-256 of its file, as long as nobody knows whether it was given, and the file's size."""

    sha256: str
    size: int


class FarSink:
    """One dump on its way to another machine; see Sink.

    The first of a run may be open before its session is there, so that its pipeline starts meanwhile; what then keeps
    it from being opened is raised by whatever is done with it, but for `abort`, which waits until that is known.
    """

    leftovers: tuple[str, ...] = ()

    def __init__(self, pool: Sessions, root: str, name: DumpName, account: str) -> None:
        self._pool = pool
        self._root = root
        self._name = name
        self._account = account
        self._done = False
        self._holding = threading.Lock()
        self._ahead: list[bytes] | None = []  # None once they are sent
        self._opening = pool.soon(self._open)
        self.look()

    def _open(self) -> None:
        self._session, self._where = self._pool.at(self._root, self._name.directory, make=True)
        try:
            self._part, self.leftovers = begun(self._session, self._name.file, adding=True)
        except BaseException:
            self._session.close()
            raise
        try:
            self._send_held()
        except BaseException:
            self._let_go()
            raise

    def look(self) -> None:
        """Raise what kept it from being opened, if that is known."""
        if self._opening.done():
            self._opening.result()

    def write(self, piece: memoryview) -> None:
        """Send all of `piece`; while the session is not there yet, some of them are held."""
        self.look()
        with self._holding:
            if self._ahead is not None and sum(map(len, self._ahead)) + len(piece) <= _AHEAD:
                self._ahead.append(bytes(piece))
                return
        self._opening.result()
        self._session.write(piece)

    def _send_held(self) -> None:
        """Send what is held, and hold no more."""
        with self._holding:
            for piece in self._ahead or ():
                self._session.write(memoryview(piece))
            self._ahead = None

    def commit(self, manifest: Manifest, signature: bytes | None = None) -> None:
        """Compare what is stored there, name it, then the signature and the manifest the same way."""
        self._opening.result()
        compare(self._session, self._account, manifest.stored_bytes, manifest.sha256)
        named: dict[str, Given] = {}
        try:
            self._give_name(self._name.file, manifest.sha256, manifest.stored_bytes, named)
            if signature is not None:
                self._put(self._name.signature_file, signature, named)
            self._put(self._name.manifest_file, manifest.to_json(), named)
        except BaseException as error:
            self._take_back(named, error)
            raise
        self._part = ""
        self.abort()

    def _take_back(self, named: dict[str, Given], error: BaseException) -> None:
        """Remove what has its name already, after `error`, over another connection where this one is lost.

        Raises WriteError of both where that cannot be.
        """
        left = [*reversed(named)]
        try:
            if named and self._session.broken:
                lost, self._session = self._session, self._another()
                lost.close()
                self._clear(lost, self._session)
            while left:
                self._session.unname(left[0], *named[left[0]])
                del left[0]
        except DbdumpError as second:
            first = error.message if isinstance(error, DbdumpError) else str(error)
            files = ", ".join(f"{self._where}/{each}{' (if it is there)' * bool(named[each].sha256)}" for each in left)
            raise WriteError(
                f"{first}; and there cannot be removed: {files}: {second.message}",
                "Look at that machine, and at what list says of it.",
            ) from error

    @property
    def file(self) -> tuple[str, str]:
        """The directory there, and the temporary file in it."""
        self._opening.result()
        return self._where, self._part

    def abort(self) -> None:
        """Remove the temporary file, and let go of the session; what cannot be removed, the next run removes."""
        if self._done or self._opening.exception():
            return
        self._done = True
        self._let_go()

    def _let_go(self) -> None:
        """Remove the temporary file, and give the session back, or end it with all that hangs there."""
        if not self._session.broken:
            with contextlib.suppress(DbdumpError):
                self._session.drop()
        if not self._session.broken:
            self._pool.give(self._session)
            return
        self._session.close()
        with contextlib.suppress(DbdumpError):
            helper = self._another()
            self._clear(self._session, helper)
            self._pool.give(helper)

    def _another(self) -> Session:
        """Return a new session that is where the dump goes."""
        session = self._pool.take(fresh=True)
        try:
            session.go(self._root, self._name.directory, make=False)
        except BaseException:
            session.close()
            raise
        return session

    def _clear(self, lost: Session, helper: Session) -> None:
        """Have `helper` end a session that is lost: closing a channel ends nobody who is stuck."""
        with contextlib.suppress(DbdumpError):
            helper.clear(lost.group, self._part)

    def _give_name(self, final: str, sha256: str, size: int, named: dict[str, Given]) -> None:
        """Give a final name, and note it in `named`: see Given."""
        named[final] = Given(sha256, size)
        try:
            new = self._session.name(self._part, final, sha256, size)
        except ConnectionLost:
            lost, self._session = self._session, self._another()
            lost.close()
            try:
                # Asking again is harmless; what is there already may be of the first time.
                if self._session.name(self._part, final, sha256, size):
                    named[final] = Given("", size)
            except BaseException:
                self._clear(lost, self._session)
                raise
            # sshd renames by a link and an unlink, and where the latter finds nothing it takes back the new name.
            if self._session.has_shell:
                self._clear(lost, self._session)
            return
        if new:
            named[final] = Given("", size)
        else:
            del named[final]

    def _put(self, final: str, text: bytes, named: dict[str, Given]) -> None:
        self._part, _ = begun(self._session, final, adding=True)
        self._session.write(memoryview(text))
        sha256 = hashlib.sha256(text).hexdigest()
        compare(self._session, self._account, len(text), sha256)
        self._give_name(final, sha256, len(text), named)


def begun(session: Session, final: str, *, adding: bool) -> tuple[str, tuple[str, ...]]:
    """Begin a temporary file for `final`; return its name, and what dead runs left."""
    while True:
        part = part_name(final)
        leftovers = session.open(part, adding=adding)
        if leftovers is not None:
            return part, leftovers


def compare(session: Session, account: str, size: int, sha256: str) -> None:
    """Raise WriteError where what is stored is not what was sent."""
    stored = session.received(size)
    # An empty SHA-256: of an account for SFTP only, whose recipe wants no reading back.
    if stored[0] != size or stored[1] not in (sha256, ""):
        raise WriteError(
            f"{account}: {stored[0]} bytes, SHA-256 {stored[1]} are stored, but {size} bytes, "
            f"SHA-256 {sha256} were sent",
            "Its file system lost or changed bytes; look at the kernel's log there.",
        )
