"""The client of MySQL or MariaDB that stays connected, for what is asked of each database."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence

from ..shell import Keeper, Questioned

# What is asked first: whether the user may have one connection more than dumps need.
_LIMIT = "SELECT @@max_user_connections"
# Connected anew, it would go on with the next statement.
TALK_WORDS = ("--batch", "--skip-column-names", "--unbuffered", "--skip-reconnect")


class Client:
    """Runs SQL in one client for all, and where it has ended, or cannot be, in one for each: that is what `once` does.

    `argv` starts it.
    """

    def __init__(self, ask: object, argv: Sequence[str], once: Callable[[str], str]) -> None:
        self._keep = ask.keep if isinstance(ask, Keeper) else None
        self._argv = argv
        self._once = once
        self._lock = threading.Lock()
        self._talk: Questioned | None = None

    def answer(self, statements: str) -> str:
        """Return what the client prints for `statements`. Raises what `once` raises."""
        talk = self._kept()
        answer = None if talk is None else _asked(talk, statements)
        return self._once(statements) if answer is None else answer

    def _kept(self) -> Questioned | None:
        """Return the client, started anew where a server has disconnected it; None where there may be none."""
        with self._lock:
            if self._keep is not None and (self._talk is None or self._talk.over):
                self._talk = self._keep(self._argv)
                if _asked(self._talk, _LIMIT) != "0\n":
                    self._talk.close()
                    self._talk = self._keep = None
            return self._talk


def _asked(talk: Questioned, statements: str) -> str | None:
    end = secrets.token_hex(8)
    answer = talk.ask(f"{statements};\nSELECT '{end}';\n".encode(), f"{end}\n".encode())
    return None if answer is None else answer.decode("utf-8", "surrogateescape")
