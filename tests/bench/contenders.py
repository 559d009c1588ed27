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
    line = f"pg_dump -Fc -Z0 {LARGE} | zstd -T0 | tee {out}/dump.zst | sha256sum > {out}/dump.sha256"
    return (
        _dbdump("dbdump", out, f"--database={LARGE}"),
        _line("by hand", line),
        _line("pg_dump -Fc", f"pg_dump -Fc {LARGE} > {out}/dump"),
    )


def large_plain(out: Path) -> tuple[Contender, ...]:
    """Return the same as SQL text: dbdump, dbdump that does not look at the raw stream, and the line."""
    plain = (f"--database={LARGE}", "--option", "format=plain")
    line = f"pg_dump {LARGE} | zstd -T0 | tee {out}/dump.zst | sha256sum > {out}/dump.sha256"
    return (
        _dbdump("dbdump", out, *plain),
        _dbdump("dbdump, no check", out, *plain, "--option", "check_stream=no"),
        _line("by hand", line),
    )


def small(out: Path) -> tuple[Contender, ...]:
    """Return dbdump with four at once, xargs with four at once, and a loop."""
    query = f'psql -At -c "{SMALL_QUERY}" postgres'

    def store(database: str) -> str:
        file = f"{out}/{database}"
        return f"pg_dump -Fc -Z0 -d {database} | zstd -T0 | tee {file}.zst | sha256sum > {file}.sha256"

    return (
        _dbdump("dbdump", out, f"--database={SMALL_GLOB}", "--jobs=4"),
        _line("xargs", f"{query} | xargs -P4 -I{{}} sh -c '{store('{}')}'"),
        _line("loop", f"for db in $({query}); do {store('$db')}; done"),
    )


def stream(out: Path, recipes: Path, count: int, size: int) -> Contender:
    """Return dbdump with `count` streams of `size` bytes, of a recipe that `put_recipe` put there."""
    options = ("--option", f"count={count}", "--option", f"size={size}")
    return _console("dbdump", "dbdump", f"--recipes={recipes}", *options, "--jobs=4", f"--datadir={out}")


def put_recipe(recipes: Path) -> None:
    """Make `recipes`, a directory that nobody else can write, or dbdump would refuse it."""
    recipes.mkdir(mode=0o700)
    shutil.copy(_RECIPE, recipes)


def listing(empty: Path) -> tuple[Contender, ...]:
    """Return `invoke --list` in the project, and in `empty` beside a tasks.py without a byte."""
    (empty / "tasks.py").touch()
    return (
        _console("this project", "invoke", "--list", cwd=ROOT),
        _console("empty tasks.py", "invoke", "--list", cwd=empty, status=1),  # "No tasks found"
    )


def _line(name: str, text: str) -> Contender:
    return Contender(name, text, ("bash", "-o", "pipefail", "-c", text))


def _dbdump(name: str, out: Path, *flags: str) -> Contender:
    return _console(name, "dbdump", "--backend=postgresql", *flags, f"--datadir={out}")


def _console(name: str, program: str, *words: str, cwd: Path = Path("/"), status: int = 0) -> Contender:
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if not found:
        raise RuntimeError(f"{program} is not installed: pip install -e '.[dev]'")
    return Contender(name, " ".join((program, *words)), (found, *words), cwd, status)
