"""What goes wrong between a dump's first process and its file (FAULTS, part B)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import another_second, program, wait_for
from support import COMMAND, end_of, needs_root

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.testing import store

# A program that is made to fail at its n-th write, where n is one more for each dump; only where it is fed by a pipe,
# so that what is asked of it before, and the signature of a manifest, work.
_STRUCK = """\
#!/bin/sh
case " $* " in *" --detach-sign "*) exec {real} "$@";; esac
[ -p /dev/stdin ] || exec {real} "$@"
n=1; until mkdir {counter}/$n 2>/dev/null; do n=$((n+1)); done
exec {strace} {follow} -qq -o /dev/null -e trace=write -e inject=write:{fault}:when=$n{more} {real} "$@"
"""


def shim(directory: Path, name: str, text: str, **more: object) -> dict[str, str]:
    """Put a program before the real one on a PATH, and return the variables that have it found."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(text.format(real=program(name, name), **more))
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("tool", "fault", "cause"),
    [("zstd -f", "signal=KILL", "zstd: killed by SIGKILL"), ("zstd -f", "error=ENOSPC", "zstd: exit status 1: "),
     ("gpg", "signal=KILL", "gpg: killed by SIGKILL"), ("gpg", "error=ENOSPC", "gpg: exit")],
)  # fmt: skip
def test_a_wrapper_fails_at_any_write(dbdump, databases, datadir, gnupg, unharmed, tmp_path, tool, fault, cause):
    """38, 39, 40: whichever write it is, for every n until it passes: it is the cause, and nothing is stored."""
    tool, _, follow = tool.partition(" ")  # the threads of zstd; who followed gpg would wait for its agent
    flags = ["dump", "--backend=sqlite", f"--option=path={databases}/*.db", f"--datadir={datadir}",
             *(["--encrypt=ops"] if tool == "gpg" else ["--database=d[0-4].db"])]  # fmt: skip
    home = {"GNUPGHOME": str(gnupg.home)}
    store(Directory(str(datadir)), DumpName("localhost", "sqlite", "d0.db", "20200101T000000Z", ".sqlite"), b"old")
    unharmed.begin()
    (counter := tmp_path / "counter").mkdir()
    struck = shim(tmp_path / "bin", tool, _STRUCK, counter=counter, fault=fault, follow=follow,
                  strace=program("strace", "strace"), more="+" if "error" in fault else "")  # fmt: skip
    done = dbdump(*flags, "--jobs=4", env=home | struck)
    assert done.returncode == 1, done.stdout
    failed = {line for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert all(cause in line for line in failed), failed
    # Of those that worked each had a greater n than there are writes, so each n before was tried.
    assert 1 <= len(failed) < len(list(counter.iterdir()))
    unharmed.check()
    another_second()
    unharmed.again(*flags, "--database=d0.db", env=home)


# A backend of databases that each hold what a line of sh says; how it is wrapped, and more of it.
_SHELL = """
@backend("shell")
class Shell(Backend):
    def get_db_list(self): return {databases!r}
    def get_command(self, database): return ["sh", "-c", {script!r}, "sh", database, {marker!r}]

@dataclass(frozen=True)
class Wrap:
    script: str
    suffix = ".x"
    program = "sh"
    def on(self, programs, ask): return self
    def command(self): return ["sh", "-c", self.script, {marker!r}]
    def inverse(self): return ["cat"]
    def most_bytes(self, size): return size

@recipe({host})
def app(host):
    return Dump({backend}, wrap={wrap}, to=Directory({datadir!r}))
"""


@pytest.fixture
def shell(tmp_path, datadir):
    """Write a recipe whose databases hold what `script` prints for $1, and return the flags that dump them."""

    def write(
        script: str, databases: str = "one", wrap: str = "[]", backend: str = "Shell()", host: str = "localhost"
    ) -> list[str]:
        text = _SHELL.format(script=script, databases=databases.split(), wrap=wrap, backend=backend, host=host,
                             datadir=str(datadir), marker=str(tmp_path))  # fmt: skip
        return ["dump", f"--recipes={recipe_file(tmp_path, text)}"]

    return write


def test_sigpipe_is_ignored_by_whoever_started_it(dbdump, shell, unharmed, said, tmp_path):
    """43: as under a cron wrapper; who writes to one that has ended still dies of it, and is no success."""
    flags = shell("yes", wrap="[Wrap('head -c 9; exit 0')]")
    done = subprocess.run(["sh", "-c", 'trap "" PIPE; exec "$@"', "sh", *COMMAND, *flags], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    said.append(done.stdout)
    assert done.returncode == 1
    assert "FAILED   localhost/app/one: sh: killed by SIGPIPE" in done.stdout
    unharmed.check()
    unharmed.again(*shell("echo fine"))


@pytest.mark.parametrize("env", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1:strict"}])
def test_what_a_tool_says_is_no_text(dbdump, shell, unharmed, env):
    """44, 45: a flood of bytes that are no text, and of what plays with a terminal: one line names the cause."""
    noise = r"printf '\377\000\033[2J\033]0;x\007\302\233 31m\r %0.s' $(seq 4000) >&2; "
    flags = shell(
        noise + r"printf '\nerror: \377 \033[31mred\302\233 \303\251\n' >&2; " + noise + "exit $(($1 == 2))", "1 2"
    )
    for more in [], ["--json"]:
        done = dbdump(*flags, *more, env=env)
        assert done.returncode == 1
        assert "error: \\xff red\\x9b " in done.stderr + done.stdout
        assert not re.search(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr)
        assert len(done.stdout) < 5000
    assert json.loads(done.stdout)["results"][1]["status"] == "failed"
    another_second()
    unharmed.again(*shell("echo fine"))


def test_nobody_reads_our_stdin(dbdump, shell, unharmed, said, tmp_path):
    """46: of three databases all are dumped, and who gave us a list still has all of it."""
    flags = shell("cat; echo $1", "a b c", wrap="[Wrap('cat - /dev/stdin')]")
    (names := tmp_path / "names").write_text("a\nb\nc\n")
    with names.open("rb") as stdin:
        done = subprocess.run(
            [*COMMAND, *flags], cwd=tmp_path, stdin=stdin, capture_output=True, text=True, check=False
        )
        assert os.lseek(stdin.fileno(), 0, os.SEEK_CUR) == 0
    said.append(done.stdout)
    assert (done.returncode, done.stdout.count("stored   ")) == (0, 3)
    unharmed.check()
    another_second()
    unharmed.again(*flags)


def test_no_child_has_what_is_another_s(dbdump, shell, datadir, unharmed):
    """47: eight at once, and each process has its own three descriptors, so that every end of a stream is seen."""
    flags = shell('sleep 0.1; for each in /proc/$$/fd/*; do echo "${each##*/} $(readlink $each)"; done',
                  " ".join(f"d{index}" for index in range(24)))  # fmt: skip
    said = unharmed.again(*flags, "--jobs=8")
    assert said.count("stored   ") == 24
    seen = [path.read_text().splitlines() for path in datadir.rglob("*.dump")]
    # The fourth is what the shell itself looks with.
    assert all([line.split()[0] for line in lines] == ["0", "1", "2", "3"] for lines in seen), seen
    assert all(lines[0] == "0 /dev/null" for lines in seen)
    pipes = [line.split()[1] for lines in seen for line in lines[1:3]]
    assert len(set(pipes)) == 48


def test_who_waits_for_a_lock_in_vain_is_ended_at_once(postgres, shell, unharmed, said, started, tmp_path):
    """48: pg_dump waits for a lock, and what reads it is dead: nobody waits for either of them."""
    server = f'PostgreSQL(host={postgres.host!r}, user="postgres", include=["held"], globals=False)'
    dies = f"until [ -e {tmp_path}/go ]; do sleep .05; done; kill -9 $$"
    postgres.create("held")
    psql = ["psql", "-XAtqw", "-d", "held"]
    with subprocess.Popen(psql, env=postgres.environment, stdin=subprocess.PIPE, text=True) as holder:
        try:
            holder.stdin.write("CREATE TABLE t (); BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;\n")
            holder.stdin.flush()
            wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock'"), "the lock")
            process = started(*shell("", backend=server, wrap=f"[Wrap({dies!r})]"))
            waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
            wait_for(lambda: postgres.sql(waits), "pg_dump to wait")
            began = time.monotonic()
            (tmp_path / "go").touch()
            code, out = end_of(process)
            said.append(out)
            assert code == 1
            assert "FAILED   localhost/app/held: sh: killed by SIGKILL" in out
            assert time.monotonic() - began < 15
            holder.communicate("ROLLBACK;\n")
            unharmed.check()
            unharmed.again(*shell("", backend=server))
        finally:
            holder.kill()
    postgres.drop("held")


_NOISY = '#!/bin/sh\necho WELCOME\nexec {real} "$@"\n'


@needs_root
@pytest.mark.parametrize("noisy", [[], ["setpriv"], ["setpriv", "runuser"]])
def test_what_another_user_s_login_says_is_not_in_the_stream(
    dbdump, shell, datadir, accounts, unharmed, tmp_path, noisy
):
    """55, 56, 57: with start-up files that talk, without a shell, and where we are is closed to him: only the dump."""
    env = {}
    for each in noisy:
        env = shim(tmp_path / "bin", each, _NOISY)
    for user in (accounts.user("chatty"), "mysql"):
        said = unharmed.again(*shell("id -un; pwd", backend=f"Shell(su={user!r})"), env=env)
        (stored,) = set(datadir.rglob("*.dump"))
        assert stored.read_text() == f"{user}\n/\n"
        assert "WELCOME" not in said
        another_second()
        for path in datadir.rglob("*.dump*"):
            path.unlink()


@needs_root
def test_whoever_cannot_be_become_in_silence_is_not(dbdump, shell, unharmed, tmp_path):
    """55: where each way prints something, which would be in the dump, none is used, and what was printed is said."""
    for each in ("setpriv", "runuser", "su"):
        env = shim(tmp_path / "bin", each, _NOISY)
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
    another_second()
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


@needs_root
@pytest.mark.parametrize("way", ["setpriv", "su", "fabric", "openssh"])
def test_who_is_ended_in_vain_may_run_as_anybody_anywhere(shell, dbdump, sshd, unharmed, tmp_path, way):
    """48: as another user, and on another host, whose processes we may not signal."""
    env = {}
    for each in ("setpriv", "runuser") if way == "su" else ():
        env = shim(tmp_path / "bin", each, _NOISY)
    far = (
        f"Host('far', ssh={sshd.remote('bash')!r}, transport={way!r})" if way in ("fabric", "openssh") else "localhost"
    )
    su = "mysql" if far == "localhost" else None
    began = time.monotonic()
    flags = shell("sleep 100", backend=f"Shell(su={su!r})", wrap="[Wrap('exit 3')]", host=far)
    done = dbdump(*flags, env=env)
    assert done.returncode == 1
    assert "/app/one: sh: exit status 3" in done.stdout
    assert time.monotonic() - began < 20
    unharmed.check()
    unharmed.again(*shell("echo fine", backend=f"Shell(su={su!r})", host=far), env=env)
