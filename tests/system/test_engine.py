"""The engine with real processes: exit statuses, stalls, signals, secrets, users."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from servers.process import wait_for
from support import default_signals, gone, needs_root, pid_of, processes

from dbdump.errors import Interrupted, StageError
from dbdump.host import LocalShell
from dbdump.paths import absolute
from dbdump.pipeline import Pipeline
from dbdump.probe import become
from dbdump.script import Stage
from dbdump.user import User


def stage(*argv: str, **more) -> Stage:
    """Return a stage named after its program."""
    return Stage(argv[0], argv, **more)


def sh(text: str, **more) -> Stage:
    """Return a stage that runs shell text."""
    return stage("sh", "-c", text, **more)


def answer(*stages: Stage, **more) -> str:
    """Return what a pipeline writes."""
    return Pipeline(stages, **more).answer(LocalShell()).decode()


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([sh("echo 'boom: error' >&2; exit 3"), stage("cat")], "sh: exit status 3: boom: error"),
        ([sh("kill -9 $$"), stage("cat")], "sh: killed by SIGKILL"),
        ([sh("kill -TERM $$"), stage("cat")], "sh: killed by SIGTERM"),
        ([stage("yes"), sh("exec <&-; exit 4")], "sh: exit status 4"),
        ([stage("yes"), stage("true")], "yes: killed by SIGPIPE"),
        ([stage("no-such-program"), stage("cat")], "no-such-program: no-such-program: not found"),
        ([stage("true"), sh("kill -9 $PPID")], "sh: was killed before it could tell its exit status"),
        ([sh("exit 5"), sh("cat; exit 6"), stage("cat")], "sh: exit status 6"),
    ],
)
def test_the_stage_to_blame_is_named(stages, expected):
    """Any stage that fails fails the dump, and the right-most that did not die of SIGPIPE is blamed."""
    with pytest.raises(StageError) as caught:
        answer(*stages)
    assert f"{caught.value.stage}: {caught.value.message}".startswith(expected)


def test_sigpipe_works_where_the_parent_ignores_it():
    """Started from a cron wrapper that ignores SIGPIPE, a stage still dies of it."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        with pytest.raises(StageError, match="SIGPIPE"):
            answer(stage("yes"), stage("true"))
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_a_flood_of_warnings_does_not_block_and_is_bounded():
    """20 000 lines on stderr, with terminal sequences and bytes that are no text, do no harm."""
    text = r"seq -f 'warning %.0f' 20000 >&2; printf 'bad \377 \033[2J end\n' >&2; echo data"
    outcome = Pipeline((sh(text),)).run(LocalShell(), lambda _: None)
    assert len(outcome.said.messages) == 80
    assert outcome.said.messages[0] == "warning 1"
    assert outcome.said.messages[-1] == r"bad \xff  end"


def test_a_stall_is_ended_as_failed():
    """No byte for stall_timeout ends everything, a stopped process too."""
    began = time.monotonic()
    with pytest.raises(StageError, match=r"no byte for 0\.5 s"):
        answer(sh("echo some; kill -STOP $$; echo 31415.1"), stage("cat"), stall_timeout=0.5)
    gone("31415.1")
    assert time.monotonic() - began < 30


def test_slow_is_not_stalled():
    """Bytes that come slowly, or only messages, keep a dump alive."""
    slow = "for i in 1 2 3 4 5 6 7; do sleep 0.3; echo $i{}; done"  # in all longer than a stall
    assert answer(sh(slow.format("")), stall_timeout=2) == "1\n2\n3\n4\n5\n6\n7\n"
    assert answer(sh(slow.format(" >&2")), stall_timeout=2) == ""


@pytest.mark.parametrize("dies", ["KILL", "INT"])
def test_nothing_outlives_the_controller(tmp_path, dies):
    """When the controller is killed with -9, the script's processes hear of it and end."""
    code = (
        "from dbdump.host import LocalShell; from dbdump.pipeline import Pipeline\n"
        "from dbdump.script import Stage\n"
        "Pipeline((Stage('a', ('sleep', '27182.1')), Stage('b', ('cat',)))).answer(LocalShell())"
    )
    controller = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        preexec_fn=default_signals,  # noqa: PLW1509
    )
    pid_of("27182.1", "sleep")
    controller.send_signal(signal.Signals[f"SIG{dies}"])
    controller.wait()
    gone("27182.1")


def test_a_process_that_ignores_term_is_killed():
    """What does not listen to TERM gets KILL."""
    with pytest.raises(StageError, match="no byte"):
        answer(sh("trap '' TERM; while :; do sleep 16180.1; done"), stall_timeout=0.3)
    gone("16180.1")


