"""The console command on a terminal, as a person sees it."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from support import COMMAND


def on_terminal(
    *arguments: object, cwd: Path, columns: int = 140, answer: Callable[[], str] | None = None
) -> tuple[int, str]:
    """Run it there; the first time that it asks, type what `answer` returns. Return its status, and all it showed."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    try:
        with suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(controller, 4096):
                seen += piece
                if answer and seen.endswith(b"[y/N] "):
                    os.write(controller, answer().encode() + b"\n")
                    answer = None
        return process.wait(30), seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def beside_terminal(*arguments: object, cwd: Path, columns: int = 140) -> tuple[int, bytes, str]:
    """Run it with stderr on one, and stdout in a pipe. Return its status, what came through the pipe, all it showed."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, cwd=cwd,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(terminal)
    try:
        with ThreadPoolExecutor(1) as pool:
            out = pool.submit(process.communicate)
            seen = b""
            with suppress(OSError):  # EIO: the other side is closed
                while piece := os.read(controller, 4096):
                    seen += piece
            return process.wait(30), out.result()[0], seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)
