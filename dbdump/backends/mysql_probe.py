"""Which MySQL or MariaDB programs a host has, and what they know, from what they print of themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import StageError

# A host has both names of a program where its packager made links, and then MariaDB's own is the truth.
SCRIPT = """\
first() { for name; do if command -v "$name" >/dev/null; then echo "$name"; return; fi; done; echo; }
dump=$(first mariadb-dump mysqldump)
client=$(first mariadb mysql)
printf '%s\\n' "$dump" "$client"
[ -z "$dump" ] || [ -z "$client" ] || {
  "$dump" --version && "$client" --version && "$dump" --no-defaults --help
}"""

_VERSION = (r"Distrib (\d[^\s,]*)", r"from (\d[^\s,]*)", r"Ver (\d[^\s,]*)")
_FLAG = re.compile(r"^\s+(?:-\S, )?--([a-z][a-z0-9-]*)", re.MULTILINE)


@dataclass(frozen=True)
class Version:
    """A version of a program or a server, as it says it itself."""

    text: str

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB's; the number alone does not tell."""
        return "mariadb" in self.text.lower()

    @property
    def number(self) -> tuple[int, ...]:
        """The first three numbers in it."""
        # What some proxies put before a MariaDB's own number, for clients that know no more than one digit.
        text = self.text.removeprefix("5.5.5-") if self.is_mariadb else self.text
        return tuple(int(digits) for digits in re.findall(r"\d+", text)[:3])


@dataclass(frozen=True)
class Tools:
    """The programs: what they are called, the dump program's version, and the flags that it knows."""

    dump: str
    client: str
    version: Version
    flags: frozenset[str]


def read_tools(answer: str) -> Tools:
    """Return what SCRIPT found.

    Raises StageError where a program is missing, or the two are not of one make: mysql cannot load what
    mariadb-dump writes (its first line is a command that only MariaDB's client knows).
    """
    dump, client, of_dump, of_client, flags, *_ = [*answer.split("\n", 4), "", "", "", ""]
    if not dump or not client:
        names = "mariadb nor mysql" if dump else "mariadb-dump nor mysqldump"
        raise StageError(
            "mysqldump",
            f"the host's PATH has neither {names}",
            "Install the client programs there: mariadb-client, or mysql-client.",
        )
    version = read_version(of_dump)
    if version.is_mariadb != read_version(of_client).is_mariadb:
        raise StageError(
            dump,
            f"{dump} and {client} are not of one make: {of_dump.strip()}; {of_client.strip()}",
            "Install both of MariaDB, or both of MySQL.",
        )
    return Tools(dump, client, version, frozenset(_FLAG.findall(flags)))


def read_version(line: str) -> Version:
    """Return the version in the line that a program prints with --version."""
    found = (re.search(pattern, line) for pattern in _VERSION)
    version = next((match[1] for match in found if match), line.strip())
    mariadb = "mariadb" in line.lower() and "mariadb" not in version.lower()
    return Version(f"{version}-MariaDB" if mariadb else version)


def flavour_flags(tools: Tools, server: Version) -> list[str]:
    """Return what this program needs for a dump of one database of that server."""
    flags = []
    if "no-tablespaces" in tools.flags:
        flags.append("--no-tablespaces")  # they would need PROCESS, and are the server's, not the database's
    if "set-gtid-purged" in tools.flags:
        # Else each dump sets the whole server's GTIDs, which the next one to be restored refuses.
        flags.append("--set-gtid-purged=OFF")
    if "column-statistics" in tools.flags and (server.is_mariadb or server.number < (8,)):
        flags.append("--column-statistics=0")  # it would ask for a table that only MySQL 8 has
    return flags
