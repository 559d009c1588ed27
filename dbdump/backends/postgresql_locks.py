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
_ENOUGH = 3600.0  # seconds for the locks alone

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

    def obstacle(self, message: str, ask: Callable[[], str]) -> Obstacle | None:
        """Return what was in pg_dump's way: a locked table; None for another failure, or where it takes too long.

        `ask` answers LOCKED. Where no table is locked, to lock thousands of them took longer than pg_dump was given:
        it gets twice the time then. So it does where the server speaks another language, and may mean something else:
        that is soon tried for the last time, as it fails at once.
        """
        if "LOCK TABLE" not in message:
            return None
        self._left -= self.seconds
        if self._left <= 0 or self.seconds > _ENOUGH:
            return None
        if ask() == "t":
            return Obstacle("a table is locked: begins anew when it is not", self._looking(ask))
        if "ERROR:" in message and "statement timeout" not in message:
            return None
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
