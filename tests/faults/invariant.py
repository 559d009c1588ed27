"""What holds after every fault, whatever it was: looked at from outside, as an operator would the next morning."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from servers.process import SERVERS, wait_for

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_OWN_LIFE = re.compile(r"^(gpg-agent|scdaemon|dirmngr|keyboxd)\b")  # they end with their home


def adopt_orphans() -> None:
    """Make every orphan among the descendants of this process its child, so that none escapes `running`."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def running() -> dict[int, str]:
    """Return the living descendants of this process by pid, without the servers of the tests and what is below them.

    What a server does for a client is among them: a session of sshd's, a backend of PostgreSQL's that has a client.
    """
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.name)], lines[int(entry.name)] = int(parent), line
    return {pid: lines[pid] for pid in parents if _is_ours(pid, parents) and _counts(pid, parents, lines)}


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid := parents.get(pid, 0):
        if pid == os.getpid():
            return True
    return False


def _counts(pid: int, parents: dict[int, int], lines: dict[int, str]) -> bool:
    """Whether it is a client's, or for a client: not a server, nor what a server does on its own account."""
    if pid in SERVERS or _OWN_LIFE.match(Path(lines[pid].split(" ")[0].rstrip(":")).name):
        return False
    if parents[pid] in SERVERS and lines[pid].startswith("postgres: "):
        return lines[pid].endswith(("idle", "COPY", "SELECT", "waiting", "in transaction"))
    return True


@dataclass
class Unharmed:
    """The invariant: `directories` are where dumps go; `said` is what runs have printed: the test adds its own Popens'.

    `end` checks it. A test calls `again` with a run that has to work now that the fault is gone; without one, it says
    `no_next_run`, and why.
    """

    run: Callable[..., object]
    directories: list[Path]
    said: list[str] = field(default_factory=list)
    killed: bool = False  # dbdump itself, before it could say what it had stored
    no_next_run: str = ""
    _before: dict[Path, bytes] = field(default_factory=dict)
    _processes: dict[int, str] = field(default_factory=running)
    _descriptors: set[str] = field(default_factory=lambda: descriptors())
    _worked: bool = False

    def begin(self) -> None:
        """Take what is in the directories now for old dumps, which no fault may touch."""
        self._before = {path: path.read_bytes() for path in self._files()}

    def again(self, *arguments: object, **more: object) -> str:
        """Run dbdump once more, which works; return what it says."""
        done = self.run(*arguments, **more)
        said = done.stdout + done.stderr  # type: ignore[attr-defined]
        assert done.returncode == 0, said  # type: ignore[attr-defined]
        self._worked = True
        return said

    def check(self) -> None:
        """See that the fault has left nothing: before the next run, which may tidy up."""
        self.nothing_runs()
        self.old_dumps_are_untouched()
        self.what_looks_like_a_dump_is_one()

    def end(self) -> None:
        """See it all, the next run included."""
        self.check()
        assert self._worked or self.no_next_run, "the test tries no next run, and does not say why"
        opened = descriptors() - self._descriptors
        assert not opened, f"left open: {opened}"

    def nothing_runs(self) -> None:
        """No process of ours is left, here or on a server."""

        def left() -> dict[int, str]:
            return {pid: line for pid, line in running().items() if pid not in self._processes}

        wait_for(lambda: not left(), f"the end of all that was started; first there were {left()}", 20)

    def old_dumps_are_untouched(self) -> None:
        """What was there before is there still, byte for byte."""
        for path, content in self._before.items():
            assert path.is_file(), f"{path} is gone"
            assert path.read_bytes() == content, f"{path} was changed"

    def what_looks_like_a_dump_is_one(self) -> None:
        """Each final name has its manifest, says the truth, and a run said that it is stored; the rest are parts."""
        new = [path for path in self._files() if path not in self._before]
        finals = [path for path in new if not path.name.startswith(".")]
        for path in finals:
            if path.suffix in (".sig", ".verified"):
                assert path.with_suffix("").exists() or Path(f"{path.with_suffix('')}.json").exists(), path
                continue
            if path.suffix == ".json":
                assert path.with_suffix("").exists(), f"{path} is a manifest of nothing"
                continue
            self._is_a_dump(path)
        parts = [path for path in new if path.name.startswith(".")]
        assert all(path.name.endswith(".part") for path in parts), parts

    def _is_a_dump(self, path: Path) -> None:
        manifest = Path(f"{path}.json")
        if not manifest.exists():
            # Killed between the two: whole, but nobody counts it, and `list` shows it apart.
            assert self.killed, f"{path} has no manifest"
            return
        told = json.loads(manifest.read_bytes())
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (told["stored_bytes"], told["sha256"]), path
        name = "/".join((told["host"], told["recipe"], told["database"]))
        assert self.killed or any(f"stored   {name}" in each for each in self.said), (
            f"no run said that {name} is stored"
        )

    def _files(self) -> list[Path]:
        return [path for top in self.directories for path in sorted(top.rglob("*")) if path.is_file()]


def descriptors() -> set[str]:
    """Return what this process has open, other than its own view of that."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{each.name} {each.readlink()}")
        except OSError:
            continue
    return found
