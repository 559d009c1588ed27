"""Write a dump to stdout, for a pipe."""

from __future__ import annotations

import os
import select
import stat
import sys

from .errors import Interrupted, UsageError, WriteError
from .pipeline import Write
from .report import UNREAD
from .shell import Shell

_LOOK = 0.5  # seconds after which a signal is seen, where nobody reads


def refuse_terminal() -> None:
    """Raise UsageError where stdout is a terminal, or was closed before dbdump began."""
    if sys.stdout.name == os.devnull:  # opened in place of one that was closed
        raise UsageError("stdout is closed", "Send it on: --to-stdout > FILE")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, and a dump is no text", "Send it on: --to-stdout > FILE")


def standard_output(shell: Shell) -> Write:
    """Return what writes to stdout, until `shell` is ended.

    It raises WriteError where nobody reads it, or the disk under it is full, and Interrupted.
    """
    descriptor = sys.stdout.fileno()
    # What poll says of a pipe holds for so many bytes; more could wait for a reader for ever.
    most = sys.maxsize if stat.S_ISREG(os.fstat(descriptor).st_mode) else select.PIPE_BUF
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def write(piece: memoryview) -> None:
        """Write all of `piece`. Raises Interrupted and WriteError."""
        while piece:
            if shell.ended:
                raise Interrupted("ended before all of it was written")
            if not poll.poll(_LOOK * 1000):
                continue
            try:
                piece = piece[os.write(descriptor, piece[:most]) :]
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise WriteError(f"stdout: {reason}", UNREAD) from error

    return write
