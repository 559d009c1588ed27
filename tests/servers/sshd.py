"""A real sshd on a port of loopback, for the accounts of accounts.py."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from servers.accounts import Accounts
from servers.process import STARTING, program, served, stop, wait_for

_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {directory}/keys/%u
MaxStartups 100
MaxSessions {sessions}
PermitUserEnvironment yes
Subsystem sftp internal-sftp
Match User {prefix}-sftp,{prefix}-chroot
  ForceCommand internal-sftp
Match User {prefix}-chroot
  ChrootDirectory %h
"""


_NUMBERS = count()


def free_port() -> int:
    """Return a port of loopback that nobody listens on: one of this process's, that the kernel gives to nobody else."""
    while True:
        port = 12_000 + os.getpid() % 180 * 100 + next(_NUMBERS) % 100  # below ip_local_port_range
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class SSHD:
    """An sshd that runs."""

    accounts: Accounts
    directory: Path
    address: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def known_hosts(self) -> Path:
        """The file that has its host key."""
        return self.directory / "known_hosts"

    def remote(self, kind: str, *more: str) -> str:
        """Return REMOTE for an account, with `more` options before all others."""
        options = ["-p", str(self.port), "-i", str(self.accounts.client_key),
                   "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none"]  # fmt: skip
        return shlex.join([*more, *options, f"{self.accounts.user(kind)}@{self.address}"])

    def through(self, port: int) -> SSHD:
        """Return it as it is reached through another port."""
        directory = self.directory / str(port)
        directory.mkdir(exist_ok=True)  # a port that another test had
        made = replace(self, directory=directory, port=port)
        made.know()
        return made

    def know(self, key: str = "host_key") -> None:
        """Write known_hosts, with this or another key."""
        public = (self.accounts.directory / f"{key}.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {' '.join(public)}\n")

    def let_in(self, user: str) -> None:
        """Let the client key in as any user of this machine."""
        shutil.copy(self.accounts.directory / "client_key.pub", self.directory / "keys" / user)

    @property
    def logins(self) -> int:
        """How many connections it has accepted so far."""
        return (self.directory / "log").read_bytes().count(b"Accepted publickey")

    def sessions(self, kind: str) -> list[int]:
        """Return the processes of sshd that serve an account."""
        found = subprocess.run(["pgrep", "-f", f"^sshd: {self.accounts.user(kind)}"], check=False,
                               capture_output=True, text=True)  # fmt: skip
        return list(map(int, found.stdout.split()))

    def signal(self, kind: str, number: int) -> None:
        """Send a signal to all of these; where one has taken another along, that is as well."""
        for pid in self.sessions(kind):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def running(accounts: Accounts, directory: Path, address: str = "127.0.0.1", sessions: int = 100,
            inside: tuple[str, ...] = ()) -> Iterator[SSHD]:  # fmt: skip
    """Run an sshd of its own, in the network namespace that the command `inside` enters."""
    Path("/run/sshd").mkdir(exist_ok=True)
    directory.mkdir(exist_ok=True)
    port = free_port()
    shutil.copy(accounts.directory / "host_key", directory)
    shutil.copytree(accounts.directory / "keys", directory / "keys", dirs_exist_ok=True)
    config = directory / "sshd_config"
    config.write_text(_CONFIG.format(port=port, address=address, directory=directory, sessions=sessions,
                                     prefix=accounts.prefix))  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = served(subprocess.Popen(
            [*inside, program("sshd", "openssh-server", "/usr/sbin"), "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        ))  # fmt: skip
    made = SSHD(accounts, directory, address, port, process)
    made.know()
    try:
        wait_for(lambda: b"Server listening" in (directory / "log").read_bytes(), "sshd to listen", STARTING)
        yield made
    finally:
        stop(process)


@pytest.fixture(scope="session")
def sshd(accounts: Accounts) -> Iterator[SSHD]:
    """An sshd for the whole session."""
    with running(accounts, accounts.directory / "sshd") as made:
        yield made


@pytest.fixture
def own_sshd(accounts: Accounts) -> Iterator[Callable[..., SSHD]]:
    """Start an sshd for one test, which may do to it what it likes."""
    with ExitStack() as stack:
        # Not below tmp_path, where the accounts themselves may not look for their keys.
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="own-", dir=accounts.directory)))
        top.chmod(0o755)
        numbers = count()
        yield lambda **more: stack.enter_context(running(accounts, top / str(next(numbers)), **more))
