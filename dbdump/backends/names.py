"""Names as SQL has them, quoted, and as servers are asked for them: in hex, for a name may hold what separates names.

sqlite_program has words of its own for it: it runs where there is no dbdump.
"""

from __future__ import annotations


def double_quoted(name: str) -> str:
    """Return `name` as an SQL identifier of PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def back_quoted(name: str) -> str:
    """Return `name` as an SQL identifier of MySQL."""
    return "`" + name.replace("`", "``") + "`"


def to_hex(name: str) -> str:
    """Return the bytes of `name`, which need not be text, in hex."""
    return name.encode("utf-8", "surrogateescape").hex()


def from_hex(digits: str) -> str:
    """Return the name whose bytes are `digits`."""
    return bytes.fromhex(digits).decode("utf-8", "surrogateescape")
