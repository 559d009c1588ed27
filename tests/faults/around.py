"""The invariant for a test that does more than one fault's: around each run of dbdump, and around the test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from faults.invariant import Unharmed

_OF_A_DUMP = re.compile(r"\.?[0-9]{8}T[0-9]{6}Z\.")
_PRUNED = re.compile(r"\b[1-9][0-9]* pruned\b|^prune ", re.MULTILINE)


@dataclass
class Around(Unharmed):
    """What holds from `begin` to `ran`: between two runs the test may do to its dumps what it likes.

    `directories` may hold other things as well: files are known for those of dumps by their names.
    """

    def begin(self) -> None:
        """Take the dumps that are there now for old ones; what is hidden is no dump, and goes sooner or later."""
        super().begin()
        self._before = {path: content for path, content in self._before.items() if not path.name.startswith(".")}

    def ran(self, status: int, out: str) -> None:
        """See what a run has done, which has ended with `status` and printed `out`."""
        self.killed, self.said = status < 0, [out]
        if _PRUNED.search(out):
            self._before = {path: content for path, content in self._before.items() if path.exists()}
        self.old_dumps_are_untouched()
        self.what_looks_like_a_dump_is_one()

    def left(self) -> None:
        """See at the end of the test that nothing runs, and that nothing is open."""
        self.nothing_runs()
        self.nothing_is_open()

    def _is_reported(self, name: str, path: Path) -> bool:
        # With --json a document says where each is; a locale without the name's letters has them escaped.
        shown = name.encode("ascii", "backslashreplace").decode()
        in_a_document = f'{path.name}"' in self.said[0]
        return in_a_document or super()._is_reported(name, path) or super()._is_reported(shown, path)

    def _files(self) -> list[Path]:
        # A record of what `verify` found is written again each time.
        return [path for path in super()._files() if _OF_A_DUMP.match(path.name) and path.suffix != ".verified"]
