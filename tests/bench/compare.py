"""Contenders taking turns, and what is noted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers.postgres import Postgres

from .contenders import Contender
from .far import Far
from .machine import say
from .measure import ContenderError, run, run_tree_sampled
from .results import Part, Row, Run, Target
from .workload import Scale

_LONG_SECONDS = 60  # the first run, during which memory is looked at, is one of those that count


@dataclass
class Noted:
    """What one block has found out."""

    parts: list[Part] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """What all blocks share: a directory to work in, variables that lead to the server, sizes, runs, other machines."""

    top: Path
    environment: Mapping[str, str]
    scale: Scale
    runs: int
    far: Far
    postgres: Postgres
    noted: Noted = field(default_factory=Noted)

    @property
    def recipes(self) -> Path:
        """Where the recipes are that are measured."""
        return self.top / "recipes"

    @property
    def out(self) -> Path:
        """Where dumps are stored; emptied before each run."""
        return self.top / "out"

    def compare(
        self, title: str, contenders: Sequence[Contender], reference: str, least_runs: int = 0, *, network: bool = False
    ) -> dict[str, float]:
        """Run each contender once to warm up, then all in turn; note it, and return their medians.

        The first run counts where no others are wanted, or where it took long.

        A peer that is missing or fails is noted as such. `network` says that loopback is looked at.

        Raises ContenderError where another one fails, or stores less than half of what the `reference` stores.
        """
        say(f"\n{title}")
        rows = {each.name: self._warmed_up(each) for each in contenders}
        wanted = max(self.runs, least_runs)
        counts = {name for name, row in rows.items() if row.runs and (not wanted or row.wall > _LONG_SECONDS)}
        done: dict[str, list[Run]] = {name: list(row.runs) if name in counts else [] for name, row in rows.items()}
        for turn in range(wanted):
            say(f"  turn {turn + 1} of {wanted}")
            for each in contenders:
                if len(done[each.name]) < wanted and not rows[each.name].missing:
                    self._measure(each, rows, done[each.name])
        enough = done[reference][-1].stored // 2
        noted = tuple(self._row(each, rows[each.name], done[each.name], enough) for each in contenders)
        self.noted.parts.append(Part(title, reference, noted, network))
        return {row.name: row.wall for row in noted if row.runs}

    def target(self, text: str, measured: str, *, met: bool) -> None:
        """Note whether a target is met."""
        self.noted.targets.append(Target(text, measured, met))

    def at_most(self, limit: float, what: str, ratio: float) -> None:
        """Note whether a ratio is within its limit."""
        self.target(f"at most {limit}x {what}", f"{ratio:.2f}x", met=ratio <= limit)

    def typed(self, contender: Contender) -> str:
        """Return how a contender is typed, with short names for directories of a run."""
        short = contender.typed.replace(self.far.remotes[0], "REMOTE")
        short = short.replace(str(self.out), "OUT").replace(str(self.top), "TOP")
        return short.replace(self.far.key, "KEY")

    def _warmed_up(self, contender: Contender) -> Row:
        """Run it once and look at its memory."""
        if contender.missing:
            return Row(contender.name, self.typed(contender), missing=contender.missing)
        try:
            first = run_tree_sampled(contender, self.out, self.environment)
        except ContenderError as error:
            return self._failed(contender, error)
        say(f"  {contender.name}: {first.wall:.1f} s, {first.stored / 1e6:.1f} MB")
        return Row(contender.name, self.typed(contender), (first,), first.peak)

    def _measure(self, contender: Contender, rows: dict[str, Row], done: list[Run]) -> None:
        try:
            done.append(run(contender, self.out, self.environment))
        except ContenderError as error:
            rows[contender.name] = self._failed(contender, error)

    def _failed(self, contender: Contender, error: ContenderError) -> Row:
        if not contender.peer:
            raise error
        say(f"  {contender.name} failed: {error}")
        return Row(contender.name, self.typed(contender), missing=f"it failed: {str(error).splitlines()[-1][:100]}")

    def _row(self, contender: Contender, row: Row, runs: Sequence[Run], enough: int) -> Row:
        if row.missing:
            return row
        if (least := min(each.stored for each in runs)) < enough:
            return self._failed(contender, ContenderError(f"it stored {least} bytes, less than half of the reference"))
        return Row(row.name, row.typed, tuple(runs), row.peak)
