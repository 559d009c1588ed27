"""The blocks that compare what gets dumps back: verify beside sha256sum, restore beside the line by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from .compare import Bench
from .contenders import Contender, console, line
from .workload import LARGE, make_large

_UNWRAPPED = """\
from dbdump import Directory, Dump, PostgreSQL, localhost, recipe


@recipe(localhost)
def unwrapped(host):
    return Dump(PostgreSQL(include=[{database!r}], globals=False), wrap=[], to=Directory({datadir!r}))
"""


def verifying(bench: Bench) -> None:
    """Compare on one large dump that is as pg_dump wrote it."""
    make_large(bench.postgres, bench.scale)
    (recipes := bench.top / "verified").mkdir(mode=0o700)
    (kept := bench.top / "unwrapped").mkdir(mode=0o700)
    (recipes / "bench.py").write_text(_UNWRAPPED.format(database=LARGE, datadir=str(kept)))
    flags = (f"--recipes={recipes}",)
    _run(bench, console("dbdump", "dbdump", "dump", *flags))
    contenders = (line("sha256sum", f"sha256sum {_file(kept)}"), console("dbdump", "dbdump", "verify", *flags))
    medians = bench.compare("verify one large dump, not compressed", contenders, "sha256sum")
    ratio = medians["sha256sum"] / medians["dbdump"]
    bench.target("at least 0.8x of the speed of sha256sum", f"{ratio:.2f}x", met=ratio >= 0.8)


def verifying_compressed(bench: Bench) -> None:
    """Compare on the same, compressed: what is read is not what has to be looked at; there is no target."""
    kept = _dumped(bench, "plain", ())
    file = _file(kept)
    contenders = (
        line("sha256sum", f"sha256sum {file}"),
        line("by hand", f"sha256sum {file} && zstd -q -d <{file} | pg_restore -f /dev/null"),
        _ours("dbdump", kept, "verify"),
    )
    bench.compare("verify one large dump, compressed", contenders, "by hand")


def restoring(bench: Bench) -> None:
    """Compare on one large dump, signed and encrypted: verified and restored, one process or several."""
    key = bench.far.key
    kept = _dumped(bench, "encrypted", (f"--sign={key}", f"--encrypt={key}"))
    file = _file(kept)
    drop, unwrap = f"dropdb --if-exists {LARGE}", f"gpg -q --batch -d {file} | zstd -q -d"
    (sums := bench.top / "sums").write_text(f"{sha256(file.read_bytes()).hexdigest()}  {file}\n")
    genuine = f"gpg -q --batch --verify {file}.json.sig {file}.json && sha256sum --check --quiet {sums}"
    first = f"{unwrap} | pg_restore -f /dev/null"
    spool = bench.top / "spool"
    load = "pg_restore --exit-on-error --create -d postgres"
    parallel = f"{drop} && {unwrap} > {spool} && {load} -j2 {spool}; rm {spool}"
    flags = (f"--database={LARGE}", "--force", "--yes", f"--sign={key}", f"--encrypt={key}")
    contenders = (
        line("by hand", f"{drop} && {unwrap} | {load}"),
        line("by hand, read first", f"{first} && {drop} && {unwrap} | {load}"),
        line("by hand, verified first", f"{genuine} && {first} && {drop} && {unwrap} | {load}"),
        line("by hand, -j2", parallel),
        line("by hand, verified first, -j2", f"{genuine} && {first} && {parallel}"),
        _ours("dbdump --jobs=2", kept, "restore", *flags, "--jobs=2"),
        _ours("dbdump --jobs=1", kept, "restore", *flags, "--jobs=1"),
    )
    medians = bench.compare("restore one large database, signed and encrypted", contenders, "by hand")
    ours, ours_of_two = medians["dbdump --jobs=1"], medians["dbdump --jobs=2"]
    bench.at_most(1.05, "of the line by hand that verifies as much first", ours / medians["by hand, verified first"])
    bench.at_most(1.05, "of the same with -j2 each", ours_of_two / medians["by hand, verified first, -j2"])
    bench.at_most(1.05, "of the line by hand that reads all of it first", ours / medians["by hand, read first"])
    bench.at_most(1.05, "of the line by hand that reads it once", ours / medians["by hand"])


def _dumped(bench: Bench, name: str, flags: Sequence[str]) -> Path:
    """Dump the large database into a directory that is not emptied before each run, and return it."""
    make_large(bench.postgres, bench.scale)
    (kept := bench.top / name).mkdir(mode=0o700)
    _run(bench, _ours("dbdump", kept, "dump", f"--database={LARGE}", *flags))
    return kept


def _run(bench: Bench, command: Contender) -> None:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    subprocess.run(command.argv, env=bench.environment, check=True, **quiet)


def _file(kept: Path) -> Path:
    return next(each for each in kept.rglob("*") if each.is_file() and ".json" not in each.name)


def _ours(name: str, kept: Path, task: str, *flags: str) -> Contender:
    return console(name, "dbdump", task, "--backend=postgresql", f"--datadir={kept}", *flags)
