"""Dumps of many days, stored at once: what a datadir looks like after a while."""

from __future__ import annotations

import hashlib
import time
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
) -> Path:
    """Store a dump that began that long ago, and return its path.

    `fault` is what verify found of it, nothing for a good one; `sign` makes the signature of its manifest.
    """
    began = datetime.now(UTC) - age
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
    # To the minute, so that what one test stores is of the same runs.
    minute = timedelta(seconds=time.time() % 60)
    ages = [timedelta(days=day, minutes=5) + minute for day in range(count)]
    return [put(datadir, database, age, **more) for age in ages]  # type: ignore[arg-type]


def left(paths: list[Path]) -> list[int]:
    """Return which of the paths are still there; each of them with its manifest, or without both."""
    there = [index for index, path in enumerate(paths) if path.exists()]
    manifests = [index for index, path in enumerate(paths) if path.with_name(path.name + ".json").exists()]
    assert there == manifests
    return there