def test_it_ends_without_its_watchdog():
    """When the script's own shells were killed, what is left of it is killed after a grace."""
    shell, failures = LocalShell(), []

    def run() -> None:
        try:
            Pipeline((stage("sleep", "33166.1"), stage("cat"))).answer(shell)
        except Interrupted as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    pid_of("33166.1", "sleep")
    for pid, line in processes("33166.1").items():
        if line.startswith("/bin/sh"):
            with suppress(ProcessLookupError):  # one goes with another
                os.kill(pid, signal.SIGKILL)
    shell.end()
    thread.join(60)
    assert len(failures) == 1
    gone("33166.1")


def test_an_ended_shell_starts_nothing():
    """After end() a shell starts no more, and says so."""
    shell = LocalShell()
    shell.end()
    with pytest.raises(Interrupted):
        Pipeline((stage("true"),)).answer(shell)


def test_the_environment_is_clean(monkeypatch):
    """A stage sees what dump tools need, and nothing else that is ours."""
    for name in ("CANARY", "PGHOST", "LC_TIME", "TZ", "BASH_ENV", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "canary")
    names = {line.partition("=")[0] for line in answer(stage("env")).splitlines()}
    assert {"PGHOST", "LC_TIME", "TZ", "PATH", "HOME"} <= names
    assert not {"CANARY", "BASH_ENV", "LD_PRELOAD_X"} & names


@pytest.mark.parametrize("left", [(), ("PATH", "HOME")])
def test_an_empty_environment_is_filled_in(monkeypatch, left):
    """Under env -i, or where they are empty, there is still a PATH and a HOME."""
    for name in ("PATH", "HOME"):
        monkeypatch.delenv(name)
    for name in left:
        monkeypatch.setenv(name, "")
    assert "sbin:" in answer(sh('echo "$PATH"'))
    assert answer(sh('echo "$HOME"')).strip() == pwd.getpwuid(os.geteuid()).pw_dir == str(absolute("~"))


def test_secrets_come_on_stdin(tmp_path):
    """A secret is in the environment of the stage that needs it, of no other, and in no argv."""
    first = sh("echo $SECRET; tr '\\0' ' ' < /proc/$PPID/cmdline", secrets=("SECRET",))
    text = answer(first, sh('cat; echo "[$SECRET]"'), values={"SECRET": "pa ss'\\wört"})
    assert text.startswith("pa ss'\\wört\n")
    assert text.endswith("[]\n")
    assert text.count("pa ss") == 1


@needs_root
@pytest.mark.parametrize("mechanism", ["setpriv", "runuser", "su"])
def test_a_stage_runs_as_another_user(mechanism):
    """Each way to become a user gives its id, its home and the secrets, and no process is left when ended."""
    user = User("postgres", "postgres", mechanism)
    text = answer(
        sh('id -un; echo ~; echo "$SECRET $A"', user=user, secrets=("SECRET",), environment={"A": "b c'"}),
        values={"SECRET": "canary"},
    )
    assert text == "postgres\n/var/lib/postgresql\ncanary b c'\n"
    with pytest.raises(StageError, match="no byte"):
        answer(stage("sleep", "14142.1", user=user), stall_timeout=0.5)
    gone("14142.1")


@needs_root
@pytest.mark.parametrize("mechanism", ["setpriv", "runuser", "su"])
def test_another_user_s_process_ends_with_the_controller(mechanism, tmp_path):
    """kill -9 of the controller leaves nothing behind that runs as another user either."""
    code = (
        "from dbdump.host import LocalShell; from dbdump.pipeline import Pipeline\n"
        "from dbdump.script import Stage; from dbdump.user import User\n"
        f"user = User('postgres', 'postgres', {mechanism!r})\n"
        "Pipeline((Stage('a', ('sleep', '17320.1'), user=user), Stage('b', ('cat',)))).answer(LocalShell())"
    )
    controller = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    pid_of("17320.1", "sleep")
    controller.kill()
    controller.wait()
    gone("17320.1")


@needs_root
def test_the_best_way_to_become_a_user_is_found():
    """Root becomes a user in place; oneself is nobody to become; a stranger is named."""
    assert become(LocalShell(), "postgres") == User(
        "postgres", answer(stage("id", "-g", "postgres")).strip(), "setpriv"
    )
    assert become(LocalShell(), "root") is None
    with pytest.raises(StageError, match="nobody-like-this"):
        become(LocalShell(), "nobody-like-this")


@pytest.fixture(params=["perl", "tee"])
def looker(request, tmp_path, monkeypatch):
    """The program that copies the raw stream, where there is perl, and where there is none."""
    if request.param == "tee":
        for name in ("sh", "yes", "head", "cat", "seq", "sleep", "dd", "od", "tr", "tee", "tail", "wc"):
            (tmp_path / name).symlink_to(shutil.which(name))
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        (tmp_path / "tee").write_text("#!/bin/sh\nexit 1\n")  # it is not asked
        (tmp_path / "tee").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return request.param


