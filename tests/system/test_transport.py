"""What REMOTE may hold, with a real sshd: each option works, over the transport that can honour it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from itertools import count
from pathlib import Path

import pytest
from servers.process import program, stop, wait_for
from support import COMMAND, files

from dbdump import Remote
from dbdump.down import Absent
from dbdump.errors import ConnectError
from dbdump.script import Said
from dbdump.testing import dump_name, store

KIND = "dash"
TRANSPORTS = ("fabric", "openssh")
numbers = count()


@pytest.fixture
def goes_by(reach, monkeypatch):
    """Store a dump there, and return the name of the link that it went by; no agent is told of."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def stored(remote: str, transport: str = "fabric") -> str:
        to = Remote(remote, "dumps", transport=transport).bound(reach)
        store(to, dump_name(f"transport{next(numbers)}"), b"whole")
        return type(reach.links.shell(remote, transport).link).__name__.removesuffix("Link")

    return stored


@pytest.fixture
def config(sshd, tmp_path):
    """An ssh_config with ways to one account: a gate, behind it a vault, and the gate by its number."""
    path = tmp_path / "config"
    path.write_text(f"""
Host *
  HostName 127.0.0.1
  Port {sshd.port}
  User {sshd.accounts.user(KIND)}
  IdentityFile {sshd.accounts.client_key}
  UserKnownHostsFile {sshd.known_hosts}
Host vault
  ProxyJump gate
""")
    return path


@pytest.mark.parametrize(
    ("option", "link"),
    [
        ("-C", "Fabric"),
        ("-o ConnectTimeout=5", "Fabric"),
        ("-qTax", "Fabric"),
        ("-o IdentitiesOnly=yes", "Fabric"),
        ("-o StrictHostKeyChecking=no", "Fabric"),
        ("-o ProxyCommand=none -o ProxyJump=none", "Fabric"),
        ("-4", "OpenSSH"),
        ("-4c aes128-ctr", "OpenSSH"),
        ("-oCiphers=aes128-ctr", "OpenSSH"),
        ("-b 127.0.0.1", "OpenSSH"),
        ("-K", "OpenSSH"),
        ("-o ConnectionAttempts=2", "OpenSSH"),
        ("-m hmac-sha2-256", "OpenSSH"),
        ("-o HostKeyAlgorithms=ssh-ed25519", "OpenSSH"),
        ("-A", "OpenSSH"),
        ("-o ForwardAgent=no -A", "Fabric"),
        ("-o CheckHostIP=yes", "OpenSSH"),
        ("-o VerifyHostKeyDNS=yes", "OpenSSH"),
        ("-o PreferredAuthentications=keyboard-interactive,publickey", "Fabric"),
    ],
)
def test_an_option_is_honoured(sshd, goes_by, option, link):
    """Fabric is told what it can do; what it cannot, OpenSSH does."""
    assert goes_by(sshd.remote(KIND, *shlex.split(option))) == link


