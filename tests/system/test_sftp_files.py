"""Many small files by SFTP: how often an answer is waited for, with OpenSSH's own server at the end of a long line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import paramiko
import pytest

from dbdump.writers.sftp import SFTPSession
from dbdump.writers.sftp_files import list_directories, read_files

SERVER = "/usr/lib/openssh/sftp-server"
FILES = 1000
STATUS, DATA, NAME, EOF, FAILURE = 101, 103, 104, 1, 4  # draft-ietf-secsh-filexfer-02


class LongLine:
    """A server's stdin and stdout as paramiko wants a channel to be: what is sent goes when an answer is waited for.

    `rounds` is how often that was.
    """

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._sent: list[bytes] = []
        self._answers = b""
        self.rounds = 0

    def get_name(self) -> str:
        """Return what paramiko's log calls it."""
        return "long line"

    def send(self, packet: bytes) -> int:
        """Keep a request until an answer is waited for."""
        self._sent.append(packet)
        return len(packet)

    def recv(self, size: int) -> bytes:
        """Return bytes of the answers to all that was sent; each request has one."""
        if not self._answers:
            self.rounds += 1
            sent, self._sent = self._sent, []
            self._server.stdin.write(b"".join(sent))
            self._server.stdin.flush()
            self._answers = b"".join(self._packet() for _ in sent)
        piece, self._answers = self._answers[:size], self._answers[size:]
        return piece

    def _packet(self) -> bytes:
        length = self._server.stdout.read(4)
        return length + self._server.stdout.read(int.from_bytes(length))

    def settimeout(self, _seconds: float) -> None:
        """Wait as long as it takes."""

    def close(self) -> None:
        """Have the server end."""
        self._server.stdin.close()


@contextmanager
def at_the_end(command: str, line_of: type[LongLine] = LongLine) -> Iterator[tuple[paramiko.SFTPClient, LongLine]]:
    """Run a server by a line of shell; yield a client of it, and the line in between."""
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        line = line_of(server)
        with closing(paramiko.SFTPClient(line)) as sftp:
            line.rounds = 0
            yield sftp, line


@pytest.mark.parametrize(
    ("command", "most"),
    [
        (f"ulimit -n 1024; exec {SERVER}", 10),
        (f"ulimit -n 200; exec {SERVER}", 20),  # 175 at once
        (f"ulimit -n 60; exec {SERVER}", 70),  # 35
        (f"ulimit -n 100; exec {SERVER} -P limits", 40),  # it does not say how many: 64 at once
    ],
    ids=["many", "fewer", "very few", "nobody knows"],
)
def test_rounds(tmp_path, command, most):
    """A thousand manifests are all there after a few round trips, fewer than one for each hundred."""
    for number in range(FILES):
        (tmp_path / f"{number}.json").write_text(f"manifest {number}")
    with at_the_end(command) as (sftp, line):
        (listed,) = list_directories(sftp, [str(tmp_path)])
        paths = [f"{tmp_path}/{each.name}" for each in listed[1]]
        texts = dict(read_files(sftp, [*paths, f"{tmp_path}/gone"]))
    assert texts == {f"{tmp_path}/{number}.json": f"manifest {number}".encode() for number in range(FILES)}
    assert line.rounds <= most


class AtTheEnd:
    """The way to an account that has no more than this one session; see Link."""

    account = address = "end"

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self._client = client

    def sftp(self) -> paramiko.SFTPClient:
        """Return the session."""
        return self._client


def test_a_listing_of_30_dumps_waits_as_often_as_one_of_3(tmp_path):
    """However many directories and manifests there are: for the list of each level, and for all texts, at once."""
    waited = []
    for databases, dumps in ((3, 1), (6, 5)):
        top = tmp_path / str(databases)
        for database in range(databases):
            (top / str(database)).mkdir(parents=True)
            for dump in range(dumps):
                (top / f"{database}/{dump}.bin.json").write_text("manifest")
        with at_the_end(f"exec {SERVER}") as (sftp, line):
            session = SFTPSession(AtTheEnd(sftp), "end", 20, read_back=True)
            session.go(str(top), (), make=False)
            line.rounds = 0
            assert [each.text for each in session.entries() if each.file] == [b"manifest"] * databases * dumps
            waited.append(line.rounds)
    assert waited == [waited[0]] * 2
    assert waited[0] <= 6  # each level is opened and read, and so are the texts


class Strict(LongLine):
    """The same server, but one that answers with a failure whoever asks for more behind the end of a directory."""

    ends = 0

    def _packet(self) -> bytes:
        packet = super()._packet()
        if packet[4] == STATUS and packet[9:13] == bytes([0, 0, 0, EOF]):
            self.ends += 1
            if self.ends > 1:
                return packet[:9] + bytes([0, 0, 0, FAILURE]) + packet[13:]
        return packet


def test_behind_the_end_there_is_nothing(tmp_path):
    """Several pieces are asked for at once, and what comes after the end of all is no error."""
    for number in range(250):  # OpenSSH gives 100 at once: the end is the second of four
        (tmp_path / str(number)).touch()
    with at_the_end(f"exec {SERVER}", Strict) as (sftp, line):
        ((_, found),) = list_directories(sftp, [str(tmp_path)])
    assert len(found) == 250
    assert line.ends > 1


class Swapped(LongLine):
    """The same server, but what is in a directory comes after the answer to the request that followed."""

    _held = b""

    def _packet(self) -> bytes:
        if self._held:
            packet, self._held = self._held, b""
        elif (packet := super()._packet())[4] == NAME:
            self._held, packet = packet, super()._packet()
        return packet


def test_answers_come_in_any_order(tmp_path):
    """What is told after the end of a directory, and was asked for before it, is in it."""
    for number in range(3):
        (tmp_path / str(number)).touch()
    with at_the_end(f"exec {SERVER}", Swapped) as (sftp, _):
        ((_, found),) = list_directories(sftp, [str(tmp_path)])
    assert sorted(each.name for each in found) == ["0", "1", "2"]


class Sparing(LongLine):
    """The same server, but one that gives no more than 20000 bytes at once."""

    def _packet(self) -> bytes:
        packet = super()._packet()
        if packet[4] != DATA:
            return packet
        piece = packet[13:20_013]
        return (9 + len(piece)).to_bytes(4) + packet[4:9] + len(piece).to_bytes(4) + piece


@pytest.mark.parametrize("line_of", [LongLine, Sparing])
def test_a_large_file_comes_whole(tmp_path, line_of):
    """Many pieces of it are asked for at once, and those that are too short once more."""
    (tmp_path / "large").write_bytes(content := os.urandom(3_000_007))
    with at_the_end(f"exec {SERVER}", line_of) as (sftp, line):
        session = SFTPSession(AtTheEnd(sftp), "end", 20, read_back=True)
        session.go(str(tmp_path), (), make=False)
        line.rounds = 0
        assert b"".join(session.fetch("large")) == content
    assert line.rounds < 20  # there are 92 pieces, and of each the rest
