"""A directory of an account on another machine, with a dump on its way there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from servers.accounts import Accounts
from servers.process import wait_for
from servers.relay import Relay

RECIPE = """
import os
from dataclasses import dataclass
from dbdump import *

@backend("slow")
class Slow(Backend):
    suffix = ".bin"
    def get_db_list(self): return ["one"]
    def get_command(self, database):
        before, pause = (0, "sleep 0") if "QUICK" in os.environ else ({before}, {pause!r})
        data = "head -c 3000000 /dev/urandom"
        return ["sh", "-c", f"sleep {{before}}; {{data}}; {{pause}}; {{data}}"]

@recipe(localhost)
def slow(host):
    return Dump(Slow(), wrap={wrap}, to=Remote({remote!r}, {path!r}, transport={transport!r}, retries={retries}),
                stall_timeout={stall})
"""


LONG = 97  # seconds before a dump has its first byte: what has failed by then fails before anything is dumped


class Far:
    """A directory of an account, with an old dump in it, and a dump on its way there."""

    def __init__(self, accounts: Accounts, kind: str, transport: str, start: Callable, tmp_path: Path) -> None:
        self.accounts = accounts
        self.kind = kind
        self.transport = transport
        self.start_process = start
        self.recipes = tmp_path / "recipes"
        self.recipes.mkdir()
        self._may_go_on = tmp_path / "go"
        self.path = accounts.home(self.kind) / "dumps" / tmp_path.name
        self.path.mkdir(mode=0o700)
        self.own(self.path)

    def own(self, *paths: Path) -> None:
        """Make them the account's."""
        for path in paths:
            os.chown(path, self.accounts.uids[self.kind], self.accounts.uids[self.kind])

    def plant(self) -> None:
        """Put an old dump there."""
        directory = self.path / "localhost" / "slow" / "one"
        for each in (directory.parents[1], directory.parents[0], directory):
            each.mkdir(mode=0o700)
            self.own(each)
        for name in ("20200101T000000Z.bin", "20200101T000000Z.bin.json"):
            (directory / name).write_text("old")
            self.own(directory / name)

    def start(self, remote: str, *, retries: int = 0, stall: float = 60.0, before: float = 0, pause: float = 3,
              held: bool = False, wrap: str = "[]") -> subprocess.Popen[str]:  # fmt: skip
        """Start the dump, which pauses in the middle: for some seconds, or where it is `held`, until `go`."""
        wait = f"until [ -e {self._may_go_on} ]; do sleep 0.05; done" if held else f"sleep {pause}"
        (self.recipes / "slow.py").write_text(RECIPE.format(
            remote=remote, path=str(self.path), transport=self.transport, retries=retries, stall=stall, before=before,
            pause=wait, wrap=wrap,
        ))  # fmt: skip
        return self.start_process("dump", f"--recipes={self.recipes}")

    def go(self) -> None:
        """Let it go on, and each that is started from now on."""
        self._may_go_on.touch()

    def in_the_middle(self, least: int = 1) -> None:
        """Wait until a part of it has arrived, so many bytes at least."""
        wait_for(lambda: any(path.stat().st_size >= least for path in self.parts()), "bytes to arrive")

    def parts(self) -> list[Path]:
        """Return the temporary files there."""
        return list(self.path.rglob("*.part"))

    def failed(self, process: subprocess.Popen[str], said: str, *, running: bool = False) -> str:
        """Assert all that holds after any failure, and that its one line says `said`; return what was printed."""
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 1, text
        lines = [line for line in text.splitlines() if line.startswith("FAILED")]
        assert len(set(lines)) == 1, text
        assert lines[0].startswith("FAILED   localhost/slow"), text
        assert said in lines[0], text
        assert "hint: " in text
        assert "Traceback" not in text
        if not running:
            wait_for(lambda: not self.accounts.processes(self.kind), "the far side to end")
        self.untouched()
        return text

    def untouched(self) -> None:
        """Assert that the old dump is what it was, and that nothing else has a final name."""
        files = {path.name: path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith(".")}
        assert set(files) <= {"20200101T000000Z.bin", "20200101T000000Z.bin.json"}
        assert all(path.read_text() == "old" for path in files.values())

    def works(self, remote: str) -> None:
        """Assert that the next run stores a dump, and leaves nothing else."""
        process = self.start(remote, pause=0)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, text
        assert not self.parts()
        assert len(list(self.path.rglob("2*.bin.json"))) == len(list(self.path.rglob("20200101*.json"))) + 1


@pytest.fixture(params=["fabric", "openssh"])
def far(accounts: Accounts, request, started, tmp_path) -> Far:
    """A far directory with an old dump, of an account of the kind that the test's module names."""
    made = Far(accounts, request.module.KIND, request.param, started, tmp_path)
    made.plant()
    return made


def ssh_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the ssh processes of a dbdump."""
    found = subprocess.run(["pgrep", "-P", str(process.pid), "ssh"], check=False, capture_output=True, text=True)
    return list(map(int, found.stdout.split()))


def cut(process: subprocess.Popen[str], relay: Relay, number: int) -> None:
    """End the ssh clients of a dump with a signal, or the connection where no process is it."""
    if clients := ssh_of(process):
        for client in clients:
            with suppress(ProcessLookupError):  # one that only asked something, and has its answer
                os.kill(client, number)
    else:
        relay.cut()


@pytest.fixture
def disk(far: Far) -> Iterator[Path]:
    """A file system of 2 MiB in the far directory."""
    uid = far.accounts.uids[far.kind]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=2m,mode=700,uid={uid}", "none", far.path], check=True)
    try:
        yield far.path
    finally:
        subprocess.run(["umount", "-l", far.path], check=True)  # a shell there may end after dbdump
