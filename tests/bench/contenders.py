"""The command lines that are measured."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .workload import LARGE, SMALL_GLOB, SMALL_QUERY

ROOT = Path(__file__).parents[2]
_RECIPE = Path(__file__).with_name("stream_recipe.py")


@dataclass(frozen=True)
class Contender:
    """A command: its name in a table, how it is typed, where it runs, the exit status of its success."""

    name: str
    typed: str
    argv: tuple[str, ...]
    cwd: Path = Path("/")
    status: int = 0


def large_custom(out: Path) -> tuple[Contender, ...]:
    """Return dbdump, the line written by hand, and what most people type; they store into `out`."""
    by_hand = f"pg_dump -Fc -Z0 {LARGE} | zstd -T0 | tee {out}/dump.zst | sha256sum > {out}/dump.sha256"
    return (
        dbdump("dbdump", out, f"--database={LARGE}"),
        line("by hand", by_hand),
        line("pg_dump -Fc", f"pg_dump -Fc {LARGE} > {out}/dump"),
    )


def large_plain(out: Path) -> tuple[Contender, ...]:
    """Return the same as SQL text: dbdump, dbdump that does not look at the raw stream, and the line."""
    plain = (f"--database={LARGE}", "--option", "format=plain")
    by_hand = f"pg_dump {LARGE} | zstd -T0 | tee {out}/dump.zst | sha256sum > {out}/dump.sha256"
    return (
        dbdump("dbdump", out, *plain),
        dbdump("dbdump, no check", out, *plain, "--option", "check_stream=no"),
        line("by hand", by_hand),
    )


def small(out: Path) -> tuple[Contender, ...]:
    """Return dbdump with four at once, xargs with four at once, and a loop."""
    query = f'psql -At -c "{SMALL_QUERY}" postgres'

    def store(database: str) -> str:
        file = f"{out}/{database}"
        return f"pg_dump -Fc -Z0 -d {database} | zstd -T0 | tee {file}.zst | sha256sum > {file}.sha256"

    return (
        dbdump("dbdump", out, f"--database={SMALL_GLOB}", "--jobs=4"),
        line("xargs", f"{query} | xargs -P4 -I{{}} sh -c '{store('{}')}'"),
        line("loop", f"for db in $({query}); do {store('$db')}; done"),
    )


def stream(out: Path, recipes: Path, count: int, size: int) -> Contender:
    """Return dbdump with `count` streams of `size` bytes, of a recipe that `put_recipe` put there."""
    options = ("--recipe=stream", "--option", f"count={count}", "--option", f"size={size}")
    return console("dbdump", "dbdump", f"--recipes={recipes}", *options, "--jobs=4", f"--datadir={out}")


def put_recipe(recipes: Path) -> None:
    """Make `recipes`, a directory that nobody else can write, or dbdump would refuse it."""
    recipes.mkdir(mode=0o700)
    shutil.copy(_RECIPE, recipes)


def listing(empty: Path) -> tuple[Contender, ...]:
    """Return `invoke --list` in the project, and in `empty` beside a tasks.py without a byte."""
    (empty / "tasks.py").touch()
    return (
        console("this project", "invoke", "--list", cwd=ROOT),
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
