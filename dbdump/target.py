"""REMOTE: what ssh accepts before the command, and what it comes to. Nothing is run here."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .errors import ConnectError, RecipeError

CONNECT_TIMEOUT = 15  # seconds, where neither REMOTE nor ssh_config says one
ALIVE_INTERVAL = 15  # seconds, as above; ssh's own default, 0, never notices a link that is gone
ALIVE_COUNT = 4

_WITH_VALUE = frozenset("BbcDEeFIiJLlmopRSw")  # ssh(1), synopsis
_REFUSED = frozenset("fNnsVWGQOMXYtD")  # they ask ssh for something else than a command with its bytes

# What fabric is told, and what changes nothing about who is reached, how safely, or which bytes arrive.
_HONOURED = frozenset({
    "host", "hostname", "user", "port", "identityfile", "identitiesonly", "userknownhostsfile",
    "globalknownhostsfile", "proxyjump", "proxycommand", "connecttimeout", "connectionattempts",
    "serveraliveinterval", "serveralivecountmax", "compression", "identityagent",
})  # fmt: skip
_HARMLESS = frozenset({
    "stricthostkeychecking", "batchmode", "loglevel", "logverbose", "requesttty", "hashknownhosts", "sendenv",
    "forwardagent", "forwardx11", "forwardx11trusted", "forwardx11timeout", "visualhostkey", "escapechar",
    "controlmaster", "controlpath", "controlpersist", "gssapiauthentication", "gssapidelegatecredentials",
    "addkeystoagent", "updatehostkeys", "checkhostip", "tcpkeepalive", "clearallforwardings",
    "exitonforwardfailure", "permitlocalcommand", "localcommand", "localforward", "remoteforward",
    "dynamicforward", "tunnel", "passwordauthentication", "kbdinteractiveauthentication",
    "numberofpasswordprompts", "preferredauthentications", "remotecommand", "xauthlocation",
    "verifyhostkeydns", "sessiontype", "stdinnull", "forkafterauthentication", "ipqos", "rekeylimit",
    "streamlocalbindunlink", "streamlocalbindmask", "fingerprinthash", "enableescapecommandline",
})  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What fabric is told of a REMOTE. Times are in seconds; `known_hosts` are the files that there are."""

    hostname: str
    user: str
    port: int
    identities: tuple[str, ...]
    agent: bool
    known_hosts: tuple[str, ...]
    proxy_jump: str
    proxy_command: str
    connect_timeout: int
    alive_interval: int
    alive_count: int
    compression: bool

    @property
    def start_timeout(self) -> float:
        """Seconds without a byte that a login shell may take to start: four times as long as to connect."""
        return 4.0 * self.connect_timeout


def split_target(remote: str) -> tuple[str, ...]:
    """Return REMOTE as the words of an argv: options, then one destination.

    Raises RecipeError for what has no destination, has a command behind it, or asks ssh for something else
    than to run a command.
    """
    try:
        words = shlex.split(remote)
    except ValueError as error:
        raise RecipeError(f"remote {remote!r}: {error}", "Balance the quotes.") from error
    destinations = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            if _takes_next(word, remote) and next(rest, None) is None:
                raise RecipeError(f"remote {remote!r}: {word} needs a value", "Write it as ssh takes it.")
        else:
            destinations.append(word)
    if len(destinations) != 1 or any(set(word) & set("\n\0") for word in words):
        raise RecipeError(
            f"remote {remote!r}: {len(destinations)} destinations, not one",
            "Write what stands before the command on ssh's line: '-p 2222 -i KEY user@host', or an alias.",
        )
    return tuple(words)


def _takes_next(word: str, remote: str) -> bool:
    for index, letter in enumerate(word[1:], 1):
        if letter in _REFUSED or letter == "-":
            raise RecipeError(f"remote {remote!r}: {word} is not for a dump", "Leave that option out.")
        if letter in _WITH_VALUE:
            return index == len(word) - 1
    return False


