"""As which user a command runs: what `su="postgres"` means, and the mechanism that is chosen for it.

`su -c` opens a session of its own, loses signals and lets profile text into the stream (row 55 of tests/FAULTS.md),
so it is the last choice, not the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import UsageError

Mechanism = Literal["setpriv", "runuser", "sudo", "su"]

# Who is root can become the user in place; who is not needs sudo's permission. In the order of choice.
MECHANISMS: dict[bool, tuple[Mechanism, ...]] = {True: ("setpriv", "runuser", "su"), False: ("sudo", "su")}

_SAFE_NAME = re.compile(r"[a-z_A-Z][-a-z_A-Z0-9.]*\$?")

# sudo and su leave a child that the caller may not signal, so the watchdog goes inside, as that user:
# stdin is the controller's, first the secrets named before `--`, a line each, then nothing until it closes.
# It ends the process group, as far as that user may: what the command started, and not what stands beside sudo.
# The shell that waits here catches TERM, and waits once more for a command that takes its time to end.
_INSIDE = """\
exec 3<&0 </dev/null
while [ "$1" != -- ]; do IFS= read -r "$1" <&3; export "$1"; shift; done; shift
trap : TERM
"$@" 3<&- & child=$!
( trap '' TERM; read -r _ <&3; kill -TERM 0; sleep 5; kill -KILL 0 ) >/dev/null 2>&1 & watchdog=$!
wait $child; status=$?
{ wait $child; kill -KILL $watchdog; wait $watchdog; } 2>/dev/null
exit $status"""


# A command that is fed has its stdin for itself, after the secrets, and has to end by itself when that closes.
_FED_INSIDE = """\
while [ "$1" != -- ]; do IFS= read -r "$1"; export "$1"; shift; done; shift
exec "$@\""""


@dataclass(frozen=True)
class User:
    """Another user than the one we are, its primary group, and how to become it.

    Raises UsageError for a name that no system would give.
    """

    name: str
    group: str
    mechanism: Mechanism

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.name):
            raise UsageError(f"no user name: {self.name!r}", "Give --su the name of a user of that host.")

    @property
    def relays_stdin(self) -> bool:
        """Whether the command's own watchdog and secrets come through the script's stdin."""
        return self.mechanism in ("sudo", "su")

    @property
    def needs_home(self) -> bool:
        """Whether HOME has to be set for it: setpriv and runuser keep the caller's."""
        return not self.relays_stdin

    def switch(self, argv: Sequence[str]) -> list[str]:
        """Return the argv that runs `argv` as this user, with the stdin, stdout and stderr it is given."""
        match self.mechanism:
            case "setpriv":
                return [
                    "setpriv",
                    f"--reuid={self.name}",
                    f"--regid={self.group}",
                    "--init-groups",
                    "--",
                    *argv,
                ]
            case "runuser":
                return ["runuser", "-u", self.name, "--", *argv]
            case "sudo":
                return ["sudo", "-n", "-H", "-u", self.name, "--", *argv]
            case "su":
                return ["su", "-s", "/bin/sh", "-c", '"$0" "$@"', "--", self.name, *argv]

    def command(
        self, argv: Sequence[str], environment: Mapping[str, str], secrets: Sequence[str] = (), *, reads: bool = False
    ) -> tuple[list[str], dict[str, str]]:
        """Return the argv that runs `argv` as this user in a script, and the variables to set before it.

        With `reads`, what comes on stdin after the secrets is for it.
        """
        if not self.relays_stdin:
            return self.switch(argv), {"USER": self.name, "LOGNAME": self.name, **environment}
        # Both begin with an environment of their own.
        variables = ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
        inside = _FED_INSIDE if reads else _INSIDE
        return self.switch(["sh", "-c", inside, "sh", *secrets, "--", *variables, *argv]), {}
