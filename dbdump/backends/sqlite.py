"""SQLite databases: files, copied as they are at one moment while others write to them."""

from __future__ import annotations

import glob
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Literal, Self

from ..catalog import printable
from ..errors import DumpError, ListError, RecipeError, StageError, UsageError
from ..findings import Finding
from ..shell import Asker
from .base import Backend, StreamShape, option, path_on_host
from .names import from_hex
from .registry import backend

# Sent as text: the host needs a python3, but no dbdump, and the user it runs as need not see our files.
_PROGRAM = Path(__file__).with_name("sqlite_program.py").read_text("utf-8")
_RESTORE = Path(__file__).with_name("sqlite_restore_program.py").read_text("utf-8")
_CHECK = Path(__file__).with_name("sqlite_check_program.py").read_text("utf-8")
_LOOK = Path(__file__).with_name("sqlite_look_program.py").read_text("utf-8")

_IS_THERE = """\
case $1 in */*) directory=${1%/*}/ ;; *) directory=. ;; esac
if [ -d "$1" ]; then echo directory
elif [ -e "$1" ] || [ -L "$1" ]; then echo yes
elif ! [ -d "$directory" ]; then echo nowhere
fi"""

# https://www.sqlite.org/fileformat.html, section 1.3
_BINARY = StreamShape(first=(b"SQLite format 3\0",))
_SQL = StreamShape(first=(b"PRAGMA encoding=",), last=b"\nCOMMIT;\n")

# Both refuse a file that is there, or one that still has a journal: SQLite would replay that into it.
_RESTORE_BINARY = """\
[ ! -e "$1" ] || { echo "$1 is in the way" >&2; exit 1; }
for f in "$1-wal" "$1-journal"; do [ ! -s "$f" ] || { echo "$f is in the way" >&2; exit 1; }; done
set -C; cat > "$1\""""
_RESTORE_SQL = """\
import os, sqlite3, sys
if os.path.exists(sys.argv[1]): sys.exit(sys.argv[1] + " is in the way")
for f in (sys.argv[1] + "-wal", sys.argv[1] + "-journal"):
    if os.path.exists(f) and os.path.getsize(f): sys.exit(f + " is in the way")
db, statement, last = sqlite3.connect(sys.argv[1], isolation_level=None), "", ""
for line in sys.stdin.buffer:
    statement += line.decode()
    if line.endswith(b";\\n") and sqlite3.complete_statement(statement):
        last, statement = statement, ""
        db.execute(last)
if last != "COMMIT;\\n": sys.exit("the dump is not complete")"""


