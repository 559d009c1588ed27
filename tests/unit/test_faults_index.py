"""tests/FAULTS.md says of each fault where it is injected, and what it says is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\) \| ", line.strip("| "))]
    for line in (ROOT / "tests" / "FAULTS.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_row_is_there_once():
    """The catalogue is whole, and in order."""
    assert [int(row[0]) for row in ROWS] == [*range(1, 135)]
    assert all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_tests_that_are_there(row):
    """Each is a function of the file that it names."""
    tests = TEST.findall(row[2])
    assert tests
    assert not TEST.sub("", row[2]).strip()
    for file, name in tests:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
