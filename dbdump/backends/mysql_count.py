"""How many tables a MySQL or MariaDB database has, and how many rows: the SQL that counts, and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .mysql_server import unescaped
from .names import back_quoted

_MOST = 60_000  # bytes of one argument; Linux takes 128 KiB

# Each answer is written at once, so that the one who waits does not take it for stalled.
COUNT_WORDS = ("--batch", "--skip-column-names", "--unbuffered")


def table_question(database: str) -> str:
    """Return SQL that lists the tables of `database` that have rows of their own."""
    return f"SHOW FULL TABLES FROM {back_quoted(database)} WHERE Table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"


def tables_of(answer: bytes) -> list[str]:
    """Return the names in the answer to `table_question`."""
    lines = answer.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    return [unescaped(line.split("\t")[0]) for line in lines if line]


def count_questions(database: str, tables: Sequence[str]) -> Iterator[str]:
    """Yield SQL that counts the rows of `tables`, a line of answer each, in texts that fit into an argument."""
    text = ""
    for table in tables:
        count = f"SELECT COUNT(*) FROM {back_quoted(database)}.{back_quoted(table)};"  # noqa: S608  quoted
        if len((text + count).encode("utf-8", "surrogateescape")) > _MOST:
            yield text
            text = ""
        text += count
    if text:
        yield text
