"""REMOTE: its words, what is refused, and what is told to which transport."""

from __future__ import annotations

import pwd
import shlex
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.errors import ConnectError, RecipeError
from dbdump.links import link_to
from dbdump.ssh import FabricLink
from dbdump.ssh_files import expanded
from dbdump.ssh_words import (
    destination,
    jump_words,
    not_for_fabric,
    parse_settings,
    quick_ciphers,
    settings_of,
    split_remote,
    wants_kerberos,
    without_ssh,
)
from dbdump.writers.sftp_line import sftp_words

WORDS = ["-", "--", "-p", "-oX", "-4", "h", "u@h", "''", "-N", "\\-x", "'-p 1'", "=", "\n", "-Jj", "-4i", "'u@-x'"]
PLAIN = {"hostname": ["h"], "port": ["22"], "ciphers": ["a,b"], "addressfamily": ["any"]}


@pytest.mark.parametrize(
    ("remote", "found"),
    [
        ("vault", "vault"),
        ("-p 2222 -i key -J jump user@host -o Option=value", "user@host"),
        ("-p2222 host", "host"),
        ("-4p2222 host", "host"),
        ("-4p 2222 host", "host"),
        ("-Cqi key host", "host"),
        ("host -4 -p 22", "host"),
        ("-o ProxyCommand='nc %h %p' host", "host"),
        ("-oProxyCommand='nc %h %p' host", "host"),
        ("-i 'a key' \"user\"@host", "user@host"),
        ("-l -odd host", "host"),
        ("ssh://user@host:2222", "ssh://user@host:2222"),
        ("user@[::1]", "user@[::1]"),
    ],
)
def test_what_ssh_takes_before_the_command(remote, found):
    """Its words are those of a shell, and among them is one destination, wherever it stands."""
    words = split_remote(remote)
    assert list(words) == shlex.split(remote)
    assert destination(words) == found


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ("", "0 destinations"),
        ("''", "an empty word"),
        ("-p 22", "0 destinations"),
        ("one two", "2 destinations"),
        ("host uname -a", "2 destinations"),
        ("host; touch x", "3 destinations"),
        ("-4 host -p 22 true", "2 destinations"),
        ("-N host", "-N is not for a dump"),
        ("-4N host", "-4N is not for a dump"),
        ("host -f", "-f is not for a dump"),
        ("-4D 1080 host", "-4D is not for a dump"),
        ("-L 1:h:1 host", "-L is not for a dump"),
        ("-R1:h:1 host", "-R1:h:1 is not for a dump"),
        ("-E log host", "-E is not for a dump"),
        ("-y host", "-y is not for a dump"),
        ("-W h:1 host", "-W is not for a dump"),
        ("-tt host", "-tt is not for a dump"),
        ("-- host", "-- is not for a dump"),
        ("--help", "--help is not for a dump"),
        ("- host", "- is not for a dump"),
        ("host -p", "-p needs a value"),
        ("host -4i", "-4i needs a value"),
        ("'a\nb'", "line end"),
        ("-o 'User=a\nb' host", "line end"),
        ("-i 'a\0b' host", "line end"),
        ("'host", "No closing quotation"),
        (None, "None: not text"),
        (22, "22: not text"),
    ],
)
def test_what_is_refused(remote, said):
    """What reaches no one machine, or asks ssh for more than to run a command, says so with a hint."""
    with pytest.raises(RecipeError) as caught:
        split_remote(remote)
    assert said in caught.value.message
    assert caught.value.hint


@given(st.one_of(
    st.text(),
    st.lists(st.sampled_from(WORDS)).map(" ".join),
))  # fmt: skip
def test_whatever_is_taken_has_one_destination(remote):
    """No text gets an option into the destination's place, nor a second destination."""
    try:
        words = split_remote(remote)
    except RecipeError:
        return
    assert not destination(words).startswith("-")
    assert destination(words)
    assert not set("".join(words)) & {"\n", "\0"}


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("-p 2222 -i KEY me@vault", ["-o", "Port=2222", "-i", "KEY", "me@vault"]),
        ("-4qTl me vault -oPort=2", ["-4", "-q", "-o", "User=me", "-o", "Port=2", "vault"]),
        (
            "-CaF none -m umac -S no ::1",
            ["-C", "-F", "none", "-o", "MACs=umac", "-o", "ControlPath=no", "[::1]"],
        ),
        ("me@fe80::1%eth0", ["me@[fe80::1%eth0]"]),
        ("ssh://me@vault:2222", ["sftp://me@vault:2222"]),
    ],
)
def test_a_remote_as_sftp_takes_it(remote, expected):
    """Some options have other letters there, and some have none."""
    assert sftp_words(split_remote(remote)) == expected


