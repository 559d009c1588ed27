"""What the benchmark writes: the page and the picture, made of what was measured and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from bench.bench import HERE, write
from bench.picture import picture
from bench.render import read_limits, render, render_block, versus
from bench.results import Block, Part, Row, Run, Target, load, store


def row(name: str, *walls: float, stored: int = 10_000_000, **more) -> Row:
    """Return a contender whose runs took so many seconds."""
    return Row(name, f"{name} --typed", tuple(Run(wall, wall, stored, 4_000_000) for wall in walls), **more)


PART = Part("one database", "by hand", (
    row("dbdump", 3.0, 1.0, 2.0, peak=30_000_000),
    row("by hand", 1.0, 1.0, 1.0),
    row("uncompressed", 0.5, stored=50_000_000),
    row("a | b", 4.0),
    row("peer", missing="peer not installed"),
))  # fmt: skip
LARGE = Block(
    "large", "2026-11-25 16:40 UTC", "2 cores", "dbdump 0.1.0", (PART,), (Target("fast", "2.00x", met=False),)
)
SMALL = Block("small", "2026-11-26 10:00 UTC", "4 cores", "dbdump 0.1.1", (PART,), (), ("A note.",))


def test_blocks_come_back_from_json_as_they_were(tmp_path):
    """What is stored is what is loaded, in its order."""
    store({"large": LARGE, "small": SMALL}, tmp_path / "results.json")
    assert list(load(tmp_path / "results.json").items()) == [("large", LARGE), ("small", SMALL)]


def test_no_file_has_no_blocks(tmp_path):
    """The first sitting begins with nothing."""
    assert load(tmp_path / "results.json") == {}


def test_a_sitting_replaces_its_own_blocks_alone(tmp_path):
    """Blocks that are measured again take the place of the older ones; the others stay, in the order of a full run."""
    write([SMALL], tmp_path)
    write([LARGE], tmp_path)
    assert load(tmp_path / "results.json") == {"large": LARGE, "small": SMALL}
    again = replace(LARGE, when="2026-12-01 10:00 UTC")
    write([again], tmp_path)
    assert list(load(tmp_path / "results.json").values()) == [again, SMALL]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "2026-12-01" in page
    assert "2026-11-25" not in page
    assert page.index("## large") < page.index("## small")
    assert "by hand" in (tmp_path / "times.svg").read_text()


@pytest.mark.parametrize("line", [
    "| dbdump | 2.000 | 1.000-3.000 | 2.00x | 2.00 | 30.0 MB | 10.0 MB | 3 |",
    "| by hand | 1.000 | 1.000-1.000 | 1.00x | 1.00 | - | 10.0 MB | 3 |",
    "- dbdump: `dbdump --typed`",
    "target: fast: measured 2.00x: missed",
    "Measured 2026-11-25 16:40 UTC on 2 cores.",
])  # fmt: skip
def test_a_block_has_its_figures(line):
    """Medians, the least and the most, ratios to the reference, what was typed, when, and on what."""
    assert line in [_narrow(each) for each in render_block(LARGE).splitlines()]


def test_a_missing_peer_has_a_row():
    """No contender is left out without a word, and a pipe in a name splits no cell."""
    page = render_block(LARGE)
    assert "| peer | missing: peer not installed |" in _narrow(page)
    assert "| a \\| b" in page


def test_network_is_shown_where_there_is_one():
    """The column is there for parts that look at it, and no others."""
    heads = [line for line in render_block(LARGE).splitlines() if line.startswith("| contender")]
    far = Block("far", "", "", "", (Part("far", "by hand", PART.rows, network=True),))
    assert "network" not in heads[0]
    assert "| 10.0 MB | 4.0 MB | 3 |" in _narrow(render_block(far))


def test_each_block_says_when_it_was_measured():
    """Blocks of several sittings stand on one page."""
    page = render([LARGE, SMALL], {})
    assert page.index("Measured 2026-11-25") < page.index("Measured 2026-11-26")
    assert "A note." in page


def test_the_rival_is_the_fastest_of_an_equal_or_smaller_size():
    """One that is faster because it does not compress is no rival."""
    ours, best, ratio = versus(PART) or pytest.fail("nothing to compare")
    assert (ours.name, best.name, ratio) == ("dbdump", "by hand", 2.0)
    assert "| one database | 2.00 s | by hand | 1.00 s | 2.00x | 1.00x |" in _narrow(render([LARGE], {}))


@pytest.mark.parametrize("part", [
    Part("alone", "dbdump", (row("dbdump", 1.0),)),
    Part("memory", "", PART.rows, timed=False),
    Part("none", "by hand", PART.rows[1:]),
])  # fmt: skip
def test_some_parts_compare_with_nothing(part):
    """Where dbdump or a rival is missing there is no ratio, and the page is made all the same."""
    assert versus(part) is None
    assert part.title in render([Block("any", "", "", "", (part,))], {}).lower()


def test_a_slower_block_says_what_the_limit_is():
    """The text of LIMITS.md stands there, or that it is missing."""
    limits = read_limits("# Limits\n\nAbout.\n\n## large\n\nIt is the disk.\n\n## small\n\nForks.\n")
    assert limits == {"large": "It is the disk.", "small": "Forks."}
    assert "Not written yet" in render_block(LARGE)
    assert "**What the limit is.** It is the disk." in render([LARGE], limits)
    fast = Block("fast", "", "", "", (Part("fast", "by hand", (row("dbdump", 1.0), row("by hand", 1.0))),))
    assert "What the limit is" not in render_block(fast)


def test_each_block_that_is_stored_says_what_its_limit_is():
    """Where dbdump is not the fastest, LIMITS.md has a text."""
    assert "Not written yet" not in (HERE / "RESULTS.md").read_text()


def test_the_picture_has_a_bar_for_each_tool():
    """The fastest is first, its size stands beside it, what is missing is said, and it is XML."""
    drawn = picture([LARGE, SMALL])
    tags = ET.fromstring(drawn)  # noqa: S314  it is our own
    texts = [each.text for each in tags.iter("{http://www.w3.org/2000/svg}text")]
    assert [each for each in texts if each in {each.name for each in PART.rows}] == [
        "uncompressed", "by hand", "dbdump", "a | b", "peer"]  # fmt: skip
    assert "2.0 s · 10.0 MB" in texts
    assert "missing: peer not installed" in texts
    assert len(list(tags.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 4


def _narrow(text: str) -> str:
    return " ".join(text.split())
