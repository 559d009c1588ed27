"""What can happen on the way to another machine, each for real, over both transports (FAULTS, part C)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from servers.far import LONG, cut
from servers.process import wait_for
from servers.relay import Relay
from support import end_of, gone, processes

from dbdump import Remote
from dbdump.errors import ConnectionLost, WriteError
from dbdump.remote_shell import COMMAND
from dbdump.script import Said
from dbdump.testing import dump_name, manifest_of
from dbdump.writers.far import ShellSession

KIND = "dash"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_client_or_its_connection_is_killed(far, relay, number):
    """65: end-of-file on the far side is no success."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    cut(process, between, number)
    far.failed(process, "connect: ")
    far.works(sshd.remote(KIND))


def test_the_session_of_sshd_is_killed(far, sshd):
    """66: it fails without a retry, and nothing is left there."""
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    sshd.signal(KIND, signal.SIGKILL)
    far.failed(process, "connection lost")
    far.works(sshd.remote(KIND))


def test_a_lost_connection_is_tried_once_more(far, sshd):
    """66, with a retry: a fresh temporary file, one dump, and a line that says so."""
    process = far.start(sshd.remote(KIND), retries=1)
    far.in_the_middle()
    sshd.signal(KIND, signal.SIGKILL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert "connection lost" in text
    assert "once more" in text
    assert len(list(far.path.rglob("2*.bin.json"))) == 2
    wait_for(lambda: not far.parts(), "the first part to go")


def told(process, word: str) -> str:
    """Read what a command says until `word` was said, and return it all."""
    text = ""
    while word not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    return text


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_short_outage_is_waited_for(far, relay, comes_back):
    """66: where nobody answers for a while, it is tried again after a second, after two more, and so on."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND), retries=3 if comes_back else 1, held=True)
    far.in_the_middle()
    between.go_away()
    far.go()
    text = told(process, "once more in 2 s" if comes_back else "once more in 1 s")
    if comes_back:
        between.come_back()
    code, rest = end_of(process)
    assert code == 1 - comes_back, text + rest
    assert ("no connection" in rest) is not comes_back, text + rest
    assert len(list(far.path.rglob("2*.bin.json"))) == 1 + comes_back
    wait_for(lambda: not far.parts(), "the first part to go")
    if not comes_back:
        between.come_back()  # for the next run


def test_ended_while_a_connection_is_waited_for(far, relay):
    """49, 66: a signal does not wait for the next try."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND), retries=9)
    far.in_the_middle()
    between.go_away()
    told(process, "once more in 2 s")
    process.send_signal(signal.SIGINT)
    code, text = end_of(process)
    assert code == 130, text
    assert "once more" not in text
    far.untouched()
    between.come_back()  # for the next run


@pytest.mark.parametrize("far", ["openssh"], indirect=True)
@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_a_connection_is_lost_before_the_script_speaks(far, own_sshd, reach, fault):
    """66, 67: that is no account without a shell, which would be tried over SFTP, but a lost connection."""
    server = own_sshd(inside=("sh", "-c", 'exec "$@" -o "ForceCommand=sleep 20"', "sh"))
    between = Relay(server.port)
    through = server.through(between.port)
    options = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    shell = reach.links.shell(through.remote(KIND, *options), far.transport)
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(shell.start, "true", [], Said(""))
            wait_for(lambda: server.logins, "the login")
            getattr(between, fault)()
            with pytest.raises(ConnectionLost):
                running.result()
    finally:
        between.close()
        wait_for(lambda: not far.accounts.processes(KIND), "its session to end")


def test_who_is_sent_away_before_he_logs_in_comes_again(far, sshd, reach):
    """66: as sshd does with those that are too many: nobody is taken for down who may be there in a moment."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        shell = reach.links.shell(sshd.through(server.getsockname()[1]).remote(KIND), "openssh")
        for _ in range(2):
            running = pool.submit(shell.start, "true", [], Said(""))
            server.accept()[0].close()
            with pytest.raises(ConnectionLost, match="kex_exchange_identification"):
                running.result()


def test_the_link_goes_down_in_the_middle(far, link):
    """67: keepalives end it, and nothing is named there, even when the server has given up as well."""
    more = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
    process = far.start(link.sshd.remote(KIND, *more), held=True)
    far.in_the_middle()
    began = time.monotonic()
    link.down()
    far.go()
    text = far.failed(process, "connect", running=True)
    assert time.monotonic() - began < 50, text
    wait_for(lambda: not far.accounts.processes(KIND), "sshd to give its client up")
    far.untouched()
    link.up()
    far.works(link.sshd.remote(KIND))


def test_the_link_behind_a_jump_host_goes_down(far, link, sshd, tmp_path):
    """67: what is between is there, and answers for nobody: keepalives have to be answered by the far end."""
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {far.accounts.user(KIND)}\n"
        f"  IdentityFile {far.accounts.client_key}\n  UserKnownHostsFile {sshd.known_hosts}\n"
    )
    more = ("-F", str(config), "-J", "gate", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
    process = far.start(link.sshd.remote(KIND, *more), held=True)
    far.in_the_middle()
    link.down()
    far.go()
    code, text = end_of(process)
    assert code == 1, text
    assert "connection lost" in text
    wait_for(lambda: not far.accounts.processes(KIND), "sshd to give its client up")
    far.untouched()
    link.up()
    far.works(link.sshd.remote(KIND, *more))


def test_the_link_is_down_from_the_start(far, link):
    """68: it costs the connect timeout, once."""
    link.down()
    began = time.monotonic()
    far.failed(far.start(link.sshd.remote(KIND, "-o", "ConnectTimeout=2")), "connect: ")
    assert time.monotonic() - began < 20
    link.up()
    far.works(link.sshd.remote(KIND))


def test_a_server_that_never_speaks(far, relay):
    """68: the connect timeout is for the greeting too."""
    between, sshd = relay
    between.go_away()
    with socket.create_server(("127.0.0.1", between.port)):
        began = time.monotonic()
        far.failed(far.start(sshd.remote(KIND, "-o", "ConnectTimeout=2")), "connect: ")
    assert time.monotonic() - began < 15
    between.come_back()
    far.works(sshd.remote(KIND))


def test_nobody_listens(far, relay):
    """68: a closed port is an error at once."""
    between, sshd = relay
    between.go_away()
    far.failed(far.start(sshd.remote(KIND)), "connect: ")
    between.come_back()  # for the next run


@pytest.mark.parametrize("comes", [True, False])
def test_the_first_dump_begins_while_the_connection_is_made(far, relay, comes):
    """68, 71: it waits with its first bytes; where no connection comes, it ends, and the cause is told."""
    between, sshd = relay
    between.freeze()
    pause = (1 if comes else 97) + os.getpid() / 1e8  # long enough to be seen: its first bytes are held
    process = far.start(sshd.remote(KIND, "-o", f"ConnectTimeout={20 if comes else 3}"), pause=pause)
    wait_for(lambda: between.passed or processes(f"sleep {pause}; head"), "the dump to begin")
    assert not between.passed
    if comes:
        between.thaw()
        text, _ = process.communicate(timeout=30)
        assert process.returncode == 0, text
    else:
        far.failed(process, "connect: ")
        gone(f"sleep {pause}")
        between.thaw()
        far.works(sshd.remote(KIND))


@pytest.mark.parametrize(
    ("fault", "said", "status"),
    [("missing", "No such file or directory", 1), ("held", "is at work there", 75), ("cut off", "connect: ", 1)],
)
def test_what_keeps_the_first_dump_from_being_stored_is_told_at_once(far, relay, fault, said, status):
    """68, 71: also where its command is silent for long, and where that would be ended as stalled before."""
    between, sshd = relay
    between.freeze()
    before = 97 + os.getpid() / 1e8
    place = os.open(far.path / "localhost" / "slow", os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX if fault == "held" else fcntl.LOCK_UN)
    if fault == "missing":
        far.path = far.path / "missing"
    process = far.start(
        sshd.remote(KIND, "-o", f"ConnectTimeout={3 if fault == 'cut off' else 20}"), before=before,
        stall=2 if fault == "cut off" else 60,
        wrap='[Zstd()], wrap_at="controller"' if fault == "held" else "[]",
    )  # fmt: skip
    wait_for(lambda: processes(f"sleep {before}; head"), "the dump to begin")
    if fault != "cut off":
        between.thaw()
    code, text = end_of(process, 60)
    os.close(place)
    assert code == status, text
    assert said in text
    assert "stalled" not in text
    gone(f"sleep {before}")
    if fault == "missing":
        far.path.mkdir(mode=0o700)
        far.own(far.path)
    between.thaw()
    far.works(sshd.remote(KIND))


@pytest.mark.parametrize("least", [0, 1])
def test_the_far_writer_is_frozen(far, sshd, least):
    """69: keepalives do not see it, the watchdog does; what hangs there is ended, also before the first byte."""
    process = far.start(sshd.remote(KIND), stall=3, held=True)
    far.in_the_middle(least)
    stop_shells(far)
    far.go()
    far.failed(process, "write: ")
    assert not far.parts()
    far.works(sshd.remote(KIND))


@pytest.mark.parametrize("far", ["fabric"], indirect=True)
def test_the_far_disk_is_slow(far, sshd):
    """69: it takes longer than stall_timeout in all, and each piece less: that is no stall."""
    strace = "exec strace -D -qq -o /dev/null -e inject=write:delay_enter=40000"  # µs, for each 64 KiB of 6 MB
    began = time.monotonic()
    with far.accounts.with_programs(KIND, dd=f'{strace} /bin/dd "$@"'):
        code, text = end_of(far.start(sshd.remote(KIND), stall=3, pause=0), 60)
    assert code == 0, text
    assert time.monotonic() - began > 3


def shells(far) -> set[int]:
    """Return the processes of the account but for those of sshd."""
    found = set()
    for pid in far.accounts.processes(KIND):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that just ends
            if "sshd" not in Path(f"/proc/{pid}/comm").read_text():
                found.add(pid)
    return found


def stop_shells(far) -> set[int]:
    """Stop them, and return them."""
    for pid in (found := shells(far)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return found


def test_the_far_disk_is_full(far, sshd, disk):
    """70: its own words come back, and the part that filled it is gone."""
    far.failed(far.start(sshd.remote(KIND)), "No space left on device")
    assert not far.parts()
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)  # for the next run


def test_a_quota_there_is_used_up(far, sshd):
    """70: in the middle: the far system's words come back, and the part is gone."""
    strace = "exec strace -D -qq -o /dev/null -e inject=write:error=EDQUOT:when=5"
    with far.accounts.with_programs(KIND, dd=f'{strace} /bin/dd "$@"'):
        far.failed(far.start(sshd.remote(KIND)), "Disk quota exceeded")
    assert not far.parts()


def test_the_far_disk_is_read_only(far, sshd, disk):
    """71: it fails before anything is dumped."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    text = far.failed(far.start(sshd.remote(KIND), before=LONG), "Read-only file system")
    assert "remount it" in text
    subprocess.run(["mount", "-o", "remount,rw,size=20m", disk], check=True)  # for the next run


def test_the_far_directory_is_missing_or_closed(far, sshd):
    """71: a root that is not there is not made; one that is not ours to write is not written."""
    far.path.chmod(0o500)
    (far.path / "localhost").rename(far.path / "elsewhere")
    far.failed(far.start(sshd.remote(KIND), before=LONG), "Permission denied")
    far.path = far.path / "missing"
    far.failed(far.start(sshd.remote(KIND), before=LONG), "No such file or directory")
    assert not far.path.exists()
    far.path.parent.chmod(0o700)
    far.path.mkdir(mode=0o700)
    far.own(far.path)  # for the next run


@pytest.mark.parametrize(
    ("key", "said"), [(None, "host key verification failed"), ("other_key", "the host key has changed")]
)
def test_the_host_key_is_unknown_or_changed(far, sshd, relay, key, said):
    """72, 73: never accepted, never asked; the hint says how to add it."""
    _, through = relay
    if key is None:
        through.known_hosts.write_text("")
    else:
        through.know(key)
    text = far.failed(far.start(through.remote(KIND)), said)
    if key is not None:
        assert f"ssh-keygen -R '[127.0.0.1]:{through.port}'" in text
    assert f"ssh-keyscan -p {through.port} 127.0.0.1 >> " in text
    through.know()  # for the next run


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_key_is_refused(far, sshd, mode, tmp_path):
    """74: another key, or one that others can read, is an error before anything is dumped."""
    name = "other_key" if mode == 0o600 else "client_key"
    key = tmp_path / "key"
    key.write_bytes((far.accounts.directory / name).read_bytes())
    key.chmod(mode)
    remote = sshd.remote(KIND).replace(str(far.accounts.client_key), str(key))
    said = "permission denied" if mode == 0o600 else f"others can read the private key {key}"
    assert "hint: " + ("Put the public key" if mode == 0o600 else "chmod 600") in far.failed(
        far.start(remote, before=LONG), said
    )
    key.write_bytes(far.accounts.client_key.read_bytes())
    key.chmod(0o600)  # for the next run


def test_a_master_connection_of_ssh_config_is_not_used(far, sshd, tmp_path):
    """87, 88: ControlMaster, RemoteCommand, LogLevel and RequestTTY in ssh_config do no harm."""
    config = tmp_path / "config"
    config.write_text(f"""
Host vault
  HostName 127.0.0.1
  Port {sshd.port}
  User {far.accounts.user(KIND)}
  IdentityFile {far.accounts.client_key}
  UserKnownHostsFile {sshd.known_hosts}
  ControlMaster auto
  ControlPath {tmp_path}/master
  ControlPersist 60
  RemoteCommand echo no
  RequestTTY force
  LogLevel QUIET
  ForwardAgent yes
  LocalForward 127.0.0.1:1 127.0.0.1:1
""")
    far.works(shlex.join(["-F", str(config), "vault"]))
    assert not (tmp_path / "master").exists()


def test_the_name_is_taken(far, sshd, reach):
    """84: what is there under the final name already stays, and is an error."""
    to = Remote(sshd.remote(KIND), str(far.path), transport=far.transport).bound(reach)
    sink = to.open(dump_name())
    there = far.path.joinpath(*dump_name().directory, dump_name().file)
    there.mkdir()
    sink.write(memoryview(b"whole"))
    with pytest.raises(WriteError, match="is there already"):
        sink.commit(manifest_of(dump_name(), b"whole"))
    sink.abort()
    assert there.is_dir()
    assert not list(there.iterdir())


def test_the_answer_to_the_commit_is_lost(far, relay, tmp_path):
    """85: it is asked again over a new connection, and twice is as good as once."""
    between, sshd = relay
    slow = far.accounts.home(KIND) / "slow-ln"
    slow.mkdir()
    (slow / "ln").write_text('#!/bin/sh\n/bin/ln "$@" && sleep 2\n')
    (slow / "ln").chmod(0o755)
    environment = far.accounts.home(KIND) / ".ssh" / "environment"
    environment.write_text(f"PATH={slow}:/usr/bin:/bin\n")
    try:
        process = far.start(sshd.remote(KIND), pause=0)
        wait_for(lambda: len(list(far.path.rglob("2*.bin"))) == 2, "the dump to be named")
        between.cut()
        text, _ = process.communicate(timeout=60)
    finally:
        environment.unlink()
        shutil.rmtree(slow)
    assert process.returncode == 0, text
    assert len(list(far.path.rglob("2*.bin.json"))) == 2
    wait_for(lambda: not far.parts(), "the part to go")


@pytest.mark.parametrize("retries", [0, 1])
def test_the_connection_is_lost_between_two_names(far, relay, tmp_path, retries):
    """85: the dump has its name and its manifest has none: it is taken back over a new connection, and dumped anew."""
    between, sshd = relay
    once = far.accounts.home(KIND) / f"{tmp_path.name}.once"
    text = f'case "$*" in *.json.*) [ -e {once} ] || {{ : >{once}; sleep 3; }};; esac; exec /bin/sync "$@"'
    with far.accounts.with_programs(KIND, sync=text):
        process = far.start(sshd.remote(KIND), pause=0, retries=retries)
        wait_for(once.exists, "the manifest to be synced")
        between.cut()
        code, said = end_of(process)
    assert code == 1 - retries, said
    assert len(list(far.path.rglob("2*.bin"))) == len(list(far.path.rglob("2*.bin.json"))) == 1 + retries
    wait_for(lambda: not far.parts(), "the part to go")


# Of a program: whether it is asked to do something to what has a final name by now.
NAMED = 'is_there() { for each in ./202[1-9]*."$1"; do [ ! -e "$each" ] || return 0; done; return 1; }\n'


@pytest.mark.parametrize("suffix", ["bin", "bin.json"])
def test_a_name_that_cannot_be_made_durable_is_taken_back(far, sshd, suffix):
    """41, 85: the link was made, and its directory cannot be synced: nothing keeps its name."""
    text = f"""{NAMED}[ "$1" != . ] || ! is_there {suffix} || {{ echo 'sync: Input/output error' >&2; exit 1; }}
        exec /bin/sync "$@\""""
    with far.accounts.with_programs(KIND, sync=text):
        far.failed(far.start(sshd.remote(KIND), pause=0), "Input/output error")
    assert not far.parts()


def test_a_name_that_may_have_been_given_is_taken_back(far, relay, tmp_path):
    """85: the answer for the manifest is lost, and the first new session cannot begin: the second removes all."""
    between, sshd = relay
    once = far.accounts.home(KIND) / f"{tmp_path.name}.once"
    wait = f"timeout 20 sh -c 'while [ -e {once} ]; do sleep 0.05; done'"
    ln = f'/bin/ln "$@"; case "$*" in *.json) : >{once}; {wait};; esac'
    dd = f'case "$*" in *nocache*) ;; *) [ ! -e {once} ] || {{ rm {once}; exit 1; }};; esac; exec /bin/dd "$@"'
    with far.accounts.with_programs(KIND, ln=ln, dd=dd):
        process = far.start(sshd.remote(KIND), pause=0)
        wait_for(once.exists, "the manifest to be named")
        between.cut()
        far.failed(process, "its dd does not know")
    assert not far.parts()


def test_what_another_run_has_named_is_not_taken_back(far, sshd, reach):
    """84, 85: the manifest's name is somebody's: his file stays, and the dump is taken back."""
    to = Remote(sshd.remote(KIND), str(far.path), transport=far.transport).bound(reach)
    sink = to.open(dump_name())
    there = far.path.joinpath(*dump_name().directory, dump_name().manifest_file)
    there.write_text("another")
    sink.write(memoryview(b"whole"))
    with pytest.raises(WriteError, match="is there already"):
        sink.commit(manifest_of(dump_name(), b"whole"))
    sink.abort()
    assert [(each, each.read_text()) for each in there.parent.iterdir()] == [(there, "another")]


@pytest.mark.parametrize("fault", ["closed", "read-only"])
def test_a_name_that_cannot_be_taken_back_is_told(far, relay, tmp_path, fault):
    """41, 85: the line of the run says which file is left there, whether the machine is gone or its disk is."""
    between, sshd = relay
    once = far.accounts.home(KIND) / f"{tmp_path.name}.once"
    sync = f'case "$*" in *.json.*) : >{once}; sleep 1; exit 1 ;; esac; exec /bin/sync "$@"'
    rm = "case \"$*\" in *' 20'*) echo 'rm: Read-only file system' >&2; exit 1;; esac; exec /bin/rm \"$@\""
    with far.accounts.with_programs(KIND, sync=sync, rm=rm):
        process = far.start(sshd.remote(KIND), pause=0, retries=1)
        wait_for(once.exists, "the manifest to be synced")
        if fault == "closed":
            between.go_away()
        code, said = end_of(process)
    (left,) = far.path.rglob("202[1-9]*")
    assert code == 1
    (line,) = {each for each in said.splitlines() if each.startswith("FAILED")}
    assert f"; and there cannot be removed: {left}: " in line
    assert "Read-only file system" in line or fault == "closed"
    left.unlink()
    wait_for(lambda: not far.parts(), "the part to go")
    if fault == "closed":
        between.come_back()  # for the next run


def test_who_hangs_in_a_commit_is_ended(far, relay, tmp_path):
    """85: where the answer is lost because nobody gives it, the new connection ends whoever hangs there."""
    between, sshd = relay
    seconds, once = 97 + os.getpid() / 1e8, far.accounts.home(KIND) / f"{tmp_path.name}.once"
    text = f'[ -e {once} ] || {{ : >{once}; exec sleep {seconds}; }}; exec /bin/ln "$@"'
    with far.accounts.with_programs(KIND, ln=text):
        process = far.start(sshd.remote(KIND), pause=0)
        wait_for(lambda: processes(f"sleep {seconds}"), "ln to hang")
        between.cut()
        code, said = end_of(process)
    assert code == 0, said
    assert len(list(far.path.rglob("2*.bin.json"))) == 2
    gone(f"sleep {seconds}")


def test_who_hangs_when_the_connection_is_lost_is_ended(far, relay, reach):
    """66, 79: also where that shows only when the dump, which failed here, is taken back."""
    between, sshd = relay
    sink = Remote(sshd.remote(KIND), str(far.path), transport=far.transport).bound(reach).open(dump_name())
    stopped = stop_shells(far)
    between.cut()
    sink.abort()
    assert not far.parts()
    wait_for(lambda: not stopped & shells(far), "the shell to end")


@pytest.mark.parametrize("far", ["fabric"], indirect=True)
def test_a_session_that_finds_nothing_to_take_back_is_ended(far, sshd, reach):
    """69, 79: whoever is sent for what another left behind leaves nothing himself."""
    sink = Remote(sshd.remote(KIND), str(far.path), transport=far.transport).bound(replace(reach, stall_timeout=0.5))
    sink = sink.open(dump_name())
    stopped = stop_shells(far)
    with pytest.raises(WriteError, match="stalled"):
        sink.commit(manifest_of(dump_name(), b""))
    far.path.rename(far.path.with_name(f"{far.path.name}.moved"))
    sink.abort()
    try:
        wait_for(lambda: shells(far) == stopped, "the other shell to end")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)


