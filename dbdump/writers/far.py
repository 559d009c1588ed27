"""A session at the far end of a Remote where there is a shell: it runs store.sh."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from posixpath import dirname

from ..errors import ConnectionLost, WriteError
from ..remote_shell import RemoteShell
from ..script import Said
from ..shell import Running, Stalled
from ..stored import Entry
from .base import Condition
from .far_entries import read_entries
from .lock_here import LockHere
from .safe import at_work, hint_for
from .session import Missing

_BLOCK = 2 << 20  # bytes gathered before they are sent, by each job: the far end starts two programs for each
_ASK_SECONDS = 120.0  # for an answer that takes no long work
_LOOK = 1.0  # seconds without a byte after which a reader may look whether they are still wanted
_LONGEST_LINE = 64 << 20  # bytes: longer than any manifest
_SLOWEST = 20e6  # bytes a second that the far disk is given to sync and to read back a file
_SIZE = re.compile(r" *([0-9]{1,18})")  # BSD's wc puts spaces before it
_RECEIVED = re.compile(r" *([0-9]{1,18}) *([0-9a-f]{64})?")
_CONDITION = re.compile(r"(\S*) (\S*) (.*)", re.DOTALL)


@cache
def program() -> str:
    """Return the text of look.sh and store.sh, which is one program."""
    return "".join(resources.files(__package__).joinpath(each).read_text("utf-8") for each in ("look.sh", "store.sh"))


class ShellSession:
    """A shell that runs store.sh; see Session."""

    has_shell = True

    def __init__(self, shell: RemoteShell, place: str, stall_timeout: float) -> None:
        self._place = place
        self._kept = LockHere(shell.link.address, place)  # where there is no flock
        self._here = ""
        self._patience = stall_timeout
        self._token = secrets.token_hex(8).encode()
        self._pending = bytearray()
        self._block = bytearray()
        self._part = ""
        self._alone = False  # what was asked for last
        self._blind = False  # whether no program there computes a SHA-256
        self._buffer = memoryview(bytearray(65536))
        self.broken = False
        self._running: Running = shell.start(program(), [self._token.decode()], Said(""))
        self.group = self._answer()

    def go(self, root: str, names: Sequence[str], *, make: bool) -> str:
        """Go to a directory; see Session."""
        self._here = self._ask("go", "make" if make else "stay", root, *names, "")
        return self._here

    def hold(self, *, alone: bool) -> None:
        """Hold this directory; see Session."""
        self._alone = alone
        if self._ask("hold", "alone" if alone else "shared") != "held":
            self._kept.keep(self._here, alone=alone)

    def open(self, part: str, *, adding: bool) -> tuple[str, ...] | None:
        """Begin a file; see Session."""
        self._part, self._alone = part, False
        self._block.clear()
        left = []
        self._send("open", part, "dump" if adding else "record")
        while (answer := self._line(_ASK_SECONDS))[0] == "left":
            left.append(answer[1])
        if self._checked(answer)[0] == "again":
            return None
        if adding and answer[1] != "held":
            self._kept.keep(dirname(self._here), alone=False)
        return tuple(left)

    def write(self, piece: memoryview) -> None:
        """Take the next bytes; see Session."""
        self._block += piece
        self._flush(len(self._block) // _BLOCK * _BLOCK)  # whole ones: another size takes a program more there

    def received(self, size: int) -> tuple[int, str]:
        """Return what was stored; see Session."""
        self._flush(len(self._block))
        stored, sha256 = self._read_as(_RECEIVED, self._ask("received", timeout=self._work_seconds(size)))
        if not sha256:  # no program there computes it
            self._blind = True
            sha256 = sha256_of(self.fetch(self._part))
        return int(stored), sha256

    def name(self, part: str, final: str, sha256: str, size: int) -> bool:
        """Give a final name; see Session."""
        known = "-" if self._blind else sha256
        return self._ask("name", part, final, known, timeout=self._work_seconds(size)) == "new"

    def replace(self, part: str, final: str, of: str) -> None:
        """Give a name that another file has; see Session."""
        self._ask("replace", part, final, of)

    def unname(self, final: str, sha256: str, size: int) -> None:
        """Take back a name; see Session."""
        answer = self._ask("unname", final, sha256, timeout=self._work_seconds(size))
        if answer == "unknown" and sha256_of(self.fetch(final)) == sha256:
            self._ask("unname", final, "")

    def drop(self) -> None:
        """Remove what was begun; see Session."""
        try:
            self._ask("drop")
        finally:
            self._kept.let_go()

    def entries(self) -> Sequence[Entry]:
        """Return all files below; see Session."""
        self._send("entries")
        return read_entries(self._lines_before_answer())

    def condition(self, names: Sequence[str]) -> Condition:
        """Return how it is here; see Session."""
        self._send("condition", *names, "")
        faults = []
        while (answer := self._line(_ASK_SECONDS))[0] in ("fault", "no"):
            faults.append(answer[1])
        room, now, path = self._read_as(_CONDITION, self._checked(answer)[1])
        free = int(room) << 10 if _SIZE.fullmatch(room) else None
        return Condition(path, tuple(faults), not faults, free, float(now) if _SIZE.fullmatch(now) else None)

    def fetch(self, file: str) -> Iterator[bytes]:
        """Yield the bytes of a file; see Session."""
        left = int(*self._read_as(_SIZE, self._ask("fetch", file)))
        while left:
            if not self._pending:
                yield from self._waiting()
            piece = bytes(self._pending[:left])
            del self._pending[: len(piece)]
            left -= len(piece)
            yield piece

    def delete(self, files: Sequence[str]) -> None:
        """Remove files; see Session."""
        self._ask("delete", *files, "")

    def clear(self, group: str, part: str) -> None:
        """End another session; see Session."""
        self._ask("clear", group, part)

    def close(self) -> None:
        """End it; see Session."""
        self.broken = True
        self._running.end()
        self._kept.let_go()

    def _work_seconds(self, size: int) -> float:
        """How long the far end may sync and read back `size` bytes: nothing is heard of it meanwhile."""
        return self._patience + size / _SLOWEST

    def _flush(self, size: int) -> None:
        if size:
            with memoryview(self._block) as block, block[:size] as data:
                self._send("data", str(size), data=data)
            del self._block[:size]

    def _ask(self, *request: str, timeout: float = _ASK_SECONDS) -> str:
        self._send(*request)
        return self._answer(timeout)

    def _answer(self, timeout: float = _ASK_SECONDS) -> str:
        return self._checked(self._line(timeout))[1]

    def _read_as(self, pattern: re.Pattern[str], answer: str) -> Sequence[str]:
        if match := pattern.fullmatch(answer):
            return match.groups("")
        raise WriteError(f"{self._place}: answered {answer[:60]!r}", "Is it another program that answers there?")

    def _checked(self, answer: tuple[str, str]) -> tuple[str, str]:
        match answer:
            case ("locked", where):
                raise at_work(f"{self._place}:{where}", alone=self._alone)
            case ("no", cause) if cause.endswith("No such file or directory"):
                raise Missing(f"{self._place}: {cause}", hint_for(cause))
            case ("no", cause):
                raise WriteError(f"{self._place}: {cause}", hint_for(cause) or "Look there, as that account.")
            case ("gone", _):
                raise ConnectionLost(f"{self._place}: the temporary file is gone", "Run it again.")
            case _:
                return answer

    def _send(self, *lines: str, data: memoryview | None = None) -> None:
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        try:
            self._running.write(memoryview(text), self._patience)
            if data:
                self._running.write(data, self._patience)
        except Stalled:
            raise self._stalled(self._patience) from None
        except OSError:
            self.broken = True
            self._why_it_ended()

    def _why_it_ended(self) -> None:
        """Raise what the far end said before it ended: a `no`, or nothing."""
        while True:
            self._checked(self._line(_ASK_SECONDS))

    def _lines_before_answer(self) -> Iterator[bytes]:
        """Yield the lines before the next answer."""
        while True:
            *lines, rest = bytes(self._pending).split(b"\n")
            self._pending[:] = rest
            for line in lines:
                if line.startswith(self._token):
                    self._checked(self._split(line))
                    return
                yield line
            self._read(self._patience)

    def _line(self, timeout: float) -> tuple[str, str]:
        """Return the next answer: its first word, and the rest of its line."""
        while not (line := self._raw_line(timeout)).startswith(self._token):
            pass
        return self._split(line)

    def _split(self, line: bytes) -> tuple[str, str]:
        first, _, rest = line[len(self._token) + 1 :].decode("utf-8", "surrogateescape").partition(" ")
        return first, rest

    def _raw_line(self, timeout: float) -> bytes:
        while (end := self._pending.find(b"\n")) < 0:
            self._read(timeout)
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    def _waiting(self) -> Iterator[bytes]:
        """Wait for the next bytes, and yield nothing each second, so that who reads may see that nobody wants them."""
        step, waited = min(_LOOK, self._patience), 0.0
        while not self._read_within(step):
            waited += step
            if waited >= self._patience:
                raise self._stalled(self._patience)
            yield b""

    def _read(self, timeout: float) -> None:
        if not self._read_within(timeout):
            raise self._stalled(timeout)

    def _read_within(self, timeout: float) -> bool:
        """Read what comes next; return whether anything came in so many seconds."""
        try:
            count = self._running.read_into(self._buffer, timeout)
        except Stalled:
            return False
        except ConnectionLost:
            self.broken = True
            raise
        if not count:
            self.broken = True
            try:
                self._running.wait()
            finally:
                self._running.end()
            raise ConnectionLost(f"{self._place}: its shell ended", "See the log of its sshd.")
        self._pending += self._buffer[:count]
        if len(self._pending) > _LONGEST_LINE:
            self.broken = True
            raise WriteError(f"{self._place}: a line of more than {_LONGEST_LINE} bytes", "Look at what is there.")
        return True

    def _stalled(self, timeout: float) -> WriteError:
        self.broken = True
        return WriteError(
            f"{self._place}: nothing taken or answered for {timeout:g} s, ended as stalled",
            "Its disk or its sshd hangs, or is slower than that: then raise stall_timeout.",
        )


def sha256_of(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of `pieces`, in hex."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
