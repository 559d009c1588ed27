"""The picture: time by tool for the same database, as horizontal bars. SVG is short to write; no library is needed."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .render import OURS, megabytes
from .results import Block, Part, Row

BLOCKS = ("large", "mariadb", "blobs")
_WIDTH, _NAMES, _VALUES = 900, 280, 190  # pixels: all of it, names to the left, values to the right of a bar
_BAR, _GAP, _HEAD, _EDGE = 18, 8, 52, 20
_OURS, _OTHERS, _TEXT, _FAINT = "#c2410c", "#94a3b8", "#0f172a", "#475569"


def picture(blocks: Iterable[Block]) -> str:
    """Return the SVG of the first comparison of each of BLOCKS that was measured."""
    by_name = {each.name: each for each in blocks}
    parts = [by_name[name].parts[0] for name in BLOCKS if name in by_name and by_name[name].parts]
    shapes, top = [], _EDGE
    for part in parts:
        shapes += _panel(part, top)
        top += _HEAD + len(part.rows) * (_BAR + _GAP) + _EDGE
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>',
        *shapes,
        "</svg>",
        "",
    ])  # fmt: skip


def _panel(part: Part, top: int) -> list[str]:
    """Return the bars of one comparison, the fastest first, those that are missing last."""
    ran = sorted((row for row in part.rows if row.runs), key=lambda row: row.wall)
    missing = [row for row in part.rows if not row.runs]
    longest = max((row.wall for row in ran), default=1.0)
    title = f"{part.title[:1].upper()}{part.title[1:]}"
    shapes = [
        _text(_EDGE, top + 16, title, more='font-size="16" font-weight="bold"'),
        _text(_EDGE, top + 36, "seconds, median (shorter is better), and bytes stored", fill=_FAINT),
    ]
    for number, row in enumerate([*ran, *missing]):
        shapes += _bar(row, top + _HEAD + number * (_BAR + _GAP), longest)
    return shapes


def _bar(row: Row, top: int, longest: float) -> list[str]:
    ours = row.name.startswith(OURS)
    weight = 'font-weight="bold"' if ours else ""
    base = top + _BAR - 5
    name = _text(_NAMES - 10, base, row.name, more=f'text-anchor="end" {weight}')
    if not row.runs:
        return [name, _text(_NAMES, base, f"missing: {row.missing}", fill=_FAINT)]
    width = max(1.0, row.wall / longest * (_WIDTH - _NAMES - _VALUES))
    bar = (
        f'<rect x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{_OURS if ours else _OTHERS}"/>'
    )
    value = _text(_NAMES + width + 8, base, f"{row.wall:.1f} s · {megabytes(row.stored)}", more=weight)
    return [name, bar, value]


def _text(x: float, y: float, text: str, *, fill: str = _TEXT, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="{fill}" {more.strip()}>{escape(text)}</text>'