def test_the_order_of_a_commit(far, accounts, own_sshd, tmp_path):
    """82: file synced, then linked, then its directory synced; the manifest after the dump, the same way."""
    trace = tmp_path / "trace"
    server = own_sshd(inside=("strace", "-D", "-f", "-qq", "-y", "-s", "200", "-o", str(trace), "-e",
                              "trace=fsync,link,linkat,rename,renameat,renameat2"))  # fmt: skip
    far.works(server.remote(KIND))
    steps = []
    for line in trace.read_text().splitlines():
        if "fsync(" in line and str(far.path.name) in line:
            steps.append(
                "sync directory" if ".part>" not in line else "sync manifest" if ".json." in line else "sync dump"
            )
        elif "link" in line.split("(")[0] and "unlink" not in line:
            steps.append("name manifest" if '.json"' in line else "name dump")
    dump, manifest = (["sync " + each, "name " + each, "sync directory"] for each in ("dump", "manifest"))
    assert steps[-6:] == dump + manifest, trace.read_text()


def test_what_looks_like_an_option_or_a_command_is_neither(far, dbdump, tmp_path):
    """126: REMOTE is words of ssh's line; a command behind it, or nothing to go to, is refused before anything."""
    for remote in ("-oProxyCommand=touch\\ pwned", "host; touch pwned", "host touch pwned", "-f host", "-N host", ""):
        done = dbdump("dump", "--backend=sqlite", "--option=path=x", f"--remote={remote}", cwd=tmp_path)
        assert done.returncode == 2, done.stdout
    assert not (tmp_path / "pwned").exists()


