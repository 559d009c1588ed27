"""What another machine says of its files ends in words, soon, and does not fill the memory."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence

import paramiko
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dbdump.errors import DumpError, WriteError
from dbdump.script import Said
from dbdump.stored import Entry
from dbdump.writers.far import ShellSession
from dbdump.writers.far_entries import read_entries
from dbdump.writers.sftp_files import list_directories
from faults.test_fuzz import SECONDS, in_time, unharmed

__all__ = ["unharmed"]

LINES = st.one_of(
    st.binary(max_size=40).filter(lambda line: b"\n" not in line),
    st.lists(st.sampled_from([b"-rw-------", b"1", b"1000", b"x", b"Nov", b"./a/b", b"./a", b"./a/b/c", b"-", b"12:30",
                              b"./a/20261122T203000Z.sql.json", b"9" * 5000]), max_size=11).map(b" ".join),
    st.sampled_from([b"./a/b:", b"./:", b"./", b"grep: ./a/b: No such file or directory"]),
)  # fmt: skip


@in_time
@given(st.lists(LINES))
@example([b"-x"])
def test_what_ls_and_grep_say(lines):
    """Files of a recipe; what is none is passed over, whoever gave it its name."""
    good = b"-rw------- 1 1000 1000 7 Nov 22 20:30 ./own/20261122T203000Z.sql"
    assert Entry("own", "20261122T203000Z.sql", 7) in read_entries([*lines, good])


class _Told:
    """A shell of another machine that says what a test gives it, and takes anything."""

    ended = False
    address = "dump@vault:22"

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.link = self

    def start(self, script: str, secrets: Sequence[str], said: Said) -> _Told:  # noqa: ARG002  as of any shell
        """Begin: what it is told to say begins with the token, wherever TOKEN is."""
        self._said = b"TOKEN ok 1\n".replace(b"TOKEN", secrets[0].encode()) + self._said.replace(
            b"TOKEN", secrets[0].encode()
        )
        return self

    def read_into(self, buffer: memoryview, timeout: float) -> int:  # noqa: ARG002  as of any shell
        """Say the next of it."""
        piece, self._said = self._said[: len(buffer)], self._said[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, piece: memoryview, timeout: float) -> None:
        """Take it."""

    def wait(self) -> int:
        """Say that it has ended."""
        return 1

    def end(self) -> None:
        """End."""


FAR = st.lists(
    st.sampled_from([
        b"TOKEN ok", b"TOKEN ok 12", b"TOKEN ok x", b"TOKEN no", b"TOKEN no x", b"TOKEN left a", b"TOKEN gone",
        b"TOKEN", b"TOKEN locked /", b"TOKEN ok " + b"9" * 5000, b"TOKEN ok 9 9 /d", b"TOKEN fault x", b"-rw",
        b"TOKEN ok 12 " + b"a" * 64, b"\xff",
    ])
    | st.binary(max_size=20)
).map(lambda lines: b"\n".join(lines) + b"\n")  # fmt: skip
ASKED = {
    "received": lambda session: session.received(1),
    "condition": lambda session: session.condition(["x"]),
    "entries": lambda session: session.entries(),
    "fetch": lambda session: list(session.fetch("x")),
    "name": lambda session: session.name("a", "b", "c", 1),
    "open": lambda session: session.open("a", adding=True),
    "hold": lambda session: session.hold(alone=True),
    "go": lambda session: session.go("/", ["a"], make=True),
}


@pytest.mark.parametrize("request_", ASKED.values(), ids=ASKED)
@in_time
@given(said=FAR)
@example(said=b"TOKEN ok\n")
@example(said=b"TOKEN ok " + b"9" * 5000 + b"\n")
@example(said=b"TOKEN ok x y z\n")
def test_what_another_machine_answers(request_, said):
    """It is an answer, or an error that says that it is none."""
    session = ShellSession(_Told(said), "vault", 1.0)
    with contextlib.suppress(DumpError):
        request_(session)


def test_another_machine_that_says_no_end_of_line(monkeypatch):
    """It does not fill the memory."""
    monkeypatch.setattr("dbdump.writers.far._LONGEST_LINE", 1 << 20)
    for request_ in ASKED.values():
        with pytest.raises(WriteError, match="vault: a line of more than"):
            request_(ShellSession(_Told(b"x" * (3 << 20)), "vault", 1.0))


@pytest.fixture
def odd_server():
    """An SFTP client whose server gives the answers that a test puts into a list, one to each request."""
    ours, theirs = socket.socketpair()
    answers: list[bytes] = []

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (piece := theirs.recv(size - len(data))):
                raise EOFError
            data += piece
        return data

    def serve() -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                request = read(struct.unpack("!I", read(4))[0])
                if request[0] == 1:  # INIT
                    theirs.sendall(struct.pack("!IBI", 5, 2, 3))
                elif answers:
                    body = answers.pop(0)
                    theirs.sendall(struct.pack("!I", len(body) + 4) + body[:1] + request[1:5] + body[1:])
                else:
                    status = struct.pack("!BIIII", 101, *struct.unpack("!I", request[1:5]), 1, 0, 0)
                    theirs.sendall(struct.pack("!I", len(status)) + status)

    server = threading.Thread(target=serve)
    server.start()
    yield paramiko.SFTPClient(_Channel(ours)), answers
    ours.close()
    theirs.shutdown(socket.SHUT_RDWR)
    server.join()
    theirs.close()


class _Channel:
    """A socket as paramiko wants a channel to be."""

    def __init__(self, ours: socket.socket) -> None:
        self.send, self.recv, self.close = ours.send, ours.recv, ours.close

    def get_name(self) -> str:
        """Return what its log says."""
        return "odd"


HANDLE = b"\x66" + struct.pack("!I", 1) + b"h"
NAMES = b"\x68"


def attributes(flags: int, *more: int) -> bytes:
    """Return a name with attributes."""
    return struct.pack("!I", 1) + b"a" + struct.pack("!I", 0) + struct.pack(f"!{len(more) + 1}I", flags, *more)


@pytest.mark.parametrize(
    "answer",
    [
        NAMES + struct.pack("!I", 0xFFFFFFFF),
        NAMES + struct.pack("!I", 0xFFFFFFFF) + attributes(0),
        NAMES + struct.pack("!I", 1) + attributes(1 << 31, 0xFFFFFFFF),
        NAMES,
        NAMES + struct.pack("!II", 1, 0xFFFFFFFF),
        HANDLE,
    ],
    ids=["many names", "one of many", "many attributes", "nothing", "a long name", "a handle"],
)
def test_an_sftp_server_that_promises_much(odd_server, answer):
    """Numbers with nothing behind them keep nobody busy."""
    sftp, answers = odd_server
    answers += [HANDLE, answer]
    began = time.monotonic()
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        assert len(list(list_directories(sftp, ["/d"]))) <= 1
    assert time.monotonic() - began < SECONDS
