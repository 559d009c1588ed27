"""What every wrapper does."""

from __future__ import annotations

import os
from pathlib import Path

from ..host import LocalShell
from ..pipeline import Pipeline
from ..script import Stage
from ..wrappers.base import Wrapper, wrapper_fault


class WrapperContract:
    """What every wrapper does. `make` returns one whose program is on PATH."""

    def make(self) -> Wrapper:
        """Return a wrapper."""
        raise NotImplementedError

    def made(self) -> Wrapper:
        """Make one, for this machine."""
        shell = LocalShell()
        made = self.make()
        return made.on({made.program}, lambda argv: Pipeline((_stage(list(argv)),)).answer(shell))

    def test_its_inverse_gives_back_every_byte(self, tmp_path: Path) -> None:
        """What is wrapped and unwrapped again is what it was, empty or large."""
        for data in (b"", b"x", b"\0\xff" * 500, os.urandom(3 << 20)):
            source = tmp_path / "source"
            source.write_bytes(data)
            stages = (_cat(source), _stage(self.made().command()), _stage(self.made().inverse()))
            assert Pipeline(stages).answer(LocalShell()) == data

    def test_its_bound_holds(self, tmp_path: Path) -> None:
        """It never makes more of its input than it says: that is how an empty dump is known."""
        for size in (0, 1, 100, 3 << 20):
            source = tmp_path / "source"
            source.write_bytes(os.urandom(size))
            wrapped = Pipeline((_cat(source), _stage(self.made().command()))).answer(LocalShell())
            assert len(wrapped) <= self.made().most_bytes(size)

    def test_a_recipe_takes_it(self) -> None:
        """It has all that a wrapper has, and its suffix is a dot and one word: else a recipe with it is refused."""
        assert wrapper_fault(self.make()) == ""
        assert wrapper_fault(self.made()) == ""


def _stage(argv: list[str]) -> Stage:
    return Stage(argv[0], tuple(argv))


def _cat(path: Path) -> Stage:
    return _stage(["cat", str(path)])
