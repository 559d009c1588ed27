"""tests/FAULTS.md says of each fault where it is injected, and what it says is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\) \| ", line.strip("| "))]
    for line in (ROOT / "tests" / "FAULTS.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


_OF_ROWS = re.compile(r"([0-9]+(?:, [0-9]+)*)(?:,[^:]*)?: ")  # how the docstring of a test says which rows it is of


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


def every_test() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every test, with the file that it is in."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield str(path.relative_to(ROOT)), node


def test_a_test_that_says_its_row_is_in_it():
    """So that it is looked at as those of tests/faults are; see tests/system/conftest.py."""
    indexed = {int(row[0]): set(TEST.findall(row[2])) for row in ROWS}
    said = [(file, node.name, _OF_ROWS.match(ast.get_docstring(node) or "")) for file, node in every_test()]
    missing = [
        f"{row}: {file}::{name}" for file, name, rows in said if rows
        for row in map(int, rows[1].split(", ")) if (file, name) not in indexed[row]
    ]  # fmt: skip
    assert len([rows for *_, rows in said if rows]) > 100
    assert not missing
