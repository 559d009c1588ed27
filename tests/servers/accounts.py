"""Throw-away accounts of this machine, of every kind: each plays another one, that SSH leads to."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from servers.process import program, wait_for

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


@dataclass
class Accounts:
    """Accounts of this machine for as long as the tests run: one of each kind, with one client key."""

    directory: Path
    prefix: str
    chroots: Path
    uids: dict[str, int] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)  # by `directory_of`

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
        self.made.append(path)
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
            with self._finding(kind, top):
                yield

    @contextmanager
    def with_programs(self, kind: str, **texts: str) -> Iterator[None]:
        """Let sh scripts with these texts be found there before the programs of the same names."""
        with tempfile.TemporaryDirectory(dir=self.home(kind)) as top:
            Path(top).chmod(0o755)
            for name, text in texts.items():
                Path(top, name).write_text(f"#!/bin/sh\n{text}\n")
                Path(top, name).chmod(0o755)
            with self._finding(kind, f"{top}:/usr/bin:/bin"):
                yield

    @contextmanager
    def _finding(self, kind: str, path: str) -> Iterator[None]:
        environment = self.home(kind) / ".ssh" / "environment"
        environment.write_text(f"PATH={path}\n")
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

    try:
        wait_for(ended, f"whatever runs as {made.user(kind)} to end")  # else userdel leaves the account
    finally:
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
