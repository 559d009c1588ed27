"""A password is looked for wherever a run leaves a trace: every argument and environment, output, files, tracebacks.

strace tells of every program that is started, so none is too short to be seen. In an environment a password may be of
the backend's commands, which log in with it, and only where the recipe gives it as a variable: there who runs them can
read it, and root. It is in none of what wraps, stores, or is run by dbdump for itself.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from resources import recipe_file
from servers.mariadb import text
from servers.process import program
from support import COMMAND, files

CANARY = "c4n4ry-0f-p4ssw0rds"
# The backends' commands: clients that log in, and what those run that are scripts; no wrapper, no writer. For a dump
# there is one script, which looks for MySQL's option files; a restore edits and spools what it loads.
_DUMPING = "psql|pg_dump|mariadb|mariadb-dump|stdbuf|sh|ls"
_RESTORING = f"{_DUMPING}|pg_restore|[gm]?awk|cat|dd|grep|head|mktemp|rm|sed|sleep|tail"
_WHO = {"check": _DUMPING, "dump": _DUMPING, "restore": _RESTORING, "verify": "none", "drill": _RESTORING}
COMMANDS = {command: re.compile(rf'execve\("[^"]*/({programs})"') for command, programs in _WHO.items()}
LONG = bool(os.environ.get("FAULTS_LONG"))
NAME, COPY = "canary_cage", "canary_copy"


def traced(log: Path) -> list[str]:
    """Return the argv before a command that has each program that it starts written to `log`, with all it gets."""
    return [program("strace", "strace"), "-I", "2", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "100000",
            "-e", "trace=execve", "-o", str(log)]  # fmt: skip


@dataclass
class Watched:
    """Runs dbdump with all that it starts watched, and finds the canary."""

    top: Path
    datadir: Path
    flags: list[str]
    variable: bool  # whether the clients get it as one
    said: list[str]
    started: list[str] = field(default_factory=list)

    def run(self, code: int, command: str, *more: str, as_if: str = "") -> str:
        """Run a command, which ends with `code`; return what it prints. Who may have a variable COMMANDS says."""
        log = self.top / "execve"
        done = subprocess.run(
            [*traced(log), *COMMAND, command, *self.flags, *more],
            cwd=self.top, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        out = done.stdout + done.stderr
        assert done.returncode == code, out
        assert CANARY not in out
        self.said.append(out)
        lines = log.read_text(errors="replace").splitlines()
        assert not [line for line in lines if CANARY in line and not COMMANDS[as_if or command].search(line)]
        self.started += lines
        log.unlink()
        return out

    def is_nowhere(self) -> None:
        """See that the canary is in no file that was left, no argument, and no environment but the clients'."""
        for name, content in files(self.datadir).items():
            assert CANARY.encode() not in content, name
        state = Path(os.environ["XDG_STATE_HOME"])
        assert not [name for name, content in files(state).items() if CANARY.encode() in content]
        seen = [line for line in self.started if CANARY in line]
        assert not [line for line in seen if CANARY in line.partition("], [")[0]]
        assert bool(seen) == self.variable, "who logs in gets it" if self.variable else seen


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file with the password, for a recipe to read."""
    path = tmp_path / "secret"
    path.write_text(CANARY)
    path.chmod(0o600)
    return path


def of_postgres(postgres, secret: Path, how: str, monkeypatch) -> tuple[str, Callable[[str], object]]:
    """Return a backend whose role has the password, and what gives the role this or another one."""
    postgres.sql(f"CREATE ROLE guarded SUPERUSER LOGIN PASSWORD '{CANARY}'")
    postgres.create(NAME)
    postgres.sql("CREATE TABLE t AS SELECT 1 AS one", NAME)
    env = ""
    if how == "pgpass":
        passwords = secret.with_name("pgpass")
        passwords.write_text(f"*:*:*:guarded:{CANARY}\n")
        passwords.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passwords))
    else:
        env = f', env={{"PGPASSWORD": open({str(secret)!r}).read()}}'
    backend = f'PostgreSQL(host={postgres.host!r}, user="guarded"{env})'
    return backend, lambda password: postgres.sql(f"ALTER ROLE guarded PASSWORD '{password}'")


def of_mariadb(mariadb, secret: Path, how: str) -> tuple[str, Callable[[str], object]]:
    """Return such a backend of MariaDB, and what gives its user this or another password."""
    mariadb.sql(f"CREATE OR REPLACE USER guarded@localhost IDENTIFIED BY {text(CANARY)};"
                "GRANT ALL ON *.* TO guarded@localhost")  # fmt: skip
    mariadb.create(NAME)
    mariadb.sql("CREATE TABLE t AS SELECT 1 AS one", NAME)
    if how == "defaults":
        given = f"defaults={mariadb.defaults_file('guarded', CANARY)!r}"
    else:
        file = mariadb.defaults_file("nobody")
        Path(file).write_text(f"[client]\nuser=guarded\nsocket={mariadb.socket}\n")
        given = f"defaults={file!r}, env={{'MYSQL_PWD': open({str(secret)!r}).read()}}"
    change = "ALTER USER guarded@localhost IDENTIFIED BY {}"
    return f"MySQL({given})", lambda password: mariadb.sql(change.format(text(password)))


@pytest.fixture
def cage(request, how, private_home, secret, datadir, said, tmp_path, monkeypatch):
    """A recipe of a database behind the password; once encrypted for a key that has it as its passphrase."""
    monkeypatch.setenv("GNUPGHOME", str(private_home.home))
    if encrypted := how == "pgpass":
        private_home.make("caged", "future-default", secret=CANARY)
        remembered = private_home.gpg("--encrypt", "-r", "caged", "--trust-model", "always", data=b"x")
        private_home.gpg("--pinentry-mode", "loopback", "--passphrase", CANARY, "--decrypt", data=remembered)
    server = request.getfixturevalue("postgres" if how in ("pgpass", "PGPASSWORD") else "mariadb")
    make = of_postgres if how in ("pgpass", "PGPASSWORD") else of_mariadb
    backend, change = make(server, secret, how, *([monkeypatch] if make is of_postgres else []))
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def cage(host):
            wrap = [Zstd(), GPG(encrypt=["caged"])][:{1 + encrypted}]
            return Dump({backend}, wrap=wrap, to=Directory({str(datadir)!r}))
    """)  # fmt: skip
    flags = [f"--recipes={recipes}", f"--database={NAME}"]
    yield Watched(tmp_path, datadir, flags, how in ("PGPASSWORD", "MYSQL_PWD"), said), change
    server.drop(NAME, COPY)
    server.sql("DROP ROLE guarded" if make is of_postgres else "DROP USER guarded@localhost")