def test_a_way_to_log_in_is_no_other(sshd, goes_by):
    """Who rules keys out is not let in by one."""
    with pytest.raises(ConnectError, match="permission denied"):
        goes_by(sshd.remote(KIND, "-o", "PreferredAuthentications=keyboard-interactive"))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_files_are_looked_for_where_it_is_run(sshd, config, goes_by, monkeypatch, transport):
    """As by ssh: a key, a file of known hosts and an ssh_config that are named from there."""
    monkeypatch.chdir(sshd.accounts.directory)
    options = f"-i client_key -o UserKnownHostsFile=sshd/known_hosts -p {sshd.port}"
    assert goes_by(f"{options} {sshd.accounts.user(KIND)}@127.0.0.1", transport)
    monkeypatch.chdir(config.parent)
    assert goes_by(f"-F {config.name} gate", transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_name_that_nobody_knows(goes_by, transport):
    """It is the name that is asked about, and not whether the machine is up."""
    with pytest.raises(ConnectError, match=r"no-such-host\.invalid.*: .* not known") as caught:
        goes_by("dbdump@no-such-host.invalid", transport)
    assert "Is its name right?" in caught.value.hint
    assert "Errno" not in caught.value.message


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("more", [":2222", ":dumps"])
def test_a_port_or_a_path_after_the_name(sshd, goes_by, more, transport):
    """As scp has them, and ssh has not: it is said how they are written."""
    with pytest.raises(ConnectError, match=f"'127.0.0.1{more}' is not the name of a machine") as caught:
        goes_by(f"{sshd.remote(KIND)}{more}", transport)
    assert "-p PORT" in caught.value.hint


def test_compression(sshd, reach):
    """It is asked for, and done."""
    link = reach.links.shell(sshd.remote(KIND, "-C"), "fabric").link
    assert link.connection().transport.local_compression == "zlib@openssh.com"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("flag", ["-F{}", "-F {}", "-4F {}", "-qF{}"])
def test_an_alias_of_ssh_config(config, goes_by, flag, transport):
    """Whatever ssh_config says of it is so; and how the flag is written is ssh's own business."""
    link = goes_by(f"{flag.format(shlex.quote(str(config)))} gate", transport)
    assert link == ("OpenSSH" if "4" in flag or transport == "openssh" else "Fabric")


@pytest.mark.parametrize(
    ("remote", "logins", "link"),
    [
        ("vault", 2, "Fabric"),
        ("-J gate other", 2, "Fabric"),
        ("-J 127.0.0.1 other", 2, "Fabric"),
        ("-J vault other", 3, "Fabric"),
        ("-J gate,vault other", 3, "OpenSSH"),
        ("-J gate,other other", 3, "OpenSSH"),
    ],
)
def test_a_way_over_other_machines(sshd, config, goes_by, remote, logins, link):
    """One machine in between is fabric's, several in a row are OpenSSH's; each is logged in to."""
    log = sshd.directory / "log"
    before = log.read_bytes().count(b"Accepted publickey")
    assert goes_by(f"-F {shlex.quote(str(config))} {remote}") == link
    assert log.read_bytes().count(b"Accepted publickey") - before >= logins


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_jump_host_that_is_not_known(config, sshd, goes_by, tmp_path, transport):
    """The key of the machine in between is verified as strictly, and it is the one that is named."""
    nothing = tmp_path / "nothing"
    nothing.touch()
    text = config.read_text().replace("Host *", f"Host gate\n  UserKnownHostsFile {nothing}\nHost *")
    config.write_text(text)
    with pytest.raises(ConnectError, match="host key verification failed"):
        goes_by(f"-F {shlex.quote(str(config))} -o StrictHostKeyChecking=yes vault", transport)


@pytest.mark.parametrize("careless", ["StrictHostKeyChecking no", "StrictHostKeyChecking accept-new"])
@pytest.mark.parametrize(("way", "gate"), [("vault", 0), ("-J gate other", 0), ("-J gate,vault other", 0),
                                           ("-J vault,gate other", 1)])  # fmt: skip
def test_a_jump_host_is_never_taken_unseen(config, sshd, goes_by, tmp_path, careless, way, gate):
    """72: whatever ssh_config lets ssh do on the way there, no key is accepted, nor written down; and it is named."""
    unknown = tmp_path / "unknown"
    unknown.touch()
    text = (
        f"Host {('gate', 'vault')[gate]}\n  HostName localhost\n  UserKnownHostsFile {unknown}\nHost *\n  {careless}\n"
    )
    config.write_text(config.read_text().replace("Host *\n", text))
    with pytest.raises(ConnectError, match="host key verification failed") as caught:
        goes_by(f"-F {shlex.quote(str(config))} {way}", "openssh")
    assert f"ssh-keyscan -p {sshd.port} localhost >> " in caught.value.hint
    assert unknown.read_bytes() == b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_this_machine_is_verified_too(sshd, goes_by, tmp_path, transport):
    """72: also where ssh is told to trust whatever answers on loopback."""
    nothing = tmp_path / "nothing"
    nothing.touch()
    options = ("-o", "NoHostAuthenticationForLocalhost=yes", "-o", f"UserKnownHostsFile={nothing}")
    with pytest.raises(ConnectError, match="host key verification failed"):
        goes_by(sshd.remote(KIND, *options), transport)


def test_a_master_connection_to_a_jump_host_is_not_used(config, goes_by, tmp_path):
    """87: the connection to the machine in between is made for this one, and left to nobody."""
    master = tmp_path / "m"
    text = f"Host *\n  ControlMaster auto\n  ControlPath {master}-%r\n  ControlPersist 60\n"
    config.write_text(config.read_text().replace("Host *\n", text))
    assert goes_by(f"-F {shlex.quote(str(config))} -J gate,vault other", "openssh") == "OpenSSH"
    assert not list(tmp_path.glob("m-*"))


def test_keepalives_over_another_machine_are_answered(config, reach):
    """Who has nothing to say for longer than they are missed for is not taken for gone."""
    options = "-o ServerAliveInterval=1 -o ServerAliveCountMax=1"
    shell = reach.links.shell(f"-F {shlex.quote(str(config))} {options} -J gate other", "fabric")
    running = shell.start("sleep 3.3; echo done", [], Said(""))
    buffer = memoryview(bytearray(99))
    assert bytes(buffer[: running.read_into(buffer, 20)]) == b"done\n"
    assert running.wait() == 0


def test_the_hosts_behind_one_machine_share_the_way_there(config, sshd, reach):
    """To the machine in between there is one connection, however many are behind it."""
    before = sshd.logins
    for name in ("one", "two", "three"):
        reach.links.shell(f"-F {shlex.quote(str(config))} -J gate {name}", "fabric").link.connection()
    assert sshd.logins - before == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("jump", ["a", "b"])
def test_jump_hosts_that_lead_to_each_other(config, goes_by, jump, transport):
    """It is said, and does not go round for ever."""
    config.write_text("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n" + config.read_text())
    with pytest.raises(ConnectError, match=r"more than 8 jump hosts|jumphost loop"):
        goes_by(f"-F {shlex.quote(str(config))} -J {jump} other", transport)


@pytest.mark.parametrize("command", ["ssh -F {config} -W %h:%p gate", "ssh -F {config} -W '[%h]:%p' gate 2>/dev/null"])
def test_a_proxy_command(sshd, config, goes_by, command):
    """It is a line of shell with ssh's own tokens, so it is OpenSSH's."""
    line = command.format(config=shlex.quote(str(config)))
    assert goes_by(sshd.remote(KIND, "-o", f"ProxyCommand={line}")) == "OpenSSH"


def test_a_proxy_command_that_is_not_there(sshd, goes_by):
    """It is what is named, and not only that nobody answered."""
    with pytest.raises(ConnectError, match="no-such-program: not found"):
        goes_by(sshd.remote(KIND, "-o", "ProxyCommand=no-such-program %h %p"))


@pytest.fixture
def guarded(sshd, tmp_path):
    """A copy of the client's key, with a passphrase."""
    key = tmp_path / "guarded"
    key.write_bytes(sshd.accounts.client_key.read_bytes())
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a secret", "-f", key], check=True)
    return key


@pytest.fixture
def agent(sshd, tmp_path_factory):
    """An agent that has the client's key; the path of its socket."""
    socket = tmp_path_factory.mktemp("agent") / "s"
    process = subprocess.Popen([program("ssh-agent", "openssh-client"), "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_for(socket.exists, "the agent")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", sshd.accounts.client_key], check=True, env=environment)
        yield socket
    finally:
        stop(process)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_key_with_a_passphrase(sshd, goes_by, guarded, transport):
    """74: without an agent nobody is asked: it fails, and the hint names the agent."""
    remote = sshd.remote(KIND).replace(str(sshd.accounts.client_key), str(guarded))
    with pytest.raises(ConnectError, match="permission denied") as caught:
        goes_by(remote, transport)
    assert "a key with a passphrase needs an agent" in caught.value.hint


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("key", "said", "hint"),
    [
        ("nowhere", "permission denied", "No private key was found here: make one with ssh-keygen"),
        ("client_key.pub", "others can read the private key", "It is the public key: name the private one"),
        ("junk", "permission denied", "Put the public key into"),
    ],
)
def test_a_key_that_is_none(sshd, goes_by, tmp_path, transport, key, said, hint):
    """74: the machine is there, and it is the key that is wrong."""
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "junk").chmod(0o600)
    path = sshd.accounts.directory / key if key.endswith(".pub") else tmp_path / key
    with pytest.raises(ConnectError, match=said) as caught:
        goes_by(sshd.remote(KIND).replace(str(sshd.accounts.client_key), str(path)), transport)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("option", "transport", "link"),
    [
        ("", "fabric", "Fabric"),
        ("", "openssh", "OpenSSH"),
        ("-o IdentityAgent=SSH_AUTH_SOCK", "fabric", "Fabric"),
        ("-o IdentitiesOnly=yes", "fabric", "OpenSSH"),
    ],
)
def test_the_agent_has_the_key(sshd, goes_by, guarded, agent, monkeypatch, option, transport, link):
    """It opens what the file does not; only OpenSSH takes of its keys the one that is named, and no other."""
    remote = sshd.remote(KIND, *shlex.split(option)).replace(str(sshd.accounts.client_key), str(guarded))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert goes_by(remote, transport) == link


