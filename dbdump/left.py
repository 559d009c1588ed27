"""What is left of a restore that failed: how far it came, and what there is now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNKNOWN = -1  # things in a target of a backend that cannot tell


@dataclass
class Left:
    """How far a restore has come with its database, and with the globals of the run.

    `before` is how many things there were in the target, None where it was not there; `dropped` says that these are
    gone. `identity` is that of what is replaced at once, None where it is not; see Backend.
    """

    step: Literal["before", "dropping", "loading", "loaded"] = "before"
    before: int | None = None
    dropped: bool = False
    identity: str | None = None
    globals: Literal["", "begun", "restored"] = ""

    @property
    def touched(self) -> bool:
        """Whether anything was."""
        return self.step != "before" or bool(self.globals)

    def told(self, name: str, things: int | None, identity: str) -> str:
        """Return in words what is left of `name`, which has so many things now, and is the one of that identity."""
        words = {"": "", "begun": "; globals as far as they came", "restored": "; globals were restored"}
        return f"left: {self._of(name, things, identity)}{words[self.globals]}"

    def _of(self, name: str, things: int | None, identity: str) -> str:
        gone = self.dropped or (self.step == "dropping" and things is None)
        before = "; what was there before was dropped" if gone else ""
        if things is None:
            return f"nothing of {name}{before}"
        if self.step == "loaded":
            return f"{name}, all of it"
        if self.step == "before" or (self.step == "dropping" and things == self.before != UNKNOWN):
            return f"{name}, as it was before"
        if self.identity is not None:
            return f"{name}, {self._replaced(identity)}"
        if things == 0:
            return f"{name}, empty{before}"
        perhaps = "perhaps " if things == UNKNOWN else ""
        return f"{perhaps}{name}, as far as it came: drop it, or restore again with --force{before}"

    def _replaced(self, identity: str) -> str:
        if not (identity and self.identity):
            return "as it was before, or replaced by what was restored"
        return "as it was before" if identity == self.identity else "replaced by what was restored"