@pytest.mark.parametrize("how", ["pgpass", "PGPASSWORD", "defaults", "MYSQL_PWD"])
def test_a_password_is_nowhere(cage, how, unharmed):
    """117, 118, 121: not in a check, a dry run, a dump, a verify, a restore, a drill, nor a dump that fails."""
    watched, change = cage
    watched.run(0, "check")
    assert NAME in watched.run(0, "dump", "--dry-run")
    watched.run(0, "dump", "--json")
    assert "good" in watched.run(0, "verify")
    watched.run(0, "restore", f"--as={COPY}", "--yes")
    assert "restored" in watched.run(0, "verify", "--restore", "--to=localhost", as_if="drill")
    if LONG or how == "PGPASSWORD":  # what is in a dump runs there: nobody there has a password of elsewhere
        assert "restored" in watched.run(0, "verify", "--restore")
    unharmed.begin()
    change("another")
    assert "FAILED" in watched.run(1, "dump", "--json")
    unharmed.check()
    change(CANARY)
    assert CANARY not in unharmed.again("dump", *watched.flags)
    watched.is_nowhere()


OPTIONS = (
    'PostgreSQL(psql_options="password=CANARY")', "PostgreSQL(pg_dump_options=\"-d 'host=a password=CANARY'\")",
    'PostgreSQL(psql_options="postgresql://me:CANARY@db/x")', 'MySQL(mysql_options="--password=CANARY")',
    'MySQL(mysqldump_options="--password=CANARY")', 'MySQL(mysql_options="-pCANARY")',
    'MySQL(mysqldump_options="--pass CANARY")', 'PostgreSQL(env={"A B": "CANARY"})',
    'PostgreSQL(env={"A": "CANARY\\nx"})', 'PostgreSQL(env={"A": "CANARY"}, nosuch=1)',
    'PostgreSQL(host=1 / 0, env={"A": "CANARY"})',
)  # fmt: skip


