"""How long pg_dump may wait for a table that somebody has locked: hardly at all.

It reads what there was before it waited. Who locks a table may truncate it and fill it again, or rewrite it: none of
its rows was there before, and it would be empty in the dump, without an error (PostgreSQL manual, 13.6, Caveats).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .base import Obstacle

_AT_ONCE = 0.5  # seconds: whoever is done meanwhile may have emptied a table

# Of such a lock that is waited for, too, as pg_dump would wait behind that.
LOCKED = """\
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_class AS c ON c.oid = relation
  WHERE mode = 'AccessExclusiveLock' AND relkind IN ('r', 'p') AND relpersistence <> 't'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class LockWait:
    """How long the dump of one database waits for locks: pg_dump for `seconds`, and we for `most`, 0 for ever."""

    def __init__(self, most: float) -> None:
        self._most = most or math.inf
        self._until = 0.0  # not known before the first failure
        self.seconds = min(_AT_ONCE, self._most)

    def obstacle(self, message: str, ask: Callable[[], str]) -> Obstacle | None:
        """Return what was in pg_dump's way: a locked table; None for another failure, or where it takes too long.

        `ask` answers LOCKED. Where no table is locked, to lock thousands of them took longer than the server was
        given, which gets twice the time then.
        """
        if "LOCK TABLE" not in message:
            return None
        now = time.monotonic()
        self._until = self._until or now + self._most - self.seconds
        if now >= self._until:
            return None
        if self._is_locked(ask):
            return Obstacle("a table is locked: begins anew when it is not", lambda: self._is_locked(ask))
        if "statement timeout" not in message:
            return None
        self.seconds = min(2 * self.seconds, self._most)
        return Obstacle(f"the locks took too long: begins anew, with {self.seconds:g} s for them", lambda: False)

    def _is_locked(self, ask: Callable[[], str]) -> bool:
        return time.monotonic() < self._until and ask() == "t"
