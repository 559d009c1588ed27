"""A real GnuPG home with keys of every kind, made once for the session; its agent ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from servers.accounts import Accounts
from servers.process import program, wait_for

_LONG_AGO = "20200101T000000"


@dataclass
class GnuPG:
    """A home, and the fingerprints of its keys by the names of their owners."""

    home: Path
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead gpg to it."""
        return {**os.environ, "GNUPGHOME": str(self.home)}

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        """Run gpg in it, and return what it writes."""
        argv = [program("gpg", "gnupg"), "--batch", "--no-tty", *arguments]
        done = subprocess.run(argv, env=self.environment, input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def make(self, name: str, algorithm: str, secret: str = "", address: str = "", *more: str,
             expires: str = "never") -> None:  # fmt: skip
        """Make a key of `name`@example.org, or of another address."""
        user = f"{name} <{address or name + '@example.org'}>"
        self.gpg("--pinentry-mode", "loopback", "--passphrase", secret, *more, "--quick-generate-key", user, algorithm,
                 "default", expires)  # fmt: skip
        self.keys[name] = self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint of the key with `name` in its user id."""
        listing = self.gpg("--with-colons", "--list-keys", f"{name} <").decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def subkeys(self, name: str, can: str) -> list[str]:
        """Return the fingerprints of a key's subkeys that can sign, `s`, or encrypt, `e`."""
        lines = [line.split(":") for line in self.gpg("--with-colons", "--list-keys", f"{name} <").decode().split("\n")]
        return [fpr[9] for sub, fpr in pairwise(lines) if sub[0] == "sub" and can in sub[11]]

    def stop(self) -> None:
        """End its agent."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="session")
def gnupg() -> Iterator[GnuPG]:
    """The home of the tests: good keys, and one of each kind that is not."""
    with tempfile.TemporaryDirectory(prefix="dbdump-gpg-", dir="/tmp") as top:  # short, for the agent's socket
        made = GnuPG(Path(top))
        # How often a passphrase is hashed: by itself the agent measures that, for some seconds.
        (made.home / "gpg-agent.conf").write_text("s2k-count 65536\n")
        try:
            for name in ("signer", "ops", "second", "revoked"):
                made.make(name, "future-default")
            made.make("rsa", "rsa2048")
            made.gpg("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", made.keys["rsa"],
                     "rsa2048", "encr", "never")  # fmt: skip
            made.make("parts", "ed25519/cert")
            for algorithm, use in (("ed25519", "sign"), ("cv25519", "encr")) * 2:
                made.gpg("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", made.keys["parts"],
                         algorithm, use, "never")  # fmt: skip
            made.make("guarded", "future-default", secret="a secret")
            for name in ("twin", "other twin"):
                made.make(name, "future-default", address="twins@example.org")
            made.make("signonly", "ed25519/sign")
            made.make("expired", "future-default", "", "", "--faked-system-time", _LONG_AGO, expires="1m")
            _revoke(made)
            made.stop()  # no passphrase is remembered
            yield made
        finally:
            made.stop()


def _revoke(made: GnuPG) -> None:
    certificate = made.home / "openpgp-revocs.d" / f"{made.keys['revoked']}.rev"
    text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    made.gpg("--import", data=text.encode())


@contextmanager
def ring_of(made: GnuPG, accounts: Accounts, kind: str) -> Iterator[Path]:
    """Let an account have all keys as its own, for as long as they are needed; its agent ends with that."""
    home = accounts.home(kind) / ".gnupg"
    shutil.copytree(made.home, home, ignore=shutil.ignore_patterns("S.*"))
    accounts.own(kind, home)
    try:
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, user=accounts.user(kind))
        wait_for(lambda: not accounts.processes(kind), "the agent to end")  # it removes its own sockets
        shutil.rmtree(home)


@pytest.fixture
def private_home(gnupg: GnuPG) -> Iterator[GnuPG]:
    """A copy of the home, for one test to spoil."""
    with tempfile.TemporaryDirectory(prefix="dbdump-gpg-", dir="/tmp") as top:
        home = Path(top) / "h"
        shutil.copytree(gnupg.home, home, ignore=shutil.ignore_patterns("S.*"))
        made = GnuPG(home, dict(gnupg.keys))
        try:
            yield made
        finally:
            made.stop()
