"""The sessions of one run at one account of another machine: begun when they are needed, or before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..errors import ConnectionLost
from .session import Session


class Sessions:
    """The sessions of one run at one account: as many as dumps at once, each used for one after another.

    With `early` the first is begun at once, while the host is still asked what there is to dump.
    """

    def __init__(self, start: Callable[[], Session], *, early: bool = False) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._starter = ThreadPoolExecutor(1, "session")
        self._early = self._starter.submit(self._begin) if early else None
        self._first = self._early
        self._has_shell = True

    def take(self, *, fresh: bool = False) -> Session:
        """Return a session that nobody uses: one that is there already, unless it is to be `fresh`."""
        with self._lock:
            if self._idle and not fresh:
                return self._idle.pop()
            early, self._early = self._early, None
        return self._begin() if early is None else early.result()

    def at(self, root: str, names: Sequence[str], *, make: bool) -> tuple[Session, str]:
        """Return a session that nobody uses, gone to a directory, and the path of that; see Session.go.

        The connection of one that was idle may have been lost meanwhile, which begins nothing anew: it is not used.
        """
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            session = idle or self.take(fresh=True)
            try:
                return session, session.go(root, names, make=make)
            except BaseException as error:
                session.close()
                if idle is None or not isinstance(error, ConnectionLost):
                    raise

    def _begin(self) -> Session:
        session = self._start()
        self._has_shell = session.has_shell
        return session

    @property
    def has_shell(self) -> bool:
        """Whether the account runs commands, as far as a session has begun; one that is on its way is waited for."""
        if self._first is not None:
            wait([self._first])
        return self._has_shell

    def soon(self, work: Callable[[], None]) -> Future[None]:
        """Do `work`, which takes a session: at once, or the first as soon as the early session is there.

        Raises nothing: the future does.
        """
        with self._lock:
            early = self._early if self._early is not None and not self._early.done() else None
            if early is not None:
                self._early = None
        if early is not None:
            return self._starter.submit(self._after, early, work)
        done: Future[None] = Future()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  as an executor does
            done.set_exception(error)
        else:
            done.set_result(None)
        return done

    def _after(self, early: Future[Session], work: Callable[[], None]) -> None:
        self.give(early.result())
        work()

    def give(self, session: Session) -> None:
        """Take back a session, for others to use; end one that is broken."""
        if session.broken:
            session.close()
            return
        with self._lock:
            self._idle.append(session)

    def close(self) -> None:
        """End those that nobody uses."""
        self._starter.shutdown()
        with self._lock:
            idle, self._idle = self._idle, []
            if self._early is not None and self._early.exception() is None:
                idle.append(self._early.result())
        for session in idle:
            session.close()