@pytest.mark.parametrize(
    ("jump", "words", "expected"),
    [
        ("gate", ["host"], ["gate"]),
        ("user@gate:2222", ["host"], ["-p", "2222", "user@gate"]),
        ("ssh://user@gate:22", ["host"], ["-p", "22", "user@gate"]),
        ("[127.0.0.1]", ["host"], ["127.0.0.1"]),
        ("u@[::1]:22", ["host"], ["-p", "22", "u@::1"]),
        ("[::1]", ["host"], ["::1"]),
        ("gate", ["-F", "config", "-i", "key", "host"], ["-F", "config", "gate"]),
        ("gate", ["-Fconfig", "host"], ["-F", "config", "gate"]),
        ("gate", ["host", "-4F", "config"], ["-F", "config", "gate"]),
        ("gate", ["-l", "-F", "host"], ["gate"]),
    ],
)
def test_the_way_to_a_jump_host(jump, words, expected):
    """It is looked up in the same ssh_config, with none of REMOTE's other options, as ssh -J does."""
    assert list(jump_words(jump, words)) == expected


def test_without_the_program_its_options_are_read():
    """Where there is no ssh, what fabric honours works all the same; the first value counts."""
    words = split_remote("-p2222 -i one -Ci two -J gate -l me you@host -o 'ConnectTimeout 3' -oUser=they -qo Port=1")
    values = without_ssh(words)
    assert values["port"][0] == "2222"
    assert values["identityfile"] == ["one", "two"]
    assert values["user"][0] == "me"
    settings = settings_of(values)
    assert (settings.hostname, settings.proxy_jump, settings.connect_timeout) == ("host", "gate", 3)
    assert settings.compression
    assert without_ssh(("you@host",))["user"] == ["you"]
    assert "~/.ssh/id_ed25519" in without_ssh(("host",))["identityfile"]


@pytest.mark.parametrize("remote", ["-4 host", "-F config host", "-b 10.0.0.1 host", "ssh://host", "-p x host"])
def test_what_only_ssh_itself_reads(remote):
    """Without ssh it is an error that names the word, and never left out."""
    with pytest.raises(ConnectError) as caught:
        without_ssh(split_remote(remote))
    assert caught.value.hint


def test_the_answer_of_ssh_is_parsed():
    """A keyword may have several values; a value ends at the end of its line and nowhere else."""
    assert parse_settings("user me\nidentityfile a b\nidentityfile c\nProxyCommand a\x0cport\u202823\n") == {
        "user": ["me"], "identityfile": ["a b", "c"], "proxycommand": ["a\x0cport\u202823"],
    }  # fmt: skip
    assert parse_settings("") == {}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ciphers", "c"), ("bindaddress", "10.0.0.1"), ("certificatefile", "c.pub"), ("addressfamily", "inet"),
        ("hostkeyalias", "other"), ("revokedhostkeys", "/r"), ("pubkeyauthentication", "no"),
        ("proxyjump", "one,two"), ("identityagent", "/run/agent"), ("proxycommand", "nc %h %p"),
        ("connectionattempts", "3"), ("checkhostip", "yes"), ("verifyhostkeydns", "true"),
        ("preferredauthentications", "hostbased"), ("userknownhostsfile", "/a b/known"),
        ("identityfile", "~/.ssh/%h"), ("userknownhostsfile", "${HOME}/known"), ("whatever-comes", "new"),
    ],
)  # fmt: skip
def test_what_fabric_cannot_honour(keyword, value):
    """An option that changes who is reached or how safely, or that nobody here knows, is OpenSSH's."""
    assert not_for_fabric({**PLAIN, keyword: [value]}, PLAIN) == [keyword]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("port", "2222"), ("user", "me"), ("identityfile", "~/.ssh/key"), ("userknownhostsfile", "/known"),
        ("proxyjump", "gate"), ("proxyjump", "none"), ("proxycommand", "none"), ("identityagent", "SSH_AUTH_SOCK"),
        ("identityagent", "none"), ("connecttimeout", "3"), ("compression", "yes"), ("loglevel", "QUIET"),
        ("controlmaster", "auto"), ("remotecommand", "x"), ("stricthostkeychecking", "accept-new"),
        ("localforward", "1 h:1"), ("ciphers", "a,b"), ("identitiesonly", "yes"), ("forwardagent", "yes"),
    ],
)  # fmt: skip
def test_what_fabric_is_told_or_need_not_know(keyword, value):
    """What fabric honours, what changes nothing, and what is as it always is, leaves the choice to the recipe."""
    assert not not_for_fabric({**PLAIN, keyword: [value]}, PLAIN)


@pytest.mark.parametrize("hostname", ["h:22", "h:/srv", "[::1]", "::1:/srv", "h:"])
def test_what_is_no_machine(hostname):
    """A port or a path after the name is said to be one; an address with colons is a name."""
    with pytest.raises(ConnectError, match="is not the name of a machine"):
        settings_of({"hostname": [hostname], "user": ["u"]})
    assert settings_of({"hostname": ["fe80::1%eth0"], "user": ["u"]}).hostname == "fe80::1%eth0"


def test_an_option_that_is_missing_counts_too():
    """What a plain ssh says and this one does not is a difference."""
    assert not_for_fabric({}, PLAIN) == ["addressfamily", "ciphers"]


