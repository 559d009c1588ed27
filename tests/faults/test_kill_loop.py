"""Any process of any placement gets a signal at any time: nothing is harmed, and the next run works.

How many, and which, the environment says: FAULTS_RUNS and FAULTS_SEED, which `invoke dev.faults` sets.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import end_of

from faults.killing import Case, cases
from faults.running import processes

DB1, VAULT = "dash", "bash"  # the account that is a host, and the one that takes dumps
NAME = "kill loop"
LONGEST = 150  # seconds of a run: an answer may take two minutes

RECIPES = """
import os
DB1 = {{each: Host("db1", ssh={db1!r}, transport=each, retries={retries}) for each in ("fabric", "openssh")}}
source = PostgreSQL(host={socket!r}, user="postgres", include=[{name!r}], globals=False)
slow = [] if os.environ.get("QUICK") else [Slow()]

def dump(wrapper, to, **more): return Dump(source, wrap=[*slow, wrapper], to=to, stall_timeout={patience}, **more)
def remote(remote, path, transport):
    return Remote(remote, path, transport=transport, retries={retries})
def to_vault(transport): return remote({vault!r}, {there!r}, transport)
def to_sftp(transport): return remote({sftp!r}, {by_sftp!r}, transport)

PLACES = dict(
    local=(localhost, lambda: dump(Zstd(), Directory({datadir!r}))),
    here=(DB1["fabric"], lambda: dump(Zstd(), Directory({datadir!r}))),
    fabric=(localhost, lambda: dump(GPG(encrypt=["ops"]), to_vault("fabric"))),
    openssh=(localhost, lambda: dump(GPG(encrypt=["ops"]), to_vault("openssh"))),
    sftp=(localhost, lambda: dump(GPG(encrypt=["ops"]), to_sftp("fabric"))),
    sftp_ssh=(localhost, lambda: dump(GPG(encrypt=["ops"]), to_sftp("openssh"))),
    relayed=(DB1["fabric"], lambda: dump(Zstd(), Directory({datadir!r}))),
    relayed_ssh=(DB1["openssh"], lambda: dump(Zstd(), Directory({datadir!r}))),
    wrapped=(DB1["fabric"], lambda: dump(Zstd(), Directory({datadir!r}), wrap_at="controller")),
    wrapped_ssh=(DB1["openssh"], lambda: dump(Zstd(), Directory({datadir!r}), wrap_at="controller")),
    vault=(DB1["fabric"], lambda: dump(Zstd(), to_vault("fabric"))),
    vault_ssh=(DB1["openssh"], lambda: dump(Zstd(), to_vault("openssh"))),
    on_host=(DB1["fabric"], lambda: dump(Zstd(), Directory({on_host!r}, on="host"))),
    on_host_ssh=(DB1["openssh"], lambda: dump(Zstd(), Directory({on_host!r}, on="host"))),
)
host, made = PLACES[{place!r}]

