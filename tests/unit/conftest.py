"""Unit tests reach no program: what they would start is not on PATH."""

from __future__ import annotations

import pytest

from dbdump.recipes import taken


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    yield
    taken()