def test_the_umask_of_the_far_account_is_not_ours(far, own_sshd):
    """123: files 0600 and directories 0700, whatever it is there."""
    far.works(own_sshd(inside=("sh", "-c", 'umask 0; exec "$@"', "sh")).remote(KIND))
    for path in far.path.rglob("*"):
        if "20200101" not in path.name:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_interrupted_while_it_is_sent(far, sshd):
    """49, far away: INT ends it with 130, and nothing is left there."""
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    wait_for(lambda: not far.accounts.processes(KIND), "the far side to end")
    assert not far.parts()
    far.untouched()


def test_killed_while_it_is_sent(far, sshd):
    """51, far away: after kill -9 nothing goes on there, the part goes, and the next run works."""
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    process.kill()
    process.wait()
    wait_for(lambda: not far.accounts.processes(KIND), "the far side to end")
    far.untouched()
    assert not far.parts()
    far.works(sshd.remote(KIND))


@pytest.mark.parametrize(
    ("forced", "status"),
    [
        ("exit 255", 1),
        ('timeout -s KILL 2 sh -c "$SSH_ORIGINAL_COMMAND"; exit 255', 1),
        ('sh -c "$SSH_ORIGINAL_COMMAND"; exit 255', 0),
    ],
)
def test_the_far_side_exits_255(far, own_sshd, forced, status):
    """75: ssh's own exit status or the far side's, before, amid or after the dump: what it acknowledged decides."""
    server = own_sshd(inside=("sh", "-c", 'forced=$0; exec "$@" -o "ForceCommand=$forced"', forced))
    if status == 0:
        far.works(server.remote(KIND))
    else:
        far.failed(far.start(server.remote(KIND)), "connect: ")
        far.works(own_sshd().remote(KIND))


