"""Signals that end a run: noted here, acted upon by the runner, so that nothing is cut in the middle."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

Value = TypeVar("Value")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered, INT, TERM and HUP are noted in `received`, the first one only.

    One that is ignored, as HUP is under nohup, stays ignored. To be entered in the main thread.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for each in _ENDING:
            before = signal.getsignal(each)
            if before != signal.SIG_IGN:
                self._before[each] = signal.signal(each, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    def all_of(self, futures: Sequence[Future[Value]], end: Callable[[], object]) -> list[Value]:
        """Wait for all futures, and return what they came to; once a signal is noted, `end` is called until they do."""
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=0.1)
            if self.received is not None:
                end()
        return [future.result() for future in futures]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
