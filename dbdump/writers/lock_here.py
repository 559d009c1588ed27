"""The lock of a place on another machine that has none itself: a file of this user's on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ..errors import StageError
from ..state import state_directory, translated
from .safe import hold


class LockHere:
    """At most one directory of an account that is held, by one session; the kernel takes it back from whoever dies.

    `address` is that of the account, and `place` how people call it.
    """

    def __init__(self, address: str, place: str) -> None:
        self._address = address
        self._place = place
        self._kept = ""
        self._file = -1
        self._own: Path | None = None  # the file, where we are alone

    def keep(self, path: str, *, alone: bool) -> None:
        """Hold a directory until `let_go`, alone or with others; once held, it is not let go of in between.

        Raises Locked where it cannot be held, and StageError where there can be no lock: who reads or adds does
        without one then. A run has a lock of its own, and fails before.
        """
        if self._kept == path:
            return
        self.let_go()
        with contextlib.suppress(*([] if alone else [StageError])):
            digest = hashlib.sha256(f"{self._address}:{path}".encode("utf-8", "surrogateescape")).hexdigest()
            name = state_directory() / f"place-{digest[:24]}.lock"
            with translated(name):
                self._file = _held(name, f"{self._place}:{path}", alone=alone)
            self._kept, self._own = path, name if alone else None

    def let_go(self) -> None:
        """Let others in; harmless where nothing is held.

        Who was alone removes the file: nobody else holds it, and who has it open sees that it is gone.
        """
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.unlink()
        if self._kept:
            os.close(self._file)
        self._kept, self._own = "", None


def _held(name: Path, where: str, *, alone: bool) -> int:
    """Return the open file of a lock that is held; nothing that we start inherits it. Raises Locked and OSError."""
    while True:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            hold(file, where, alone=alone)
            if os.fstat(file).st_nlink:  # whose lock it was did not remove it meanwhile
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
