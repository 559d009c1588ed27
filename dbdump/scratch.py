"""Somewhere to restore into for a while: what it takes to run commands there, and what is held until it is let go."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, Self

from .errors import Interrupted, StageError
from .pipeline import Ended, Pipeline
from .probe import become
from .script import Said, Stage, render
from .second_pass import Target
from .shell import Shell, Stalled
from .user import User

_READY = b"\nready\n"
_STARTING = 180.0  # seconds; the scripts give up before
_SILENT = 86400.0  # seconds
_ROOM = "Give TMPDIR a directory with room in it, that everybody may write to, or name a server: --to=HOST."

# What all that is thrown away has around it. `$directory` is private, `$sockets` too, with a path that is short enough
# for a socket (unix(7): 108 bytes); `serve` starts the server, whose pid is `$server`. It ends when stdin closes, as it
# does when dbdump is killed: then the server goes, and the files, which may take longer than anybody waits. Killed
# before the server was there, nobody reads that it is ready: the signal PIPE.
_FRAME = """\
umask 077
cd / || exit
made() { mktemp -d "$1/dbdump-drill-XXXXXXXX"; }
directory=$(made "${TMPDIR:-/tmp}" 2>/dev/null || made /tmp) || exit
sockets=$directory log=$directory/log server=
fail() { tail -n 30 "$log" >&2; exit 1; }
until_() {
  tries=0
  until "$@" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || { server=; fail; }
    [ $tries -lt 1200 ] || { echo "error: the server did not answer within 2 minutes" >&2; fail; }
    tries=$((tries + 1)); sleep 0.1
  done
}
leave() {
  if [ "$server" ]; then kill -s "$ending" "$server"; wait "$server"; fi 2>/dev/null
  session=setsid; command -v setsid >/dev/null || session=
  $session rm -rf -- "$directory" "$sockets" & wait
}
trap leave EXIT; trap "exit 143" TERM INT HUP PIPE
[ ${#directory} -lt 80 ] || sockets=$(made /tmp) || exit
serve() {
SERVE
}
serve "$@"
printf '%s\\n' "$directory" "$sockets" ready
read -r _
exit 0
"""


class Held:
    """A private directory of this machine, and a server in it, if `serve` starts one; both gone after `close`.

    `serve` is shell text; see above. Raises StageError called `name` where it does not succeed.
    """

    def __init__(self, shell: Shell, name: str, user: User | None, serve: str, arguments: Sequence[str] = ()) -> None:
        text = _FRAME.replace("SERVE", serve or ":")
        stage = Stage(name, ("sh", "-c", text, "sh", *arguments), user=user)
        said = Said(token := secrets.token_hex(8))
        # As if it were fed: it reads its stdin itself, to the end, and needs no watchdog.
        self._running = shell.start(render((stage,), token, fed=True), (), said)
        try:
            self.directory, self.sockets = self._lines() or self._failed(shell, stage, said)
        except Stalled:
            self.close()
            raise StageError(name, f"not ready within {_STARTING:g} s", "Is this machine very busy?") from None
        except BaseException:
            self.close()
            raise

    def _failed(self, shell: Shell, stage: Stage, said: Said) -> NoReturn:
        ended = Ended(0, "", self._running.wait(), said, cut=False)
        if shell.ended:
            raise Interrupted("ended before the server was there")
        why = "ended before it was ready"
        try:
            Pipeline((stage,), fed=True).judge(ended)
        except StageError as error:
            why = error.message
        raise StageError(stage.name, f"no server to throw away: {why}", _ROOM)

    def _lines(self) -> tuple[str, str] | None:
        """Return what it says once it is ready, or None where it ends before."""
        said, buffer = b"", memoryview(bytearray(4096))
        while count := self._running.read_into(buffer, _STARTING):
            said += bytes(buffer[:count])
            if said.endswith(_READY):
                directory, sockets = said.removesuffix(_READY).decode("utf-8", "surrogateescape").split("\n")
                return directory, sockets
        return None

    def close(self) -> None:
        """End the server, remove the directory, and wait for it, some seconds at most; harmless when it is done."""
        if not self._running.ended:
            self._running.hang_up()
            self._running.wait()
        self._running.end()


@dataclass(frozen=True)
class Scratch(Target):
    """A target to restore into for a while: its commands see `environment` too, and may be silent for long.

    They do not see the variables `without`, which could lead them to another server.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def ask(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout there: to count a table of some terabytes takes its time."""
        return Pipeline((self.stage(argv),), self.secrets, _SILENT).answer(self.shell)

    def stage(self, argv: Sequence[str], database: str = "") -> Stage:
        """Return the stage that runs `argv`; see Target."""
        stage = super().stage(argv, database)
        return replace(stage, environment=self.environment, without=(*stage.without, *self.without))

    def reading(self, suffix: str) -> Self:
        """Return it for dumps whose raw stream has that suffix. Raises RecipeError where there are no such."""
        return replace(self, backend=self.backend.reading(suffix).on(self.ask, here=self.shell.here))


def servant(shell: Shell, *names: str | None) -> User | None:
    """Return whom a server of this machine runs as: ourselves, or where we are root the first of `names` that is there.

    Raises StageError where there is none: no server runs as root.
    """
    if os.geteuid() != 0:
        return None
    refused = ""
    for name in filter(None, names):
        try:
            user = become(shell, name)
        except StageError as error:
            refused = error.message
            continue
        if user is not None:
            return user
        refused = f"{name} is who we are"
    raise StageError(
        "drill", f"no throw-away server runs as root: {refused}", "Install its package, or name a server: --to=HOST."
    )
