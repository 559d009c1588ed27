"""REMOTE: what ssh accepts before the command, and what it comes to. Nothing is run here."""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from .errors import ConnectError, RecipeError
from .ssh_files import existing, expanded

CONNECT_TIMEOUT = 15  # seconds, where neither REMOTE nor ssh_config says one
ALIVE_INTERVAL = 15  # seconds, as above; ssh's own default, 0, never notices a link that is gone
ALIVE_COUNT = 4

_WITH_VALUE = frozenset("BbcDEeFIiJLlmopRSw")  # ssh(1), synopsis
_REFUSED = frozenset("fNnsVWGQOMXYtDLREy")  # ssh is to run a command, hand on its bytes, and say what goes wrong

# What fabric is told, and what changes nothing about who is reached, how safely, or which bytes arrive.
_HONOURED = frozenset({
    "host", "hostname", "user", "port", "identityfile", "identitiesonly", "userknownhostsfile",
    "globalknownhostsfile", "proxyjump", "connecttimeout",
    "serveraliveinterval", "serveralivecountmax", "compression", "identityagent",
})  # fmt: skip
_HARMLESS = frozenset({
    "stricthostkeychecking", "batchmode", "loglevel", "logverbose", "requesttty", "hashknownhosts", "sendenv",
    "forwardagent", "forwardx11", "forwardx11trusted", "forwardx11timeout", "visualhostkey", "escapechar",
    "controlmaster", "controlpath", "controlpersist", "gssapiauthentication", "gssapidelegatecredentials",
    "addkeystoagent", "updatehostkeys", "tcpkeepalive", "clearallforwardings",
    "exitonforwardfailure", "permitlocalcommand", "localcommand", "localforward", "remoteforward",
    "dynamicforward", "tunnel", "passwordauthentication", "kbdinteractiveauthentication",
    "numberofpasswordprompts", "preferredauthentications", "remotecommand", "xauthlocation",
    "sessiontype", "stdinnull", "forkafterauthentication", "ipqos", "rekeylimit",
    "streamlocalbindunlink", "streamlocalbindmask", "fingerprinthash", "enableescapecommandline",
})  # fmt: skip


_KNOWN = ("userknownhostsfile", "globalknownhostsfile")
_FILES = ("identityfile", *_KNOWN)
_NUMBER = re.compile(r"[0-9]{1,9}")
_LAST_PORT = 65535
_TOKEN = re.compile(r"%|\$\{")  # in the name of a file; ssh_config(5), tokens


@dataclass(frozen=True)
class Settings:
    """What a REMOTE comes to. Times are in seconds; `known_hosts` are the files that there are.

    A key that is new belongs into `new_keys`, under `key_name` where that is not the host's own; `direct` is without
    a machine or a command in between. `ciphers` are ssh's, the quickest first, where it was not told which; else
    nothing. `words` are those of REMOTE.
    """

    hostname: str
    user: str
    port: int
    identities: tuple[str, ...]
    agent: bool
    known_hosts: tuple[str, ...]
    proxy_jump: str
    connect_timeout: int
    alive_interval: int
    alive_count: int
    compression: bool
    new_keys: str = "~/.ssh/known_hosts"
    key_name: str = ""
    direct: bool = True
    ciphers: str = ""
    words: tuple[str, ...] = ()

    @property
    def start_timeout(self) -> float:
        """Seconds without a byte that a login shell may take to start: four times as long as to connect."""
        return 4.0 * self.connect_timeout


def split_remote(remote: str) -> tuple[str, ...]:
    """Return REMOTE as the words of an argv: options, then one destination.

    Raises RecipeError for what has no destination, has a command behind it, or asks ssh for something else
    than to run a command.
    """
    if not isinstance(remote, str):  # shlex would read stdin
        raise RecipeError(f"remote {remote!r}: not text", "Write what ssh takes before the command: 'user@host'.")
    try:
        words = tuple(shlex.split(remote))
    except ValueError as error:
        raise RecipeError(f"remote {remote!r}: {error}", "Balance the quotes.") from error
    if any({"\n", "\0"} & set(word) for word in words):
        raise _refused(words, "a line end is in it", "Write it on one line.")
    destination(words)
    return words