@recipe(host)
def {place}(host): return made()
"""


@pytest.fixture(scope="module")
def shop(postgres):
    """A database whose dump takes most of a second through Slow."""
    postgres.create(NAME)
    postgres.sql("CREATE TABLE t AS SELECT md5(g::text) AS v FROM generate_series(1, 20000) g", NAME)
    yield
    postgres.drop(NAME)


@pytest.fixture
def flags(case, accounts, sshd, gnupg, postgres, shop, datadir, unharmed, tmp_path, monkeypatch):
    """The flags of a run of one placement, with an old dump where it goes to."""
    monkeypatch.setenv("GNUPGHOME", str(gnupg.home))
    place = case.place.removesuffix("_ssh")
    account = {"fabric": VAULT, "openssh": VAULT, "vault": VAULT, "sftp": "sftp", "on_host": DB1}.get(place)
    places = {kind: accounts.directory_of(kind, tmp_path.name) for kind in (VAULT, "sftp", DB1)}
    recipes = recipe_file(tmp_path, RECIPES.format(
        place=case.place, db1=sshd.remote(DB1), retries=case.retries, socket=postgres.host, name=NAME,
        datadir=str(datadir), vault=sshd.remote(VAULT), sftp=sshd.remote("sftp"), there=str(places[VAULT]),
        by_sftp=str(places["sftp"]), on_host=str(places[DB1]),
        patience='10 if "QUICK" in os.environ else 2' if case.stalls else 10,
    ))  # fmt: skip
    top = places[account] if account else datadir
    host = "localhost" if place in ("local", "fabric", "openssh", "sftp") else "db1"
    plant(top / host / case.place / "kill%20loop")
    if account:
        accounts.own(account, top)
    unharmed.directories[:] = [datadir, *places.values()]
    unharmed.begin()
    return ["dump", f"--recipes={recipes}", *(["--host=db1", "--here"] if place == "here" else [])]


@pytest.fixture(scope="module")
def strikes() -> Iterator[list[bool]]:
    """Collect of each case whether it struck somebody: now and then all have ended by then, but not as a rule."""
    made: list[bool] = []
    yield made
    assert made.count(False) <= 2 + len(made) // 5, f"{made.count(False)} of {len(made)} cases struck nobody"


def plant(directory: Path) -> None:
    """Put an old dump into a directory, which is made."""
    directory.mkdir(parents=True)
    for each in (directory, *directory.parents[:2]):
        each.chmod(0o700)
    for name in ("20200101T000000Z.pgdump", "20200101T000000Z.pgdump.json"):
        (directory / name).write_text("old")


def strike(case: Case, process, users: tuple[int, ...]) -> list[int]:
    """Send the signal when it is time; return whom, or nobody where all had ended by then."""

    def there() -> None:
        """Wait until somebody plays the role: under load it may be a question first, and the dump much later."""
        wait_for(lambda: case.find(process.pid, users) or process.poll() is not None, f"a {case.role}", LONGEST)

    there()
    time.sleep(case.after)
    there()
    found = case.find(process.pid, users)
    struck = random.Random(case.id).sample(found, min(1, len(found)))  # noqa: S311  not for secrets
    for pid in struck:
        with suppress(ProcessLookupError):
            os.kill(pid, case.signal)
    # Before there is a dump nobody waits for bytes of one, but for two minutes for the answer to a question.
    dumping = replace(case, role="pg_dump").find(process.pid, users)
    if struck and case.signal == signal.SIGSTOP and (case.continued or not dumping):
        time.sleep(0.3)
        go_on(struck)
    return struck


def note_strike(case: Case, process, accounts, strikes: list[bool], unharmed) -> list[int]:
    """Strike, note whether that was anybody, and whether it was dbdump itself, and return whom."""
    struck = strike(case, process, tuple(accounts.uids[kind] for kind in (VAULT, DB1, "sftp")))
    strikes.append(bool(struck))
    unharmed.killed = process.pid in struck and case.signal == signal.SIGKILL
    return struck


def go_on(pids: list[int]) -> None:
    """Continue what was stopped."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_a_process_gets_a_signal(case, flags, accounts, started, strikes, unharmed, said):
    """Whoever it is: what is stored was said to be, nobody is left, and the next run stores one more."""
    process = started(*flags)
    struck = note_strike(case, process, accounts, strikes, unharmed)
    code, out = end_of(process, LONGEST)
    said.append(out)
    if case.role == "shell" and case.stalls:
        # Of the shells there one waits for the script, whose watchdog ends with it: nobody kills that one.
        with suppress(AssertionError):
            wait_for(lambda: not set(struck) & set(processes()), "the watchdog of the script", 8)
        go_on(struck)
    if case.role == "sshd":
        go_on(struck)  # one that is stopped nobody can end from elsewhere
    if process.pid in struck:
        assert code in {signal.SIGKILL: (-9, 0), signal.SIGTERM: (143, -15, 0), signal.SIGSTOP: (0,)}[case.signal], out
    else:
        assert code in (0, 1), out
        assert ("FAILED   " in out) == (code == 1)
    assert ("stored   " in out) == (code == 0) or process.pid in struck
    unharmed.check()
    assert "1 stored, 3 skipped, 0 failed" in unharmed.again(*flags, env={"QUICK": "1"})
