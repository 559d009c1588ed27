"""Recipes whose dumps are what a line of sh prints, and programs that stand before the real ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from resources import recipe_file
from servers.process import program

# A backend of databases that each hold what a line of sh says; how it is wrapped, and more of it.
_SHELL = """
@backend("shell")
class Shell(Backend):
    def get_db_list(self): return {databases!r}
    def get_command(self, database): return ["sh", "-c", {script!r}, "sh", database, {marker!r}]

@dataclass(frozen=True)
class Wrap:
    script: str
    suffix = ".x"
    program = "sh"
    def on(self, programs, ask): return self
    def command(self): return ["sh", "-c", self.script, {marker!r}]
    def inverse(self): return ["cat"]
    def most_bytes(self, size): return size

@recipe({host})
def app(host):
    return Dump({backend}, wrap={wrap}, to=Directory({datadir!r}))
"""

NOISY = '#!/bin/sh\necho WELCOME\nexec {real} "$@"\n'


@dataclass(frozen=True)
class ShellSite:
    """Writes a recipe whose databases hold what `script` prints for $1, and returns the flags that dump them."""

    top: Path
    datadir: Path

    def __call__(
        self, script: str, databases: str = "one", wrap: str = "[]", backend: str = "Shell()", host: str = "localhost"
    ) -> list[str]:
        """Write it."""
        text = _SHELL.format(script=script, databases=databases.split(), wrap=wrap, backend=backend, host=host,
                             datadir=str(self.datadir), marker=str(self.top))  # fmt: skip
        return ["dump", f"--recipes={recipe_file(self.top, text)}"]


def shim(directory: Path, name: str, text: str, **more: object) -> dict[str, str]:
    """Put a program before the real one on a PATH, and return the variables that have it found."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(text.format(real=program(name, name), **more))
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}
