"""Dumps to store without a database: their names, their manifests, a job."""

from __future__ import annotations

import hashlib
from typing import Any

from ..backends.base import Backend
from ..catalog import DumpName
from ..errors import WriteError
from ..host import localhost
from ..manifest import SCHEMA, Manifest
from ..plan import Job
from ..recipes import Dump
from ..wrappers.base import Wrapper
from ..writers.base import Sink, Store, Writer

ODD_NAMES = ("a b", "x;y", "-v", "--result-file=x", "dbname=postgres", "../x", ".", "é", "a\nb", "%", "UPPER", "upper",
             "x" * 63, "€" * 64, "q'\"\\`$(id)*?", "bad\udce9name")  # fmt: skip


def job_of(backend: Backend, to: Writer, *wrappers: Wrapper) -> Job:
    """Return a job of this machine."""
    return Job(localhost, "contract", Dump(backend, wrap=wrappers, to=to, stall_timeout=60.0))


def dump_name(database: str = "orders") -> DumpName:
    """Return the name of a dump."""
    return DumpName("db1", "shop", database, "20261122T203000Z", ".sql.zst")


def manifest_of(name: DumpName, data: bytes) -> Manifest:
    """Return the manifest of a dump of `data`."""
    stages = tuple({"name": each, "argv": [each], "status": 0} for each in ("dump", "zstd"))
    fixed: dict[str, Any] = {"stages": stages, "versions": {}, "signer": None, "recipients": (), "restore": "cat"}
    when = "2026-11-22T20:30:00.000Z"
    digest = hashlib.sha256(data).hexdigest()
    which = SCHEMA, name.host, name.recipe, "test", name.database, name.file
    return Manifest(*which, when, when, None, len(data), digest, **fixed)


def store(to: Store, name: DumpName, data: bytes, signature: bytes | None = None) -> None:
    """Store `data` as a whole dump, with the signature of its manifest if there is one."""
    sink = to.open(name)
    try:
        sink.write(memoryview(data))
        sink.commit(manifest_of(name, data), signature)
    finally:
        sink.abort()


def refused(sink: Sink, manifest: Manifest) -> None:
    """Assert that `sink` does not commit with `manifest`."""
    try:
        sink.commit(manifest)
    except WriteError:
        return
    else:
        raise AssertionError("it was committed")
    finally:
        sink.abort()
