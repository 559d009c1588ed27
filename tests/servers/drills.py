"""Drills with room of their own, so that all that they start and write is known by its path."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import gone, manifests

from servers.process import wait_for


@dataclass
class Drills:
    """Runs dump and verify; `room` is where scratch servers and files are."""

    run: Callable[..., subprocess.CompletedProcess[str]]
    datadir: Path
    room: Path
    flags: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a drill."""
        return {"TMPDIR": str(self.room)}

    def of(self, backend: str, *options: str) -> Drills:
        """Use that backend, with those options."""
        self.flags = [f"--backend={backend}", f"--datadir={self.datadir}", *(f"--option={each}" for each in options)]
        return self

    def dump(self, *databases: str, more: tuple[str, ...] = ()) -> None:
        """Dump databases."""
        done = self.run("dump", *self.flags, *(f"--database={each}" for each in databases), *more)
        assert done.returncode == 0, done.stdout

    def verify(self, *more: str) -> list[str]:
        """Return the arguments of a drill of what was dumped last."""
        return ["verify", "--restore", *self.flags, *more]

    def drill(self, *more: str, code: int = 0) -> str:
        """Drill, see that it ends with that exit status and that nothing of it is left; return what it says."""
        done = self.run(*self.verify(*more), env=self.environment)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        self.nothing_is_left()
        return said

    def record(self, database: str) -> dict[str, Any]:
        """Return what is noted beside the newest dump of a database."""
        records = {path: json.loads(path.read_text()) for path in self.datadir.rglob("*.verified")}
        of = {path.name: found for path, found in records.items() if self._database(path) == database}
        return of[max(of)]

    def _database(self, record: Path) -> str:
        return str(json.loads(record.with_suffix(".json").read_text())["database"])

    def change(self, database: str, edit: Callable[[bytes], bytes], **keys: object) -> None:
        """Change what is in the only dump of `database`, and its manifest, as if it had been dumped so."""
        (path,) = (each for each in self.datadir.rglob("*.json") if self._database(each) == database)
        dump, manifest = path.with_suffix(""), manifests(self.datadir)[database]
        raw = subprocess.run(["zstd", "-dcq", dump], check=True, capture_output=True).stdout
        changed = edit(raw)
        assert keys or changed != raw
        stored = subprocess.run(["zstd", "-cq"], input=changed, check=True, capture_output=True).stdout
        size = manifest["raw_bytes"] and len(changed)
        now = {"raw_bytes": size, "stored_bytes": len(stored), "sha256": hashlib.sha256(stored).hexdigest(), **keys}
        dump.write_bytes(stored)
        path.write_text(json.dumps(manifest | now))

    def nothing_is_left(self) -> None:
        """Wait until no process is there that was started for a drill, and see that no file is."""
        gone(str(self.room))
        wait_for(lambda: not list(self.room.iterdir()), f"an empty {self.room}: {list(self.room.iterdir())}")

    def server(self, socket: str) -> Path:
        """Wait for the throw-away server with that socket, and return its directory."""
        wait_for(lambda: list(self.room.glob(f"dbdump-drill-*/{socket}")), "the throw-away server", 60)
        return next(self.room.glob(f"dbdump-drill-*/{socket}")).parent


@pytest.fixture
def drills(dbdump: Any, datadir: Path) -> Iterator[Drills]:
    """Drills in a directory that everybody may write to, as /tmp is, with a short path."""
    room = Path(tempfile.mkdtemp(prefix="dbdump-room-", dir="/tmp"))
    room.chmod(0o1777)
    try:
        yield Drills(dbdump, datadir, room)
        gone(str(room))
    finally:
        shutil.rmtree(room)
