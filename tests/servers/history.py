"""Dumps of many days, stored at once: what a datadir looks like after a while."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbdump import Directory
from dbdump.catalog import DumpName, new_stamp
from dbdump.manifest import Manifest
from dbdump.stored import Record
from dbdump.testing import manifest_of

Sign = Callable[[bytes], bytes]

_BEGAN: dict[Path, datetime] = {}  # when `days` was first asked for some in a datadir


def put(
    datadir: Path,
    database: str,
    age: timedelta,
    *,
    host: str = "localhost",
    recipe: str = "shop",
    size: int = 1000,
    fault: str | None = None,
    sign: Sign | None = None,
    signer: str | None = None,
    now: datetime | None = None,
) -> Path:
    """Store a dump that began that long ago, or before `now`, and return its path.

    `fault` is what verify found of it, nothing for a good one; `sign` makes the signature of its manifest.
    """
    began = (now or datetime.now(UTC)) - age
    name = DumpName(host, recipe, database, new_stamp(began), ".bin.gpg" if sign else ".bin")
    data = hashlib.sha256(name.file.encode()).digest()[:1] * size
    started = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stages = ({"name": "dump", "argv": ["cat"], "status": 0}, {"name": "gpg", "argv": ["gpg"], "status": 0})
    manifest: Manifest = replace(
        manifest_of(name, data), started=started, finished=started, stages=stages[: 2 if sign else 1], signer=signer
    )
    to = Directory(str(datadir))
    sink = to.open(name)
    try:
        sink.write(memoryview(data))
        sink.commit(manifest, sign(manifest.to_json()) if sign else None)
    finally:
        sink.abort()
    if fault is not None:
        to.note(name, Record(manifest.sha256, started, "bytes", fault).to_json())
    return Path(to.location(name))


def days(datadir: Path, database: str = "orders", *, count: int, **more: object) -> list[Path]:
    """Store a dump for each of the last days, and return their paths, the newest first."""
    # Of one moment, so that what a test stores of several databases is of the same runs, however long that takes.
    now = _BEGAN.setdefault(datadir, datetime.now(UTC).replace(microsecond=0))
    ages = [timedelta(days=day, minutes=5) for day in range(count)]
    return [put(datadir, database, age, now=now, **more) for age in ages]  # type: ignore[arg-type]


def left(paths: list[Path]) -> list[int]:
    """Return which of the paths are still there; each of them with its manifest, or without both."""
    there = [index for index, path in enumerate(paths) if path.exists()]
    manifests = [index for index, path in enumerate(paths) if path.with_name(path.name + ".json").exists()]
    assert there == manifests
    return there
