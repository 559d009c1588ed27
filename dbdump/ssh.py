"""Other machines over fabric: strict host keys, binary channels, SFTP. The only room that imports fabric."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from .errors import ConnectError
from .host import GRACE_SECONDS, Running, Stalled
from .script import Said
from .target import Settings

if TYPE_CHECKING:
    from fabric import Connection  # noqa: TID251  this is the room for it

_SEND_BYTES = 32768  # what OpenSSH takes in one packet
_WINDOW_BYTES = 8 << 20  # bytes on their way to us before we have read them


class FabricLink:
    """One account, reached by one connection that is opened when it is first needed, and again when it was lost."""

    def __init__(self, account: str, settings: Settings, jump: FabricLink | None = None) -> None:
        self.account = account
        self._settings = settings
        self._jump = jump
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def run(self, command: str, said: Said) -> Running:
        """Start `command` on a channel of its own. Raises ConnectError."""
        from paramiko import SSHException  # noqa: TID251, PLC0415  late: it is slow to import

        try:
            channel = self.transport().open_session(window_size=_WINDOW_BYTES, timeout=self._settings.connect_timeout)
            channel.exec_command(command)
        except (SSHException, OSError, EOFError) as error:
            raise ConnectError(f"{self.account}: no channel: {said_of(error)}", "Try it again.") from error
        return ChannelRunning(channel, said)

    def transport(self) -> Any:
        """Return paramiko's transport of the connection, which is opened where it is not open."""
        with self._lock:
            if self._connection is None or not self._connection.is_connected:
                self._connection = self._opened()
            return self._connection.transport

    def sftp(self) -> Any:
        """Return a new SFTP channel. Raises ConnectError."""
        from paramiko import SFTPClient, SSHException  # noqa: TID251, PLC0415

        try:
            return SFTPClient.from_transport(self.transport(), window_size=_WINDOW_BYTES)
        except (SSHException, OSError, EOFError) as error:
            raise ConnectError(f"{self.account}: no SFTP: {said_of(error)}") from error

    def close(self) -> None:
        """Close the connection, and with it all that runs over it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        if self._jump is not None:
            self._jump.close()

    def _opened(self) -> Connection:
        connection = self._made()
        try:
            connection.open()
        except Exception as error:  # paramiko raises its own, socket's, and what is neither
            with contextlib.suppress(Exception):
                connection.close()
            raise self._failure(error) from error
        if not self._jump and isinstance(sock := connection.transport.sock, socket.socket):
            # paramiko sends keepalives, but never misses an answer: the kernel does.
            silence = self._settings.alive_interval * self._settings.alive_count
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence * 1000)
        connection.transport.set_keepalive(self._settings.alive_interval)
        return connection

    def _made(self) -> Connection:
        from fabric import Config, Connection  # noqa: TID251, PLC0415
        from paramiko import RejectPolicy  # noqa: TID251, PLC0415

        told = self._settings
        connection = Connection(
            told.hostname, user=told.user, port=told.port, connect_timeout=told.connect_timeout,
            config=Config(overrides={"load_ssh_configs": False}, lazy=True),
            gateway=self._jump.connection() if self._jump else told.proxy_command or None, forward_agent=False,
            connect_kwargs={
                "key_filename": list(told.identities), "look_for_keys": False, "allow_agent": told.agent,
                "compress": told.compression, "banner_timeout": told.connect_timeout,
                "auth_timeout": told.connect_timeout,
            },
        )  # fmt: skip
        for file in told.known_hosts:
            connection.client.load_system_host_keys(file)
        connection.client.set_missing_host_key_policy(RejectPolicy())  # fabric's own policy takes any (FAULTS E10)
        return connection

    def connection(self) -> Connection:
        """Return the open connection, for the one behind it."""
        self.transport()
        if self._connection is None:
            raise RuntimeError("a connection that was just opened is not there")
        return self._connection

    def _failure(self, error: Exception) -> ConnectError:
        from paramiko import AuthenticationException, BadHostKeyException  # noqa: TID251, PLC0415

        told = self._settings
        port = "" if told.port == 22 else f"-p {told.port} "  # noqa: PLR2004  ssh's own
        look = f"ssh-keyscan {port}{told.hostname}"
        if isinstance(error, BadHostKeyException):
            return ConnectError(
                f"{self.account}: the host key has changed, or this is another machine",
                f"Ask its operator. If it is right, remove the old key from known_hosts and add the new one: {look}",
            )
        if "not found in known_hosts" in str(error):
            return ConnectError(
                f"{self.account}: host key verification failed: it is in no known_hosts file",
                f"Add it, and compare its fingerprint with its operator's: {look} >> ~/.ssh/known_hosts",
            )
        if isinstance(error, AuthenticationException):
            return ConnectError(
                f"{self.account}: permission denied: {said_of(error)}",
                "Put the public key into that account's authorized_keys; a key with a passphrase needs an agent.",
            )
        return ConnectError(
            f"{self.account}: no connection to {told.hostname} port {told.port}: {said_of(error)}",
            "Is the machine up, and sshd on that port?",
        )


def said_of(error: BaseException) -> str:
    """Return what an error of paramiko or of a socket says, or what it is."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__


class ChannelRunning:
    """A command on a channel of a connection; see Running."""

    def __init__(self, channel: Any, said: Said) -> None:
        self._channel = channel
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
                self._said.feed(channel.recv_stderr(65536))
            elif channel.recv_ready():
                piece = channel.recv(len(buffer))
                buffer[: len(piece)] = piece
                return len(piece)
            elif channel.eof_received or channel.closed:
                # Both are looked at once more: bytes that came before the end are bytes.
                if not (channel.recv_ready() or channel.recv_stderr_ready()):
                    self._said.feed(b"")
                    return 0
            elif not self._poll.poll(timeout * 1000):
                raise Stalled

    def write(self, piece: memoryview, timeout: float) -> None:
        """Write all of `piece` to stdin; see Running."""
        self._channel.settimeout(timeout)
        try:
            while piece:
                sent = self._channel.send(bytes(piece[:_SEND_BYTES]))
                if not sent:
                    raise BrokenPipeError("nobody reads there any more")
                piece = piece[sent:]
        except TimeoutError:
            raise Stalled from None

    def wait(self) -> int:
        """Return the exit status, -1 where the connection was lost before it came."""
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.005)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        self._channel.close()
        return int(status)

    def hang_up(self) -> None:
        """Send end-of-file: the script's watchdog ends it there."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def end(self) -> None:
        """End the command and all it started: its watchdog does, which hears of it."""
        self.hang_up()
        self._channel.close()

    def kill(self) -> None:
        """Close the channel."""
        self._channel.close()
