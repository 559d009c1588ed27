"""A throw-away MariaDB or MySQL server on this machine, for drills."""

from __future__ import annotations

from dataclasses import replace

from .backends.mysql import MySQL
from .backends.mysql_probe import Version, read_version
from .errors import StageError
from .pipeline import Pipeline
from .scratch import Held, Scratch, servant
from .script import Stage
from .shell import Shell

# The first line is what makes a data directory of MariaDB; then each server, and what it says of itself.
_FIND = """\
PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin:/usr/local/mysql/scripts
first() { for name; do if command -v "$name"; then return; fi; done; echo; }
first mariadb-install-db mysql_install_db
for name in mariadbd mysqld; do
  if p=$(command -v "$name"); then printf '%s\\n%s\\n' "$p" "$("$p" --no-defaults --version)"; fi
done"""

# It is never there after a crash, so nothing is synced. No network; the directory keeps all others from the socket.
_SETTINGS = {
    "skip-networking": "ON", "skip-log-bin": "", "loose-mysqlx": "OFF", "loose-performance-schema": "OFF",
    "innodb-flush-log-at-trx-commit": "0", "innodb-doublewrite": "OFF", "innodb-buffer-pool-size": "128M",
    "max-allowed-packet": "1G", "character-set-server": "utf8mb4", "skip-name-resolve": "ON", "local-infile": "OFF",
    "log-bin-trust-function-creators": "ON", "event-scheduler": "OFF",
}  # fmt: skip

# $2 makes the data directory of MariaDB; MySQL has none, and makes it itself. Each has a tmpdir of its own: as it
# starts, a server removes all `#sql*` files from there, those of a server that runs, too, which then loses tables, or
# ends by SIGSEGV (seen with MariaDB 10.11).
_SERVE = """\
program=$1 install=$2; shift 2
if [ "$install" ]; then
  "$install" --no-defaults "--datadir=$directory/data" "--tmpdir=$directory" --skip-test-db --skip-name-resolve \\
    --auth-root-authentication-method=normal
else
  "$program" --no-defaults "--datadir=$directory/data" "--tmpdir=$directory" --initialize-insecure
fi >>"$log" 2>&1 </dev/null || fail
printf '[client]\\nuser=root\\nsocket="%s"\\n' "$sockets/s" >"$directory/client.cnf"
"$program" --no-defaults "--datadir=$directory/data" "--socket=$sockets/s" "--pid-file=$directory/pid" \\
  "--tmpdir=$directory" "--secure-file-priv=$directory" "$@" >>"$log" 2>&1 </dev/null &
server=$! ending=KILL
until_ grep -q 'ready for connections' "$directory/log"
until_ test -S "$sockets/s"
"""


def throw_away(shell: Shell, backend: MySQL, needed: str) -> tuple[Held, Scratch]:
    """Start a server of the kind of version `needed`, and not older, and return it with the way to it.

    Raises StageError where this machine has none, or it does not start.
    """
    program, install = _programs(shell, needed)
    user = servant(shell, backend.su, "mysql")
    settings = [f"--{name}={value}" if value else f"--{name}" for name, value in _SETTINGS.items()]
    held = Held(shell, "mysqld", user, _SERVE, [program, install, *settings])
    here = replace(
        backend, su=None, defaults=f"{held.directory}/client.cnf", mysql_options=(), mysqldump_options=(), env={}
    )
    # MySQL's own client reads a login file of its user's besides, whose host would win (mysql_config_editor).
    nobody_s = {"HOME": held.directory, "MYSQL_TEST_LOGIN_FILE": f"{held.directory}/none"}
    return held, Scratch(shell, here, user, environment=nobody_s)


def _programs(shell: Shell, needed: str) -> tuple[str, str]:
    """Return the server's program, and what makes its data directory, if that is another one."""
    found = Pipeline((Stage("drill", ("sh", "-c", _FIND)),)).answer(shell).decode("utf-8", "surrogateescape")
    install, *rest = found.splitlines()
    lines, wanted, there = iter(rest), Version(needed), []
    for program, said in zip(lines, lines, strict=True):
        version = read_version(said)
        there.append(version.text)
        same = not needed or version.is_mariadb == wanted.is_mariadb
        if same and version.number[:2] >= wanted.number[:2] and (install or not version.is_mariadb):
            return program, install if version.is_mariadb else ""
    if not install and wanted.is_mariadb and any("mariadb" in each.lower() for each in there):
        there = ["one without mariadb-install-db, which makes its files"]
    kind = f" like {needed}, or newer," if needed else ""
    old = f"; there is only {', '.join(dict.fromkeys(there))}" if there else ""
    raise StageError(
        "drill", f"this machine has no MySQL or MariaDB server{kind} to throw away{old}",
        "Install one (Debian: mariadb-server), or name a host whose server may be used: --to=HOST.",
    )  # fmt: skip