def test_an_agent_that_is_named(sshd, goes_by, guarded, agent):
    """An IdentityAgent of its own is OpenSSH's; and none is none."""
    remote = sshd.remote(KIND).replace(str(sshd.accounts.client_key), str(guarded))
    assert goes_by(f"-o IdentityAgent={agent} {remote}") == "OpenSSH"
    with pytest.raises(ConnectError, match="permission denied"):
        goes_by(f"-o IdentityAgent=none {remote}")


def test_a_login_that_is_not_answered(own_sshd, goes_by):
    """An sshd that looks for its keys for too long has denied nothing: it is as one that does not answer."""
    server = own_sshd()
    config = server.directory / "sshd_config"
    slow = "AuthorizedKeysCommand /usr/bin/sleep 9\nAuthorizedKeysCommandUser root\nAuthorizedKeysFile none\n"
    config.write_text(slow + config.read_text())  # the first value counts
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: (server.directory / "log").read_bytes().count(b"Server listening") > 1, "sshd to begin anew")
    with pytest.raises(Absent, match="its sshd did not answer the login for 3 s"):
        goes_by(server.remote(KIND, "-o", "ConnectTimeout=3"))


@pytest.fixture
def known(sshd):
    """The sshd as it is reached by somebody with a known_hosts of his own, and its line there."""
    made = sshd.through(sshd.port)
    yield made, made.known_hosts.read_text()
    made.known_hosts.unlink()
    made.directory.rmdir()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "text", ["{line}", "# é\xe9\n\n  \t{line}", "[127.0.0.1]:1 ssh-ed25519 AAA\nh ssh-ed25519 !\n{line}",
             "h x-unknown AAAA\n{line}"],
)  # fmt: skip
def test_a_known_hosts_file_with_all_sorts_of_lines(known, goes_by, text, transport):
    """What is no key is passed over; the one that is right counts."""
    server, line = known
    server.known_hosts.write_bytes(text.format(line=line).encode("latin-1"))
    assert goes_by(server.remote(KIND), transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_hashed_known_hosts_file(known, goes_by, transport):
    """Names that are hashed, as ssh writes them on many machines, are found."""
    server, _ = known
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", server.known_hosts], check=True, capture_output=True)
    assert server.known_hosts.read_text().startswith("|1|")
    assert goes_by(server.remote(KIND), transport) == {"fabric": "Fabric", "openssh": "OpenSSH"}[transport]
    server.known_hosts.with_name("known_hosts.old").unlink()


def test_a_space_in_the_name_of_a_known_hosts_file(known, goes_by, tmp_path):
    """Ssh alone knows what is one name there and what are two."""
    server, _ = known
    path = tmp_path / "two words"
    path.write_bytes(server.known_hosts.read_bytes())
    assert goes_by(server.remote(KIND, "-o", f'UserKnownHostsFile="{path}"')) == "OpenSSH"


def follow(line: str, askpass: Path) -> None:
    """Do what a hint says, as a person would who says yes to ssh's question."""
    askpass.write_text("#!/bin/sh\necho yes\n")
    askpass.chmod(0o700)
    env = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["sh", "-c", line], check=True, capture_output=True, env=env, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("remote", "program"), [("gate", "ssh-keyscan"), ("-o HostKeyAlias=safe gate", "ssh"), ("-J gate inner", "ssh")]
)
def test_the_line_that_adds_a_key_adds_it(config, goes_by, tmp_path, remote, program, transport):
    """72: to the file that REMOTE names, under its own name, and over the machine in between."""
    new, whole = tmp_path / "new", config.read_text()
    name = "inner" if "inner" in remote else "gate"
    config.write_text(f"Host {name}\n  UserKnownHostsFile {new}\n{whole}")
    line = f"-F {shlex.quote(str(config))} {remote}"
    with pytest.raises(ConnectError, match="host key verification failed") as caught:
        goes_by(line, transport)
    hint = caught.value.hint.partition("operator's: ")[2]
    assert hint.startswith(f"{program} ")
    assert not new.exists()
    follow(hint, tmp_path / "askpass")
    assert goes_by(f"-C {line}", transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_line_that_renews_a_key_renews_it(config, sshd, accounts, goes_by, tmp_path, transport):
    """73: in the file that has the old one, be it the machine's."""
    old, mine = tmp_path / "old", tmp_path / "mine"
    public = (accounts.directory / "other_key.pub").read_text().split()[:2]
    old.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(public)}\n")
    config.write_text(f"Host *\n  UserKnownHostsFile {mine}\n  GlobalKnownHostsFile {old}\n{config.read_text()}")
    line = f"-F {shlex.quote(str(config))} gate"
    with pytest.raises(ConnectError, match="the host key has changed") as caught:
        goes_by(line, transport)
    follow(caught.value.hint.partition("replace the key: ")[2], tmp_path / "askpass")
    assert goes_by(f"-C {line}", transport)


