"""What a server of PostgreSQL is asked before its databases are dumped, and what it and pg_dump answer."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ListError, StageError
from .names import from_hex

QUESTIONS = (
    "SELECT current_setting('server_version_num'), current_setting('server_version')",
    # In hex: a name may hold whatever separates names. textsend and no cast: it may be text in no encoding.
    """\
SELECT encode(textsend(datname::text), 'hex'), datallowconn, EXISTS (SELECT FROM pg_db_role_setting
  WHERE setdatabase IN (0, d.oid) AND setconfig::text ~ 'array_nulls=|default_transaction_read_only=')
FROM pg_database AS d ORDER BY datname""",
)


class Listed(NamedTuple):
    """A database: whether one can connect to it, and whether something is set that a restore must not have."""

    connectable: bool = True
    hindered: bool = False


def pg_dump_version(said: bytes, server_number: int, server: str) -> str:
    """Return the version that pg_dump said. Raises StageError where it is older than the server."""
    version = said.decode().split(")", 1)[-1].split()[0]
    if major(version) < major_of_number(server_number):
        raise StageError(
            "pg_dump",
            f"pg_dump is {version}, older than the server, {server.split(maxsplit=1)[0]}",
            "Install the pg_dump of the server's version, or a newer one, and put it first in PATH.",
        )
    return version


def major(version: str) -> tuple[int, ...]:
    """Return the major version in `15.18`, `16beta1` or `9.6.24`: one number since 10, two before."""
    numbers = tuple(int(digits) for digits in re.findall(r"\d+", version)[:2])
    return numbers[:1] if numbers[0] >= 10 else numbers  # noqa: PLR2004  the year they changed it


def major_of_number(number: int) -> tuple[int, ...]:
    """Return the major version in a server_version_num: 150018 is 15, 90624 is 9.6."""
    first = number // 10000
    return (first,) if first >= 10 else (first, number // 100 % 100)  # noqa: PLR2004  as above


def read_server(answer: bytes) -> tuple[int, str, dict[str, Listed]]:
    """Return the server's version, as a number and as text, and its databases by name."""
    try:
        versions, *lines = answer.decode().removesuffix("\n").split("\n")
        number, version = versions.split(" ", 1)
        rows = [line.split() for line in lines]
        names = {from_hex(digits): Listed(allowed == "t", hindered == "t") for digits, allowed, hindered in rows}
        return int(number), version, names
    except ValueError as error:
        raise ListError(f"cannot read what psql answered: {answer[:60]!r}", "Look at psql_options.") from error
