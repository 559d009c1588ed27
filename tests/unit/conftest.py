"""Unit tests reach no program: what they would start is not on PATH."""

from __future__ import annotations

import pytest
from hypothesis import settings

from dbdump.recipes import taken

# A machine that is busy is no fault of what is tested; what has to be quick says so itself.
settings.register_profile("unhurried", settings(deadline=None))
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    yield
    taken()
