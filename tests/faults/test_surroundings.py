"""Where a dump runs: as whom, from where, and who reads what it says (FAULTS, part B)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from servers.sudo import as_nobody
from support import COMMAND, Started, end_of, needs_root, pid_of

from faults.running import processes
from faults.shell import NOISY, ShellSite, shim


@pytest.fixture
def shell(tmp_path, datadir):
    """Write recipes whose databases hold what a line of sh prints, and return the flags that dump them."""
    return ShellSite(tmp_path, datadir)


@needs_root
@pytest.mark.parametrize("noisy", [[], ["setpriv"], ["setpriv", "runuser"]])
def test_what_another_user_s_login_says_is_not_in_the_stream(
    dbdump, shell, datadir, accounts, unharmed, tmp_path, noisy
):
    """55, 56, 57, 121: start-up files talk, there is no shell, and where we are is closed to him: only the dump.

    What we have in our environment he does not get, whichever way he is become.
    """
    env = {}
    for each in noisy:
        env = shim(tmp_path / "bin", each, NOISY)
    (tmp_path / "bash_env").write_text("echo WELCOME\n")
    env |= {"SECRET": "ours", "BASH_ENV": str(tmp_path / "bash_env")}
    for user in (accounts.user("chatty"), "mysql"):
        said = unharmed.again(*shell("id -un; pwd; echo ${SECRET-none}", backend=f"Shell(su={user!r})"), env=env)
        (stored,) = set(datadir.rglob("*.dump"))
        assert stored.read_text() == f"{user}\n/\nnone\n"
        assert "welcome" not in said.lower()
        for path in datadir.rglob("*.dump*"):
            path.unlink()


@needs_root
def test_whoever_cannot_be_become_in_silence_is_not(dbdump, shell, unharmed, tmp_path):
    """55: where each way prints something, which would be in the dump, none is used, and what was printed is said."""
    for each in ("setpriv", "runuser", "su"):
        env = shim(tmp_path / "bin", each, NOISY)
    done = dbdump(*shell("echo never", backend="Shell(su='mysql')"), env=env)
    assert done.returncode == 1
    assert "su: cannot run commands as mysql (setpriv: WELCOME; runuser: WELCOME; su: WELCOME)" in done.stdout
    unharmed.check()
    unharmed.again(*shell("echo now", backend="Shell(su='mysql')"))


@pytest.mark.parametrize(
    ("reader", "task", "code"),
    [("full", "dump", 0), ("full", "dump --json", 1), ("full", "list", 0), ("full", "status --nagios", 3),
     ("gone", "dump", 0), ("gone", "list --json", 1)],
)  # fmt: skip
def test_the_log_takes_no_more(shell, datadir, unharmed, said, tmp_path, reader, task, code):
    """63, 64: on a full disk, or where nobody reads, a dump goes on; it is said once, and a document is missed."""
    flags = shell("echo fine")
    unharmed.again(*flags)
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as full, os.fdopen(writing, "w") as gone:
        line = [*COMMAND, *task.split(), *flags[1:]]
        done = subprocess.run(line, cwd=tmp_path, stdout=full if reader == "full" else gone, stderr=subprocess.PIPE,
                              text=True, check=False)  # fmt: skip
    said += [f"stored   localhost/app/one  {path}" for path in datadir.rglob("*.dump")]
    assert done.returncode == code, done.stderr
    assert len(list(datadir.rglob("*.dump"))) == 1 + task.startswith("dump")
    assert "Traceback" not in done.stderr
    expected = "no space left on device" if reader == "full" else "broken pipe" if code else ""
    assert done.stderr.count("dbdump: stdout: ") == bool(expected)
    assert expected in done.stderr


@pytest.fixture
def run_as(way, shell, started, accounts, unharmed, said, tmp_path, monkeypatch):
    """Return how to start a run that becomes another user in one way, and recipes for it.

    It is root's, or nobody's, who has sudo: then so are the recipes, the datadir, and the next run.
    """
    if way != "sudo":
        ways = ["setpriv", "runuser", "su"]
        for each in ways[: ways.index(way)]:
            monkeypatch.setenv("PATH", shim(tmp_path / "bin", each, NOISY)["PATH"])
        yield started, shell
        return
    with tempfile.TemporaryDirectory(prefix="dbdump-nobody-", dir="/tmp") as path:  # nobody may not enter root's
        nobody = Nobody(Path(path), accounts.user("dash"), said)
        monkeypatch.setenv("XDG_STATE_HOME", path)
        unharmed.directories[:] = [nobody.top / "datadir"]
        unharmed.run = nobody.run
        yield nobody.start, ShellSite(nobody.top, nobody.top / "datadir")
        for process in nobody.started:
            process.kill()
            process.communicate()


class Nobody:
    """Runs dbdump as nobody, who may become `user` through sudo, and has a directory."""

    def __init__(self, top: Path, user: str, said: list[str]) -> None:
        self.top, self._said = top, said
        self.started: list[Started] = []
        self._inside = as_nobody(f"nobody ALL=({user}) NOPASSWD: ALL")
        (top / "datadir").mkdir(mode=0o700)

    def start(self, *arguments: str) -> Started:
        """Start it."""
        for each in (self.top, self.top / "datadir", *self.top.glob("recipes"), *self.top.glob("recipes/*")):
            shutil.chown(each, "nobody", "nogroup")
        self.started.append(Started(
            [*self._inside, *COMMAND, *arguments], cwd=self.top, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ))  # fmt: skip
        return self.started[-1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        code, out = end_of(self.start(*arguments))
        self._said.append(out)
        return subprocess.CompletedProcess(arguments, code, out, "")


@needs_root
@pytest.mark.parametrize(
    ("way", "end", "status"),
    [("setpriv", "KILL", -9), ("runuser", "KILL", -9), ("su", "KILL", -9), ("sudo", "KILL", -9), ("su", "TERM", 143),
     ("sudo", "TERM", 143), ("su", "stall", 1), ("setpriv", "stall", 1), ("sudo", "stall", 1)],
)  # fmt: skip
def test_another_user_s_process_ends_with_its_run(run_as, accounts, unharmed, said, way, end, status):
    """52: killed, ended or stalled, and whichever way he is become: nothing of his is left, nor of ours."""
    start, shell = run_as
    user, seconds = accounts.user("dash"), 97 + os.getpid() / 1e8
    backend, wrap = f"Shell(su={user!r})", f"[], stall_timeout={1 if end == 'stall' else 60}"
    process = start(*shell(f"echo begun; exec sleep {seconds}", backend=backend, wrap=wrap))
    if end != "stall":
        sleeping = pid_of(str(seconds), "sleep")
        assert Path(f"/proc/{sleeping}").owner() == user
        assert ("sudo" in ancestors(sleeping)) == (way == "sudo")
        process.send_signal(signal.Signals[f"SIG{end}"])
    code, out = end_of(process)
    said.append(out)
    assert code == status, out
    assert ("ended as stalled" in out) == (end == "stall"), out
    unharmed.killed = end == "KILL"
    unharmed.check()
    unharmed.again(*shell("echo fine", backend=backend))
    unharmed.check()


def ancestors(pid: int) -> list[str]:
    """Return the names of the programs that a process is below."""
    found, names = processes(), []
    while pid in found:
        names.append(found[pid].program)
        pid = found[pid].parent
    return names
