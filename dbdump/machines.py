"""The machines of one run, and who waits for them: so many databases at once in all, so many on each host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .errors import RecipeError
from .host import LocalShell
from .links import Links, Reach
from .plan import Job
from .shell import Shell

PER_HOST = 2  # databases dumped at once on another machine, where its recipe does not say

Value = TypeVar("Value")
Answer = TypeVar("Answer")


class Machines:
    """The controller and the others. With `here` every host is this machine. To be closed at the end of the run."""

    def __init__(self, *, here: bool) -> None:
        self.local = LocalShell()
        self._links = Links()
        self._here = here

    def reach(self, job: Job, *, early: bool = False) -> Reach:
        """Return what a job reaches; `early` is Reach's.

        Raises RecipeError or ConnectError for a host that ssh does not know.
        """
        host = job.host
        shell: Shell = self.local
        if not (host.is_local or self._here):
            shell = self._links.shell(host.remote, host.transport)
        if job.dump.stall_timeout is None:
            raise RecipeError(f"{job.id}: no stall_timeout", "It is filled in before a job is run.")
        return Reach(self._links, shell, self.local, job.dump.stall_timeout, early)

    def end(self) -> None:
        """End every script on every machine, and start no more."""
        self.local.end()
        self._links.end()

    def close(self) -> None:
        """Close every connection."""
        self._links.close()


class Queues:
    """Work that waits for its host's turn, and then for one of `slots` that all hosts share."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._hosts: dict[str, ThreadPoolExecutor] = {}

    def submit(self, host: str, at_once: int | None, work: Callable[[Value], Answer], value: Value) -> Future[Answer]:
        """Have `work` done with `value`, at most `at_once` on that host; a slow host holds no slot of the others."""
        with self._lock:
            if host not in self._hosts:
                self._hosts[host] = ThreadPoolExecutor(min(at_once or self._slots, self._slots), f"dump-{host}")
            queue = self._hosts[host]
        return queue.submit(self._in_a_slot, work, value)

    def close(self) -> None:
        """Wait for what is under way."""
        for each in self._hosts.values():
            each.shutdown()

    def _in_a_slot(self, work: Callable[[Value], Answer], value: Value) -> Answer:
        with self._free:
            return work(value)
