"""Other machines over fabric: strict host keys, binary channels, SFTP. The only room that imports fabric."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .channel import LOST_HINT, ChannelRunning, closed
from .connect_errors import absent, changed_key, denied, open_to_others, own_name, unknown_key
from .down import Down
from .errors import ConnectError, ConnectionLost
from .known_hosts import known_keys
from .remote_shell import NoShell
from .script import Said
from .shell import Running
from .ssh_line import address_of
from .ssh_words import Settings

if TYPE_CHECKING:
    from fabric import Connection  # noqa: TID251  this is the room for it

_WINDOW_BYTES = 8 << 20  # bytes on their way to us before we have read them


class FabricLink:
    """One account, reached by one connection that is opened when it is first needed, and again when it was lost.

    Where its sshd allows no more channels on it (MaxSessions), there is one more.
    """

    def __init__(self, account: str, settings: Settings, jump: FabricLink | None = None) -> None:
        self.account = account
        self.address = address_of(settings)
        self.start_timeout = settings.start_timeout
        self._settings = settings
        self._jump = jump
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._down = Down()

    def starting(self) -> contextlib.nullcontext[None]:
        """Return nothing to wait for: one connection is made, and all commands run on it."""
        return contextlib.nullcontext()

    def run(self, command: str, said: Said, *, alone: bool = False) -> Running:  # noqa: ARG002  there is no choice
        """Start `command` on a channel of its own. Raises ConnectError."""
        from paramiko import SSHException  # noqa: TID251, PLC0415  late: it is slow to import

        channel = self._channel()
        try:
            channel.exec_command(command)
        except (SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error
        return ChannelRunning(channel, said, self.account)

    def sftp(self) -> Any:
        """Return a new SFTP session. Raises ConnectError."""
        channel = self._channel()
        try:
            channel.settimeout(self.start_timeout)
            with in_words(self.account):
                channel.invoke_subsystem("sftp")
            return sftp_over(channel, self.account)
        except ConnectionLost as error:
            closed(channel)
            raise ConnectError(f"{self.account}: no SFTP: {error.message}", "Allow a shell or SFTP there.") from error

    def refusal(self, status: int, said: str) -> ConnectError:  # noqa: ARG002  sshd has its own words
        """Return what to raise for a command that ended before it began."""
        return NoShell(self.account, said)

    def close(self) -> None:
        """Close the connections, and with them all that runs over them."""
        with self._lock:
            for each in self._connections:
                each.close()
            self._connections.clear()
        if self._jump is not None:
            self._jump.close()

    def connection(self) -> Connection:
        """Return an open connection, for the one behind it."""
        with self._lock:
            return next(self._open_ones())

    def _channel(self) -> Any:
        """Return a new channel, on a further connection where those that are open allow no more."""
        from paramiko import ChannelException, SSHException  # noqa: TID251, PLC0415

        lost: ConnectionLost | None = None
        with self._lock:
            for connection in self._open_ones():
                try:
                    return connection.transport.open_session(
                        window_size=_WINDOW_BYTES, timeout=self._settings.connect_timeout
                    )
                except ChannelException:
                    continue  # as past MaxSessions; OpenSSH's own words and code for it are those of any failure
                except (SSHException, OSError, EOFError) as error:
                    lost = self._lost(error)  # or it hangs: another may not, and nothing was begun
        if lost is not None:
            raise lost
        raise ConnectError(f"{self.account}: its sshd opens no session", "See MaxSessions in its sshd_config.")

    def _open_ones(self) -> Iterator[Connection]:
        """Yield the connections that are open, and then a new one."""
        self._connections = [each for each in self._connections if each.is_connected]
        yield from tuple(reversed(self._connections))  # the first may be full
        self._down.check()
        try:
            self._connections.append(self._opened())
        except ConnectError as error:
            raise self._down.note(error) from error
        self._down.over()
        yield self._connections[-1]

    def _lost(self, error: Exception) -> ConnectionLost:
        return ConnectionLost(f"{self.account}: connection lost: {said_of(error)}", LOST_HINT)

    def _opened(self) -> Connection:
        connection = self._made()
        try:
            connection.open()
        except Exception as error:  # paramiko raises its own, socket's, and what is neither
            transport = connection.client.get_transport()
            there = transport is not None and transport.is_active() and transport.initial_kex_done
            with contextlib.suppress(Exception):
                connection.client.close()  # fabric's own close does nothing before all is there
            raise self._failure(error, there=there) from error
        if not self._jump and isinstance(sock := connection.transport.sock, socket.socket):
            # paramiko sends keepalives, but never misses an answer: the kernel does.
            silence = self._settings.alive_interval * self._settings.alive_count
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence * 1000)
            # Else a request whose data follows waits 40 ms: for the acknowledgement that the far kernel puts off.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.transport.set_keepalive(self._settings.alive_interval)
        if self._jump:
            _ask_for_answers(connection.transport, self._settings)
        return connection

    def _made(self) -> Connection:
        logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what matters is raised, and told once
        from fabric import Config, Connection  # noqa: TID251, PLC0415
        from paramiko import PKey, RejectPolicy  # noqa: TID251, PLC0415

        told = self._settings
        connection = Connection(
            told.hostname, user=told.user, port=told.port, connect_timeout=told.connect_timeout,
            config=Config(overrides={"load_ssh_configs": False}, lazy=True),
            gateway=self._jump.connection() if self._jump else None, forward_agent=False,
            connect_kwargs={
                "key_filename": [key for key in told.identities if not _open_to_others(key)],
                "look_for_keys": False, "allow_agent": told.agent,
                "compress": told.compression, "banner_timeout": told.connect_timeout,
                "auth_timeout": told.connect_timeout, "transport_factory": _transport,
            },
        )  # fmt: skip
        keys = connection.client.get_host_keys()
        for name, kind, key in chain.from_iterable(map(known_keys, told.known_hosts)):
            with contextlib.suppress(Exception):  # of a kind that paramiko does not know, or broken
                keys.add(name, kind, PKey.from_type_string(kind, key))
        connection.client.set_missing_host_key_policy(RejectPolicy())  # fabric's own policy takes any key
        return connection

    def _failure(self, error: Exception, *, there: bool) -> ConnectError:
        """Return what to raise; with `there` the machine is the right one, and still listens."""
        from paramiko import AuthenticationException, BadHostKeyException  # noqa: TID251, PLC0415

        told = self._settings
        if isinstance(error, BadHostKeyException):
            return changed_key(self.account, told, own_name(told))
        if "not found in known_hosts" in str(error):
            return unknown_key(self.account, told, own_name(told), "it is in no known_hosts file")
        silent = isinstance(error, TimeoutError) or "Authentication timeout" in str(error)  # paramiko's own words
        if there and silent:
            said = f"its sshd did not answer the login for {told.connect_timeout} s"
            return absent(self.account, said, unnamed=False)
        if there or isinstance(error, AuthenticationException):
            bad = next(filter(_open_to_others, told.identities), None)
            return denied(self.account, told, said_of(error)) if bad is None else open_to_others(self.account, bad)
        said = f"no connection to {told.hostname} port {told.port}: {said_of(error)}"
        return absent(self.account, said, unnamed=isinstance(error, socket.gaierror))


def _transport(sock: Any, **more: Any) -> Any:
    """Return paramiko's transport with AES-GCM as its first choice of ciphers: it is last in paramiko's own order.

    The bytes are authenticated on the way, not by an HMAC of their own: 182 MB/s instead of 102 on one core.
    """
    from paramiko import Transport  # noqa: TID251, PLC0415

    transport = Transport(sock, **more)
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "-gcm@" not in name)
    return transport


def _ask_for_answers(transport: Any, settings: Settings) -> None:
    """Have its keepalives answered, or end it: the kernel sees the machine in between, and not the one behind it."""
    from paramiko import Message  # noqa: TID251, PLC0415

    asked: threading.Event | None = None
    missed = 0

    def ask() -> None:
        """Ask whether it is there, in the thread that reads. Raises EOFError after so many intervals without answer."""
        nonlocal asked, missed
        if asked is not None and not asked.is_set():
            missed += 1
            if missed >= settings.alive_count:
                raise EOFError
            return
        missed, asked = 0, threading.Event()
        transport.completion_event = asked  # which paramiko sets at the answer
        message = Message()
        message.add_byte(b"P")  # SSH_MSG_GLOBAL_REQUEST, RFC 4254, section 9
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)  # noqa: FBT003  it wants an answer
        # paramiko has no public name for it: its own request waits for no answer, or in this thread for ever.
        transport._send_user_message(message)  # noqa: SLF001

    transport.packetizer.set_keepalive(settings.alive_interval, ask)


def _open_to_others(key: str) -> bool:
    """Whether a private key is one that ssh would not use either."""
    return bool(Path(key).stat().st_mode & 0o077)


def said_of(error: BaseException) -> str:
    """Return what an error of paramiko or of a socket says, or what it is."""
    if isinstance(error, TimeoutError):
        return "timed out"
    words = error.strerror if isinstance(error, OSError) else ""
    return words or str(error) or type(error).__name__


def sftp_over(channel: Any, account: str) -> Any:
    """Return paramiko's SFTP client over what sends and receives: a channel, or a program's stdin and stdout."""
    from paramiko import SFTPClient  # noqa: TID251, PLC0415

    with in_words(account):
        return SFTPClient(channel)


def settled(sftp: Any, file: Any) -> None:
    """Wait for the answer to every write of a pipelined file. Raises OSError where one of them was refused."""
    # paramiko has no public name for it, and throws away what has not been answered when the file is closed.
    while file._reqs:  # noqa: SLF001
        sftp._read_response(file._reqs.popleft())  # noqa: SLF001


def synced(sftp: Any, file: Any) -> bool:
    """Have an open file written to its disk; return False where that server cannot, as RFC drafts of SFTP have none."""
    from paramiko.sftp import CMD_EXTENDED  # noqa: TID251, PLC0415

    try:
        # What paramiko has no public name for; OpenSSH's PROTOCOL, section 4.7.
        sftp._request(CMD_EXTENDED, "fsync@openssh.com", file.handle)  # noqa: SLF001
    except OSError as error:
        if "unsupported" in str(error).lower():
            return False
        raise
    return True


def room(sftp: Any, path: str) -> tuple[int, bool] | None:
    """Return the free bytes of a file system, and whether it is read-only; None where that server cannot tell."""
    from paramiko.sftp import CMD_EXTENDED  # noqa: TID251, PLC0415

    try:
        # As above; OpenSSH's PROTOCOL, section 4.4: eleven numbers.
        _, told = sftp._request(CMD_EXTENDED, "statvfs@openssh.com", path.encode("utf-8", "surrogateescape"))  # noqa: SLF001
    except OSError as error:
        if "unsupported" in str(error).lower():
            return None
        raise
    _, size, _, _, available, _, _, _, _, flags, _ = (told.get_int64() for _ in range(11))
    return size * available, bool(flags & 1)


@contextlib.contextmanager
def in_words(account: str) -> Iterator[None]:
    """Turn what paramiko raises over a connection that is lost, or stuck, into ConnectionLost."""
    from paramiko import SFTPError, SSHException  # noqa: TID251, PLC0415

    try:
        yield
    except (SSHException, EOFError, SFTPError, OSError) as error:
        told = isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError)
        if told and str(error) != "Socket is closed":  # paramiko's own words
            raise
        raise ConnectionLost(f"{account}: connection lost: {said_of(error)}", LOST_HINT) from error
