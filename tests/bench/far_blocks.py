"""The blocks that compare what goes to other machines, and comes from them."""

from __future__ import annotations

from . import far_contenders
from .blocks import at_most
from .compare import Bench
from .far_contenders import TRANSPORTS
from .table import megabytes, target
from .workload import BLOBS, LARGE

_JOBS = (1, 2, 4, 8, 16)
_LIMITS = {"fabric": 1.15, "openssh": 1.05}


def encrypted(bench: Bench) -> None:
    """Compare on one large database, signed, encrypted and sent to another machine."""
    title = "one large database, signed and encrypted, to sshd on loopback"
    medians = bench.compare(title, far_contenders.encrypted(bench.out, bench.recipes, bench.far, LARGE), "by hand")
    for transport, limit in _LIMITS.items():
        at_most(limit, f"of the line written by hand, over {transport}", medians[transport] / medians["by hand"])


def incompressible(bench: Bench) -> None:
    """Compare on a database that does not compress, the same way; there is no target."""
    title = "large objects that do not compress, signed and encrypted, to sshd on loopback"
    bench.compare(title, far_contenders.encrypted(bench.out, bench.recipes, bench.far, BLOBS), "by hand")


def sent_small(bench: Bench) -> None:
    """Compare on many small databases, to one other machine."""
    title = f"{bench.scale.databases} small databases, signed and encrypted, to sshd on loopback"
    medians = bench.compare(title, far_contenders.small(bench.out, bench.far), "loop")
    faster = medians["loop"] / medians["dbdump --jobs=4"]
    target("at least 3x faster than the line in a loop", f"{faster:.2f}x", met=faster >= 3)


def hosts(bench: Bench) -> None:
    """Compare numbers of jobs over many hosts, four small databases on each."""
    for transport in TRANSPORTS:
        title = f"four small databases on each of {bench.scale.hosts} hosts, over {transport}"
        contenders = far_contenders.hosts(bench.recipes, transport, _JOBS, "shop_00[1-4]")
        bench.compare(title, contenders, contenders[0].name)


def streams(bench: Bench) -> None:
    """Compare numbers of jobs over many hosts, a stream of zeros from each, sent as it is."""
    size = bench.scale.stream_bytes // 10
    for transport in TRANSPORTS:
        title = (
            f"a stream of {megabytes(size)}, not compressed, from each of {bench.scale.hosts} hosts, over {transport}"
        )
        contenders = far_contenders.streams(bench.recipes, transport, _JOBS, size)
        bench.compare(title, contenders, contenders[0].name)
