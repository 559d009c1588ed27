"""What is between two machines: a relay that can be cut or go silent, and a link of its own that can go down."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from servers.accounts import Accounts
from servers.process import program
from servers.sshd import SSHD, free_port, running

_PIECE = 65536
_SOON = 'exec "$@" -o ClientAliveInterval=1 -o ClientAliveCountMax=2'  # that is when sshd gives a client up


class Relay:
    """Passes bytes on between a port of its own and another, until it is cut or frozen; counts them in `passed`.

    Each piece waits for `delay` seconds, as on a long line.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.passed = 0
        self.delay = 0.0
        self._last = float("inf")  # bytes after which it freezes by itself
        self._counting = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", free_port()))
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._going = threading.Event()
        self._going.set()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for each in tuple(self._open):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def freeze(self) -> None:
        """Pass nothing on any more, and close nothing."""
        self._going.clear()

    def freeze_after(self, more: int) -> None:
        """Freeze by itself, when so many more bytes have passed, or some more."""
        self._last = self.passed + more

    @property
    def frozen(self) -> bool:
        """Whether it passes nothing on."""
        return not self._going.is_set()

    def thaw(self) -> None:
        """Pass on what came meanwhile, and all that comes."""
        self._going.set()

    def close(self) -> None:
        """End it, if it is not ended yet."""
        if self._server.fileno() < 0:
            return
        self._going.set()
        self.go_away()

    def go_away(self) -> None:
        """Reset every connection, and refuse new ones."""
        # Closing wakes nobody who waits in accept, and its descriptor may soon be that of another relay.
        with suppress(OSError):  # it is away already
            self._server.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._server.close()
        self.cut()

    def come_back(self) -> None:
        """Take new connections again."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._open |= {client, server}
                threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with client, server, suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([client, server], [], [], 1)
                self._going.wait()
                for each in ready:
                    piece = each.recv(_PIECE)
                    if not piece:
                        return
                    time.sleep(self.delay)
                    other[each].sendall(piece)
                    with self._counting:
                        self.passed += len(piece)
                        if self.passed >= self._last:
                            self._last = float("inf")
                            self.freeze()


@pytest.fixture
def relay(sshd: SSHD) -> Iterator[tuple[Relay, SSHD]]:
    """A relay to the session's sshd, and that sshd as it is reached through it."""
    made = Relay(sshd.port)
    try:
        yield made, sshd.through(made.port)
    finally:
        made.close()


@dataclass
class Link:
    """An sshd in a network namespace, and the link to it."""

    name: str
    sshd: SSHD

    def down(self) -> None:
        """Let everything that is sent vanish."""
        _ip("link", "set", f"{self.name}0", "down")

    def up(self) -> None:
        """Let it arrive again."""
        _ip("link", "set", f"{self.name}0", "up")


@pytest.fixture
def link(accounts: Accounts, tmp_path) -> Iterator[Link]:
    """A machine that is reached by a link of its own."""
    name, net = f"dbd{os.getpid() % 10000}", f"10.213.{os.getpid() % 250}"
    inside = (program("ip", "iproute2", "/usr/sbin", "/sbin"), "netns", "exec", name)
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1", "netns", name)
        stack.callback(_ip, "link", "del", f"{name}0")
        _ip("addr", "add", f"{net}.1/30", "dev", f"{name}0")
        _ip("link", "set", f"{name}0", "up")
        subprocess.run([*inside, "ip", "addr", "add", f"{net}.2/30", "dev", f"{name}1"], check=True)
        subprocess.run([*inside, "ip", "link", "set", f"{name}1", "up"], check=True)
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        soon = (*inside, "sh", "-c", _SOON, "sh")
        sshd = stack.enter_context(running(accounts, accounts.directory / name, f"{net}.2", inside=soon))
        stack.callback(_end_all, name)
        yield Link(name, sshd)


def _end_all(name: str) -> None:
    """End what runs behind a link that is down: nobody tells it, and it would keep the link."""
    pids = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True).stdout
    for pid in map(int, pids.split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ip(*arguments: str) -> None:
    subprocess.run([program("ip", "iproute2", "/usr/sbin", "/sbin"), *arguments], check=True)
