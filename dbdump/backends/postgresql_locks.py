"""How long pg_dump may wait for a table that somebody has locked: hardly at all.

It reads what there was before it waited. Who locks a table may truncate it and fill it again, or rewrite it: none of
its rows was there before, and it would be empty in the dump, without an error (PostgreSQL manual, 13.6, Caveats).
"""

from __future__ import annotations

import time
from collections.abc import Callable

AT_ONCE = 0.5  # seconds that pg_dump waits itself: whoever is done meanwhile may have emptied a table
_PAUSE = 0.5  # seconds

# Of such a lock that is waited for, too, as pg_dump would wait behind that.
LOCKED = """\
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_class AS c ON c.oid = relation
  WHERE mode = 'AccessExclusiveLock' AND relkind IN ('r', 'p') AND relpersistence <> 't'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


def unlocked(ask: Callable[[], str], until: float) -> bool:
    """Wait until `ask`, which answers LOCKED, says f; return whether it did until then."""
    while time.monotonic() < until:
        if ask() == "f":
            return True
        time.sleep(_PAUSE)
    return False
