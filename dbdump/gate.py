"""What stands before a command that restores: it sees the end of its input only when it is told that all was good.

End-of-file says nothing: it is also what a killed dbdump, a cut connection or a stage that failed leaves behind, and
psql would commit at it. So bytes come in blocks, and an end that is not said ends the command, before it sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from .errors import StageError
from .pipeline import Write, describe
from .script import Stage, command_line, quoted, reporting

# $1 unwraps stdin to stdout, or is empty; $2 restores what is on its stdin.
# stdin: blocks, each after a line with its count and size of units; `end` after the last; `good`, and lines as long as
# somebody waits; and `bye`, when the command has ended, wherever that finds it. stdout: a dot each second, which fails
# when nobody waits any more; the exit statuses of what unwraps; and `over STATUS`.
# `die` lets everything hear of it first (pg_restore then cancels what the server does), and keeps the command's input
# open meanwhile. Whoever unwraps ends before that: the shell that waits for `good` holds it open.
_GATE = r"""
die() { trap '' TERM; exec 2>/dev/null; kill -TERM 0; sleep 5; kill -KILL 0; }
exec 7>&1
( trap '' PIPE; while sleep 1 >/dev/null 7>&-; do echo . || die; done ) 2>/dev/null 7>&- & ticker=$!
unwrap=$1 restore=$2
pass() {
  while read -r count size && [ "$count" != end ]; do
    [ "$count" != bye ] || { echo over >&5; return; }
    said=$({ dd bs="$size" count="$count" iflag=fullblock >&4; } 2>&1) && continue
    case "$? $said" in
    141*|*[Bb]'roken pipe'*) [ "$(tail -c 4)" = bye ] || die; echo over >&5; return;;
    esac
    printf '%s\n' "$said" >&2
    die
  done
  [ "$count" = end ] || die
}
feed() {
  if [ "$unwrap" ]; then
    word=$({ pass 4>&1 6>&- 7>&- | { eval "$unwrap"; } >&6 5>&-; } 5>&1)
  else
    word=$(pass 4>&6 5>&1 6>&- 7>&-)
  fi
  [ "$word" != over ] || return
  read -r word || die
  [ "$word" != bye ] || return
  [ "$word" = good ] || die
  exec >/dev/null 6>&-
  while read -r word; do [ "$word" != bye ] || return; done
  die
}
feed 6>&1 | { eval "$restore" >/dev/null 7>&-; status=$?; echo "over $status" >&7; exit $status; }
status=$?
{ kill $ticker; wait $ticker; } 2>/dev/null
[ $status -lt 126 ] || [ $status -gt 127 ] || status=1
exit $status
"""

_UNIT = 64 << 10  # bytes that dd reads and writes at once
_BLOCK = 64 * _UNIT  # a dd for each: 4 MiB make its start-up cheap
_BEAT = 1.0  # seconds


class TakesNoMore(OSError):  # noqa: N818  what happened
    """The command has ended, and did not succeed: it takes no more."""


class Gate:
    """The near side, for what `unwrap` unwraps on the far side: puts bytes into blocks, and listens to what is said."""

    def __init__(self, unwrap: Sequence[Stage] = ()) -> None:
        self._unwrap = unwrap
        self._held = bytearray()
        self._said = b""
        self._news = threading.Condition()
        self._statuses: dict[int, int] = {}
        self._over: int | None = None

    def stage(self, stage: Stage) -> Stage:
        """Return what runs `stage` behind the gate.

        Inside of what makes us another user, so that all of it may be killed; but around that, where something is
        unwrapped, which only we can do.
        """
        if not self._unwrap:
            return replace(stage, argv=("sh", "-c", _GATE, "sh", "", quoted(stage.argv)))
        texts = reporting(self._unwrap, "unwrapped", without=stage.secrets), command_line(stage)
        return replace(stage, argv=("sh", "-c", _GATE, "sh", *texts), environment={}, user=None)

    def hear(self, piece: memoryview) -> None:
        """Take what comes on its stdout."""
        *lines, self._said = (self._said + piece).split(b"\n")
        with self._news:
            for line in lines:
                match line.split():
                    case [b"over", status]:
                        self._over = int(status)
                    case [b"unwrapped", index, status]:
                        self._statuses[int(index)] = int(status)
            self._news.notify_all()

    def send(self, write: Write, feed: Callable[[Write], object], before_end: Callable[[], object]) -> None:
        """Send what `feed` writes, do `before_end`, and say that it was all; return when the command has ended.

        Where `feed` raises, or what unwraps fails, which is a StageError, the command never hears of an end. It is
        left in the middle where the command has failed.
        """
        try:
            feed(lambda piece: self._add(write, piece))
            self._flush(write, 1)
        except TakesNoMore:
            pass  # its exit status says why
        except StageError:
            if not self._over:  # else it is what comes of that: who unwraps has seen an end too early
                raise
        else:
            self._end(write, before_end)
        while not self._is(lambda: self._over is not None):
            write(memoryview(b"\n"))  # raises where nobody is there any more
        write(memoryview(b"bye\n"))

    def look(self) -> None:
        """Raise TakesNoMore where the command has ended, and did not succeed."""
        if self._over:
            raise TakesNoMore("the command that restores has ended")

    def _end(self, write: Write, before_end: Callable[[], object]) -> None:
        """Say that it was all, when all was unwrapped and `before_end` done."""
        if self._over is None:
            write(memoryview(b"end\n"))
        while not self._is(lambda: self._over is not None or len(self._statuses) == len(self._unwrap)):
            write(memoryview(b""))  # as above, and nobody reads now
        if self._over is None:
            self._refuse_failures()
            before_end()
            write(memoryview(b"good\n"))

    def _refuse_failures(self) -> None:
        for index, stage in enumerate(self._unwrap):
            if status := self._statuses[index]:
                raise StageError(
                    stage.name, describe(status, stage.argv[0])[0], "It went well a moment ago: try again."
                )

    def _is(self, what: Callable[[], bool]) -> bool:
        """Wait a moment for something to be so, and return whether it is."""
        with self._news:
            return self._news.wait_for(what, _BEAT)

    def _add(self, write: Write, piece: memoryview) -> None:
        self._held += piece
        if len(self._held) >= _BLOCK:
            self._flush(write, _UNIT)

    def _flush(self, write: Write, unit: int) -> None:
        """Send what is held, as far as it is whole units."""
        self.look()
        if self._over is not None:
            self._held.clear()  # it needs no more, and yet all is read
        size = len(self._held) // unit * unit
        if size:
            count = size // unit if unit > 1 else 1
            write(memoryview(f"{count} {size // count}\n".encode()))
            with memoryview(self._held) as held:
                write(held[:size])
        del self._held[:size]
