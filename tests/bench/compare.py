"""Contenders taking turns, and the table of their medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .contenders import Contender
from .far import Far
from .measure import ContenderError, Run, run
from .table import megabytes, say, table
from .workload import Scale

_HEADS = ("contender", "median s", "min-max s", "ratio", "CPU s", "stored")


@dataclass(frozen=True)
class Bench:
    """What all blocks share: a directory to work in, variables that lead to the server, sizes, runs, other machines."""

    top: Path
    environment: Mapping[str, str]
    scale: Scale
    runs: int
    far: Far

    @property
    def recipes(self) -> Path:
        """Where the recipes are that are measured."""
        return self.top / "recipes"

    @property
    def out(self) -> Path:
        """Where dumps are stored; emptied before each run."""
        return self.top / "out"

    def compare(
        self, title: str, contenders: Sequence[Contender], reference: str, least_runs: int = 1
    ) -> dict[str, float]:
        """Run each contender once to warm up, then all in turn; print a table, and return their medians.

        Raises ContenderError where one fails, or stores less than half of what the `reference` stores.
        """
        runs = max(self.runs, least_runs)
        say(f"\n{title} (medians of {runs}, alternating)")
        for contender in contenders:
            say(f"  {contender.name}: {contender.typed.replace(str(self.out), 'OUT')}")
            run(contender, self.out, self.environment)
        done: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
        for _ in range(runs):
            for contender in contenders:
                done[contender.name].append(run(contender, self.out, self.environment))
        _refuse_too_little(done, reference)
        medians = {name: median(each.wall for each in its) for name, its in done.items()}
        table(_HEADS, [_row(name, its, medians[name] / medians[reference]) for name, its in done.items()])
        return medians


def _row(name: str, runs: Sequence[Run], ratio: float) -> tuple[str, ...]:
    walls = [each.wall for each in runs]
    return (
        name,
        f"{median(walls):.3f}",
        f"{min(walls):.3f}-{max(walls):.3f}",
        f"{ratio:.2f}x",
        f"{median(each.cpu for each in runs):.2f}",
        megabytes(runs[-1].stored),
    )


def _refuse_too_little(done: Mapping[str, Sequence[Run]], reference: str) -> None:
    enough = done[reference][-1].stored // 2
    for name, runs in done.items():
        if any(each.stored < enough for each in runs):
            raise ContenderError(f"{name} stored {runs[-1].stored} bytes: less than half of {reference}")
