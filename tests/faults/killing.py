"""Which process is to get which signal, and when: chosen by a number, so that a failure can be had again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from faults.running import Process, below, processes

RUNS = int(os.environ.get("FAULTS_RUNS", "30"))
SEED = os.environ.get("FAULTS_SEED", "1")

_LOCAL = ("dbdump", "pg_dump", "slow", "zstd", "script")
_HOST = ("dbdump", "pg_dump", "slow", "zstd", "sshd", "shell")
# The recipes of test_kill_loop.py, and whose processes there are; `_ssh` is over OpenSSH.
PLACES = {
    "local": _LOCAL,
    "here": _LOCAL,
    "fabric": ("dbdump", "pg_dump", "slow", "gpg", "sshd", "shell"),
    "openssh": ("dbdump", "pg_dump", "slow", "gpg", "ssh", "sshd", "shell"),
    "sftp": ("dbdump", "pg_dump", "slow", "gpg", "sshd"),
    "sftp_ssh": ("dbdump", "pg_dump", "slow", "gpg", "ssh", "sshd"),
    "relayed": _HOST,
    "relayed_ssh": (*_HOST, "ssh"),
    "wrapped": _HOST,  # by the controller
    "wrapped_ssh": (*_HOST, "ssh"),
    "vault": _HOST,  # from one machine to another
    "vault_ssh": (*_HOST, "ssh"),
    "on_host": _HOST,
    "on_host_ssh": (*_HOST, "ssh"),
}
_RESTORE = ("dbdump", "pg_restore", "slow", "zstd", "script")
# The recipes of test_kill_back.py: what is verified, restored or pruned, and how.
BACK = {
    "jobs": _RESTORE,
    "prune": ("dbdump",),
    "fabric": ("dbdump", "pg_restore", "slow", "gpg", "sshd", "shell"),
    "verify": _RESTORE,
    "plain": ("dbdump", "psql", "slow", "zstd", "script"),
    "prune_openssh": ("dbdump", "ssh", "sshd", "shell"),
    "sqlite": ("dbdump", "sqlite", "slow", "zstd", "script"),
    "verify_sftp": ("dbdump", "pg_restore", "slow", "gpg", "sshd"),
    "host": ("dbdump", "pg_restore", "sshd", "shell"),
    "prune_fabric": ("dbdump", "sshd", "shell"),
    "alone": _RESTORE,
    "openssh": ("dbdump", "pg_restore", "slow", "gpg", "ssh", "sshd", "shell"),
    "prune_sftp": ("dbdump", "sshd"),
    "mariadb": ("dbdump", "mariadb", "slow", "zstd", "script"),
    "drill": ("dbdump", "pg_restore", "postgres", "slow", "zstd", "script"),
}
# Seconds that it is there, about, on an idle machine; less for others.
_LONGEST = {"dbdump": 1.4, "sshd": 1.0, "ssh": 1.0, "shell": 1.0}


@dataclass(frozen=True)
class Case:
    """A signal to the process that plays `role` at `place`, so many seconds after it began.

    A process that was stopped is `continued`, or found by the watchdog. A lost connection is tried `retries` times.
    """

    number: int
    place: str
    role: str
    signal: signal.Signals
    after: float
    continued: bool
    retries: int

    @property
    def id(self) -> str:
        """How pytest calls it."""
        return f"{self.number}-{self.place}-{self.role}-{self.signal.name}-{self.after}s-seed{SEED}"

    @property
    def stalls(self) -> bool:
        """Whether the watchdog has to end it: it ends what only waits for the processor as well, so not otherwise."""
        return self.signal == signal.SIGSTOP and not self.continued

    def find(self, dbdump: int, users: tuple[int, ...]) -> list[int]:
        """Return the processes that play the role in the run of `dbdump`, where `users` are the accounts."""
        found = processes()
        if self.role == "dbdump":
            return [dbdump] if dbdump in found else []
        mine = {pid: each for pid, each in found.items() if below(pid, dbdump, found) or _user(pid) in users}
        return sorted(pid for pid, each in mine.items() if self._is(each))

    def _is(self, each: Process) -> bool:
        match self.role:
            case "slow":
                return each.program == "python3" and "time.sleep(.05)" in each.line
            case "gpg":
                return each.program == "gpg" and ("--encrypt" in each.line or "--decrypt" in each.line)
            case "sqlite":
                return each.program.startswith("python") and each.line.endswith((" new", " replace"))
            case "shell" | "script":
                return each.program == "sh"
            case "sshd":
                return each.line.startswith("sshd: ")
            case _:
                return each.program == self.role


def cases(
    places: Mapping[str, Sequence[str]] = PLACES,
    runs: int = RUNS,
    signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP),
) -> list[Case]:
    """Return as many cases as asked for: every role gets every signal, spread over the places, again and again."""
    dice = random.Random(SEED)  # noqa: S311  not for secrets
    queues = {place: list(product(roles, signals)) for place, roles in places.items()}
    for queue in queues.values():
        dice.shuffle(queue)
    made = []
    for number in range(runs):
        place = list(places)[number % len(places)]
        role, what = queues[place][number // len(places) % len(queues[place])]
        longest = 0.5 if place.startswith("prune") else _LONGEST.get(role, 0.6)
        after = round(dice.uniform(0, longest), 2)
        # dbdump itself has nobody who sees that it was stopped.
        continued = dice.random() < 0.7 or role == "dbdump"
        made.append(Case(number, place, role, what, after, continued, dice.randrange(2)))
    return made


def _user(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1
