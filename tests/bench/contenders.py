"""The command lines that are measured: dbdump, and what is written by hand."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .workload import LARGE, query

ROOT = Path(__file__).parents[2]
_RECIPE = Path(__file__).with_name("stream_recipe.py")


@dataclass(frozen=True)
class Contender:
    """A command: its name in a table, how it is typed, where it runs, the exit status of its success.

    `before` is a line of shell that is run before it and not measured. `peer` says that it is another tool, which
    may be `missing`, for this reason.
    """

    name: str
    typed: str
    argv: tuple[str, ...]
    cwd: Path = Path("/")
    status: int = 0
    before: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False
    missing: str = ""


def large_custom(out: Path, database: str) -> tuple[Contender, ...]:
    """Return dbdump, the line written by hand, what most people type, and the line that dbdump was written for.

    They store `database` into `out`.
    """
    return (
        dbdump("dbdump", out, f"--database={database}"),
        line("by hand", f"pg_dump -Fc -Z0 {database} | {_hashed(out, 'dump.zst', 'zstd -T0')}"),
        line("pg_dump -Fc", f"pg_dump -Fc {database} > {out}/dump"),
        line("pg_dump -Fc -Z1", f"pg_dump -Fc -Z1 {database} > {out}/dump"),
        line("pg_dump -Fd -j2", f"pg_dump -Fd -j2 -f {out}/dump {database}"),
        line("pg_dump -Fd -j2 -Z1", f"pg_dump -Fd -j2 -Z1 -f {out}/dump {database}"),
        line("the original's pipeline", _original(out, database)),
    )


def large_plain(out: Path) -> tuple[Contender, ...]:
    """Return the same as SQL text: dbdump, dbdump that does not look at the raw stream, and the line."""
    plain = (f"--database={LARGE}", "--option", "format=plain")
    return (
        dbdump("dbdump", out, *plain),
        dbdump("dbdump, no check", out, *plain, "--option", "check_stream=no"),
        line("by hand", f"pg_dump {LARGE} | {_hashed(out, 'dump.zst', 'zstd -T0')}"),
    )


def small(out: Path, prefix: str) -> tuple[Contender, ...]:
    """Return dbdump with four at once, xargs with four at once, and loops, for the databases of a prefix."""
    listed = f'psql -At -c "{query(prefix)}" postgres'
    store = f"pg_dump -Fc -Z0 -d {{}} | {_hashed(out, '{}.zst', 'zstd -T0')}"
    return (
        dbdump("dbdump --jobs=4", out, f"--database={prefix}*", "--jobs=4"),
        line("xargs -P4", f"{listed} | xargs -P4 -I{{}} sh -c '{store}'"),
        line("loop", f"for db in $({listed}); do {store.replace('{}', '$db')}; done"),
        line("loop of pg_dump -Fc", f"for db in $({listed}); do pg_dump -Fc $db > {out}/$db || exit 1; done"),
        line("loop of the original's pipeline", f"for db in $({listed}); do {_original(out, '$db')}; done"),
    )


def stream(out: Path, recipes: Path, count: int, size: int) -> Contender:
    """Return dbdump with `count` streams of `size` bytes, of a recipe that `put_recipe` put there."""
    options = ("--recipe=stream", "--option", f"streams={count}", "--option", f"size={size}")
    return console("dbdump", "dbdump", f"--recipes={recipes}", *options, "--jobs=4", f"--datadir={out}")


def put_recipe(recipes: Path) -> None:
    """Make `recipes`, a directory that nobody else can write, or dbdump would refuse it."""
    recipes.mkdir(mode=0o700)
    shutil.copy(_RECIPE, recipes)


def listing(empty: Path) -> tuple[Contender, ...]:
    """Return `invoke --list` in the project, and in `empty` beside a tasks.py without a byte."""
    (empty / "tasks.py").touch()
    return (
        console("dbdump's tasks.py", "invoke", "--list", cwd=ROOT),
        console("empty tasks.py", "invoke", "--list", cwd=empty, status=1),  # "No tasks found"
    )


def line(name: str, text: str) -> Contender:
    """Return a line of shell, which fails where any of its commands does."""
    return Contender(name, text, ("bash", "-o", "pipefail", "-c", text))


def dbdump(name: str, out: Path, *flags: str) -> Contender:
    """Return dbdump for PostgreSQL, with flags alone."""
    return console(name, "dbdump", "--backend=postgresql", *flags, f"--datadir={out}")


def console(name: str, program: str, *words: str, cwd: Path = Path("/"), status: int = 0) -> Contender:
    """Return a command of this project's environment."""
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if not found:
        raise RuntimeError(f"{program} is not installed: pip install -e '.[dev]'")
    return Contender(name, " ".join((program, *words)), (found, *words), cwd, status)


def _hashed(out: Path, file: str, compress: str) -> str:
    return f"{compress} | tee {out}/{file} | sha256sum > {out}/{file}.sha256"


def _original(out: Path, database: str) -> str:
    return f"pg_dump -c {database} | {_hashed(out, database + '.gz', 'gzip -9')}"
