"""A directory on another machine, with the promises of a directory here."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..catalog import DumpName, encode, place_of
from ..errors import DbdumpError, WriteError
from ..stored import Entry
from .base import Condition
from .far_sink import FarSink, begun, compare
from .session import Missing, Session
from .sessions import Sessions


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
            silent = False
            try:
                for piece in session.fetch(name.file):
                    silent = not piece
                    yield piece
            except (WriteError, GeneratorExit):
                if silent and session.has_shell:
                    self._end(session)
                raise

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
                session.replace(part, name.record_file, name.file)
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
        names = place_of(host, recipe)
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
            session.go(self.root, place_of(host, recipe), make=False)
        except Missing:
            session.go(self.root, (), make=False)
            return False
        return True

    def _path_of(self, name: DumpName) -> str:
        return "/".join([self._path.rstrip("/"), *name.directory, name.file])

    def _end(self, stuck: Session) -> None:
        """End a session that hangs there, by another one: closing a channel ends nobody who is stuck."""
        with contextlib.suppress(DbdumpError):
            helper = self._sessions.take(fresh=True)
            helper.clear(stuck.group, "")
            self._sessions.give(helper)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._sessions.take()
        try:
            yield session
        except BaseException:
            session.close()  # an answer may be half read
            raise
        self._sessions.give(session)