@backend("sqlite")
class SQLite(Backend):
    """SQLite database files; a database is called by its file's name."""

    path: str | Sequence[str] = option(
        default="", help="a file, or several, or globs; relative to where dbdump was started, or to the account's home"
    )
    format: Literal["binary", "sql"] = option(default="binary", help="a copy of the file, or SQL that makes it again")
    python: str = option(
        default="", help="the python3 that does it; else the one that runs dbdump, and python3 on another host"
    )

    is_file = True
    hints = (
        ("no such file|not a file", "Look at the recipe's path."),
        ("write a readonly database",
         "Its writer died and left a journal: have its owner open it, which sets it right: sqlite3 FILE .tables."),
        ("no such collation|unknown function",
         "Only the program that it is of can check it: dump it by VACUUM INTO there, if it can."),
        ("not a database|corrupt|malformed", "Look at the file with: sqlite3 FILE 'PRAGMA integrity_check'."),
        ("in WAL mode", "Let the user that su names write there, or run it as the file's owner."),
        (r"is in use|-(wal|journal) is in the way",
         "Stop the program that has it open: it would write its journal into the new file."),
        ("locked", "Somebody holds an exclusive lock on it; find out who with: fuser -v FILE."),
        ("disk is full|No space left", "The copy goes to TMPDIR first; give one with room for the database."),
        ("was removed while", "Restore again, and find out who cleans up there."),
        ("killed by SIGKILL", "Perhaps memory ran out."),
    )  # fmt: skip

    def __post_init__(self) -> None:
        patterns = [self.path] if isinstance(self.path, str) else list(self.path)
        if not all(patterns) or not patterns:
            raise RecipeError("sqlite needs a path", 'Write SQLite(path="/srv/app.db"), or --option path=FILE.')
        if self.format not in ("binary", "sql"):
            raise RecipeError(f"sqlite: no format {self.format!r}", 'It is "binary" or "sql".')
        self.path = patterns
        self._paths: dict[str, str] = {}
        self._here = True
        self._into = ""

    def on(self, ask: Asker, *, here: bool = True) -> Self:
        """Return a copy that is bound to a host; see Backend."""
        bound = super().on(ask, here=here)
        bound.path = [path_on_host(pattern, here=here) for pattern in self.path]
        object.__setattr__(bound, "_here", here)
        bound.python = self.python or (sys.executable if here else "python3")
        return bound

    @property
    def suffix(self) -> str:
        """`.sqlite`, or `.sql`."""
        return ".sqlite" if self.format == "binary" else ".sql"

    @property
    def stage(self) -> str:
        """What it does, not the interpreter that does it."""
        return "sqlite"

    def get_db_list(self) -> list[str]:
        """Return the names of the files. Raises ListError where two of them have one name."""
        paths = list(dict.fromkeys(path for pattern in self.path for path in self._matches(pattern)))
        names = Counter(PurePath(path).name for path in paths)
        if twins := [name for name, count in names.items() if count > 1]:
            raise ListError(f"two files are called {twins[0]!r}", "Give each of them a recipe of its own.")
        if not paths:
            raise ListError(f"no file matches {', '.join(self.path)}", "Look at the recipe's path.")
        self._paths = {PurePath(path).name: path for path in paths}
        return list(self._paths)

    def get_command(self, database: str) -> list[str]:
        """Return the argv that dumps the file called `database`."""
        return [self.python, "-I", "-c", _PROGRAM, "dump", self.format, self._paths[database]]

    def get_restore_command(self, database: str) -> list[str]:
        """Return the argv that makes the file again, where it was."""
        if self.format == "binary":
            return ["sh", "-c", _RESTORE_BINARY, "sh", self._paths[database]]
        return ["python3", "-I", "-c", _RESTORE_SQL, self._paths[database]]

    def get_load_command(self, database: str, into: str, jobs: int) -> list[str]:  # noqa: ARG002  one
        """Return the argv that makes the file `into` of a dump on stdin; see Backend."""
        self._into = into
        return [self.python, "-I", "-c", _RESTORE, self.format, into, "new"]

    def get_replacing_command(self, database: str, into: str, jobs: int) -> list[str]:  # noqa: ARG002  one
        """Return such an argv that replaces a file that is there, at once."""
        self._into = into
        return [self.python, "-I", "-c", _RESTORE, self.format, into, "replace"]

    def hint(self, message: str) -> str:
        """Return what to do about it; and of what was killed as it restored, what it has left in the clear."""
        hint = super().hint(message)
        if not (self._into and "killed by SIGKILL" in message):
            return hint
        try:
            left = self.output([self.python, "-I", "-c", _RESTORE, "left", self._into]).decode().split()
        except DumpError:
            return hint  # what has failed is told all the same
        names = ", ".join(printable(from_hex(each)) for each in left)
        return f"{hint} Remove what it left, unless another restore is at it: {names}." if left else hint

    def identity(self, database: str) -> str:
        """Return the number of the file."""
        try:
            return self.output(["ls", "-diL", "--", database]).split()[0].decode()
        except StageError:
            return ""

    def target_of(self, database: str, name: str | None) -> str:
        """Return the path of the file: `name`, or where it was. Raises UsageError where that is not known."""
        if name is not None:
            return path_on_host(name, here=self._here)
        patterns = [PurePath(each) for each in self.path]
        paths = {str(each) for each in patterns if each.name == database}
        paths |= {str(each.with_name(database)) for each in patterns if fnmatchcase(database, each.name)}
        if len(paths) != 1 or glob.has_magic(str(PurePath(*paths).parent)):
            raise UsageError(f"{database}: the recipe does not say where it was", "Say it: --as=PATH.")
        return paths.pop()

    def contents(self, database: str) -> int | None:
        """Return how many things the file has, 1 for what is no sound database, None where there is none.

        Raises StageError where no file can be of that name.
        """
        there = self.output(["sh", "-c", _IS_THERE, "sh", database]).strip()
        if there == b"directory":
            raise StageError(
                "restore", f"{database}: is a directory", "Look at what is in it, or name a file with --as."
            )
        if there == b"nowhere":
            what = f"{PurePath(database).parent}: no such directory, or not to be entered by that user"
            hint = "Make it, with the owner and the mode that it should have; or let the user that su names enter it."
            raise StageError("restore", what, hint)
        return int(self.output([self.python, "-I", "-c", _PROGRAM, "things", database])) if there else None

    def discard(self, database: str) -> None:
        """Remove the file, with its journals."""
        self.output(["rm", "-f", "--", database, *(database + each for each in ("-wal", "-shm", "-journal"))])

    def count(self, database: str) -> tuple[int, int]:
        """Return how many tables the file has, and how many rows they have, each counted."""
        path = self._paths.get(database, database)
        tables, rows = self.output([self.python, "-I", "-c", _PROGRAM, "count", path]).split()
        return int(tables), int(rows)

    def for_files_here(self) -> Self:
        """Return a copy that does it with the python3 that runs dbdump; see Backend."""
        return replace(self, su=None, python="")

    def shape_of(self, database: str) -> StreamShape:  # noqa: ARG002  the same for all
        """Return what a whole dump looks like."""
        return _BINARY if self.format == "binary" else _SQL

    def reading(self, suffix: str) -> Self:
        """Return a copy for dumps of the format that has `suffix`; see Backend."""
        formats: dict[str, Literal["binary", "sql"]] = {".sqlite": "binary", ".sql": "sql"}
        if suffix not in formats:
            return super().reading(suffix)
        reader = copy(self)
        reader.format = formats[suffix]
        return reader

    def get_check_command(self, database: str) -> list[str] | None:  # noqa: ARG002  the same for all
        """Return the argv that has all of a copy checked, in a temporary file; SQL has an end marker instead."""
        return [sys.executable, "-I", "-c", _CHECK] if self.format == "binary" else None

    @property
    def programs(self) -> Sequence[str]:
        """The python3 that does it."""
        return (self.python,)

    def check(self, wanted: Callable[[str], bool]) -> Iterator[Finding]:
        """Yield which files are none, or cannot be read or copied; no database is opened."""
        names = {path: name for name, path in self._paths.items() if wanted(name)}
        answer = self.output([self.python, "-I", "-c", _LOOK, *names]) if names else b""
        for line in answer.splitlines():
            path, told = (text.decode("utf-8", "surrogateescape") for text in line.split(b" ", 1))
            path = from_hex(path)
            yield Finding("error", "sqlite", f"{path}: {told}", self.hint(told), names[path])

    def versions(self) -> dict[str, str]:
        """Return the version of the SQLite library that reads the files."""
        asked = self.output([self.python, "-I", "-c", "import sqlite3; print(sqlite3.sqlite_version)"])
        return {"sqlite": asked.decode().strip()}

    def _matches(self, pattern: str) -> list[str]:
        if not glob.has_magic(pattern):
            return [pattern]  # one that is missing fails by its name
        answer = self.output([self.python, "-I", "-c", _PROGRAM, "list", pattern])
        return [from_hex(line) for line in answer.decode().split()]
