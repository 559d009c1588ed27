"""The blocks that compare times, and the targets they are held to."""

from __future__ import annotations

from . import contenders
from .compare import Bench
from .table import target


def large(bench: Bench) -> None:
    """Compare on one large database, in the custom format."""
    medians = bench.compare("one large database, custom format", contenders.large_custom(bench.out), "by hand")
    at_most(1.05, "of the line written by hand", medians["dbdump"] / medians["by hand"])
    faster = medians["pg_dump -Fc"] / medians["dbdump"]
    target("at least 2x faster than pg_dump -Fc", f"{faster:.2f}x", met=faster >= 2)


def plain(bench: Bench) -> None:
    """Compare on the same database as SQL text; there is no target."""
    bench.compare("one large database, plain SQL", contenders.large_plain(bench.out), "by hand")


def small(bench: Bench) -> None:
    """Compare on many small databases, four at once."""
    title = f"{bench.scale.databases} small databases"
    medians = bench.compare(title, contenders.small(bench.out), "xargs")
    at_most(1.15, "of xargs -P4", medians["dbdump"] / medians["xargs"])


def listing(bench: Bench) -> None:
    """Compare what `invoke --list` takes, and so what completion in a shell does."""
    (empty := bench.top / "empty").mkdir()
    medians = bench.compare("invoke --list", contenders.listing(empty), "empty tasks.py", bench.scale.list_runs)
    at_most(1.5, "of an empty tasks.py", medians["this project"] / medians["empty tasks.py"])


def at_most(limit: float, what: str, ratio: float) -> None:
    """Print whether a ratio is within its limit."""
    target(f"at most {limit}x {what}", f"{ratio:.2f}x", met=ratio <= limit)
