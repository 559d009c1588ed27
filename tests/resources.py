"""Recipe files for tests: written where a test needs them, with what makes a fault possible."""

from __future__ import annotations

import textwrap
from pathlib import Path

HEAD = """
import os
from dataclasses import dataclass
from dbdump import *

@dataclass(frozen=True)
class Slow:
    \"\"\"A wrapper that lets 64 KiB through every 50 ms, so that a fault can strike; QUICK lets all.\"\"\"
    suffix = ".slow"
    program = "python3"
    def on(self, programs, ask): return self
    def command(self):
        if "QUICK" in os.environ: return ["cat"]
        return ["python3", "-c", "import sys, time\\nwhile b := sys.stdin.buffer.read(65536):\\n"
                " sys.stdout.buffer.write(b); sys.stdout.buffer.flush(); time.sleep(.05)"]
    def inverse(self): return ["cat"]
    def most_bytes(self, size): return size
"""

PAUSING = """
class Pausing:
    \"\"\"A wrapper that reads back with a pause of a second, long enough to be seen.\"\"\"
    suffix, program = ".pausing", "cat"
    def on(self, programs, ask): return self
    def command(self): return ["cat"]
    def inverse(self): return ["sh", "-c", "head -c 200000; sleep 1; cat"]
    def most_bytes(self, size): return size
"""


def recipe_file(directory: Path, text: str, name: str = "site.py") -> Path:
    """Write a recipe file of `text`, with HEAD before it, and return its directory."""
    recipes = directory / "recipes"
    recipes.mkdir(mode=0o700, exist_ok=True)
    path = recipes / name
    path.write_text(HEAD + textwrap.dedent(text))
    path.chmod(0o600)
    return recipes
