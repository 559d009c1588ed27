"""What a host has: programs on its PATH, and a way to become the user that `su` names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import StageError
from .pipeline import Pipeline
from .script import Stage
from .shell import Shell
from .user import MECHANISMS, User

PROGRAMS = 'for program; do if command -v "$program" >/dev/null; then echo "$program"; fi; done'
_TRY = 'said=$("$@" 2>&1 </dev/null) || said="${said:-exit status $?}"; printf %s "$said"'
_IDS = 'id -u && id -un && id -g -- "$1"'


@dataclass(frozen=True)
class Facts:
    """What was found: the programs, of those asked for, and the user to become; None is ourselves."""

    programs: frozenset[str]
    user: User | None


def probe(shell: Shell, programs: Iterable[str], su: str | None) -> Facts:
    """Ask the host. Raises StageError where it cannot become the user `su`."""
    found = _ask(shell, "probe", ["sh", "-c", PROGRAMS, "sh", *programs])
    return Facts(frozenset(found.split()), become(shell, su) if su else None)


def become(shell: Shell, name: str) -> User | None:
    """Return how to run commands as the user `name`, or None where that is who we are.

    Each mechanism is tried with `true`, which has to exit 0 and print nothing: what prints would print
    into a dump. Raises StageError with what each of them said.
    """
    User(name, "", "su")  # a name that is none is refused before a shell sees it
    try:
        uid, own_name, group = _ask(shell, "su", ["sh", "-c", _IDS, "sh", name]).split()
    except StageError as error:
        raise StageError("su", error.message, "Give --su, or su=, the name of a user of that host.") from error
    if own_name == name:
        return None
    refused = []
    for mechanism in MECHANISMS[uid == "0"]:
        user = User(name, group, mechanism)
        if said := _tried(shell, user):
            refused.append(f"{mechanism}: {said}")
        else:
            return user
    raise StageError(
        "su",
        f"cannot run commands as {name} ({'; '.join(refused)})",
        f"Be {' or '.join(dict.fromkeys(['root', name]))} there, or allow it in its sudoers: "
        f"{own_name} ALL=({name}) NOPASSWD: ALL",
    )


def _tried(shell: Shell, user: User) -> str:
    """Return why `user` cannot be used, or an empty string."""
    return _ask(shell, user.mechanism, ["sh", "-c", _TRY, "sh", *user.switch(["true"])]).strip()


def _ask(shell: Shell, stage: str, argv: list[str]) -> str:
    answer = Pipeline((Stage(stage, tuple(argv)),)).answer(shell)
    return answer.decode("utf-8", "backslashreplace")
