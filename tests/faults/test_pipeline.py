"""What goes wrong between a dump's first process and its file (FAULTS, part B)."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from servers.process import program
from support import COMMAND

from dbdump import Directory
from dbdump.catalog import DumpName
from dbdump.testing import store
from faults.shell import ShellSite, shim

# A program that is made to fail at its n-th write, where n is one more for each dump; only where it is fed by a pipe,
# so that what is asked of it before, and the signature of a manifest, work.
_STRUCK = """\
#!/bin/sh
case " $* " in *" --detach-sign "*) exec {real} "$@";; esac
[ -p /dev/stdin ] || exec {real} "$@"
n=1; until mkdir {counter}/$n 2>/dev/null; do n=$((n+1)); done
exec {strace} {follow} -qq -o /dev/null -e trace=write -e inject=write:{fault}:when=$n{more} {real} "$@"
"""


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
    unharmed.again(*flags, "--database=d0.db", env=home)


_LATE = """\
#!/bin/sh
case " $* " in *" --detach-sign "*) exec {real} "$@";; esac
[ -p /dev/stdin ] || exec {real} "$@"
exec {strace} {follow} -qq -o {trace} -e trace=write -e inject=write:{fault}:when={number}+ {real} "$@"
"""


@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC"])
@pytest.mark.parametrize("tool", ["zstd", "gpg"])
def test_a_wrapper_fails_when_much_is_out_already(dbdump, database, datadir, gnupg, unharmed, tmp_path, tool, fault):
    """38, 39, 40: from its twentieth write on or later, with more than 100 kB behind it."""
    flags = ["dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}", "--encrypt=ops"]
    home, trace = {"GNUPGHOME": str(gnupg.home)}, tmp_path / "trace"
    struck = shim(tmp_path / "bin", tool, _LATE, trace=trace, fault=fault, strace=program("strace", "strace"),
                  follow="-f" if tool == "zstd" else "", number=20 if tool == "zstd" else 30)  # fmt: skip
    done = dbdump(*flags, env=home | struck)
    assert done.returncode == 1, done.stdout
    cause = "killed by SIGKILL" if "KILL" in fault else "exit"
    assert f"FAILED   localhost/sqlite/app.db: {tool}: {cause}" in done.stdout
    assert sum(map(int, re.findall(r"(?m)write.* = ([0-9]+)$", trace.read_text()))) > 100_000
    unharmed.check()
    unharmed.again(*flags, env=home)


@pytest.fixture
def shell(tmp_path, datadir):
    """Write recipes whose databases hold what a line of sh prints, and return the flags that dump them."""
    return ShellSite(tmp_path, datadir)


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
