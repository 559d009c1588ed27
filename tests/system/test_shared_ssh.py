"""Commands over OpenSSH share one connection to an account; where there is none to share, each logs in by itself."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import processes

from dbdump.errors import ConnectionLost
from dbdump.script import Said
from dbdump.state import state_directory, state_path

KIND = "dash"


def end_of(running) -> str:
    """Return what a script writes, read to its end; it succeeds."""
    buffer, text = memoryview(bytearray(1 << 20)), bytearray()
    while count := running.read_into(buffer, 60):
        text += buffer[:count]
    assert running.wait() == 0
    return text.decode()


def answer(shell, script: str) -> tuple[str, list[str]]:
    """Run a script, and return what it writes, and what is said beside it."""
    said = Said("")
    return end_of(shell.start(script, [], said)), said.messages


def masters(port: int) -> list[int]:
    """Return the masters of whoever is reached by that port."""
    return [pid for pid, line in processes("ControlMaster=yes").items() if f" -p {port} " in line]


def sockets() -> list[Path]:
    """Return the sockets that have a name."""
    return list((state_path() / "ssh").glob("*"))


@pytest.fixture
def first(reach):
    """Return a shell of an account by way of which a first command has run; here was a run before."""
    state_directory()

    def made(server, kind: str = KIND):
        shell = reach.links.shell(server.remote(kind), "openssh")
        assert answer(shell, "echo one") == ("one\n", [])
        return shell

    return made


@pytest.mark.parametrize("kind", [KIND, "chatty", "fish", "tcsh"])
def test_two_logins_for_all(first, sshd, reach, kind):
    """The first command logs in by itself, the second begins what it shares with all others; a writer has its own."""
    shell = first(sshd, kind)
    before = sshd.logins
    for _ in range(3):
        assert answer(shell, "echo more; echo said >&2") == ("more\n", ["said"])
    assert sshd.logins == before + 1
    assert len(masters(sshd.port)) == 1
    assert not sockets()
    answer(reach.links.late(shell), "true")
    assert sshd.logins == before + 2
    reach.links.close()
    assert not masters(sshd.port)


@pytest.mark.parametrize(("sessions", "at_once"), [(1, 2), (3, 6)])
def test_an_sshd_that_takes_few_sessions(own_sshd, accounts, first, sessions, at_once):
    """Those that are too many for one connection log in by themselves, and nobody says a word of it."""
    shell = first(own_sshd(sessions=sessions))
    note = accounts.directory_of(KIND, f"sessions{sessions}-{os.getpid()}") / "note"
    script = f"echo >>{note}; until [ $(wc -l <{note}) -ge {at_once} ]; do sleep 0.05; done; id -un"
    with ThreadPoolExecutor(at_once) as pool:
        told = list(pool.map(lambda _: answer(shell, script), range(at_once)))
    assert told == [(f"{accounts.user(KIND)}\n", [])] * at_once


def test_the_master_is_killed(first, sshd):
    """What ran over it has lost its connection, and the next command begins another one, a few times."""
    shell, before = first(sshd), sshd.logins
    for _ in range(3):
        running = shell.start("exec cat /dev/zero", [], Said(""))
        for pid in masters(sshd.port):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost, match=r"^\S+: connection lost$"):
            end_of(running)
    assert answer(shell, "echo alone") == ("alone\n", [])
    assert sshd.logins == before + 4
    assert not masters(sshd.port)


def test_the_shared_connection_is_cut(first, relay):
    """What the master says of it is told for each command that is lost."""
    between, through = relay
    shell = first(through)
    running = [shell.start("exec cat /dev/zero", [], Said("")) for _ in range(2)]
    between.cut()
    for each in running:
        with pytest.raises(ConnectionLost, match=r"connection lost: (Connection|Read|client_loop)"):
            end_of(each)
    assert answer(shell, "echo again") == ("again\n", [])


def test_no_place_for_its_socket(first, sshd, tmp_path, monkeypatch):
    """Where others could find it nothing is shared."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "dbdump").mkdir(mode=0o700)
    (tmp_path / "dbdump" / "ssh").mkdir(mode=0o755)
    shell, before = first(sshd), sshd.logins
    for _ in range(2):
        assert answer(shell, "echo more") == ("more\n", [])
    assert sshd.logins == before + 2
