"""The OpenSSH program as a way to another machine: for what fabric cannot honour, and by choice."""

from __future__ import annotations

from collections.abc import Sequence

from .boot import Link
from .errors import ConnectError
from .host import LocalRunning, LocalShell, Running
from .pipeline import Pipeline
from .script import Said, Stage
from .target import Settings, destination

# First on ssh's line, where the first value of an option counts: what is never up to REMOTE.
_ALWAYS = (
    "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ClearAllForwardings=yes",
    "-o", "PermitLocalCommand=no", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "LogLevel=INFO",
    "-o", "RemoteCommand=none", "-o", "EscapeChar=none",
)  # fmt: skip


class OpenSSHLink(Link):
    """One account, reached by an ssh process for each command."""

    def __init__(self, words: Sequence[str], settings: Settings) -> None:
        self._argv = [
            "ssh",
            *_ALWAYS,
            *words,
            "-o", f"ConnectTimeout={settings.connect_timeout}",
            "-o", f"ServerAliveInterval={settings.alive_interval}",
            "-o", f"ServerAliveCountMax={settings.alive_count}",
        ]  # fmt: skip
        self.account = destination(words)

    def run(self, command: str, said: Said) -> Running:
        """Start `command` in an ssh of its own."""
        return LocalRunning([*self._argv, command], (), said)

    def close(self) -> None:
        """Do nothing: each ssh ends with its command."""


def ask_ssh(words: Sequence[str]) -> str | None:
    """Return what `ssh -G` makes of `words`, or None where there is no ssh. Raises ConnectError."""
    shell = LocalShell()
    argv = ("sh", "-c", 'command -v ssh >/dev/null || exit 0; exec "$@" 2>&1', "sh", "ssh", "-G", *words)
    try:
        answer = Pipeline((Stage("ssh", argv),)).answer(shell).decode("utf-8", "surrogateescape")
    except Exception as error:
        raise ConnectError(f"ssh does not take {' '.join(words)!r}: {error}", "Try it with ssh by hand.") from error
    return answer or None
