"""An operator who is not root, and may run commands as the database's user through sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import gone

import dbdump

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it writes a sudoers rule, in a mount namespace of its own")

RULE = "nobody ALL=(postgres) NOPASSWD: ALL\n"
# In a namespace of its own, so that the machine's rules stay what they are.
AS_NOBODY = (
    'mount -t tmpfs -o mode=755 none /etc/sudoers.d; printf "%s" "$1" > /etc/sudoers.d/test; '
    "chmod 440 /etc/sudoers.d/test; cd /; "
    'exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- env -i PYTHONPATH=$2 /usr/bin/python3 -c "$3"'
)
IMPORTS = """
from dbdump.errors import StageError
from dbdump.host import LocalShell
from dbdump.pipeline import Pipeline
from dbdump.probe import become
from dbdump.script import Stage
shell = LocalShell()
user = become(shell, "postgres")
"""


@pytest.fixture
def start() -> Iterator[object]:
    """Run Python text with dbdump as the user nobody, who may become postgres."""
    with tempfile.TemporaryDirectory(prefix="dbdump-sudo-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        shutil.copytree(Path(dbdump.__file__).parent, Path(place) / "dbdump")
        subprocess.run(["chmod", "-R", "go+rX", place], check=True)

        def run(text: str, **more) -> subprocess.Popen[str]:
            argv = ["unshare", "-m", "sh", "-c", AS_NOBODY, "sh", RULE, place, IMPORTS + text]
            return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)

        yield run


def test_a_stage_runs_through_sudo(start):
    """Sudo is what is found; the stage gets its user, home, variables and secrets, and nobody's argv has one."""
    said, _ = start("""
text = 'id -un; echo ~; echo "$SECRET $A"; cat /proc/[0-9]*/cmdline | tr "\\\\0" " " | grep -c "can[a]ry-value"'
stage = Stage("sh", ("sh", "-c", text), environment={"A": "b c'"}, secrets=("SECRET",), user=user)
try: Pipeline((stage,), {"SECRET": "can" + "ary-value"}).run(shell, lambda piece: print(bytes(piece).decode(), end=""))
except StageError: pass
print(user.mechanism)
""").communicate(timeout=60)
    assert said.split("\n") == ["postgres", "/var/lib/postgresql", "canary-value b c'", "0", "sudo", ""]


def test_who_may_not_is_told(start):
    """Without a rule the error names what each mechanism said, and how to allow it."""
    said, _ = start("""
try: become(shell, "daemon")
except StageError as error: print(error.stage, error.message, error.hint, sep="|")
""").communicate(timeout=60)
    assert said.startswith("su|cannot run commands as daemon (sudo: ")
    assert "a password is required" in said
    assert "nobody ALL=(daemon) NOPASSWD: ALL" in said


GATED = """
import threading
from dbdump.gate import Gate
from dbdump.errors import BadDump
text = 'id -un; echo "$SECRET"; echo "$1.begun" >&2; cat; echo the end'
def restore(feed):
    gate = Gate()
    stage = Stage("sh", ("sh", "-c", f"({text}) > $1", "sh", PATH), secrets=("SECRET",), user=user)
    Pipeline((gate.stage(stage),), {"SECRET": "a b"}, 60, fed=True).run(
        shell, gate.hear, lambda write: gate.send(write, feed, lambda: None))
"""


def test_what_restores_through_sudo_is_told_of_the_end(start):
    """It gets its secrets, all of its bytes, and the end of its input, as the other user."""
    with tempfile.TemporaryDirectory(prefix="dbdump-gate-", dir="/tmp") as top:
        shutil.chown(top, "postgres")
        said, _ = start(
            f"PATH = '{top}/f'"
            + GATED
            + """
restore(lambda write: [write(memoryview(b"x" * 1000000)) for _ in range(20)])
print("done")
"""
        ).communicate(timeout=60)
        assert said.split() == ["done"]
        assert (Path(top) / "f").read_bytes() == b"postgres\na b\n" + b"x" * 20_000_000 + b"the end\n"


def test_what_restores_through_sudo_never_sees_an_end_that_is_none(start):
    """Where reading fails in the middle, it is killed on its side of sudo, which we may not do, with its input open."""
    with tempfile.TemporaryDirectory(prefix="dbdump-gate-", dir="/tmp") as top:
        shutil.chown(top, "postgres")
        said, _ = start(
            f"PATH = '{top}/f'"
            + GATED
            + """
def feed(write):
    for _ in range(20): write(memoryview(b"x" * 1000000))
    raise BadDump("changed")
try: restore(feed)
except BadDump as error: print(error.message)
"""
        ).communicate(timeout=60)
        assert said.split() == ["changed"]
        assert (Path(top) / "f").exists()
        assert not (Path(top) / "f").read_bytes().endswith(b"the end\n")
        gone(f"{top}/f")
