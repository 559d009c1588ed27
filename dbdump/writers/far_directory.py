"""A directory on another machine, with the promises of a directory here."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..catalog import DumpName, Manifest, encode
from ..errors import ConnectionLost, DbdumpError, WriteError
from ..stored import Entry
from .base import Condition
from .far import new_part
from .session import Missing, Session
from .sessions import Sessions

_AHEAD = 8 << 20  # bytes of the first dump that are held while its connection is made


class FarDirectory:
    """A directory that sessions lead to; see Store. `reader` gives the argv that prints the file at a path."""

    def __init__(self, sessions: Sessions, path: str, account: str, reader: Callable[[str], Sequence[str]]) -> None:
        self._sessions = sessions
        self._path = path.removeprefix("~/")
        self._account = account
        self._reader = reader

    @property
    def root(self) -> str:
        """The path as a shell takes it, whatever it begins with."""
        return self._path if self._path.startswith("/") else "./" + self._path

    def location(self, name: DumpName) -> str:
        """Return the account and the path of the dump's file there."""
        return f"{self._account}:{self._path_of(name)}"

    def source(self, name: DumpName) -> Sequence[str]:
        """Return the argv that writes a stored dump to stdout."""
        return self._reader(self._path_of(name))

    def open(self, name: DumpName) -> FarSink:
        """Begin a dump; makes the directories below the path that are missing, 0700."""
        return FarSink(self._sessions, self.root, name, self._account)

    def entries(self, host: str, recipe: str) -> Iterator[Entry]:
        """Yield every file of a recipe; see Store. The session is given back before the first of them."""
        with self._session() as session:
            found = session.entries() if self._is_there(session, host, recipe) else ()
        yield from found

    def read(self, name: DumpName) -> Iterator[bytes]:
        """Yield the bytes of a stored dump."""
        with self._session() as session:
            session.go(self.root, name.directory, make=False)
            yield from session.fetch(name.file)

    def signature(self, name: DumpName) -> bytes:
        """Return the signature of a manifest; see Store."""
        with self._session() as session:
            session.go(self.root, name.directory, make=False)
            return b"".join(session.fetch(name.signature_file))

    def note(self, name: DumpName, record: bytes) -> None:
        """Put a record beside a dump; see Store."""
        with self._session() as session:
            session.go(self.root, name.directory, make=False)
            part, _ = begun(session, name.record_file, adding=False)
            try:
                session.write(memoryview(record))
                compare(session, self._account, len(record), hashlib.sha256(record).hexdigest())
                session.replace(part, name.record_file)
            except BaseException:
                with contextlib.suppress(DbdumpError):
                    session.drop()
                raise

    def delete(self, name: DumpName) -> None:
        """Remove a dump, and last its manifest; see Store."""
        with self._session() as session:
            session.go(self.root, name.directory, make=False)
            session.delete([name.file, name.record_file, name.signature_file, name.manifest_file])

    @contextlib.contextmanager
    def held(self, host: str, recipe: str, *, alone: bool) -> Iterator[None]:
        """Hold the place of a recipe, by a session that does nothing else meanwhile; see Store."""
        session = self._sessions.take()
        try:
            if self._is_there(session, host, recipe):
                session.hold(alone=alone)
            yield
        finally:
            if not session.broken:
                with contextlib.suppress(DbdumpError):  # who is gone holds nothing
                    session.drop()
            self._sessions.give(session)

    def condition(self, host: str, recipe: str, databases: Sequence[str]) -> Condition:
        """Return how the place of a recipe is; see Store."""
        names = DumpName(host, recipe, "x", "", "").directory[:2]
        with self._session() as session:
            for depth in range(len(names), -1, -1):
                try:
                    session.go(self.root, names[:depth], make=False)
                except Missing:
                    if not depth:
                        raise
                else:
                    break
            found = session.condition([*map(encode, databases)] if depth == len(names) else [])
        return replace(found, path=f"{self._account}:{found.path}")

    def _is_there(self, session: Session, host: str, recipe: str) -> bool:
        """Go to the place of a recipe; return whether anything was ever stored there.

        Raises Missing where the root itself is not there.
        """
        try:
            session.go(self.root, DumpName(host, recipe, "x", "", "").directory[:2], make=False)
        except Missing:
            session.go(self.root, (), make=False)
            return False
        return True

    def _path_of(self, name: DumpName) -> str:
        return "/".join([self._path.rstrip("/"), *name.directory, name.file])

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._sessions.take()
        try:
            yield session
        except BaseException:
            session.close()  # an answer may be half read
            raise
        self._sessions.give(session)


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
        self._session = self._pool.take()
        try:
            self._where = self._session.go(self._root, self._name.directory, make=True)
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
        named: list[str] = []
        try:
            self._give_name(self._name.file, manifest.sha256, manifest.stored_bytes, named)
            if signature is not None:
                self._put(self._name.signature_file, signature, named)
            self._put(self._name.manifest_file, manifest.to_json(), named)
        except BaseException:
            with contextlib.suppress(DbdumpError):  # the first error is the one to tell
                for name in reversed(named):
                    self._session.unname(name)
            raise
        self._part = ""
        self.abort()

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

    def _give_name(self, final: str, sha256: str, size: int, named: list[str]) -> None:
        try:
            new = self._session.name(self._part, final, sha256, size)
        except ConnectionLost:
            lost, self._session = self._session, self._another()
            lost.close()
            try:
                # Whether it was done nobody knows, and asking again is harmless.
                new = self._session.name(self._part, final, sha256, size)
            finally:
                self._clear(lost, self._session)
        if new:
            named.append(final)

    def _put(self, final: str, text: bytes, named: list[str]) -> None:
        self._part, _ = begun(self._session, final, adding=True)
        self._session.write(memoryview(text))
        sha256 = hashlib.sha256(text).hexdigest()
        compare(self._session, self._account, len(text), sha256)
        self._give_name(final, sha256, len(text), named)


def begun(session: Session, final: str, *, adding: bool) -> tuple[str, tuple[str, ...]]:
    """Begin a temporary file for `final`; return its name, and what dead runs left."""
    while True:
        part = new_part(final)
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
