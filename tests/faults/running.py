"""What runs that we have started, on this machine and, through its servers, on those that it plays."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from servers.process import SERVERS

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_OWN_LIFE = re.compile(r"^(gpg-agent|scdaemon|dirmngr|keyboxd)$")  # they end with their home
_A_CLIENT_S = re.compile(r"^postgres: .* (\[local\]|\S+\(\d+\))")  # USER DATABASE [local] IDLE; PostgreSQL's titles


@dataclass(frozen=True)
class Process:
    """A living process."""

    parent: int
    group: int
    line: str

    @property
    def program(self) -> str:
        """The name of its program, or of what it calls itself."""
        return Path(self.line.split(" ")[0].rstrip(":")).name


def adopt_orphans() -> None:
    """Make every orphan among the descendants of this process its child, so that none escapes `running`."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def reap() -> None:
    """Take note of the orphans that have ended, as init would have."""
    for each in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if int(each) not in SERVERS:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(each), os.WNOHANG)


def processes() -> dict[int, Process]:
    """Return all living processes by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if state != "Z":
                found[int(entry.name)] = Process(int(parent), int(group), line)
    return found


def running() -> dict[int, str]:
    """Return the living descendants of this process by pid, without the servers of the tests and what is theirs.

    What a server does for a client is among them: a session of sshd's, a backend of PostgreSQL's that has a client.
    Not among them is a watchdog of a script's that has ended it: it looks once more after five seconds.
    """
    found = processes()
    ours = {pid: each for pid, each in found.items() if below(pid, os.getpid(), found) and _counts(pid, each)}
    groups: dict[int, set[str]] = {}
    for each in found.values():
        groups.setdefault(each.group, set()).add(each.line if each.line == "sleep 5" else each.program)
    return {pid: each.line for pid, each in ours.items() if groups[each.group] != {"sleep 5", "sh"}}


def described(pid: int, line: str) -> str:
    """Return what can be told of a process that should have ended: its state, what it waits for, what it has open."""
    top = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        status = dict(each.split(":\t", 1) for each in (top / "status").read_text().splitlines() if ":\t" in each)
        opened = ", ".join(f"{each.name} {each.readlink()}" for each in (top / "fd").iterdir())
        waits = (top / "wchan").read_text()
        return f"{pid} {line} [{status['State']}, of {status['PPid']}, in {waits}; open: {opened}]"
    return f"{pid} {line}"


def below(pid: int, top: int, found: dict[int, Process]) -> bool:
    """Whether `top` is an ancestor of `pid`."""
    while pid in found:
        pid = found[pid].parent
        if pid == top:
            return True
    return False


def _counts(pid: int, each: Process) -> bool:
    """Whether it is a client's, or for a client: not a server, nor what a server does on its own account."""
    if pid in SERVERS or _OWN_LIFE.match(each.program):
        return False
    return each.parent not in SERVERS or not each.line.startswith("postgres: ") or bool(_A_CLIENT_S.match(each.line))
