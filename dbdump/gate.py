"""What stands before a command that restores: it sees the end of its input only when it is told that all was good.

End-of-file says nothing: it is also what a killed dbdump, a cut connection or a stage that failed leaves behind, and
psql would commit at it. So bytes come in blocks, and an end that is not said ends the command, before it sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from .pipeline import Write

# stdin: blocks, each after a line with its count and size of units; `end` after the last; lines as long as somebody
# waits; `bye`. stdout: a dot each second, which fails when nobody waits any more, and `over STATUS`.
# `die` lets everything hear of it first (pg_restore then cancels what the server does), and keeps the command's input
# open meanwhile.
_GATE = r"""
die() { trap '' TERM; exec 2>/dev/null; kill -TERM 0; sleep 5; kill -KILL 0; }
exec 7>&1
( trap '' PIPE; while sleep 1 >/dev/null 7>&-; do echo . || die; done ) 2>/dev/null 7>&- & ticker=$!
pass() {
  while read -r count size && [ "$count" != end ]; do
    [ "$count" != bye ] || return
    said=$({ dd bs="$size" count="$count" iflag=fullblock >&6; } 2>&1) && continue
    case "$? $said" in
    141*|*[Bb]'roken pipe'*) cat >/dev/null; return;;
    esac
    printf '%s\n' "$said" >&2
    die
  done
  [ "$count" = end ] || die
  exec >/dev/null 6>&-
  while read -r word; do [ "$word" != bye ] || return; done
  die
}
pass 6>&1 7>&- | { "$@" >/dev/null 7>&-; status=$?; echo "over $status" >&7; exit $status; }
status=$?
{ kill $ticker; wait $ticker; } 2>/dev/null
[ $status -lt 126 ] || [ $status -gt 127 ] || status=1
exit $status
"""

_UNIT = 64 << 10  # bytes that dd reads and writes at once
_BLOCK = 64 * _UNIT  # a dd for each: 4 MiB make its start-up cheap
_BEAT = 1.0  # seconds


class Ended(OSError):  # noqa: N818  what happened
    """The command has ended, and did not succeed: it takes no more."""


def gated(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the argv that runs `argv` behind the gate."""
    return ("sh", "-c", _GATE, "sh", *argv)


class Gate:
    """The near side: puts bytes into blocks, and listens to what the far side says."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._said = b""
        self._over = threading.Event()
        self._status = ""

    def hear(self, piece: memoryview) -> None:
        """Take what comes on its stdout."""
        *lines, self._said = (self._said + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"over "):
                self._status = line.decode().split()[1]
                self._over.set()

    def send(self, write: Write, feed: Callable[[Write], object]) -> None:
        """Send what `feed` writes, and that it was all; return when the command has ended.

        Where `feed` raises, the command never hears of an end. It is left in the middle where the command has failed.
        """
        try:
            feed(lambda piece: self._add(write, piece))
            self._flush(write, 1)
        except Ended:
            pass  # its exit status says why
        else:
            if not self._over.is_set():
                write(memoryview(b"end\n"))
        while not self._over.wait(_BEAT):
            write(memoryview(b"\n"))  # raises where nobody is there any more
        write(memoryview(b"bye\n"))

    def _add(self, write: Write, piece: memoryview) -> None:
        self._held += piece
        if len(self._held) >= _BLOCK:
            self._flush(write, _UNIT)

    def _flush(self, write: Write, unit: int) -> None:
        """Send what is held, as far as it is whole units."""
        size = len(self._held) // unit * unit
        if self._over.is_set():
            if self._status != "0":
                raise Ended("the command that restores has ended")
            size, unit = len(self._held), 0  # it needs no more, and yet all is read
        if unit and size:
            count = size // unit if unit > 1 else 1
            write(memoryview(f"{count} {size // count}\n".encode()))
            with memoryview(self._held) as held:
                write(held[:size])
        del self._held[:size]
