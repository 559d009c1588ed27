"""What was measured, as values, and as JSON beside the page that is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Run:
    """Seconds of wall time, CPU seconds of the whole tree without the server, bytes stored, bytes over loopback.

    `peak` is the most memory, in bytes, and 0 where it was not looked at.
    """

    wall: float
    cpu: float
    stored: int
    network: int = 0
    peak: int = 0


@dataclass(frozen=True)
class Row:
    """A contender: its name, how it is typed, its runs, the peak of its memory in a run before them.

    `missing` says why there are no runs.
    """

    name: str
    typed: str
    runs: tuple[Run, ...] = ()
    peak: int = 0
    missing: str = ""

    @property
    def wall(self) -> float:
        """The median of its wall times."""
        return median(each.wall for each in self.runs)

    @property
    def cpu(self) -> float:
        """The median of its CPU seconds."""
        return median(each.cpu for each in self.runs)

    @property
    def stored(self) -> int:
        """The bytes that its last run stored."""
        return self.runs[-1].stored

    @property
    def network(self) -> int:
        """The median of the bytes over loopback."""
        return round(median(each.network for each in self.runs))


@dataclass(frozen=True)
class Part:
    """Contenders that took turns, and the one whose time is 1.00x; `timed` is false where only memory counts."""

    title: str
    reference: str
    rows: tuple[Row, ...]
    network: bool = False
    timed: bool = True


@dataclass(frozen=True)
class Target:
    """A target, what was measured, and whether it is met."""

    text: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Block:
    """What was measured in one sitting: when, on what, with which versions."""

    name: str
    when: str
    machine: str
    versions: str
    parts: tuple[Part, ...] = ()
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = field(default=())


def load(file: Path) -> dict[str, Block]:
    """Return the blocks of a file by name; none where it is not there."""
    if not file.exists():
        return {}
    return {each["name"]: _block(each) for each in json.loads(file.read_text())}


def store(blocks: Mapping[str, Block], file: Path) -> None:
    """Write blocks to a file, a line each run, so that a diff can be read."""
    file.write_text(json.dumps([asdict(each) for each in blocks.values()], indent=1, ensure_ascii=False) + "\n")


def _block(found: Mapping[str, object]) -> Block:
    told: dict[str, object] = dict(found)
    told["parts"] = tuple(_part(each) for each in _list(found["parts"]))
    told["targets"] = tuple(Target(**each) for each in _list(found["targets"]))
    told["notes"] = tuple(_list(found["notes"]))
    return Block(**told)  # type: ignore[arg-type]


def _part(found: Mapping[str, object]) -> Part:
    rows = []
    for each in _list(found["rows"]):
        runs = tuple(Run(**run) for run in each["runs"])
        rows.append(Row(**{**each, "runs": runs}))
    return Part(**{**found, "rows": tuple(rows)})  # type: ignore[arg-type]


def _list(value: object) -> list:  # type: ignore[type-arg]
    assert isinstance(value, list)
    return value