@pytest.mark.parametrize(("name", "link"), [("[LocalHost]:{port}", "Fabric"), ("localhost", "OpenSSH")])
def test_a_name_in_capitals_or_without_its_port(known, goes_by, tmp_path, name, link):
    """Ssh takes either; fabric knows but the whole name."""
    server, line = known
    path = tmp_path / "names"
    path.write_text(f"{name.format(port=server.port)} {line.split(' ', 1)[1]}")
    remote = server.remote(KIND, "-o", f"UserKnownHostsFile={path}").replace("@127.0.0.1", "@localhost")
    assert goes_by(remote) == link


@pytest.mark.parametrize("pattern", ["[127.0.0.?]:{port}", "!other,[127.*]:*"])
def test_a_pattern_in_known_hosts(known, goes_by, pattern):
    """Only OpenSSH knows patterns."""
    server, line = known
    server.known_hosts.write_text(f"{pattern.format(port=server.port)} {line.split(' ', 1)[1]}")
    assert goes_by(server.remote(KIND)) == "OpenSSH"


@pytest.mark.parametrize("hashed", [False, True])
def test_two_keys_of_one_host(known, accounts, goes_by, hashed):
    """As while a key is replaced, either is right; of one kind fabric knows but one, so it is OpenSSH's."""
    server, line = known
    other = (accounts.directory / "other_key.pub").read_text().split()[:2]
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {' '.join(other)}\n{line}")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", server.known_hosts], check=True, capture_output=True)
        server.known_hosts.with_name("known_hosts.old").unlink()
    assert goes_by(server.remote(KIND)) == "OpenSSH"
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {' '.join(other)}\n")
    with pytest.raises(ConnectError, match="the host key has changed"):
        goes_by(f"-C {server.remote(KIND)}")


