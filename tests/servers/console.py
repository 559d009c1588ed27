"""The console command without the time that Python takes to start: forked from a process that has it imported.

That start is most of what a short run costs, and there are some thousands of runs. All else is as a user has it: a
process of its own, its own arguments, environment and directory, and Python's own end.
"""

from __future__ import annotations

import array
import gc
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from servers.process import STARTING, served, stop, wait_for

# `serve` returns in each child; what follows is what the console command does.
_SERVER = "import sys; from servers.console import serve; serve(sys.argv.pop()); from dbdump.tasks import main; main()"
_LOADED = ("dbdump.tasks", "dbdump.dump", "dbdump.runner", "dbdump.survey", "dbdump.ssh", "rich.progress")
_AT_START = ("LC_", "LANG", "PYTHON", "COVERAGE", "TZ")  # what Python itself looks at, and before we can change it


def serve(path: str) -> None:
    """Listen on the socket `path`; for each request return, in a process of its own that looks as it asks for."""
    for each in _LOADED:
        __import__(each)
    gc.freeze()  # what is loaded is no child's garbage: to look through it took a fifth of a short run
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(f"{path}.new")
        server.listen(16)
        Path(f"{path}.new").rename(path)  # whoever sees it can connect
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                break
            client.close()
            _reap()
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        client.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    _become(client)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _become(client: socket.socket) -> None:
    with client:
        request, (ancillary, *_), *_ = client.recvmsg(1 << 20, socket.CMSG_SPACE(12))
        files = array.array("i", ancillary[2])
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    arguments, environment, directory = pickle.loads(request)  # noqa: S301  our own
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path.remove(str(Path(__file__).parents[1]))


class Console:
    """Runs the console command; `can` says whether it is the same this way."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._start = self._of_start(os.environ)
        self._umask = _umask()

    def can(self, environment: Mapping[str, str], more: Mapping[str, object]) -> bool:
        """Whether a run with that environment, and those further arguments of Popen, is one that was forked."""
        return not more and self._of_start(environment) == self._start and _umask() == self._umask

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with nothing on stdin, and return what it printed."""
        request = pickle.dumps((list(arguments), dict(environment), str(directory)))
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client, Path(os.devnull).open("rb") as nothing:
            client.connect(self._path)
            socket.send_fds(client, [request], [nothing.fileno(), its_out, its_err])
            os.close(its_out)
            os.close(its_err)
            said = _to_the_end(out, err)
            status = int(client.recv(64))
        return subprocess.CompletedProcess(["dbdump", *arguments], status, *said)

    @staticmethod
    def _of_start(environment: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _to_the_end(*files: int) -> list[str]:
    """Read all of them at once, and close them."""
    with ThreadPoolExecutor(len(files)) as readers:
        return list(readers.map(_text, files))


def _text(file: int) -> str:
    with os.fdopen(file, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console | None]:
    """The console command, ready to run; None where coverage is measured, which begins with a process."""
    if "COVERAGE_RUN" in os.environ:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dbdump-console-", dir="/tmp") as top:
        path, tests = f"{top}/s", str(Path(__file__).parents[1])
        with subprocess.Popen(
            [sys.executable, "-c", _SERVER, path], cwd=tmp_path_factory.mktemp("console"),
            env={**os.environ, "PYTHONPATH": tests}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,  # as a run has them, though nothing comes
        ) as process:  # fmt: skip
            served(process)
            try:
                there = "the console command to be loaded"
                wait_for(lambda: Path(path).exists() or process.poll() is not None, there, STARTING)
                yield Console(path)
            finally:
                stop(process)
