"""A program on a host that is asked again and again: to start it for each question takes longer than its answers."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import SimpleQueue

from .errors import DbdumpError, Interrupted
from .pipeline import ANSWER_TIMEOUT, Pipeline, Write
from .shell import Shell

_LOOK = 0.5  # seconds without an answer


class Talk:
    """A program that reads questions on stdin and answers each on stdout, until it is closed, or has ended itself."""

    def __init__(self, pipeline: Pipeline, shell: Shell) -> None:
        self._questions: SimpleQueue[bytes | None] = SimpleQueue()
        self._heard = bytearray()
        self._news = threading.Condition()
        self._turn = threading.Lock()
        self.over = False
        self._thread = threading.Thread(target=self._run, args=(pipeline, shell), name="talk", daemon=True)
        self._thread.start()

    def ask(self, question: bytes, end: bytes) -> bytes | None:
        """Return what is answered before `end`; None where there is no such answer: then it is over.

        Why it is, says best who asks the same in a program of its own.
        """
        with self._turn:
            if self.over:
                return None
            self._heard.clear()
            self._questions.put(question)
            until = time.monotonic() + ANSWER_TIMEOUT
            with self._news:
                while not self._news.wait_for(lambda: self.over or self._heard.endswith(end), _LOOK):
                    self._questions.put(b"\n")  # it is seen by that where nobody reads any more
                    if time.monotonic() > until:
                        break
                if self._heard.endswith(end):
                    return bytes(self._heard.removesuffix(end))
            self.over = True
            self._questions.put(None)
            return None

    def close(self) -> None:
        """Close its stdin, and wait until it has ended; who does not end by that is ended."""
        self.over = True
        self._questions.put(None)
        self._thread.join()

    def _run(self, pipeline: Pipeline, shell: Shell) -> None:
        try:
            with suppress(DbdumpError):
                pipeline.pump(shell, self._hear, self._feed, self._look)
        finally:
            with self._news:
                self.over = True
                self._news.notify_all()

    def _feed(self, write: Write) -> None:
        """Hand over each question; it raises where nobody reads them any more."""
        while (question := self._questions.get()) is not None:
            write(memoryview(question))

    def _look(self) -> None:
        """Raise Interrupted a second after it is over, where it still runs."""
        if self.over:
            raise Interrupted("nobody asks it any more")

    def _hear(self, piece: memoryview) -> None:
        with self._news:
            self._heard += piece
            self._news.notify_all()