@pytest.mark.parametrize("size", [0, 10, 64, 65, 570, 1000, 3_000_000])
def test_the_raw_stream_is_looked_at_on_its_way(looker, size):
    """With check_stream the raw size, first and last bytes are known, and the stream is what it was."""
    pipeline = Pipeline((sh(f"yes 0123456789 | head -c {size}"), stage("cat")), check_stream=True)
    kept = bytearray()
    outcome = pipeline.run(LocalShell(), kept.extend)
    assert len(kept) == outcome.stored_bytes == outcome.said.raw_bytes == size
    assert outcome.said.first == kept[:64]
    assert outcome.said.last == kept[64:][-512:]


def bad_looker(directory: Path, looker: str, text: str) -> str:
    """Write a program that is found before the real one, which it may run as REAL; return its directory for PATH."""
    (bad := directory / "bad").mkdir()
    probe = '[ "$1" = -e ] && case $2 in exit*) exit 0 ;; esac\n'  # what asks whether perl works
    (bad / looker).write_text(f"#!/bin/sh\n{probe}{text.replace('REAL', shutil.which(looker))}\n")
    (bad / looker).chmod(0o755)
    return f"{bad}:{os.environ['PATH']}"


@pytest.mark.parametrize("lines", [1000, 1_000_000])
def test_a_copy_that_is_cut_is_a_failure(looker, tmp_path, monkeypatch, lines):
    """The copy that check_stream makes carries the dump: when it is killed, the dump has failed by that."""
    path = bad_looker(tmp_path, looker, '/usr/bin/head -c 1000 | REAL "$@"; kill -9 $$')
    monkeypatch.setenv("PATH", path)
    with pytest.raises(StageError, match="killed by SIGKILL, between sh and what is stored") as caught:
        Pipeline((sh(f"seq {lines}"), stage("cat")), check_stream=True).run(LocalShell(), lambda _: None)
    assert caught.value.stage == "check"


def test_a_copy_that_tells_nothing_is_a_failure(tmp_path, monkeypatch):
    """A perl that exits 0 before it has copied all, and so before it tells what it saw, has not copied the dump."""
    monkeypatch.setenv("PATH", bad_looker(tmp_path, "perl", "/usr/bin/head -c 100"))
    with pytest.raises(StageError, match="exited 0, and did not say what it has seen") as caught:
        Pipeline((sh("seq 1000"), stage("cat")), check_stream=True).run(LocalShell(), lambda _: None)
    assert caught.value.stage == "check"


def test_nobody_waits_for_a_dump_whose_copy_has_died(looker, tmp_path, monkeypatch):
    """A first stage that waits for something is ended at once, and not blamed, nor is its stall waited for."""
    monkeypatch.setenv("PATH", bad_looker(tmp_path, looker, "kill -9 $$"))
    with pytest.raises(StageError, match="killed by SIGKILL, between sh and what is stored"):
        Pipeline((sh("sleep 17344"), stage("cat")), stall_timeout=60, check_stream=True).run(
            LocalShell(), lambda _: None
        )
    gone("17344")


@pytest.mark.parametrize("text", ["exit 127", "echo no libperl >&2; exit 1"])
def test_a_perl_that_does_not_work_is_none(tmp_path, monkeypatch, text):
    """tee does it then."""
    (tmp_path / "perl").write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / "perl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = Pipeline((sh("seq 1000"), stage("cat")), check_stream=True).run(LocalShell(), lambda _: None).said
    assert (said.raw_bytes, said.messages) == (3893, [])


def test_perl_is_told_nothing_by_the_environment(monkeypatch):
    """What perl takes from variables, a locale that is not there among it, changes neither stream nor messages."""
    monkeypatch.setenv("PERL5OPT", "-MNo::Such::Module")
    monkeypatch.setenv("PERL_UNICODE", "SDA")
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    kept = bytearray()
    said = Pipeline((sh(r"printf '\377\303'"), stage("cat")), check_stream=True).run(LocalShell(), kept.extend).said
    assert (bytes(kept), said.first, said.messages) == (b"\xff\xc3", b"\xff\xc3", [])


def test_a_secret_that_the_caller_exports_is_of_one_stage(monkeypatch):
    """A variable that was exported already reaches no other stage with the secret's value."""
    monkeypatch.setenv("PGPASSWORD", "old")
    text = answer(sh("echo $PGPASSWORD", secrets=("PGPASSWORD",)), sh('cat; echo "[$PGPASSWORD]"'),
                  values={"PGPASSWORD": "new"})  # fmt: skip
    assert text == "new\n[]\n"


def test_descriptors_and_processes_come_back_to_the_start():
    """A hundred runs, failed ones among them, leave no descriptor and no process."""
    shell = LocalShell()
    before = len(os.listdir("/proc/self/fd"))
    for index in range(100):
        try:
            Pipeline((sh(f"echo 12345.{index}; exit {index % 2}"),)).answer(shell)
        except StageError:
            assert index % 2
    assert len(os.listdir("/proc/self/fd")) == before
    wait_for(lambda: not processes("12345."), "the last of them")