@pytest.mark.parametrize("options", ["restrict", f"restrict,command={json.dumps(COMMAND)}"])
def test_a_key_that_may_do_nothing_else(far, own_sshd, options):
    """78: a restricted key is enough; so is one with a forced command that is our own first line."""
    server = own_sshd()
    keys = server.directory / "keys" / far.accounts.user(KIND)
    keys.write_text(f"{options} {keys.read_text()}")
    far.works(server.remote(KIND))


@pytest.mark.parametrize("missing", ["sync", "dd"])
def test_a_program_is_missing_there(far, sshd, missing):
    """80: it is named, before anything is dumped."""
    with far.accounts.without(KIND, missing):
        far.failed(far.start(sshd.remote(KIND), before=LONG), f" {missing} ")


def test_there_is_no_ln_there(far, sshd):
    """80: the name is claimed, and then the part is moved over it."""
    with far.accounts.without(KIND, "ln"):
        far.works(sshd.remote(KIND))


def test_a_file_system_in_between(far, sshd):
    """83: the temporary file is beside the final one, whatever is mounted on the way."""
    there = far.path / "localhost" / "slow" / "one"
    uid = far.accounts.uids[KIND]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=20m,mode=700,uid={uid}", "none", there], check=True)
    try:
        far.works(sshd.remote(KIND))
    finally:
        subprocess.run(["umount", "-l", there], check=True)  # a shell there may end after dbdump


def test_a_home_that_cannot_be_entered(far, sshd, tmp_path):
    """71: only a path below it needs it, and then that is told at once; an absolute one does not."""
    home = far.accounts.home(KIND)
    with tempfile.TemporaryDirectory(dir=far.accounts.directory) as top:
        path = Path(top)
        far.own(path)
        home.chmod(0)
        try:
            far.path = path
            far.works(sshd.remote(KIND))
            far.path = Path("dumps")
            text, _ = far.start(sshd.remote(KIND), pause=0).communicate(timeout=30)
        finally:
            home.chmod(0o700)
    assert f"its home {home} cannot be entered" in text


def test_a_machine_without_proc(far, own_sshd, reach):
    """66: there nobody knows which processes are those of a session that is lost: none is ended."""
    server = own_sshd(inside=("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "sh"))
    shell = reach.links.late(reach.links.shell(server.remote(KIND), far.transport))
    session = ShellSession(shell, KIND, 20)
    session.go(str(far.path), (), make=False)
    (far.path / "part").touch()
    far.own(far.path / "part")
    session.clear(session.group, "part")
    session.drop()
    session.close()
    assert not (far.path / "part").exists()
    assert session.group == "0"
