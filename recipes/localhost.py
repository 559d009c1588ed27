"""localhost: a small SQLite database, made on first use, dumped into ./dumps.

It is here so that a fresh machine has something to dump. Replace it by a recipe of your own.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from dbdump import Directory, Dump, Host, SQLite, backend, localhost, recipe


@backend("sample")
class Sample(SQLite):
    """A sample SQLite database, made where it is missing."""

    def prepare(self) -> None:
        """Make the database, unless it is there."""
        for path in map(Path, self.path):
            if not path.exists():
                with closing(sqlite3.connect(path)) as database:
                    database.executescript("CREATE TABLE note (text); INSERT INTO note VALUES ('hello');")


@recipe(localhost, tags=["sample"])
def sample(_host: Host) -> Dump:
    """A sample SQLite database, made on first use."""
    return Dump(Sample(path="sample.sqlite"), to=Directory("dumps", create=True))
