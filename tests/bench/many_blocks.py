"""The block that measures how long it takes to look at very many dumps: list and status."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product
from pathlib import Path

from dbdump.catalog import DumpName, new_stamp
from dbdump.manifest import SCHEMA, Manifest

from .compare import Bench
from .contenders import Contender, console, line

_MOST_SECONDS = 2
_DATA = b"x" * 1000


def listing_many(bench: Bench) -> None:
    """Compare list and status with reading the same manifests, where they are and on another machine."""
    many = bench.top / "many"
    number = sum(1 for _ in _stored(many, bench.scale.databases, bench.scale.history))
    found = f"find {many} -name '*.json' -exec cat {{}} + | wc -c"
    contenders = (
        line("find and cat", found),
        _ours("list", many), _ours("list", many, "--json"), _ours("status", many), _ours("status", many, "--json"),
        _ours("list", many, f"--remote={bench.far.remotes[0]}"),
        _ours("status", many, f"--remote={bench.far.remotes[0]}"),
    )  # fmt: skip
    medians = bench.compare(f"{number} dumps of {bench.scale.databases} databases", contenders, "find and cat")
    for name in ("list", "status"):
        bench.target(f"{name} within {_MOST_SECONDS} s", f"{medians[name]:.2f} s", met=medians[name] < _MOST_SECONDS)


def _ours(task: str, many: Path, *flags: str) -> Contender:
    name = " ".join([task, *("from a remote" if each.startswith("--remote") else each for each in flags)])
    return console(name, "dbdump", task, "--backend=sqlite", "--option=path=/none", f"--datadir={many}", *flags)


def _stored(top: Path, databases: int, history: int) -> Iterator[DumpName]:
    """Store so many dumps of so many databases, one each hour, and yield their names."""
    top.mkdir(mode=0o700)
    now = datetime.now(UTC)
    for database, hours in product(range(databases), range(1, history + 1)):
        began = now - timedelta(hours=hours)
        name = DumpName("localhost", "sqlite", f"shop_{database:03}", new_stamp(began), ".pgdump.zst.gpg")
        directory = top
        for each in name.directory:
            (directory := directory / each).mkdir(mode=0o700, exist_ok=True)
        (directory / name.file).write_bytes(_DATA)
        (directory / name.manifest_file).write_bytes(_manifest(name, began).to_json())
        yield name


def _manifest(name: DumpName, began: datetime) -> Manifest:
    """Return a manifest as long as that of a dump that is signed and encrypted."""
    key = sha256(b"key").hexdigest()[:40].upper()
    gpg = ["gpg", "--batch", "--no-tty", "--sign", "--encrypt", "--local-user", key, "--recipient", key]
    stages = tuple({"name": argv[0], "argv": argv, "status": 0} for argv in (["pg_dump", "-Fc"], ["zstd", "-T0"], gpg))
    when = began.isoformat(timespec="milliseconds")
    return Manifest(
        SCHEMA, name.host, name.recipe, "postgresql", name.database, name.file, when, when, 5 * len(_DATA), len(_DATA),
        sha256(_DATA).hexdigest(), stages, {"dbdump": "0", "server": "15"}, key, (key,),
        f"gpg --decrypt < {name.file} | zstd -d | pg_restore --create -d postgres",
    )  # fmt: skip
