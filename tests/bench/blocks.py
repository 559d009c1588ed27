"""The blocks that compare times on this machine, and the targets they are held to."""

from __future__ import annotations

from . import contenders, peer_contenders
from .compare import Bench
from .workload import BLOBS, LARGE, MANY, SMALL, make_blobs, make_large, make_many, make_small


def large(bench: Bench) -> None:
    """Compare on one large database of PostgreSQL, beside other tools."""
    make_large(bench.postgres, bench.scale)
    title = "one large database of realistic rows in PostgreSQL"
    these = (*contenders.large_custom(bench.out, LARGE), *peer_contenders.on_postgres(bench, [LARGE]))
    medians = bench.compare(title, these, "by hand")
    bench.at_most(1.05, "of the line written by hand", medians["dbdump"] / medians["by hand"])
    faster = medians["pg_dump -Fc"] / medians["dbdump"]
    bench.target("at least 2x faster than pg_dump -Fc", f"{faster:.2f}x", met=faster >= 2)


def blobs(bench: Bench) -> None:
    """Compare on a database that does not compress; there is no target."""
    make_blobs(bench.postgres, bench.scale, bench.top)
    title = "large objects that do not compress in PostgreSQL"
    these = (*contenders.large_custom(bench.out, BLOBS), *peer_contenders.on_postgres(bench, [BLOBS]))
    bench.compare(title, these, "by hand")


def plain(bench: Bench) -> None:
    """Compare on the same database as SQL text; there is no target."""
    make_large(bench.postgres, bench.scale)
    bench.compare("one large database, plain SQL", contenders.large_plain(bench.out), "by hand")


def small(bench: Bench) -> None:
    """Compare on many small databases, four at once."""
    _many(bench, SMALL, make_small(bench.postgres, bench.scale))


def thousand(bench: Bench) -> None:
    """Compare on ten times as many; borg's second archive took what its first one takes, four minutes."""
    _many(bench, MANY, make_many(bench.postgres, bench.scale), again=False)


def listing(bench: Bench) -> None:
    """Compare what `invoke --list` takes, and so what completion in a shell does."""
    (empty := bench.top / "empty").mkdir()
    medians = bench.compare("invoke --list", contenders.listing(empty), "empty tasks.py", bench.scale.list_runs)
    bench.at_most(1.5, "of an empty tasks.py", medians["dbdump's tasks.py"] / medians["empty tasks.py"])


def _many(bench: Bench, prefix: str, names: list[str], *, again: bool = True) -> None:
    these = (*contenders.small(bench.out, prefix), *peer_contenders.on_postgres(bench, names, again=again))
    medians = bench.compare(f"{len(names)} small databases in PostgreSQL", these, "xargs -P4")
    bench.at_most(1.15, "of xargs -P4", medians["dbdump --jobs=4"] / medians["xargs -P4"])
