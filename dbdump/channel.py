"""A command on a channel of an SSH connection: its bytes, both ways, and how it ends."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from typing import Any

from .errors import ConnectionLost
from .script import Said
from .shell import GRACE_SECONDS, Stalled

_SEND_BYTES = 32768  # what OpenSSH takes in one packet
LOST_HINT = "Its sshd or the network ended it; see the log there."


def closed(channel: Any) -> None:
    """Close a channel, also of a connection that is gone: paramiko raises what it could not send."""
    with contextlib.suppress(Exception):
        channel.close()


class ChannelRunning:
    """A command on a channel of a connection; see Running."""

    def __init__(self, channel: Any, said: Said, account: str) -> None:
        self._channel = channel
        self._account = account
        self._said = said
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    @property
    def ended(self) -> bool:
        """Whether the command is known to have ended."""
        return bool(self._channel.closed or self._channel.exit_status_ready())

    def read_into(self, buffer: memoryview, timeout: float) -> int:
        """Read the next bytes of stdout, drain stderr; see Running."""
        channel = self._channel
        while True:
            if channel.recv_stderr_ready():
                self._said.feed(self._received(channel.recv_stderr, 65536))
            elif channel.recv_ready():
                piece = self._received(channel.recv, len(buffer))
                buffer[: len(piece)] = piece
                return len(piece)
            elif channel.eof_received or channel.closed:
                # Both are looked at once more: bytes that came before the end are bytes.
                if not (channel.recv_ready() or channel.recv_stderr_ready()):
                    self._said.feed(b"")
                    return 0
            elif not self._poll.poll(timeout * 1000):
                raise Stalled

    def _received(self, receive: Callable[[int], bytes], most: int) -> bytes:
        try:
            return receive(most)
        except Exception as error:  # paramiko also sends then, that there is room again: what it raises is anything
            raise ConnectionLost(f"{self._account}: connection lost", LOST_HINT) from error

    def write(self, piece: memoryview, timeout: float) -> None:
        """Write all of `piece` to stdin; see Running."""
        self._channel.settimeout(timeout)
        while piece:
            piece = piece[self._send(bytes(piece[:_SEND_BYTES])) :]

    def _send(self, piece: bytes) -> int:
        try:
            sent = int(self._channel.send(piece))
        except TimeoutError:
            raise Stalled from None
        except OSError:
            raise
        except Exception as error:  # EOFError, or paramiko's own
            raise BrokenPipeError(f"the connection is gone: {error}") from error
        if not sent:
            raise BrokenPipeError("nobody reads there any more")
        return sent

    def wait(self) -> int:
        """Return the exit status. Raises ConnectionLost where none came, as for what was killed there."""
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.005)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        closed(self._channel)
        if status < 0:
            raise ConnectionLost(f"{self._account}: connection lost", LOST_HINT)
        return int(status)

    def hang_up(self) -> None:
        """Send end-of-file: the script's watchdog ends it there."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def end(self) -> None:
        """End the command and all it started: its watchdog does, which hears of it."""
        self.hang_up()
        closed(self._channel)

    def kill(self) -> None:
        """Close the channel."""
        closed(self._channel)
