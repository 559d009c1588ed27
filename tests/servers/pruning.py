"""Recipes with `keep`, in one file, and the directory that they store in."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import gone

RECIPES = """
from dbdump import *

@backend("some")
class Some(Backend):
    suffix = ".bin"
    databases: tuple = option(default=("orders",), help="their names; one that begins with bad fails")
    def get_db_list(self): return list(self.databases)
    def get_command(self, database):
        if database == "slow": return ["sh", "-c", "seq 9999; until [ -e {directory}/go ]; do sleep 0.1; done"]
        return ["sh", "-c", "seq 300; exit " + ("1" if database.startswith("bad") else "0")]

class Waits:
    '''A wrapper that reads back when there is a file `go`.'''
    suffix, program = ".waits", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self): return ["sh", "-c", "until [ -e {directory}/go ]; do sleep 0.1; done; cat"]
    def most_bytes(self, size): return size

to = {to}
"""

RECIPE = """
@recipe(localhost)
def {name}(host): return Dump({backend}, wrap={wrap}, to=to, keep={keep})
"""


class Pruning:
    """Recipes in one file, and the directory that they store in."""

    def __init__(self, directory: Path, datadir: Path, dbdump) -> None:
        self.directory = directory
        self.datadir = datadir
        self.dbdump = dbdump
        self.to = f"Directory({str(datadir)!r})"
        (directory / "recipes").mkdir()
        self.recipes: list[str] = []

    def recipe(self, keep: str = "Keep(last=2)", *, name: str = "shop", backend: str = "Some()", wrap="[]") -> None:
        """Add a recipe."""
        self.recipes.append(RECIPE.format(name=name, backend=backend, wrap=wrap, keep=keep))
        text = RECIPES.format(directory=self.directory, to=self.to)
        (self.directory / "recipes" / "all.py").write_text("".join([text, *self.recipes]))

    def __call__(self, *flags: str, code: int = 0, **more: object) -> str:
        """Prune, see how that ended, and return what was said."""
        return self._run("prune", *flags, code=code, **more)

    def dump(self, *flags: str, code: int = 0, **more: object) -> str:
        """Dump, see how that ended, and return what was said."""
        return self._run("dump", *flags, code=code, **more)

    def _run(self, *words: str, code: int, **more: object) -> str:
        done = self.dbdump(*words, **more)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def pruning(tmp_path, datadir, dbdump):
    """A file of recipes without one yet."""
    yield Pruning(tmp_path, datadir, dbdump)
    (tmp_path / "go").touch()
    gone(f"{tmp_path}/go")


def stamps(text: str, word: str) -> list[str]:
    """Return the stamps in the lines that begin with `word`."""
    return [line.split()[1] for line in text.splitlines() if line.split()[0] == word]


def stamp(path: Path) -> str:
    """Return the stamp of a dump."""
    return path.name.split(".")[0]
