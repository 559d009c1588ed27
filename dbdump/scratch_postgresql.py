"""A throw-away PostgreSQL server on this machine, for drills."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import replace

from .backends.postgresql import PostgreSQL
from .backends.postgresql_server import major
from .catalog import GLOBALS
from .errors import StageError
from .host import clean_environment
from .pipeline import Pipeline
from .scratch import Held, Scratch, servant
from .script import Stage
from .shell import Shell

# The directories that have a whole server, and its version.
_FIND = """\
for d in "$(dirname "$(command -v postgres)")" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin; do
  if [ -x "$d/postgres" ] && [ -x "$d/initdb" ]; then printf '%s\\n%s\\n' "$d" "$("$d/postgres" -V)"; fi
done"""

# It is never there after a crash, so nothing is synced. No network, and nobody but its user reaches the socket.
_SETTINGS = {
    "listen_addresses": "", "unix_socket_permissions": "0700", "fsync": "off", "synchronous_commit": "off",
    "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "4GB",
    "shared_buffers": "128MB", "maintenance_work_mem": "256MB", "max_locks_per_transaction": "1024",
    "autovacuum": "off", "huge_pages": "off", "logging_collector": "off",
}  # fmt: skip

# C.UTF-8 is not everywhere; C knows the letters of ASCII only. The last line of its pid file says when it is ready.
_SERVE = """\
programs=$1; shift
made_in() {
  "$programs/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --no-sync "--locale=$1" >>"$log" 2>&1 </dev/null
}
made_in C.UTF-8 || { rm -rf "$directory/data"; made_in C; } || fail
"$programs/postgres" -D "$directory/data" -k "$sockets" -p 5432 "$@" >>"$log" 2>&1 </dev/null &
server=$! ending=QUIT
until_ grep -q '^ready' "$directory/data/postmaster.pid"
"""

PORT = 5432

# Where the files of a tablespace are, on the machine that it is of; as pg_dumpall writes it. Its name may be quoted,
# and have line ends in it.
_TABLESPACE = re.compile(
    rb"""^(CREATE TABLESPACE (?:[a-z_0-9$]+|"(?:[^"]|"")+") OWNER (?:[a-z_0-9$]+|"(?:[^"]|"")+") LOCATION )"""
    rb"""(?: ?E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*');$""",
    re.MULTILINE | re.DOTALL,
)


def throw_away(shell: Shell, backend: PostgreSQL, needed: str) -> tuple[Held, Scratch]:
    """Start a server that is not older than the pg_dump of version `needed`, and return it with the way to it.

    Raises StageError where this machine has none, or it does not start.
    """
    programs = _programs(shell, needed)
    user = servant(shell, backend.su, "postgres")
    settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    held = Held(shell, "postgres", user, _SERVE, [programs, *settings])
    here = replace(
        backend, su=None, host=held.sockets, port=PORT, user="postgres", service="", psql_options=(),
        pg_dump_options=(), env={},
    )  # fmt: skip
    ours = clean_environment(os.environ)
    path = f"{programs}:{ours['PATH']}"  # its own clients fit best
    # PGHOSTADDR wins over a host, so does one in the file of PGSERVICE: they lead to the server that was dumped.
    lead_away = tuple(name for name in ours if name.startswith("PG") and name.isidentifier())
    return held, Scratch(shell, here, user, environment={"PATH": path}, without=lead_away)


def _programs(shell: Shell, needed: str) -> str:
    """Return the directory of the newest server."""
    found = Pipeline((Stage("drill", ("sh", "-c", _FIND)),)).answer(shell).decode("utf-8", "surrogateescape")
    lines = iter(found.splitlines())
    servers = [(major(version.group()), directory) for directory, said in zip(lines, lines, strict=True)
               if (version := re.search(r"\d+[\d.]*", said))]  # fmt: skip
    least = major(needed) if re.match(r"\d", needed) else ()
    fitting = [each for each in servers if each[0] >= least]
    if fitting:
        return max(fitting)[1]
    wanted = f" of version {'.'.join(map(str, least))} or newer" if least else ""
    old = "; there is only " + ", ".join(sorted({".".join(map(str, each)) for each, _ in servers})) if servers else ""
    raise StageError(
        "drill", f"this machine has no PostgreSQL server{wanted} to throw away{old}",
        "Install one (Debian: postgresql), or name a host whose server may be used: --to=HOST.",
    )  # fmt: skip


def load_globals(scratch: Scratch, text: bytes, directory: str) -> None:
    """Load the globals in `text`; tablespaces get a place in `directory`, wherever they are on their own machine.

    Raises StageError for any error but that something is there already.
    """
    places: list[str] = []

    def moved(match: re.Match[bytes]) -> bytes:
        """Return the statement with a place of its own."""
        places.append(f"{directory}/tablespaces/{len(places)}-{secrets.token_hex(4)}")
        return match[1] + b"'" + os.fsencode(places[-1].replace("'", "''")) + b"';"

    text = _TABLESPACE.sub(moved, text)
    if places:
        scratch.ask(["mkdir", "-p", "--", *places])
    argv = scratch.backend.get_load_command(GLOBALS, GLOBALS, 1)
    if argv is None:
        raise RuntimeError("PostgreSQL has no command for globals")
    pipeline = Pipeline((scratch.stage(argv),), scratch.secrets, fed=True)
    pipeline.run(scratch.shell, len, lambda write: write(memoryview(text)))
