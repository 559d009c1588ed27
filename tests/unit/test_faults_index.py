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
PARTS = {
    "A": range(1, 38),
    "B": range(38, 65),
    "C": range(65, 89),
    "D": range(89, 107),
    "E": range(107, 122),
    "F": range(122, 135),
}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_row_is_there_once():
    """The parts of the catalogue that are indexed are whole and in order."""
    parts = re.findall(r"^## (\w)\. ", (ROOT / "tests" / "FAULTS.md").read_text(), re.MULTILINE)
    assert parts == sorted(parts)
    assert [int(row[0]) for row in ROWS] == [number for each in parts for number in PARTS[each]]
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