def test_what_fabric_is_told_by_default():
    """Keepalives and timeouts are on, where ssh has them off; no file that is not there is named."""
    settings = settings_of({
        "hostname": ["h"], "user": ["u"], "identityfile": ["/nowhere"], "serveraliveinterval": ["0"],
        "serveralivecountmax": ["9"], "connecttimeout": ["none"],
    })  # fmt: skip
    assert (settings.hostname, settings.user, settings.port) == ("h", "u", 22)
    assert (settings.identities, settings.known_hosts, settings.agent) == ((), (), True)
    assert (settings.connect_timeout, settings.alive_interval, settings.alive_count) == (15, 15, 4)
    assert (settings.proxy_jump, settings.compression, settings.start_timeout) == ("", False, 60.0)


def test_what_fabric_is_told(tmp_path):
    """Each option of ssh reaches it, and files of known hosts are both the user's and the machine's."""
    key, mine, all_s = tmp_path / "key", tmp_path / "mine", tmp_path / "all"
    for file in (key, mine, all_s):
        file.touch()
    settings = settings_of({
        "hostname": ["h"], "user": ["u"], "port": ["2222"], "identityfile": ["/nowhere", str(key)],
        "userknownhostsfile": [f"{mine} /nowhere"], "globalknownhostsfile": [str(all_s)], "proxyjump": ["gate"],
        "serveraliveinterval": ["3"], "serveralivecountmax": ["2"], "connecttimeout": ["4"], "compression": ["yes"],
        "identitiesonly": ["yes"],
    })  # fmt: skip
    assert (settings.port, settings.identities, settings.known_hosts) == (2222, (str(key),), (str(mine), str(all_s)))
    assert (settings.alive_interval, settings.alive_count, settings.connect_timeout) == (3, 2, 4)
    assert (settings.proxy_jump, settings.compression, settings.agent) == ("gate", True, False)
    assert not settings_of({"identityagent": ["none"]}).agent
    assert settings_of({"proxyjump": ["none"]}).proxy_jump == ""


def test_a_tilde_is_the_home_of_the_account(tmp_path, monkeypatch):
    """As for ssh it is that of the password database, whatever HOME says."""
    (tmp_path / "key").touch()
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(tmp_path)))
    assert settings_of({"user": ["u"], "identityfile": ["~/key"]}).identities == (str(tmp_path / "key"),)


def test_where_a_new_key_belongs():
    """A shell would not expand the tilde of a name in quotes, and the line is to be pasted."""
    expected = expanded("~/.ssh/known_hosts")
    assert "~" not in expected
    for files in ("/dev/null", "none", "~/.ssh/known_hosts"):
        values = parse_settings(f"hostname vault\nuserknownhostsfile {files}\nglobalknownhostsfile none\n")
        assert settings_of(values).new_keys == expected


def test_without_the_program_fabric_is_the_way():
    """What it can honour it is told, a jump host too, and nothing is connected yet."""
    link = link_to(split_remote("-p 2222 -J gate:22 u@host"), "fabric")
    assert isinstance(link, FabricLink)
    assert link.account == "u@host"


@pytest.mark.parametrize(
    "remote", ["-o Ciphers=aes128-ctr h", "-o BindAddress=::1 h", "-J a,b h", "-o ProxyCommand=x h"]
)
def test_without_the_program_nothing_is_left_out(remote):
    """What only ssh can honour is an error, never a connection without it."""
    with pytest.raises(ConnectError, match="needs the ssh program"):
        link_to(split_remote(remote), "fabric")


@pytest.mark.parametrize(
    ("remote", "wanted"),
    [("-K h", True), ("-4K h", True), ("-o GSSAPIAuthentication=yes h", True), ("-oGssapiAuthentication\\ yes h", True),
     ("-k h", False), ("-o GSSAPIAuthentication=no -K h", False), ("-l -K h", False), ("h", False)],
)  # fmt: skip
def test_a_login_by_kerberos(remote, wanted):
    """Who asks for it in REMOTE gets OpenSSH, which can; that ssh_config allows it to everybody says nothing."""
    assert wants_kerberos(split_remote(remote)) is wanted


def test_without_the_program_an_authority_is_not_passed_over(tmp_path):
    """Nor are lines of known_hosts that paramiko does not read: a key may be revoked there."""
    known = tmp_path / "known_hosts"
    known.write_text("@revoked * ssh-ed25519 AAAA\n")
    with pytest.raises(ConnectError, match="known_hosts"):
        link_to(split_remote(f"-o UserKnownHostsFile={known} h"), "fabric")


def test_without_the_program_openssh_is_an_error():
    """Who asks for it gets it, or words."""
    with pytest.raises(ConnectError, match="needs the ssh program") as caught:
        link_to(("host",), "openssh")
    assert "openssh-client" in caught.value.hint


def test_the_quickest_cipher_comes_first_where_none_was_chosen():
    """AES-GCM goes before ssh's own first choice, none is left out, and a choice of the operator's stays."""
    plain = {"ciphers": ["chacha20-poly1305@openssh.com,aes128-ctr,aes128-gcm@openssh.com"]}
    assert quick_ciphers(plain, plain) == "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr"
    assert quick_ciphers({"ciphers": ["aes128-ctr"]}, plain) == ""
    assert quick_ciphers({}, {}) == ""