def destination(words: Sequence[str]) -> str:
    """Return the destination of a split REMOTE, for people."""
    rest = iter(words)
    found = ""
    for word in rest:
        if not word.startswith("-"):
            found = word
        elif _takes_next(word, found):
            next(rest)
    return found


def jump_words(jump: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return the REMOTE of a jump host, `[user@]host[:port]`, in words; it is looked up in the same ssh_config."""
    config = [word for pair in pairwise(words) if pair[0] == "-F" for word in pair]
    host, colon, port = jump.removeprefix("ssh://").rpartition(":")
    if not colon or not port.isdecimal():
        return (*config, jump)
    return (*config, "-p", port, host.replace("[", "").replace("]", ""))


_KEYWORDS = {"p": "port", "l": "user", "i": "identityfile", "J": "proxyjump"}


def without_ssh(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each keyword as `ssh -G` would give them, where there is no ssh, nor an ssh_config.

    Raises ConnectError for an option that only ssh itself understands.
    """
    values: dict[str, list[str]] = {"globalknownhostsfile": ["/etc/ssh/ssh_known_hosts"]}
    rest = iter(words)
    for word in rest:
        letter = word[1:2]
        if not word.startswith("-"):
            user, _, host = word.rpartition("@")
            values |= {"hostname": [host]} | ({"user": [user]} if user else {})
        elif letter in _KEYWORDS:
            values.setdefault(_KEYWORDS[letter], []).append(word[2:] or next(rest))
        elif letter == "o":
            keyword, _, value = (word[2:] or next(rest)).replace("=", " ", 1).partition(" ")
            values.setdefault(keyword.lower(), []).append(value.strip())
        else:
            raise ConnectError(f"{word} needs the ssh program, which is not here", "Install openssh-client.")
    return values


def parse_settings(answer: str) -> dict[str, list[str]]:
    """Return what `ssh -G` printed, the values of each keyword."""
    values: dict[str, list[str]] = {}
    for line in answer.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return values


def not_for_fabric(values: Mapping[str, list[str]], plain: Mapping[str, list[str]]) -> list[str]:
    """Return the keywords that differ from those of a `plain` ssh, and that fabric cannot honour."""
    known = _HONOURED | _HARMLESS
    odd = {each for each in values.keys() | plain.keys() if each not in known and values.get(each) != plain.get(each)}
    if values.get("identityagent", ["SSH_AUTH_SOCK"])[0] not in ("SSH_AUTH_SOCK", "none"):
        odd.add("identityagent")
    jump = values.get("proxyjump", ["none"])[0]
    if "," in jump:
        odd.add("proxyjump")
    return sorted(odd)


def settings_of(values: Mapping[str, list[str]]) -> Settings:
    """Return what fabric is told, with the defaults of this project where ssh has none."""

    def one(keyword: str, default: str) -> str:
        return values.get(keyword, [default])[0]

    def number(keyword: str, default: int) -> int:
        value = one(keyword, "0")
        return int(value) if value.isdecimal() and int(value) > 0 else default

    files = " ".join([one("userknownhostsfile", "~/.ssh/known_hosts"), one("globalknownhostsfile", "")])
    interval = number("serveraliveinterval", 0)
    return Settings(
        hostname=one("hostname", ""),
        user=one("user", "") or getpass.getuser(),
        port=int(one("port", "22")),
        identities=tuple(_existing(values.get("identityfile", []))),
        agent=one("identitiesonly", "no") == "no" and one("identityagent", "") != "none",
        known_hosts=tuple(_existing(files.split())),
        proxy_jump="" if one("proxyjump", "none") == "none" else one("proxyjump", ""),
        proxy_command="" if one("proxycommand", "none") == "none" else one("proxycommand", ""),
        connect_timeout=number("connecttimeout", CONNECT_TIMEOUT),
        alive_interval=interval or ALIVE_INTERVAL,
        alive_count=number("serveralivecountmax", ALIVE_COUNT) if interval else ALIVE_COUNT,
        compression=one("compression", "no") == "yes",
    )


def _existing(files: Iterable[str]) -> Iterable[str]:
    for file in files:
        path = Path(file).expanduser()
        if path.is_file():
            yield str(path)
