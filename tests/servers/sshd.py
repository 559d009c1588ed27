"""A real sshd on a port of loopback, with throw-away accounts of every kind."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from servers.process import STARTING, program, served, stop, wait_for

_APPLETS = ("sh", "cat", "cd", "chmod", "cut", "dd", "find", "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mv",
            "printf", "rm", "sed", "sha256sum", "sleep", "stat", "sync", "tee", "tail", "touch", "tr", "true",
            "wc")  # fmt: skip
_BARE = tuple(each for each in _APPLETS if each != "sha256sum")

# Each kind of account: its login shell, and what its start-up file says.
_SHELLS = {
    "bash": "/bin/bash",
    "dash": "/bin/dash",
    "fish": "/usr/bin/fish",
    "tcsh": "/usr/bin/tcsh",
    "rbash": "/bin/rbash",
    "chatty": "/bin/bash",
    "slow": "/bin/bash",
    "busybox": "/bin/bash",
    "bare": "/bin/bash",
    "sftp": "/bin/bash",
    "chroot": "/usr/sbin/nologin",
    "forced": "/bin/bash",
    "nologin": "/usr/sbin/nologin",
    "sudoer": "/bin/bash",
}
_START_UP = {
    "chatty": "echo 'Welcome to error: the vault!'; echo warning: denied >&2; printf 'no line end'\n",
    "slow": "sleep 0.3\n",
}

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
class Accounts:
    """Accounts of this machine for as long as the tests run: one of each kind, with one client key."""

    directory: Path
    prefix: str
    chroots: Path
    uids: dict[str, int] = field(default_factory=dict)

    @property
    def client_key(self) -> Path:
        """The private key that all of them accept."""
        return self.directory / "client_key"

    def user(self, kind: str) -> str:
        """The name of the account of that kind; root is root, who may only come in where it is `let_in`."""
        return kind if kind == "root" else f"{self.prefix}-{kind}"

    def home(self, kind: str) -> Path:
        """Its home, with an empty `dumps` in it; that of `chroot` is root's, and all that the account sees."""
        return (self.chroots if kind == "chroot" else self.directory / "homes") / kind

    def directory_of(self, kind: str, name: str) -> Path:
        """Make an empty directory of that account, and return its path."""
        path = self.home(kind) / "dumps" / name
        path.mkdir(mode=0o700)
        self.own(kind, path)
        return path

    def own(self, kind: str, path: Path) -> None:
        """Make a file, or a directory and all below it, that account's."""
        subprocess.run(["chown", "-R", f"{self.user(kind)}:", path], check=True)

    @contextmanager
    def without(self, kind: str, *programs: str) -> Iterator[None]:
        """Let none of `programs` be on that account's PATH."""
        with tempfile.TemporaryDirectory(dir=self.home(kind)) as top:
            Path(top).chmod(0o755)
            for path in Path("/usr/bin").iterdir():
                if path.name not in programs:
                    (Path(top) / path.name).symlink_to(path)
            environment = self.home(kind) / ".ssh" / "environment"
            environment.write_text(f"PATH={top}\n")
            try:
                yield
            finally:
                environment.unlink()

    @contextmanager
    def with_programs(self, kind: str, **texts: str) -> Iterator[None]:
        """Let sh scripts with these texts be found there before the programs of the same names."""
        with tempfile.TemporaryDirectory(dir=self.home(kind)) as top:
            Path(top).chmod(0o755)
            for name, text in texts.items():
                Path(top, name).write_text(f"#!/bin/sh\n{text}\n")
                Path(top, name).chmod(0o755)
            environment = self.home(kind) / ".ssh" / "environment"
            environment.write_text(f"PATH={top}:/usr/bin:/bin\n")
            try:
                yield
            finally:
                environment.unlink()

    def processes(self, kind: str) -> list[int]:
        """Return the processes that run as it."""
        return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _owner(pid) == self.uids[kind]]


def _owner(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return -1
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return -1 if fields["State"].startswith("Z") else int(fields["Uid"].split()[1])


@pytest.fixture(scope="session")
def accounts() -> Iterator[Accounts]:
    """The accounts, removed at the end of the session."""
    if os.geteuid() != 0:
        pytest.skip("only root makes accounts")
    with ExitStack() as stack:
        # sshd shuts nobody in below /tmp, where others can write.
        directory, chroots = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbdump-ssh-", dir=top)))
            for top in ("/tmp", "/run")
        )
        for each in (directory, chroots):
            each.chmod(0o755)
        made = Accounts(directory, f"d{os.getpid() % 100000}", chroots)
        for name in ("client_key", "host_key", "other_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        (directory / "keys").mkdir()
        for kind in _SHELLS:
            stack.callback(_remove, made, kind)
            _add(made, kind)
        yield made


def _add(made: Accounts, kind: str) -> None:
    home, user = made.home(kind), made.user(kind)
    home.mkdir(parents=True)
    shell = program(Path(_SHELLS[kind]).name, kind, "/usr/sbin")
    with _alone():
        subprocess.run(["useradd", "-M", "-d", home, "-s", shell, "-p", "*", user], check=True, capture_output=True)
    made.uids[kind] = int(subprocess.run(["id", "-u", user], check=True, capture_output=True, text=True).stdout)
    for path in (home / ".ssh", home / "dumps"):
        path.mkdir(mode=0o700)
    (home / ".bashrc").write_text(_START_UP.get(kind, ""))
    if kind == "chatty":  # of a login shell, which nobody asks for
        (home / ".bash_profile").write_text("echo WELCOME\n")
    key = (made.directory / "client_key.pub").read_text()
    forced = 'command="cat >/dev/null" ' if kind == "forced" else ""
    (made.directory / "keys" / user).write_text(forced + key)
    if kind in ("busybox", "bare"):
        applets = home / "bin"
        applets.mkdir()
        for name in _APPLETS if kind == "busybox" else _BARE:
            # Its own sh would find its own sha256sum, whatever is on PATH.
            of = "dash" if (kind, name) == ("bare", "sh") else "busybox"
            (applets / name).symlink_to(program(of, "busybox-static"))
        (home / ".ssh" / "environment").write_text(f"PATH={applets}\n")
        (home / ".bashrc").write_text(f"PATH={applets}\n")
    subprocess.run(["chown", "-R", f"{user}:", home], check=True)
    if kind == "chroot":
        shutil.chown(home, "root")
        home.chmod(0o755)


def _remove(made: Accounts, kind: str) -> None:
    def ended() -> bool:
        for pid in (pids := made.processes(kind) if kind in made.uids else []):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_for(ended, f"whatever runs as {made.user(kind)} to end")  # else userdel leaves the account
    with _alone():
        subprocess.run(["userdel", made.user(kind)], check=False, capture_output=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other worker changes accounts: useradd itself waits for 15 s, and then fails."""
    directory = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


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
