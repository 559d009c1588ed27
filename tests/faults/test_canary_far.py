"""A password is looked for on the machine whose database it is of, and on the way there: see test_canary.py.

Its sshd runs under strace, which tells of every program that is started there, whoever starts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import stop
from support import files

from faults.test_canary import CANARY, COMMANDS, COPY, LONG, NAME, Watched, of_mariadb, of_postgres, traced

DB1 = "dash"
CASES = [("fabric", "PGPASSWORD"), ("openssh", "defaults")]  # in CI
EVERY = list(product(("fabric", "openssh"), ("pgpass", "PGPASSWORD", "defaults", "MYSQL_PWD")))


@pytest.fixture
def log(tmp_path) -> Path:
    """What strace tells of the far side."""
    return tmp_path / "far execve"


@pytest.fixture
def db1(own_sshd, log):
    """The machine of the database."""
    return own_sshd(inside=tuple(traced(log)))


@pytest.fixture
def cage(request, transport, how, db1, accounts, datadir, said, tmp_path, monkeypatch) -> Iterator[tuple]:
    """A recipe of a database there, behind the password; and what gives it this or another one."""
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    kept = accounts.home(DB1) / ".pgpass"
    if how in ("pgpass", "PGPASSWORD"):
        server = request.getfixturevalue("postgres")
        backend, change = of_postgres(server, secret, how, monkeypatch)
        if how == "pgpass":
            (tmp_path / "pgpass").rename(kept)
            accounts.own(DB1, kept)
    else:
        server = request.getfixturevalue("mariadb")
        backend, change = of_mariadb(server, secret, how)
        for each in Path(server.directory).glob("*.cnf"):
            accounts.own(DB1, each)
    recipes = recipe_file(
        tmp_path,
        f"""
        @recipe(Host("db1", ssh={db1.remote(DB1)!r}, transport={transport!r}))
        def cage(host): return Dump({backend}, to=Directory({str(datadir)!r}))
    """,
    )
    flags = [f"--recipes={recipes}", f"--database={NAME}"]
    yield Watched(tmp_path, datadir, flags, variable=False, said=said), change
    kept.unlink(missing_ok=True)
    server.drop(NAME, COPY)
    server.sql("DROP ROLE guarded" if "PG" in how.upper() else "DROP USER guarded@localhost")


@pytest.mark.parametrize(("transport", "how"), EVERY if LONG else CASES)
def test_a_password_is_nowhere_on_the_way_to_its_database(cage, how, db1, log, unharmed):
    """117, 118, 121: the clients there have it, where it is a variable, and nobody else, there or here."""
    watched, change = cage
    watched.run(0, "check")
    watched.run(0, "dump", "--json")
    watched.run(0, "restore", f"--as={COPY}", "--yes")
    unharmed.begin()
    change("another")
    assert "FAILED" in watched.run(1, "dump")
    change(CANARY)
    assert CANARY not in unharmed.again("dump", *watched.flags)
    watched.is_nowhere()
    stop(db1.process)  # and all is written
    seen = [line for line in log.read_text(errors="replace").splitlines() if CANARY in line]
    assert bool(seen) is (how in ("PGPASSWORD", "MYSQL_PWD"))
    assert not [line for line in seen if not COMMANDS["restore"].search(line)]
    assert not [line for line in seen if CANARY in line.partition("], [")[0]]
    assert CANARY.encode() not in b"".join(files(db1.directory).values())
