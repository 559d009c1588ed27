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
_TIMEOUT = "canceling statement due to statement timeout"
TOO_LONG = ("SET statement_timeout = 1", "SELECT pg_sleep(1)")  # fails, with how the server says that in its language

# Of such a lock that is waited for, too, as pg_dump would wait behind that.
LOCKED = """\
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_class AS c ON c.oid = relation
  WHERE mode = 'AccessExclusiveLock' AND relkind IN ('r', 'p') AND relpersistence <> 't'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class LockWait:
    """How long the dump of one database waits for locks: pg_dump for `seconds`, and in all for `most`, 0 for ever."""

    def __init__(self, most: float) -> None:
        self._left = most or math.inf
        self.seconds = min(_AT_ONCE, self._left)

    def obstacle(self, message: str, ask: Callable[[], str], too_long: Callable[[], str]) -> Obstacle | None:
        """Return what was in pg_dump's way: a locked table; None for another failure, or where it takes too long.

        `ask` answers LOCKED, `too_long` what the server says of a timeout. Where no table is locked, to lock thousands
        of them took longer than pg_dump was given: it gets twice the time then.
        """
        if "LOCK TABLE" not in message or (_TIMEOUT not in message and too_long() not in message):
            return None
        self._left -= self.seconds
        if self._left <= 0:
            return None
        if ask() == "t":
            return Obstacle("a table is locked: begins anew when it is not", self._looking(ask))
        self.seconds = min(2 * self.seconds, self._left)
        return Obstacle(f"the locks took too long: begins anew, with {self.seconds:g} s for them", lambda: False)

    def _looking(self, ask: Callable[[], str]) -> Callable[[], bool]:
        """Return what says whether a table is locked, as long as there is time left."""
        until = time.monotonic() + self._left

        def is_locked() -> bool:
            """Ask, and take off what has passed."""
            self._left = until - time.monotonic()
            return self._left > 0 and ask() == "t"

        return is_locked
