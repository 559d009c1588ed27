"""What an ssh that ended before the command began has said, and what is made of it."""

from __future__ import annotations

import pytest

from dbdump.down import Absent
from dbdump.errors import ConnectError, ConnectionLost
from dbdump.openssh import OpenSSHLink
from dbdump.remote_shell import NoShell
from dbdump.ssh_words import parse_settings, settings_of

ANSWER = "hostname vault\nuser backup\nport 22\n"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Connection closed by 127.0.0.1 port 22", ConnectionLost),
        ("Connection to 127.0.0.1 port 22 timed out", ConnectionLost),
        ("Connection to vault closed by remote host", ConnectionLost),
        ("Timeout, server vault not responding", ConnectionLost),
        ("client_loop: send disconnect: Broken pipe", ConnectionLost),
        ("", ConnectionLost),
        ("ssh: connect to host vault port 22: Connection timed out", Absent),
        ("ssh: connect to host vault port 22: Connection refused", Absent),
        ("backup@vault: Permission denied (publickey)", ConnectError),
        ("This account is currently not available", NoShell),
    ],
)
def test_what_ssh_says(said, kind):
    """A connection that was lost is tried again, who is absent is not, and who has no shell may have SFTP."""
    link = OpenSSHLink(["backup@vault"], settings_of(parse_settings(ANSWER)))
    assert type(link.refusal(255, said)) is kind


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ssh: connect to host revoked1 port 22: Connection refused", "no connection: "),
        ("ssh: connect to host resolver1 port 22: Connection refused", "Is the machine up"),
        ("backup@revoked1: Permission denied (publickey)", "permission denied"),
        ("ssh: Could not resolve hostname revoked1: Name or service not known", "Is its name right?"),
        (
            "Host key ED25519 SHA256:x for vault marked as revoked in file /k; Host key verification failed",
            "was revoked",
        ),
        ("WARNING: REVOKED HOST KEY DETECTED!; Host key verification failed", "was revoked"),
    ],
)
def test_a_name_is_no_cause(said, told):
    """A host may be called as what could be wrong with another."""
    link = OpenSSHLink(["backup@vault"], settings_of(parse_settings(ANSWER)))
    error = link.refusal(255, said)
    assert told in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    "trouble",
    ["banner exchange: Connection to UNKNOWN port 65535: Broken pipe",
     "kex_exchange_identification: Connection closed by remote host"],
)  # fmt: skip
def test_what_was_said_before_is_why(trouble):
    """A ProxyCommand that cannot be run is seen by ssh in one way or the other."""
    link = OpenSSHLink(["backup@vault"], settings_of(parse_settings(ANSWER)))
    assert "no-such-program: not found" in link.refusal(255, f"sh: 1: no-such-program: not found; {trouble}").message


def test_nobody_by_a_name_of_resolve():
    """What another says of a host that is called so is its own."""
    link = OpenSSHLink(["backup@vault"], settings_of(parse_settings(ANSWER)))
    assert type(link.refusal(255, "Connection closed by resolver1 port 22")) is ConnectionLost
