"""What holds after every fault, whatever it was: looked at from outside, as an operator would the next morning."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers.process import wait_for

from dbdump.catalog import printable
from faults.running import described, running

_BESIDE = (".sig", ".json", ".verified")  # files of a dump

_STORED = "; the dump itself is stored: "  # it was the cleaning up after it that failed

# What picks dumps, of the flags of a run: `list` takes them as well.
PICKING = ("--recipes", "--backend", "--option", "--datadir", "--remote", "--defaults", "--su", "--psql-options")


def descriptors() -> set[str]:
    """Return what this process has open, other than its own view of that."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{each.name} {each.readlink()}")
        except OSError:
            continue
    return found


def temporary() -> set[Path]:
    """Return what is in TMPDIR and called as what is ours there."""
    return set(Path(os.environ["TMPDIR"]).glob("dbdump*"))


@dataclass
class Unharmed:
    """The invariant: `directories` are where dumps go; `said` is what runs have printed: the test adds its own Popens'.

    `end` checks it. A test calls `again` with a run that has to work now that the fault is gone; without one, it says
    `no_next_run`, and why. `clients` ask servers who is connected, for what is no process of its own there.
    """

    run: Callable[..., subprocess.CompletedProcess[str]]
    directories: list[Path]
    said: list[str] = field(default_factory=list)
    killed: bool = False  # dbdump itself, before it could say what it had stored
    no_next_run: str = ""
    clients: list[Callable[[], Sequence[object]]] = field(default_factory=list)
    patience: float = 20.0  # seconds for what was started to end
    _before: dict[Path, bytes] = field(default_factory=dict)
    _processes: dict[int, str] = field(default_factory=running)
    _descriptors: set[str] = field(default_factory=descriptors)
    _temporary: set[Path] = field(default_factory=temporary)
    _flags: list[str] = field(default_factory=list)
    _worked: bool = False

    def begin(self) -> None:
        """Take what is in the directories now for old dumps, which no fault may touch."""
        self._before = {path: path.read_bytes() for path in self._files()}

    def no_longer(self, stamps: Collection[str]) -> list[Path]:
        """Take the dumps of these stamps for none that have to stay, and return their files."""
        files = [path for path in self._before if path.name.split(".")[0] in stamps]
        for path in files:
            del self._before[path]
        return files

    def again(self, *arguments: object, **more: object) -> str:
        """Run dbdump once more, which works; return what it says."""
        self._flags = [each for each in map(str, arguments) if each.startswith(PICKING)]
        self.what_is_left_is_listed()
        done = self.run(*arguments, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        self._worked = True
        return done.stdout + done.stderr

    def check(self) -> None:
        """See that the fault has left nothing: before the next run, which may tidy up."""
        self.nothing_runs()
        self.old_dumps_are_untouched()
        self.what_looks_like_a_dump_is_one()

    def end(self) -> None:
        """See it all, the next run included."""
        self.check()
        assert self._worked or self.no_next_run, "the test tries no next run, and does not say why"
        self.what_is_left_is_listed()
        self.nothing_is_open()
        self.nothing_temporary_is_left()

    def nothing_runs(self) -> None:
        """No process of ours is left, here or on a server, nor a connection."""

        def left() -> dict[int, str]:
            return {pid: line for pid, line in running().items() if pid not in self._processes}

        with contextlib.suppress(AssertionError):
            wait_for(lambda: not left(), "", self.patience)
        told = "\n".join(described(pid, line) for pid, line in left().items())
        assert not told, f"after {self.patience} s there still runs:\n{told}"
        first = [each for connected in self.clients for each in connected()]
        wait_for(lambda: not any(ask() for ask in self.clients), f"the end of connections {first}", self.patience)

    def nothing_is_open(self) -> None:
        """No file descriptor of this process's is left open."""
        opened = descriptors() - self._descriptors
        assert not opened, f"left open: {opened}"

    def nothing_temporary_is_left(self) -> None:
        """Nothing of ours is left in TMPDIR."""
        left = temporary() - self._temporary
        assert not left, f"left in TMPDIR: {left}"

    def old_dumps_are_untouched(self) -> None:
        """What was there before is there still, byte for byte."""
        for path, content in self._before.items():
            assert path.is_file(), f"{path} is gone"
            assert path.read_bytes() == content, f"{path} was changed"

    def what_looks_like_a_dump_is_one(self) -> None:
        """Each final name has its manifest, says the truth, and a run said that it is stored; the rest are parts."""
        for path in self._new():
            if path.name.startswith("."):
                assert path.name.endswith(".part"), path
            elif path.suffix in _BESIDE:
                cut = self.killed and path.suffix == ".sig"  # it comes before the manifest, which is the last
                assert cut or path.with_suffix("").exists(), f"{path} is of nothing"
            else:
                self._is_a_dump(path)

    def _is_a_dump(self, path: Path) -> None:
        manifest = Path(f"{path}.json")
        if not manifest.exists():
            # Killed between the two: whole, but nobody counts it, and `list` shows it apart.
            told = re.search(rf"cannot be removed: .*{re.escape(str(path))}", "\n".join(self.said))
            assert self.killed or told, f"{path} has no manifest"
            return
        told = json.loads(manifest.read_bytes())
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (told["stored_bytes"], told["sha256"]), path
        name = f"{told['host']}/{told['recipe']}/{printable(told['database'])}"
        assert self.killed or self._is_reported(name, path), f"no run said that {path} is stored"

    def _is_reported(self, name: str, path: Path) -> bool:
        """Whether a line, or a result in a document, says that `name` is stored in that file."""
        lines = [each for text in self.said for each in (*text.splitlines(), *_lines_of_a_document(text))]
        return any(each.startswith(f"stored   {name}  ") and each.endswith(f"/{path.name}") for each in lines) or any(
            each.startswith(f"FAILED   {name}: ") and re.search(f"{_STORED}.*/{re.escape(path.name)}$", each)
            for each in lines
        )

    def what_is_left_is_listed(self) -> None:
        """Each temporary file, and each final name without a manifest, is shown by `dbdump list` for what it is."""
        left = [each for each in self._new() if each.name.startswith(".") or not _is_committed(each)]
        if not left:
            return
        assert self._flags, f"left, and nobody can tell: {left}"
        done = self.run("list", *self._flags)
        lines = [each for each in done.stdout.splitlines() if each.startswith("uncommitted")]
        for each in left:
            name = f"/{each.parent.name}/{each.name}  "
            assert any(name in line for line in lines), f"list says nothing of {each}: {done}"

    def _new(self) -> list[Path]:
        return [path for path in self._files() if path not in self._before]

    def _files(self) -> list[Path]:
        return [path for top in self.directories for path in sorted(top.rglob("*")) if path.is_file()]


def _lines_of_a_document(text: str) -> list[str]:
    """Return what a JSON document at the beginning of `text` says was stored, in the words of a line."""
    if not text.startswith("{"):
        return []
    told, _ = json.JSONDecoder().raw_decode(text)
    results = [each for each in told["results"] if each["database"] is not None and told["command"] == "dump"]
    word = {"stored": "stored   {}  ", "failed": "FAILED   {}: "}
    return [
        word[each["status"]].format(f"{each['host']}/{each['recipe']}/{printable(each['database'])}") + each["message"]
        for each in results
        if each["status"] in word
    ]


def _is_committed(path: Path) -> bool:
    return path.suffix in _BESIDE or Path(f"{path}.json").exists()
