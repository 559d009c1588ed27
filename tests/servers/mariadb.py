"""A real MariaDB server on a unix socket."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from servers.process import STARTING, as_user, give, program, served, stop, wait_for

_PACKAGES = "mariadb-server mariadb-client"
_PLACES = ["/usr/sbin", "/usr/local/sbin"]
_SETTINGS = {
    "skip-networking": "ON",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-buffer-pool-size": "16M",
    "innodb-log-file-size": "16M",
    "innodb-doublewrite": "OFF",
    "aria-pagecache-buffer-size": "8M",
    "key-buffer-size": "1M",
    "max-allowed-packet": "64M",
    "character-set-server": "utf8mb4",
}


def identifier(name: str) -> str:
    """Return a quoted SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a quoted SQL string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass
class MariaDB:
    """A server that runs: its directory, where its socket is, and ways to ask it, as root unless said."""

    directory: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return str(self.directory / "s")

    def client(self, user: str = "root") -> list[str]:
        """Return the argv of a client that is connected as `user`, who has no password."""
        return ["mariadb", "--no-defaults", f"--socket={self.socket}", f"--user={user}",
                "--default-character-set=utf8mb4", "--binary-mode"]  # fmt: skip

    def sql(self, statements: str, database: str | None = None, user: str = "root") -> str:
        """Run SQL in `database`, and return what it prints, rows by line and columns by tab."""
        more = ["--batch", "--skip-column-names", *([f"--database={database}"] if database else [])]
        done = subprocess.run([*self.client(user), *more], input=statements.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="surrogateescape").strip("\n")

    def create(self, database: str, more: str = "") -> None:
        """Make an empty database; `more` is what CREATE DATABASE takes after the name."""
        self.sql(f"CREATE DATABASE {identifier(database)} {more}")

    def drop(self, *databases: str) -> None:
        """Drop databases."""
        for database in databases:
            self.sql(f"DROP DATABASE IF EXISTS {identifier(database)}")

    def defaults_file(self, user: str = "root", password: str = "", name: str = "", mode: int = 0o600) -> str:
        """Write an option file that leads the clients here as `user`, and return its path."""
        path = self.directory / f"{name or user}.cnf"
        quoted = '"' + password.replace("\\", "\\\\").replace('"', '\\"') + '"'
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"[client]\nuser={user}\npassword={quoted}\nsocket={self.socket}\n")
        path.chmod(mode)
        return str(path)

    def clients(self) -> list[int]:
        """Return the connections of others than this query."""
        query = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command <> 'Daemon'"
        return [int(line) for line in self.sql(query).split()]


def start(directory: Path, settings: Sequence[str] = ()) -> MariaDB:
    """Make a server in an empty directory, start it, and wait until it answers."""
    give(directory, "mysql")
    who = as_user("mysql")
    log = directory / "log"
    # Each has its own tmpdir: what is in there as one starts, it removes, as if a crash had left it.
    places = [f"--datadir={directory / 'data'}", f"--tmpdir={directory}"]
    with log.open("wb") as out:
        made = subprocess.run(
            [program("mariadb-install-db", _PACKAGES), "--no-defaults", *places, "--skip-test-db",
             "--auth-root-authentication-method=normal", "--skip-name-resolve"],
            check=False, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", **who,
        )  # fmt: skip
        assert made.returncode == 0, log.read_text(errors="replace")
        process = served(subprocess.Popen(
            [program("mariadbd", _PACKAGES, *_PLACES), "--no-defaults", *places,
             f"--socket={directory / 's'}", f"--pid-file={directory / 'pid'}",
             *(f"--{name}={value}" for name, value in _SETTINGS.items()), *settings],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", **who,
        ))  # fmt: skip
    server = MariaDB(directory, process)
    try:
        wait_for(lambda: _answers(server), "MariaDB to answer", STARTING)
        # Accounts of this machine's name; --system=users fails over those that no connection can be.
        server.sql("DELETE FROM mysql.global_priv WHERE Host <> 'localhost'; FLUSH PRIVILEGES")
    except BaseException:
        stop(process)
        raise
    return server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server for the whole session."""
    with tempfile.TemporaryDirectory(prefix="dbdump-my-", dir="/tmp") as top:
        Path(top).chmod(0o755)
        server = start(Path(top) / "m")
        try:
            yield server
        finally:
            stop(server.process)


def _answers(server: MariaDB) -> bool:
    assert server.process.poll() is None, (server.directory / "log").read_text(errors="replace")
    ping = ["mariadb-admin", "--no-defaults", f"--socket={server.socket}", "--user=root", "ping"]
    return subprocess.run(ping, check=False, capture_output=True).returncode == 0
