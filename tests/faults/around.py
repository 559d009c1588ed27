"""The invariant for a test that does more than one fault's: around each run of dbdump, and around the test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.invariant import PICKING, Unharmed

_OF_A_DUMP = re.compile(r"\.?[0-9]{8}T[0-9]{6}Z\.")
_PRUNED = re.compile(r"\b[1-9][0-9]* pruned\b|^prune ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A run of dbdump: its process, where it was started to go on beside the test, and how it was run."""

    process: subprocess.Popen[str] | None
    arguments: Sequence[object]
    more: Mapping[str, object]

    def has_ended(self) -> bool:
        """Whether it has, so that the next one may run."""
        return self.process is None or self.process.poll() is not None


@dataclass
class Around(Unharmed):
    """What holds from `begin` to `ran`: between two runs the test may do to its dumps what it likes.

    `directories` may hold other things as well: files are known for those of dumps by their names. Runs may overlap:
    what one has stored, another of the same test may have reported.
    """

    failed: Run | None = None  # the last dump, unless it worked
    _since: set[Path] = field(default_factory=set)
    _parts: dict[Path, str] = field(default_factory=dict)  # that a run has left, and what `list` said then

    def begin(self) -> set[Path]:
        """Take the dumps that are there now for old ones, and return what is there.

        What is hidden is no dump, and goes sooner or later.
        """
        super().begin()
        there = set(self._before)
        self._before = {path: content for path, content in self._before.items() if not path.name.startswith(".")}
        return there

    def ran(self, status: int, out: str, since: set[Path], *arguments: object, **more: object) -> None:
        """See what a run has done that began when there was `since`, has ended with `status` and printed `out`."""
        self.killed, self._since = status < 0, since
        self.said.append(out)
        if _PRUNED.search(out):
            self._before = {path: content for path, content in self._before.items() if path.exists()}
        self.old_dumps_are_untouched()
        self.what_looks_like_a_dump_is_one()
        if parts := [path for path in self._new() if path.name.startswith(".")]:
            flags = [each for each in map(str, arguments) if each.startswith(PICKING)]
            listed = self.run("list", *flags, **more).stdout
            self._parts |= dict.fromkeys(parts, listed)

    def dumped(
        self, status: int | None, process: subprocess.Popen[str] | None, arguments: Sequence[object],
        more: Mapping[str, object],
    ) -> None:  # fmt: skip
        """Take note of a run, if it is a dump: it has ended with `status`, or may go on in `process`."""
        if arguments[0] == "dump" and "--dry-run" not in arguments:
            self.failed = Run(process, arguments, more) if status not in (0, 2) else None

    def left(self) -> None:
        """See at the end of the test that nothing runs, that nothing is open, and that every part was reported."""
        self.nothing_runs()
        self.nothing_is_open()
        self.nothing_temporary_is_left()
        for path, listed in self._parts.items():
            told = "\n".join([listed, *self.said])
            assert not path.exists() or f"/{path.name}" in told, f"nobody said that {path} was left: {told}"

    def _is_reported(self, name: str, path: Path) -> bool:
        # A locale without the name's letters has them escaped.
        shown = name.encode("ascii", "backslashreplace").decode()
        return super()._is_reported(name, path) or super()._is_reported(shown, path)

    def _new(self) -> list[Path]:
        return [path for path in self._files() if path not in self._since]

    def _files(self) -> list[Path]:
        # A record of what `verify` found is written again each time.
        return [path for path in super()._files() if _OF_A_DUMP.match(path.name) and path.suffix != ".verified"]
