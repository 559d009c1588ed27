"""The remote writer: a directory on another machine, through SSH."""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog import place_of
from ..errors import ConnectError, RecipeError
from ..host import is_none_or_whole
from ..links import Reach, Transport
from ..remote_shell import NoShell
from ..script import quote
from ..ssh_words import destination, split_remote
from .far import ShellSession
from .far_directory import FarDirectory
from .session import Session
from .sessions import Sessions
from .sftp import SFTPSession
from .sftp_line import sftp_line


@dataclass(frozen=True)
class Remote:
    """A directory on another machine.

    `target` is all that ssh takes before the command: an alias, `user@host`, `-p 2222 -i KEY user@host`.
    A `path` that is not absolute is relative to that account's home; it has to be there. `transport` is
    fabric or openssh. After a lost connection a dump is begun anew, up to `retries` times; see Host. An account that
    is for SFTP only gives back every byte to be compared, or with `read_back=False` only their number.
    """

    target: str
    path: str
    transport: Transport = "fabric"
    retries: int | None = None
    read_back: bool = True

    def __post_init__(self) -> None:
        split_remote(self.target)
        if not self.path or {"\n", "\0"} & set(self.path):
            raise RecipeError(f"Remote(path={self.path!r}): not a path", "Give a directory of that machine.")
        if self.transport not in ("fabric", "openssh"):
            raise RecipeError(f"Remote(transport={self.transport!r})", 'There are "fabric" and "openssh".')
        if not is_none_or_whole(self.retries, 0):
            raise RecipeError(f"Remote(retries={self.retries!r}): not a number of 0 or more", "Write retries=1.")

    def place(self, host: str, recipe: str) -> str:
        """Return REMOTE and the path of the recipe's dumps there."""
        return "/".join([f"{self.target}:{self.path}", *place_of(host, recipe)])

    def bound(self, reach: Reach) -> FarDirectory:
        """Return it with its way there: sessions that all dumps of the run share."""
        sessions = reach.links.shared(
            (self.target, self.transport, self.read_back, reach.stall_timeout),
            lambda: Sessions(lambda: self._start(reach), early=reach.early),
        )
        return FarDirectory(sessions, self.path, self._account, lambda path: self._reader(path, sessions))

    @property
    def _account(self) -> str:
        return destination(split_remote(self.target))

    def _reader(self, path: str, sessions: Sessions) -> list[str]:
        words = split_remote(self.target)
        if sessions.has_shell:
            return ["ssh", *words, f"cat {quote(path)}"]
        return sftp_line(words, path)

    def _start(self, reach: Reach) -> Session:
        shell = reach.links.late(reach.links.shell(self.target, self.transport))
        try:
            return ShellSession(shell, self._account, reach.stall_timeout)
        except NoShell as no_shell:
            try:
                return SFTPSession(shell.link, self._account, reach.stall_timeout, read_back=self.read_back)
            except ConnectError:
                raise no_shell from None
