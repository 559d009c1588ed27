"""The blocks that compare what goes to other machines, and comes from them."""

from __future__ import annotations

from . import far_contenders
from .compare import Bench
from .far_contenders import TRANSPORTS
from .render import megabytes
from .workload import BLOBS, LARGE, make_blobs, make_large, make_small

_JOBS = (8, 1, 2, 4, 16)  # the first is what others are compared with
_LIMITS = {"fabric": 1.15, "openssh": 1.05}


def encrypted(bench: Bench) -> None:
    """Compare on one large database, signed, encrypted and sent to another machine."""
    make_large(bench.postgres, bench.scale)
    medians = _encrypted(bench, "one large database", LARGE)
    for transport, limit in _LIMITS.items():
        ratio = medians[f"dbdump, {transport}"] / medians["by hand"]
        bench.at_most(limit, f"of the line written by hand, over {transport}", ratio)


def incompressible(bench: Bench) -> None:
    """Compare on a database that does not compress, the same way; there is no target."""
    make_blobs(bench.postgres, bench.scale, bench.top)
    _encrypted(bench, "large objects that do not compress", BLOBS)


def sent_small(bench: Bench) -> None:
    """Compare on many small databases, to one other machine."""
    make_small(bench.postgres, bench.scale)
    title = f"{bench.scale.databases} small databases, signed and encrypted, to sshd on loopback"
    medians = bench.compare(title, far_contenders.small(bench.out, bench.far), "loop", network=True)
    faster = medians["loop"] / medians["dbdump --jobs=4"]
    bench.target("at least 3x faster than the line in a loop", f"{faster:.2f}x", met=faster >= 3)


def hosts(bench: Bench) -> None:
    """Compare numbers of jobs over many hosts, four small databases on each, and the line by hand."""
    make_small(bench.postgres, bench.scale)
    (remotes := bench.top / "remotes").write_text("\n".join(bench.far.remotes) + "\n")
    server = f"-h {bench.postgres.host} -U postgres"
    for transport in TRANSPORTS:
        title = f"four small databases on each of {bench.scale.hosts} hosts, over {transport}"
        by_hand = far_contenders.hosts_by_hand(bench.out, remotes, server, 8)
        contenders = (*far_contenders.hosts(bench.recipes, transport, _JOBS, "shop_00[1-4]"), by_hand)
        bench.compare(title, contenders, contenders[0].name, network=True)


def streams(bench: Bench) -> None:
    """Compare numbers of jobs over many hosts, a stream of zeros from each, sent as it is."""
    size = bench.scale.stream_bytes // 10
    for transport in TRANSPORTS:
        title = (
            f"a stream of {megabytes(size)}, not compressed, from each of {bench.scale.hosts} hosts, over {transport}"
        )
        contenders = far_contenders.streams(bench.recipes, transport, _JOBS, size)
        bench.compare(title, contenders, contenders[0].name, network=True)


def _encrypted(bench: Bench, what: str, database: str) -> dict[str, float]:
    contenders = (
        *far_contenders.encrypted(bench.out, bench.recipes, bench.far, database),
        *far_contenders.borg(bench, database),
    )
    title = f"{what}, signed and encrypted, to sshd on loopback"
    return bench.compare(title, contenders, "by hand", network=True)
