"""The memory of the Python process, and whether it grows with what is dumped."""

from __future__ import annotations

from . import contenders, far_contenders
from .compare import Bench
from .contenders import Contender
from .measure import run_sampled
from .render import megabytes
from .results import Part, Row
from .workload import LARGE, SMALL, make_large, make_small

_MOST = 64_000_000  # bytes
_MOST_FAR = 96_000_000  # bytes, with fabric, and eight jobs at once to another machine
_FAR = " to another machine"
_SAME = 1.05  # times: an allocator rounds up
_SMALL_STREAM = 250_000  # bytes, about what is stored of a small database before it is compressed


def memory(bench: Bench) -> None:
    """Look at the peak of each workload, and of streams of the same bytes, ten times larger, ten times as many.

    Streams are stored as they come, so that as many bytes go through the process as pg_dump would write
    before compression, and no server has to hold ten times the data.
    """
    make_large(bench.postgres, bench.scale)
    make_small(bench.postgres, bench.scale)
    rows = []
    for name, contender in _workloads(bench).items():
        run = run_sampled(contender, bench.out, bench.environment)
        rows.append(Row(name, bench.typed(contender), (run,), run.peak))
    bench.noted.parts.append(Part("peak memory of dbdump's own process (VmHWM)", "", tuple(rows), timed=False))
    _judge(bench, {row.name: row.peak for row in rows})


def _judge(bench: Bench, peaks: dict[str, int]) -> None:
    here = max(peak for name, peak in peaks.items() if _FAR not in name)
    bench.target(f"at most {megabytes(_MOST)}", megabytes(here), met=here <= _MOST)
    there = max(peak for name, peak in peaks.items() if _FAR in name)
    bench.target(f"at most {megabytes(_MOST_FAR)} with 8 jobs{_FAR}", megabytes(there), met=there <= _MOST_FAR)
    for streams in ("one stream", "small streams", f"8 streams{_FAR}"):
        growth = peaks[f"{streams}, 10x the bytes"] / peaks[streams]
        bench.target(f"the same for 10x the data, {streams}", f"{growth:.2f}x", met=growth <= _SAME)
    more = (peaks["small streams, 10x as many"] - peaks["small streams"]) / (9 * bench.scale.databases)
    bench.noted.notes.append(
        f"Each database more, whatever its size: {more / 1000:.1f} kB, for its plan and its result."
    )


def _workloads(bench: Bench) -> dict[str, Contender]:
    size, count = bench.scale.stream_bytes, bench.scale.databases

    def stream(streams: int, each: int) -> Contender:
        return contenders.stream(bench.out, bench.recipes, streams, each)

    def far_streams(each: int) -> Contender:
        return far_contenders.far_streams(bench.recipes, bench.out, bench.far, 8, each)

    return {
        "one large database": contenders.large_custom(bench.out, LARGE)[0],
        "small databases": contenders.small(bench.out, SMALL)[0],
        "one stream": stream(1, size),
        "one stream, 10x the bytes": stream(1, 10 * size),
        "small streams": stream(count, _SMALL_STREAM),
        "small streams, 10x the bytes": stream(count, 10 * _SMALL_STREAM),
        "small streams, 10x as many": stream(10 * count, _SMALL_STREAM),
        f"8 streams{_FAR}": far_streams(size // 20),
        f"8 streams{_FAR}, 10x the bytes": far_streams(size // 2),
    }