def test_a_password_in_an_option_is_refused_without_it(dbdump, unharmed, tmp_path, datadir):
    """117, 118: what is wrong with a recipe is told, and not what it has in it."""
    unharmed.no_next_run = "nothing was begun"
    made = "".join(
        f"@recipe(localhost)\ndef r{number}(host): return Dump({each.replace('CANARY', CANARY)}, "
        f"to=Directory({str(datadir)!r}))\n" for number, each in enumerate(OPTIONS)
    )  # fmt: skip
    done = dbdump("dump", f"--recipes={recipe_file(tmp_path, made)}")
    for number in range(len(OPTIONS)):
        assert f"localhost/r{number}: " in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert done.returncode in (1, 2)


HOOKS = ("on", "prepare", "get_db_list", "get_globals_command", "versions", "get_command", "checks_stream", "suffix_of",
         "prepare_db", "cleanup_db", "cleanup")  # fmt: skip
BACK = ("get_check_command", "reading", "target_of", "contents", "get_load_command")


def broken(hooks: Sequence[str], database: Path, datadir: Path, error: str = "ValueError") -> str:
    """Return a recipe for each hook, whose backend raises there, once it is told to, and says the password."""
    return "import os" + "".join(f"""
@backend("b{number}")
class B{number}(SQLite):
    def {hook}(self, *rest, **more):
        if "WHOLE" in os.environ: return super().{hook}(*rest, **more)
        raise {error}("it is " + self.env["A"])
@recipe(localhost)
def r{number}(host): return Dump(B{number}(path={str(database)!r}, env={{"A": "{CANARY}"}}),
                         to=Directory({str(datadir)!r}))
""" for number, hook in enumerate(hooks))  # fmt: skip


def told(said: list[str], top: Path, *arguments: str) -> None:
    """Run what breaks: it says so, and not the password."""
    done = subprocess.run([*COMMAND, *arguments], cwd=top, check=False, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    said.append(done.stdout + done.stderr)
    assert done.returncode == 1, said[-1]
    assert "it is ***" in said[-1]
    assert CANARY not in said[-1], arguments


@pytest.mark.parametrize("error", ["ValueError", "DumpError"])
def test_what_breaks_says_no_password(database, unharmed, said, tmp_path, datadir, error):
    """118: wherever a backend breaks, with the password in what it says, that is told, and not the password."""
    recipes = recipe_file(tmp_path, broken(HOOKS, database, datadir, error))
    for flags in (["dump"], ["dump", "--dry-run"], ["check"], ["dump", "--json"]):
        told(said, tmp_path, *flags, f"--recipes={recipes}")
    unharmed.check()
    unharmed.again("dump", f"--recipes={recipes}", env={"WHOLE": "1"})


@pytest.mark.parametrize("error", ["ValueError", "DumpError"])
def test_what_breaks_in_a_restore_says_no_password(database, dbdump, unharmed, said, tmp_path, datadir, error):
    """118: nor when a dump is verified or restored."""
    recipes = recipe_file(tmp_path, broken(BACK, database, datadir, error))
    assert dbdump("dump", f"--recipes={recipes}", env={"WHOLE": "1"}).returncode == 0
    told(said, tmp_path, "verify", f"--recipes={recipes}")
    for number in range(len(BACK)):
        told(said, tmp_path, "restore", f"--recipes={recipes}", f"--recipe=r{number}", f"--as={tmp_path}/x{number}",
             "--yes")  # fmt: skip
    unharmed.check()
    unharmed.again("verify", f"--recipes={recipes}", env={"WHOLE": "1"})
