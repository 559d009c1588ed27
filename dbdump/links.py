"""The ways to other machines of one run: each account is reached once, and shared by all that need it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, TypeVar, cast

from .down import Turns
from .known_hosts import for_ssh_alone
from .openssh import OpenSSHLink
from .remote_shell import LateShell, Link, RemoteShell
from .shell import Shell
from .ssh_line import MOST_JUMPS, ask_ssh, first_machine, too_many
from .ssh_words import (
    Settings,
    destination,
    jump_words,
    needs_ssh,
    not_for_fabric,
    parse_settings,
    quick_ciphers,
    settings_of,
    split_remote,
    wants_its_agent,
    wants_kerberos,
    without_ssh,
)

Transport = Literal["fabric", "openssh"]
Value = TypeVar("Value", bound="Closable")
AnyShell = TypeVar("AnyShell", bound=RemoteShell)


class Closable(Protocol):
    """What has to be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class Links:
    """What was reached, by REMOTE and transport. To be closed at the end of the run."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a link may lead over another
        self._turns: dict[tuple[str, int], Turns] = {}
        self._links: dict[tuple[tuple[str, ...], Transport], Link] = {}
        self._shells: list[RemoteShell] = []
        self._shared: dict[Hashable, Closable] = {}
        self._ended = False

    def shell(self, remote: str, transport: Transport) -> RemoteShell:
        """Return a shell of the account `remote`, which is all that ssh takes before the command.

        Raises RecipeError for what ssh does not take. Nothing is connected yet.
        """
        return self._added(RemoteShell(self._link(split_remote(remote), transport)))

    def late(self, shell: RemoteShell) -> LateShell:
        """Return a shell of the same account for what is not to be cut in the middle."""
        return self._added(LateShell(shell.link))

    def _added(self, shell: AnyShell) -> AnyShell:
        with self._lock:
            self._shells.append(shell)
            ended = self._ended
        if ended:
            shell.end()
        return shell

    def shared(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what this run has under `key`, made when it is first asked for, and closed with it."""
        with self._lock:
            if key not in self._shared:  # making it may begin something
                self._shared[key] = make()
            return cast("Value", self._shared[key])

    def end(self) -> None:
        """End every script of every shell, and start no more."""
        with self._lock:
            self._ended = True
            shells = tuple(self._shells)
        for shell in shells:
            shell.end()

    def close(self) -> None:
        """End what still runs, and close every connection."""
        for each in (*self._shared.values(), *self._shells):
            each.close()
        for link in reversed(self._links.values()):  # last those that others lead over
            link.close()

    def _link(self, words: tuple[str, ...], transport: Transport, jumps: int = 0) -> Link:
        with self._lock:
            if (words, transport) not in self._links:
                over = partial(self._link, transport="fabric", jumps=jumps + 1)
                self._links[words, transport] = link_to(words, transport, over, self._turns_at, jumps)
            return self._links[words, transport]

    def _turns_at(self, hostname: str, port: int) -> Turns:
        return self._turns.setdefault((hostname, port), Turns())


@dataclass(frozen=True)
class Reach:
    """What one job reaches: its host's shell, that of the controller, and other machines.

    `stall_timeout` is in seconds: who does not take a byte for so long is stalled. With `early` something will be
    stored, and who has a way to go may set out before it is asked to.
    """

    links: Links
    host: Shell
    controller: Shell
    stall_timeout: float
    early: bool = False


def link_to(
    words: Sequence[str],
    transport: Transport,
    over: Callable[[tuple[str, ...]], Link] | None = None,
    turns: Callable[[str, int], Turns] = lambda _hostname, _port: Turns(),
    jumps: int = 0,
) -> Link:
    """Return the way to the account that the words of a REMOTE name.

    It is fabric's, unless OpenSSH is asked for, or something in REMOTE or ssh_config that fabric cannot
    honour. `over` gives the link to a jump host, of which there were `jumps` already, and `turns` those of who logs
    in to a machine. Raises RecipeError or ConnectError where ssh does not take it.
    """
    answer = ask_ssh(words)
    values = without_ssh(words) if answer is None else parse_settings(answer)
    settings = settings_of(values)
    plain = parse_settings(ask_ssh(("-F", "none", settings.hostname)) or "")
    settings = replace(settings, ciphers=quick_ciphers(values, plain), words=tuple(words))
    odd = [*not_for_fabric(values, plain), *_odd(words, values, settings)]
    if answer is None and transport == "openssh":
        raise needs_ssh('transport="openssh"')
    if answer is None and odd:
        raise needs_ssh(odd[0])
    if odd or transport == "openssh":
        return OpenSSHLink(words, settings, turns(*first_machine(words, settings)))
    from .ssh import FabricLink  # noqa: PLC0415  fabric is slow to import

    if not settings.proxy_jump:
        return FabricLink(destination(words), settings)
    if jumps == MOST_JUMPS:
        raise too_many(settings.proxy_jump)
    there = jump_words(settings.proxy_jump, words)
    jump = over(there) if over else link_to(there, "fabric", jumps=jumps + 1)
    if not isinstance(jump, FabricLink):
        return OpenSSHLink(words, settings, turns(*first_machine(words, settings)))
    return FabricLink(destination(words), settings, jump)


def _odd(words: Sequence[str], values: dict[str, list[str]], settings: Settings) -> list[str]:
    """Return what else fabric cannot honour."""
    odd = [*(["gssapiauthentication"] * wants_kerberos(words)), *(["forwardagent"] * wants_its_agent(words))]
    if for_ssh_alone(settings.known_hosts, settings.hostname, settings.port):
        odd.append("known_hosts")
    if values.get("identitiesonly") == ["yes"] and "SSH_AUTH_SOCK" in os.environ:
        odd.append("identitiesonly")  # of the keys of an agent fabric takes all, or none
    return odd
