"""What can happen on the way to an account for SFTP only, over both transports (FAULTS, part C)."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from servers.far import LONG, cut
from servers.process import wait_for
from servers.relay import Relay
from support import files

from dbdump import Remote
from dbdump.errors import WriteError
from dbdump.testing import dump_name, manifest_of, store

KIND = "sftp"


def test_the_client_or_its_connection_is_killed(far, relay):
    """65, 79: end-of-file is no success there either, and a new session removes the part."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    cut(process, between, signal.SIGKILL)
    far.failed(process, "connect: ")
    assert not far.parts()
    far.works(sshd.remote(KIND))


def test_the_session_of_sshd_is_killed(far, sshd):
    """66, 79: it fails, and nothing is left there."""
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    sshd.signal(KIND, signal.SIGKILL)
    far.failed(process, "connection lost")
    assert not far.parts()
    far.works(sshd.remote(KIND))


def test_a_lost_connection_is_tried_once_more(far, sshd):
    """66, 81: with a retry there is one dump, under a fresh temporary name, and no part of the first."""
    process = far.start(sshd.remote(KIND), retries=1)
    far.in_the_middle()
    sshd.signal(KIND, signal.SIGKILL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert "once more" in text
    assert len(list(far.path.rglob("2*.bin.json"))) == 2
    assert not far.parts()


def test_an_orphan_writes_on_when_the_retry_has_committed(far, relay):
    """81, 79: what the server still had of the first attempt goes into the file of that one, and nowhere else."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND), retries=1, held=True)
    far.in_the_middle()
    orphans = sshd.sessions(KIND)
    try:
        for pid in orphans:
            os.kill(pid, signal.SIGSTOP)
        between.cut()
        far.go()
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, text
        before = files(far.path)
    finally:
        for pid in orphans:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not far.accounts.processes(KIND), "the orphan to end")
    assert files(far.path) == before
    assert not far.parts()


def test_the_link_goes_down_in_the_middle(far, link, dbdump):
    """67, 79: keepalives end it; nothing is named there, even when the server has given up, and list shows the part."""
    more = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2", "-o", "ConnectTimeout=2")
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
    (part,) = far.parts()
    assert part.name in dbdump("list", f"--recipes={far.recipes}").stdout


def test_the_far_side_is_frozen(far, sshd):
    """69, 79: the watchdog ends it; what hangs there stays until sshd goes on, and names nothing even then."""
    remote = sshd.remote(KIND, "-o", "ConnectTimeout=2")
    process = far.start(remote, stall=3, held=True)
    far.in_the_middle()
    sshd.signal(KIND, signal.SIGSTOP)
    far.go()
    began = time.monotonic()
    try:
        far.failed(process, "", running=True)
    finally:
        sshd.signal(KIND, signal.SIGCONT)
    assert time.monotonic() - began < 50
    wait_for(lambda: not far.accounts.processes(KIND), "the far side to end")
    far.untouched()
    assert not far.parts()


def test_the_far_disk_is_full(far, sshd, disk):
    """70, 79: SFTP has no word for it but failure; the part that filled it is gone."""
    text = far.failed(far.start(sshd.remote(KIND)), "write: ")
    assert "disk" in text
    assert not far.parts()
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)  # for the next run


def test_the_far_disk_is_read_only(far, sshd, disk):
    """71, 79: it fails before anything is dumped."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    far.failed(far.start(sshd.remote(KIND), before=LONG), "write: ")
    subprocess.run(["mount", "-o", "remount,rw,size=20m", disk], check=True)  # for the next run


def test_the_far_directory_is_missing_or_closed(far, sshd):
    """71, 79: a root that is not there is not made; one that is not ours to write is not written."""
    (far.path / "localhost").rename(far.path / "elsewhere")
    far.path.chmod(0o500)
    far.failed(far.start(sshd.remote(KIND), before=LONG), "ermission denied")
    far.path = far.path / "missing"
    far.failed(far.start(sshd.remote(KIND), before=LONG), "o such file")
    assert not far.path.exists()
    far.path.parent.chmod(0o700)
    far.path.mkdir(mode=0o700)
    far.own(far.path)  # for the next run


def test_the_name_is_taken(far, sshd, reach):
    """84, 79: what is there under the final name already stays, and is an error."""
    to = Remote(sshd.remote(KIND), str(far.path), transport=far.transport).bound(reach)
    sink = to.open(dump_name())
    there = far.path.joinpath(*dump_name().directory, dump_name().file)
    there.write_text("another")
    far.own(there)
    sink.write(memoryview(b"whole"))
    with pytest.raises(WriteError, match="is there already"):
        sink.commit(manifest_of(dump_name(), b"whole"))
    sink.abort()
    assert there.read_text() == "another"
    assert [path.name for path in there.parent.iterdir()] == [there.name]


def test_the_answer_to_the_commit_is_lost(far, own_sshd):
    """85, 79: the name is asked for again over a new connection, and twice is as good as once."""
    slow = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=link:delay_exit=2000000")
    server = own_sshd(inside=slow)
    between = Relay(server.port)
    try:
        process = far.start(server.through(between.port).remote(KIND), pause=0)
        wait_for(lambda: len(list(far.path.rglob("2*.bin"))) == 2, "the dump to be named")
        between.cut()
        text, _ = process.communicate(timeout=60)
    finally:
        between.close()
    assert process.returncode == 0, text
    wait_for(lambda: not far.accounts.processes(KIND), "the first session to end")
    assert len(list(far.path.rglob("2*.bin"))) == len(list(far.path.rglob("2*.bin.json"))) == 2
    wait_for(lambda: not far.parts(), "the part to go")


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_write_that_the_server_refuses(accounts, own_sshd, reach, tmp_path, transport):
    """70, 79: one in the middle leaves a hole in a file of the right size; only its own answer tells of it."""
    # It seeks before each write, and a few times before the first.
    command = "strace -o /dev/null -e inject=lseek:error=EDQUOT:when=30 /usr/lib/openssh/sftp-server"
    server = own_sshd(inside=("sh", "-c", f'exec "$@" -o "ForceCommand={command}"', "sh"))
    path = accounts.directory_of("dash", tmp_path.name)
    to = Remote(server.remote("dash"), str(path), transport=transport, read_back=False).bound(reach)
    data = os.urandom(2_000_000)  # 62 writes: paramiko looks at the answers when there are a hundred
    with pytest.raises(WriteError, match="failure"):
        store(to, dump_name(), data)
    assert not [each for each in path.rglob("*") if each.is_file()]


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
    """51, 81: after kill -9 nothing goes on there; its part has no lock, and goes when it is two days old."""
    process = far.start(sshd.remote(KIND))
    far.in_the_middle()
    process.kill()
    process.wait()
    wait_for(lambda: not far.accounts.processes(KIND), "the far side to end")
    far.untouched()
    (part,) = far.parts()
    os.utime(part, (time.time() - 3 * 86400,) * 2)
    far.works(sshd.remote(KIND))
