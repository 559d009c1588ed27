"""Other machines for the benchmark: sshd on ports of loopback, reached as whoever runs it, and a key of GnuPG."""

from __future__ import annotations

import getpass
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.process import program, wait_for
from servers.sshd import free_port

from .process import output, running

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile {directory}/client_key.pub
MaxStartups 100
MaxSessions 100
"""


@dataclass(frozen=True)
class Far:
    """REMOTE of each machine, the fingerprint of the key, and the variables that lead gpg to it."""

    remotes: tuple[str, ...]
    key: str
    environment: Mapping[str, str]


@contextmanager
def far(top: Path, count: int) -> Iterator[Far]:
    """Run `count` sshd with throw-away keys, and make a home for gpg; its agent ends with them."""
    (directory := top / "far").mkdir(mode=0o755)
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    with ExitStack() as stack:
        ports = [stack.enter_context(_sshd(directory)) for _ in range(count)]
        home = stack.enter_context(_gnupg(top / "gnupg"))
        public = (directory / "host_key.pub").read_text().split()[:2]
        known = directory / "known_hosts"
        known.write_text("".join(f"[127.0.0.1]:{port} {' '.join(public)}\n" for port in ports))
        listing = output([*_gpg(home), "--with-colons", "--list-keys"])
        key = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        yield Far(tuple(_remote(directory, port) for port in ports), key, {"GNUPGHOME": str(home)})


def _remote(directory: Path, port: int) -> str:
    return shlex.join(["-p", str(port), "-i", str(directory / "client_key"), "-o",
                       f"UserKnownHostsFile={directory}/known_hosts", f"{getpass.getuser()}@127.0.0.1"])  # fmt: skip


@contextmanager
def _sshd(directory: Path) -> Iterator[int]:
    port = free_port()
    config, log = directory / f"config-{port}", directory / f"log-{port}"
    config.write_text(_CONFIG.format(port=port, directory=directory))
    if not Path("/run/sshd").is_dir():  # of root's; Debian's sshd wants it
        Path("/run/sshd").mkdir()
    sshd = program("sshd", "openssh-server", "/usr/sbin")
    with running([sshd, "-D", "-e", "-f", str(config)], log, {}):
        wait_for(lambda: "Server listening" in log.read_text(), "sshd to listen")
        yield port


@contextmanager
def _gnupg(home: Path) -> Iterator[Path]:
    home.mkdir(mode=0o700)
    try:
        kind = ("future-default", "default", "never")
        output([*_gpg(home), "--passphrase", "", "--quick-generate-key", "bench@example.org", *kind])
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


def _gpg(home: Path) -> list[str]:
    return [program("gpg", "gnupg"), "--batch", "--quiet", "--pinentry-mode", "loopback", "--homedir", str(home)]