def destination(words: Sequence[str]) -> str:
    """Return the destination of a split REMOTE, for people. Raises RecipeError; see split_remote."""
    found = [value for letter, value in given_options(words) if not letter]
    if len(found) != 1:
        raise _refused(
            words,
            f"{len(found)} destinations, not one",
            "Write what stands before the command on ssh's line: '-p 2222 -i KEY user@host', or an alias.",
        )
    return found[0]


def given_options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the letter of each option with its value, as getopt finds them, and each destination with none."""
    rest = iter(words)
    for word in rest:
        if not word:
            raise _refused(words, "an empty word is no destination", "Leave it out.")
        if not word.startswith("-"):
            yield "", word
            continue
        for index, letter in enumerate(word[1:] or "-", 1):
            if letter in _REFUSED or letter == "-":
                raise _refused(words, f"{word} is not for a dump", "Leave that option out.")
            if letter not in _WITH_VALUE:
                yield letter, ""
                continue
            value = word[index + 1 :] or next(rest, None)
            if value is None:
                raise _refused(words, f"{word} needs a value", "Write it as ssh takes it.")
            yield letter, value
            break


def loud(words: Sequence[str], without: str = "") -> list[str]:
    """Return the words of a REMOTE without -q and -v, as what ssh says is read, and without the options `without`."""
    kept = [(letter, value) for letter, value in given_options(words) if not letter or letter not in "qv" + without]
    return [word for letter, value in kept for word in ([f"-{letter}"] * bool(letter) + [value]) if word]


def wants_kerberos(words: Sequence[str]) -> bool:
    """Whether a REMOTE asks for a login by Kerberos: in ssh_config it stands for every host of some machines."""
    return _asks(words, "K", "gssapiauthentication")


def wants_its_agent(words: Sequence[str]) -> bool:
    """Whether a REMOTE asks for its agent to be there as well; in ssh_config it stands for whoever sits there."""
    return _asks(words, "A", "forwardagent")


def _asks(words: Sequence[str], flag: str, option: str) -> bool:
    """Whether the first of the words that says something of it says yes."""
    for letter, value in given_options(words):
        keyword, _, text = value.replace("=", " ", 1).partition(" ")
        if letter == "o" and keyword.lower() == option:
            return text.strip().lower() not in ("no", "false")
        if letter == flag:
            return True
    return False


def _refused(words: Sequence[str], why: str, hint: str) -> RecipeError:
    return RecipeError(f"remote {' '.join(words)!r}: {why}", hint)


def jump_words(jump: str, words: Sequence[str], before: str = "") -> tuple[str, ...]:
    """Return the REMOTE of a jump host, `[user@]host[:port]`, in words; it is looked up in the same ssh_config.

    `before` are the jump hosts that lead to it, where they are named.
    """
    config = [word for letter, value in given_options(words) if letter == "F" for word in ("-F", value)]
    host, colon, port = jump.removeprefix("ssh://").rpartition(":")
    if not colon or not port.isdecimal():
        host, port = jump, ""
    # ssh -G puts a number in brackets, and takes none.
    more = [*(["-J", before] if before else []), *(["-p", port] if port else [])]
    return (*config, *more, host.replace("[", "").replace("]", ""))


_IDENTITIES = ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"]  # those that paramiko reads
_KEYWORDS = {"p": "port", "l": "user", "i": "identityfile", "J": "proxyjump"}
_QUIET = frozenset("akqTvx")  # they change nothing here


def without_ssh(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each keyword as `ssh -G` would give them, where there is no ssh, nor an ssh_config.

    Raises ConnectError for an option that only ssh itself understands.
    """
    values: dict[str, list[str]] = {}

    def add(keyword: str, value: str) -> None:
        values.setdefault(keyword, []).append(value)

    for letter, value in given_options(words):
        if letter == "o":
            keyword, _, text = value.replace("=", " ", 1).partition(" ")
            add(keyword.lower(), text.strip())
        elif letter in _KEYWORDS:
            add(_KEYWORDS[letter], value)
        elif letter == "C":
            add("compression", "yes")
        elif not letter and "://" not in value:
            user, _, host = value.rpartition("@")
            add("hostname", host)
            if user:
                add("user", user)
        elif letter not in _QUIET:
            raise needs_ssh(f"-{letter}" if letter else value)
    port = values.get("port", ["22"])[0]
    if not _NUMBER.fullmatch(port) or not 0 < int(port) <= _LAST_PORT:
        raise ConnectError(f"{port!r} is not a port", "Give its number: -p 2222.")
    return {"identityfile": _IDENTITIES, "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts"], **values}