def test_a_key_that_was_revoked(known, goes_by):
    """A line that takes a key back counts more than the one that has it."""
    server, line = known
    server.known_hosts.write_text(f"{line}@revoked * {line.split(' ', 1)[1]}")
    with pytest.raises(ConnectError, match="the host key was revoked: ") as caught:
        goes_by(server.remote(KIND))
    assert "ssh-keyscan" not in caught.value.hint


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_of_several_host_keys_is_known(accounts, own_sshd, goes_by, tmp_path, transport):
    """A server with keys of more kinds than one is asked for the kind that is known."""
    key = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
    server = own_sshd(inside=("sh", "-c", 'key=$0; exec "$@" -o HostKey="$key"', str(key)))
    public = key.with_suffix(".pub").read_text().split()[:2]
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {' '.join(public)}\n")
    assert goes_by(server.remote(KIND), transport)


def test_a_host_certificate(accounts, own_sshd, goes_by, tmp_path):
    """A host that an authority vouches for is known by that, to OpenSSH."""
    authority, key = tmp_path / "authority", tmp_path / "key"
    for each in (authority, key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", each], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "x", "-h", "-n", "127.0.0.1", f"{key}.pub"], check=True)
    server = own_sshd(inside=("sh", "-c", 'k=$0; exec "$@" -o HostKey="$k" -o HostCertificate="$k-cert.pub"', str(key)))
    server.known_hosts.write_text(f"@cert-authority [127.*]:* {authority.with_suffix('.pub').read_text()}")
    assert goes_by(server.remote(KIND)) == "OpenSSH"
    server.known_hosts.write_text(f"@cert-authority other {authority.with_suffix('.pub').read_text()}")
    with pytest.raises(ConnectError, match="host key verification failed"):
        goes_by(f"-q {server.remote(KIND)}")


@pytest.mark.parametrize(
    ("transport", "option", "link"),
    [("fabric", "", "Fabric"), ("openssh", "", "OpenSSH"), ("fabric", "-o CertificateFile={key}-cert.pub", "OpenSSH")],
)
def test_a_user_certificate(own_sshd, accounts, goes_by, tmp_path, transport, option, link):
    """A user that an authority vouches for is let in by that, whether it is found beside the key or named."""
    authority, key, user = tmp_path / "authority", tmp_path / "key", accounts.user(KIND)
    for each in (authority, key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", each], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "x", "-n", user, f"{key}.pub"], check=True)
    trusting = f"TrustedUserCAKeys={authority}.pub"
    server = own_sshd(inside=("sh", "-c", 'ca=$0; exec "$@" -o "$ca" -o AuthorizedKeysFile=none', trusting))
    remote = server.remote(KIND, *shlex.split(option.format(key=key))).replace(str(accounts.client_key), str(key))
    assert goes_by(remote, transport) == link


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_address_of_ipv6(sshd, own_sshd, goes_by, transport):
    """It has no brackets in REMOTE, and has them in known_hosts; a kernel without IPv6 gives an error in words."""
    if not Path("/proc/net/if_inet6").exists():
        with pytest.raises(Absent):
            goes_by(sshd.remote(KIND).replace("127.0.0.1", "::1"), transport)
        return
    server = own_sshd(address="::1")
    assert server.remote(KIND).endswith("@::1")
    assert goes_by(server.remote(KIND), transport)
    server.know("other_key")
    with pytest.raises(ConnectError, match="host key"):
        goes_by(f"-o ConnectTimeout=9 {server.remote(KIND)}", transport)


@pytest.fixture
def recipe(tmp_path, database):
    """Write a recipe that stores the database far away, and return the argv that runs it."""

    def written(remote: str, name: str, transport: str) -> list[str]:
        recipes = tmp_path / "recipes"
        recipes.mkdir(exist_ok=True)
        (recipes / "site.py").write_text(
            f"from dbdump import *\n@recipe(localhost)\ndef {name}(host):\n"
            f"    return Dump(SQLite(path={str(database)!r}), wrap=[],\n"
            f"                to=Remote({remote!r}, 'dumps', transport={transport!r}))\n"
        )
        return [*COMMAND, "dump", f"--recipes={recipes}"]

    return written


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_cron(sshd, recipe, database, transport):
    """With an empty environment, no terminal, no agent, no HOME, and stdin closed, it is stored there."""
    line = shlex.join(recipe(sshd.remote(KIND), f"cron{transport}", transport))
    argv = ["env", "-i", "setsid", "-w", "sh", "-c", f"{line} <&-"]
    done = subprocess.run(argv, capture_output=True, check=False, cwd="/", text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = files(sshd.accounts.home(KIND) / "dumps" / "localhost" / f"cron{transport}")
    assert sorted(name.partition(".sqlite")[2] for name in stored) == ["", ".json"]


@pytest.fixture
def no_ssh(tmp_path, monkeypatch):
    """A PATH that has all programs of this machine but ssh."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name != "ssh":
            (directory / path.name).symlink_to(path)
    monkeypatch.setenv("PATH", str(directory))


def test_without_an_ssh_program(sshd, recipe, no_ssh, dbdump):
    """Fabric needs none; who asks for OpenSSH, or for what only it can do, is told."""
    known = (sshd.remote(KIND), "fabric", 0, "1 stored")
    told = (sshd.remote(KIND), "openssh", 1, "needs the ssh program, which is not here")
    option = (sshd.remote(KIND, "-o", "Ciphers=aes128-ctr"), "fabric", 1, "ciphers needs the ssh program")
    for index, (remote, transport, status, said) in enumerate([known, told, option]):
        done = dbdump(*recipe(remote, f"alone{index}", transport)[len(COMMAND) :])
        assert done.returncode == status, done.stdout
        assert said in done.stdout
