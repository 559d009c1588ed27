"""The line of an ssh of ours: what no REMOTE changes, also on the machines in between."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConnectError, StageError
from .host import LocalShell, is_here
from .pipeline import Pipeline
from .script import Stage, quoted
from .ssh_words import Settings, jump_words, loud, parse_settings, settings_of

MOST_JUMPS = 8  # machines in between; more are taken for an ssh_config whose jump hosts lead to each other

# First on ssh's line, where the first value of an option counts: what is never up to REMOTE.
_ALWAYS = (
    "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "NoHostAuthenticationForLocalhost=no",
    "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no", "-o", "ControlMaster=no", "-o", "ControlPath=none",
    "-o", "LogLevel=INFO", "-o", "RemoteCommand=none", "-o", "EscapeChar=none",
)  # fmt: skip


def ssh_line(words: Sequence[str], settings: Settings, *more: str, jumps: int = 0) -> list[str]:
    """Return the argv of an ssh to the account that the words of a REMOTE name, with the options `more`.

    Raises ConnectError where its jump hosts are not to be found.
    """
    return [
        "ssh", *_ALWAYS, *more, *_proxy(words, settings, jumps), *loud(words, "J" if settings.proxy_jump else ""),
        "-o", f"ConnectTimeout={settings.connect_timeout}",
        "-o", f"ServerAliveInterval={settings.alive_interval}",
        "-o", f"ServerAliveCountMax={settings.alive_count}",
        *(["-o", f"Ciphers={settings.ciphers}"] if settings.ciphers else []),
    ]  # fmt: skip


def _proxy(words: Sequence[str], settings: Settings, jumps: int) -> list[str]:
    """Return the option that leads over its jump hosts, if it has any.

    The ssh that -J starts itself is told nothing of ours: it would take any host key where ssh_config lets it.
    """
    if not settings.proxy_jump:
        return []
    if jumps == MOST_JUMPS:
        raise too_many(settings.proxy_jump)
    there, its = _last_jump(words, settings)
    line = ssh_line(there, its, "-W", "\0", jumps=jumps + 1)
    # What is to be handed to the shell of this ssh; those of ssh's tokens in it that are for the next one are doubled.
    return ["-o", "ProxyCommand=" + quoted(line).replace("%", "%%").replace("\0", "[%h]:%p")]


def address_of(settings: Settings) -> str:
    """Return the account that is reached, which has one address however it was spelled."""
    return f"{settings.user}@{settings.hostname}:{settings.port}"


def first_machine(words: Sequence[str], settings: Settings, jumps: int = 0) -> tuple[str, int]:
    """Return the host and the port of the machine that is connected to first."""
    if not settings.proxy_jump:
        return settings.hostname, settings.port
    if jumps == MOST_JUMPS:
        raise too_many(settings.proxy_jump)
    return first_machine(*_last_jump(words, settings), jumps + 1)


def _last_jump(words: Sequence[str], settings: Settings) -> tuple[tuple[str, ...], Settings]:
    """Return the REMOTE of the last machine in between, in words, and what it comes to."""
    before, _, last = settings.proxy_jump.rpartition(",")
    there = jump_words(last, words, before)
    return there, settings_of(parse_settings(ask_ssh(there) or ""))


def too_many(jump: str) -> ConnectError:
    """Return what to raise for jump hosts without an end."""
    return ConnectError(f"more than {MOST_JUMPS} jump hosts, at last {jump}", "See ProxyJump in ssh_config.")


def ask_ssh(words: Sequence[str]) -> str | None:
    """Return what `ssh -G` makes of `words`, or None where there is no ssh. Raises ConnectError."""
    if not is_here("ssh"):
        return None
    try:
        answer = Pipeline((Stage("ssh", ("ssh", "-G", *words)),)).answer(LocalShell(None))
    except StageError as error:
        raise ConnectError(f"ssh does not take {' '.join(words)!r}: {error.message}", "Try it by hand.") from error
    return answer.decode("utf-8", "surrogateescape")
