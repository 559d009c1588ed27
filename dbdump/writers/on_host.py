"""A directory on the dump's own host: its bytes are written, hashed and named there, and do not travel."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..catalog import DumpName
from ..errors import WriteError
from ..links import Reach
from ..pipeline import Outcome, Pipeline, cause
from ..remote_shell import RemoteShell
from ..script import Stage
from ..shell import Shell
from .far import ShellSession
from .far_directory import FarDirectory
from .far_sink import FarSink
from .safe import hint_for
from .sessions import Sessions

# stdin goes to the end of the file $2 in the directory $1; on stdout come its size as it grows, by which a
# stalled dump is known, whether all could be written, and the SHA-256 of what it was given.
_STORE = """\
cd -- "$1" || exit 1
if command -v sha256sum >/dev/null; then digest() { sha256sum; }
elif command -v shasum >/dev/null; then digest() { shasum -a 256; }
else digest() { openssl dgst -sha256 -r; }
fi
# GNU's tee ends where it cannot write, if it is told so; cat ends there anyway, and takes any other tee along.
if : | tee --output-error=exit >/dev/null 2>&1
then copy() { tee -a --output-error=exit -- "$1" && echo whole >&9; }
else copy() { { tee /dev/fd/8 && echo whole >&9; } | cat >>"$1"; }
fi
exec 7>&1
( old=0
  while sleep 1 >/dev/null 2>&1; do
    new=$(stat -c %s -- "$2") || exit
    [ "$new" = "$old" ] || echo "size $new"
    old=$new
  done ) & ticker=$!
copied=$({ { copy "$2" || echo not >&9; } 8>&1 | digest >&7; } 9>&1)
{ kill $ticker; wait $ticker; } 2>/dev/null
echo "size $(($(wc -c <"$2")))"
echo copied $copied
[ "$copied" = whole ]"""

_SIZE = re.compile(rb"size (\d+)\n")
_COPIED = re.compile(rb"^copied (.*)$", re.MULTILINE)
_SHA256 = re.compile(rb"^([0-9a-f]{64})\b", re.MULTILINE)


class HostSink(FarSink):
    """One dump that stays on its host; see Sink. It is run by the sink itself, which adds a stage that stores."""

    def run(self, pipeline: Pipeline, shell: Shell, advanced: Callable[[int], None]) -> Outcome:
        """Run `pipeline` with its bytes going to the file, and return what came of it.

        `advanced` is told how many bytes it has grown by. Raises WriteError where the host could not write
        them, and what Pipeline.run does.
        """
        where, part = self.file
        stage = Stage("store", ("sh", "-c", _STORE, "sh", where, part))
        said = bytearray()
        size = 0

        def read(piece: memoryview) -> None:
            """Take what the stage that stores has said, and tell how many bytes the file has grown by."""
            nonlocal size
            said.extend(piece)
            sizes = _SIZE.findall(said)
            grown = int(sizes[-1]) - size if sizes else 0
            size += grown
            advanced(grown)

        storing = replace(pipeline, stages=(*pipeline.stages, stage))
        ended = storing.pump(shell, read)
        copied, sha256 = _COPIED.search(said), _SHA256.search(said)
        if copied and copied[1] != b"whole":
            told = cause(ended.said.messages, "tee")
            raise WriteError(f"{where}: {told or 'not written'}", hint_for(told))
        storing.judge(ended)
        if copied is None or sha256 is None:
            raise WriteError(f"{where}: not written", "Look for what ended it there.")
        statuses = tuple(ended.said.statuses[index] for index in range(len(pipeline.stages)))
        return Outcome(size, sha256[1].decode(), statuses, ended.said)


class HostDirectory(FarDirectory):
    """A directory of the dump's host; see Store."""

    def open(self, name: DumpName) -> HostSink:
        """Begin a dump."""
        return HostSink(self._sessions, self.root, name, self._account)


def on_host(path: str, host: RemoteShell, reach: Reach) -> HostDirectory:
    """Return the directory `path` of `host`."""
    shell = reach.links.late(host)
    account = shell.link.account
    sessions = Sessions(lambda: ShellSession(shell, account, reach.stall_timeout))
    return HostDirectory(sessions, path, account, lambda file: [file])