def needs_ssh(what: str) -> ConnectError:
    """Return what to raise for something that only ssh itself can honour."""
    return ConnectError(f"{what} needs the ssh program, which is not here", "Install openssh-client.")


def parse_settings(answer: str) -> dict[str, list[str]]:
    """Return what `ssh -G` printed, the values of each keyword."""
    values: dict[str, list[str]] = {}
    for line in answer.split("\n"):
        keyword, _, value = line.partition(" ")
        if keyword:
            values.setdefault(keyword.lower(), []).append(value)
    return values


def not_for_fabric(values: Mapping[str, list[str]], plain: Mapping[str, list[str]]) -> list[str]:
    """Return the keywords that differ from those of a `plain` ssh, and that fabric cannot honour."""
    known = _HONOURED | _HARMLESS
    odd = {each for each in values.keys() | plain.keys() if each not in known and values.get(each) != plain.get(each)}
    if values.get("proxycommand") == ["none"]:
        odd.discard("proxycommand")
    if values.get("identityagent", ["SSH_AUTH_SOCK"])[0] not in ("SSH_AUTH_SOCK", "none"):
        odd.add("identityagent")
    if "," in values.get("proxyjump", ["none"])[0]:
        odd.add("proxyjump")
    if "publickey" not in values.get("preferredauthentications", ["publickey"])[0]:
        odd.add("preferredauthentications")
    odd |= {each for each in _FILES if any(map(_TOKEN.search, values.get(each, [])))}
    # ssh -G puts no quotes around a name with a space in it: a word that is there for no name is the rest of one.
    odd |= {each for each in _KNOWN for word in values.get(each, [""])[0].split()[1:] if word[0] not in "/~"}
    return sorted(odd)


def settings_of(values: Mapping[str, list[str]]) -> Settings:
    """Return what fabric is told, with the defaults of this project where ssh has none."""

    def one(keyword: str, default: str) -> str:
        return values.get(keyword, [default])[0]

    def number(keyword: str, default: int) -> int:
        value = one(keyword, "0")
        return int(value) if _NUMBER.fullmatch(value) and int(value) > 0 else default

    files = " ".join([one("userknownhostsfile", "~/.ssh/known_hosts"), one("globalknownhostsfile", "")]).split()
    interval = number("serveraliveinterval", 0)
    return Settings(
        hostname=_machine(one("hostname", "")),
        user=one("user", "") or getpass.getuser(),
        port=int(one("port", "22")),
        identities=tuple(existing(values.get("identityfile", []))),
        agent=one("identitiesonly", "no") == "no" and one("identityagent", "") != "none",
        known_hosts=tuple(existing(files)),
        proxy_jump="" if one("proxyjump", "none") == "none" else one("proxyjump", ""),
        connect_timeout=number("connecttimeout", CONNECT_TIMEOUT),
        alive_interval=interval or ALIVE_INTERVAL,
        alive_count=number("serveralivecountmax", ALIVE_COUNT) if interval else ALIVE_COUNT,
        compression=one("compression", "no") == "yes",
        new_keys=expanded(next((each for each in files if each not in ("none", "/dev/null")), Settings.new_keys)),
        key_name=one("hostkeyalias", ""),
        direct=all(one(each, "none") == "none" for each in ("proxyjump", "proxycommand")),
    )


def _machine(hostname: str) -> str:
    """Return the name of a machine. Raises ConnectError for what no machine is called: a port or a path is in it."""
    if ":" in hostname and not _is_address(hostname):
        raise ConnectError(
            f"{hostname!r} is not the name of a machine",
            "A port is -p PORT before it, a directory stands by itself, and an IPv6 address has no brackets.",
        )
    return hostname


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def quick_ciphers(values: Mapping[str, list[str]], plain: Mapping[str, list[str]]) -> str:
    """Return the ciphers of a `plain` ssh with AES-GCM first, or nothing where others were chosen.

    ssh begins with ChaCha20, which costs half as much again where the CPU has instructions for AES.
    """
    if "ciphers" not in values or values["ciphers"] != plain.get("ciphers"):
        return ""
    return ",".join(sorted(values["ciphers"][0].split(","), key=lambda name: "-gcm@" not in name))
