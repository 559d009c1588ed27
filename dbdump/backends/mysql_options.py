"""What an operator gives the MySQL clients: option words, and an option file. Pure: nothing is run here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import RecipeError
from .words import refuse_words, spelled_out, words

_ELSEWHERE = "What is dumped, include, exclude and --database say; where it goes, --datadir."
_ALWAYS = "It would hide an error, and so make a dump that is not whole."
_FILE = "Name the option file with --defaults."
_MARKER = "The comments have the end marker, by which a whole dump is known."
_SHAPE = "dbdump has to read what the client answers."

_EVERYWHERE = {
    "--defaults-file": _FILE, "--defaults-extra-file": _FILE, "--defaults-group-suffix": _FILE,
    "--no-defaults": _FILE, "--print-defaults": "It prints passwords.",
    "--force": _ALWAYS, "-f": _ALWAYS, "--help": _ELSEWHERE, "-?": _ELSEWHERE, "-I": _ELSEWHERE,
    "--version": _ELSEWHERE, "-V": _ELSEWHERE,
}  # fmt: skip
_OF_THE_DUMP = {
    "--result-file": _ELSEWHERE, "-r": _ELSEWHERE, "--tab": _ELSEWHERE, "-T": _ELSEWHERE, "--dir": _ELSEWHERE,
    "--all-databases": _ELSEWHERE, "-A": _ELSEWHERE, "--databases": _ELSEWHERE, "-B": _ELSEWHERE,
    "--tables": _ELSEWHERE, "--system": _ELSEWHERE, "--xml": _ELSEWHERE, "-X": _ELSEWHERE,
    "--log-error": _ALWAYS, "--compact": _MARKER, "--skip-comments": _MARKER, "--disable-comments": _MARKER,
}  # fmt: skip
_OF_THE_CLIENT = {
    "--execute": _SHAPE, "-e": _SHAPE, "--html": _SHAPE, "-H": _SHAPE, "--xml": _SHAPE, "-X": _SHAPE,
    "--table": _SHAPE, "-t": _SHAPE, "--vertical": _SHAPE, "-E": _SHAPE, "--tee": _SHAPE,
    "--verbose": _SHAPE, "-v": _SHAPE,
}  # fmt: skip

_WITH_VALUE = "hPSuwrTDep#"  # the short flags of either program whose value may be joined to them


def dump_words(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return `mysqldump_options` as words. Raises RecipeError for what a dump could not be trusted with."""
    return _checked("mysqldump_options", given, _EVERYWHERE | _OF_THE_DUMP)


def client_words(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return `mysql_options` as words. Raises RecipeError for what would spoil the client's answers."""
    return _checked("mysql_options", given, _EVERYWHERE | _OF_THE_CLIENT)


def _checked(option: str, given: str | Iterable[str], refused: dict[str, str]) -> tuple[str, ...]:
    split = words(given)
    plain = list(spelled_out(split, _WITH_VALUE))
    if any(flag == "-p" or _begins(flag, "--password") for flag in plain):
        raise RecipeError(
            f"{option}: a password, or the wish to be asked for one, is not for a command line",
            "Put it into ~/.my.cnf, or into a file that --defaults names, readable by its owner only.",
        )
    refuse_words(option, plain, refused)
    for before, word in zip(("", *split), split, strict=False):
        if word == "--" or (not word.startswith("-") and not _takes_value(before)):
            raise RecipeError(f"{option}: {word!r} is no option", _ELSEWHERE)
    return split


def omitted(given: Sequence[str]) -> frozenset[str]:
    """Return which of triggers, events, routines and dump-history the operator's words leave out."""
    flags = set(spelled_out(given, _WITH_VALUE))
    kinds = ("triggers", "events", "routines", "dump-history")
    return frozenset(kind for kind in kinds if flags & {f"--skip-{kind}", f"--disable-{kind}"})


# Of mysqldump. In a recipe's mysqldump_options and ignore_tables they are in the manifest; in an option file, nowhere.
_INCOMPLETE = ("no-data", "where", "ignore-table", "ignore-table-data", "ignore-database", "ignore-error",
               "no-create-info", "no-create-db", "as-of", "compatible")  # fmt: skip
_UNDOING = ("skip-", "disable-")
_PREFIXES = (*_UNDOING, "loose-", "enable-")
_OFF = ("0", "false", "off")


def incomplete(printed: str, given: Sequence[str]) -> str:
    """Return the word in an option file that would leave something out of each dump, or an empty string.

    `printed` is what mysqldump says with --print-defaults and with the words `given`, which come last.
    """
    arguments = printed.partition("\n")[2].strip().removesuffix(" ".join(given))
    found: dict[str, str] = {}  # the last of each counts
    for word in arguments.split():
        name, _, value = word.removeprefix("--").replace("_", "-").partition("=")
        prefix = next((each for each in _PREFIXES if name.startswith(each)), "")
        name = name.removeprefix(prefix)
        known = next((each for each in _INCOMPLETE if len(name) >= len("as-o") and each.startswith(name)), None)
        if known and word.startswith("--"):
            found[known] = "" if prefix in _UNDOING or value.lower() in _OFF else word
    return next(filter(None, found.values()), "")


def file_fault(listing: str) -> str | None:
    """Return why an option file that `ls -lLd` lists so may not be used, or None."""
    kind, mode = listing[:1], listing[1:10]
    if kind != "-" or len(mode) != len("rwxrwxrwx"):
        return "is no plain file"
    if mode[4] == "w" or mode[7] == "w":
        return "can be changed by others than its owner"
    return "can be read by everybody" if mode[6] == "r" else None


_CONNECTION = re.compile(r"(?:^|\s)(?:--(host|port|socket|user|protocol)[= ]|-([hPSu]) ?)(\S+)")
_LONG = {"h": "host", "P": "port", "S": "socket", "u": "user"}


def connection(printed: str) -> dict[str, str]:
    """Return how a client would connect, from what it says with --print-defaults; the last word wins."""
    arguments = printed.partition("\n")[2]
    return {long or _LONG[short]: value for long, short, value in _CONNECTION.findall(arguments)}


def _begins(flag: str, full: str) -> bool:
    name = flag.partition("=")[0]
    return name.startswith(full) or (full.startswith(name) and len(name) > len("--p"))


def _takes_value(word: str) -> bool:
    if word.startswith("--"):
        return "=" not in word
    return word[:1] == "-" and word[-1] in _WITH_VALUE
