"""RESULTS.md, made of what was measured: pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .results import Block, Part, Row

OURS = "dbdump"
ALIKE = 1.05  # times its bytes: what is still "of an equal or smaller size"
SAME = 1.03  # times its seconds: what medians of five runs cannot tell apart
PICTURE = "times.svg"

_HEAD = f"""\
# dbdump beside other tools

`invoke dev.bench` writes this page and `{PICTURE}` from `results.json`; `LIMITS.md` is written by hand. Do not edit
this page.

![Time by tool for the same database]({PICTURE})
"""
_HOW = """\
## How it is measured

- The contenders of a table take turns: one run each to warm up, then 5 each; where the first took longer than 60 s
  it is one of the 5, though memory was looked at during it. The column `runs` says how many. Seconds are medians, and
  `ratio` is that of the median to the one marked 1.00x.
- Before each run the directory for dumps is emptied and `sync` is waited for. Databases are on the same disk; their
  servers run without fsync, with caches that hold the data, and nothing else of theirs to do.
- `CPU s` is the time of all processes of a contender, as `wait4` adds it up. What servers use is not counted: neither
  PostgreSQL and MariaDB, nor sshd and what it starts, nor gpg-agent.
- `memory` is the largest sum, in the run to warm up, of what the processes of a contender hold (PSS, which splits
  what they share), looked at every 20 ms; servers and page cache are not in it.
- `stored` is all files that were left. MB are 10^6 bytes.
- `network` is what the kernel counted on the loopback interface meanwhile, both directions and headers included.
  PostgreSQL and MariaDB are reached by unix sockets, and are not in it.
- dbdump checks each exit status, syncs to disk, and writes a manifest with a SHA-256. Of the others only the lines
  with `sha256sum` make a checksum; borg hashes its chunks; nothing but borg and dbdump syncs.
- Peers run as their packages ship them, except that the scripts' paths of configuration are ours. A plain name
  is what their documentation does first. "Tuned" is the fastest setting that we found in it and that still compresses
  about as well. The 2nd archive of borg finds all of its chunks in the repository: its best case; `stored` is the
  whole repository. Rotation, mail and consistency checks are off.
- A peer that is not installed has a row that says so.

To repeat it, as root on Debian (peers are installed on the way: some by apt-get, those that would put jobs into cron or
systemd are only unpacked, django-dbbackup goes into an environment of its own, both below `~/.cache/dbdump-bench`):

```sh
.venv/bin/invoke dev.bench                          # all of it: hours
.venv/bin/invoke dev.bench --only=large,mariadb     # some blocks; the others' parts of this page stay
.venv/bin/invoke dev.bench --small                  # does it work? Tiny data, and this page stays as it is
.venv/bin/invoke dev.bench --page                   # measure nothing; LIMITS.md was changed
```
"""


def render(blocks: Iterable[Block], limits: Mapping[str, str]) -> str:
    """Return the page; `limits` are texts by the name of a block."""
    blocks = list(blocks)
    pages = [_HEAD, _summary(blocks), _HOW, *(render_block(each, limits.get(each.name, "")) for each in blocks)]
    return "\n".join(pages)


def read_limits(text: str) -> dict[str, str]:
    """Return the texts of LIMITS.md by the name in their heading."""
    sections = ("\n" + text).split("\n## ")[1:]
    return {head.strip(): body.strip() for head, _, body in (each.partition("\n") for each in sections)}


def render_block(block: Block, limit: str = "") -> str:
    """Return the part of the page that is one block's, with what its limit is."""
    lines = [f"## {block.name}", "", f"Measured {block.when} on {block.machine}.", f"{block.versions}.", ""]
    for part in block.parts:
        lines += [f"### {part.title[:1].upper()}{part.title[1:]}", "", *_table(_heads(part), _cells(part)), ""]
        lines += [*(f"- {row.name}: `{row.typed}`" for row in part.rows), ""]
    lines += [f"target: {each.text}: measured {each.measured}: {'met' if each.met else 'missed'}  "
              for each in block.targets]  # fmt: skip
    lines += [*block.notes, ""] if block.targets or block.notes else []
    slower = [part.title for part in block.parts if (found := versus(part)) and found[2] > SAME]
    if limit:
        lines += ["**What the limit is.** " + limit, ""]
    elif slower:
        lines += ["**What the limit is.** Not written yet: dbdump is not the fastest here.", ""]
    return "\n".join(lines)


def versus(part: Part) -> tuple[Row, Row, float] | None:
    """Return dbdump, the fastest other one of an equal or smaller size, and the ratio of their times.

    None where either is missing.
    """
    ran = [row for row in part.rows if row.runs]
    ours = next((row for row in ran if row.name.startswith(OURS)), None)
    if not ours or not part.timed:
        return None
    others = [row for row in ran if not row.name.startswith(OURS) and row.stored <= ALIKE * ours.stored]
    if not others:
        return None
    best = min(others, key=lambda row: row.wall)
    return ours, best, ours.wall / best.wall


def megabytes(size: float) -> str:
    """Return a number of bytes in MB, 10**6 of them; a dash for none."""
    return f"{size / 1e6:.1f} MB" if size else "-"


def _summary(blocks: Iterable[Block]) -> str:
    rows = []
    for block in blocks:
        for part in block.parts:
            if found := versus(part):
                ours, best, ratio = found
                size = f"{ours.stored / best.stored:.2f}x" if best.stored else "-"
                rows.append((part.title, f"{ours.wall:.2f} s", best.name, f"{best.wall:.2f} s", f"{ratio:.2f}x", size))
    heads = ("what", "dbdump", "the fastest other one", "takes", "time of dbdump", "its size")
    return "\n".join([
        "## dbdump beside the fastest other one",
        "",
        f"Of those that store no more than {ALIKE:.2f} times what dbdump stores. Above 1.00x dbdump is the slower one;",
        f"up to {SAME:.2f}x is what these medians cannot tell apart.",
        "",
        *_table(heads, rows),
        "",
    ])  # fmt: skip


def _heads(part: Part) -> tuple[str, ...]:
    timed = ("median s", "min-max s", "ratio", "CPU s") if part.timed else ()
    return ("contender", *timed, "memory", "stored", *(("network",) if part.network else ()), "runs")


def _cells(part: Part) -> Iterator[tuple[str, ...]]:
    base = next((row.wall for row in part.rows if row.runs and row.name == part.reference), 0.0)
    for row in part.rows:
        if not row.runs:
            yield (row.name, f"missing: {row.missing}", *[""] * (len(_heads(part)) - 2))
            continue
        walls = [each.wall for each in row.runs]
        ratio = f"{row.wall / base:.2f}x" if base else "-"
        timed = (f"{row.wall:.3f}", f"{min(walls):.3f}-{max(walls):.3f}", ratio, f"{row.cpu:.2f}")
        more = (megabytes(row.network),) if part.network else ()
        yield (row.name, *(timed if part.timed else ()), megabytes(row.peak), megabytes(row.stored), *more,
               str(len(row.runs)))  # fmt: skip


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of Markdown that can also be read as it is, the first column to the left."""
    cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in (heads, *rows)]
    widths = [max(len(row[index]) for row in cells if not _wide(row)) for index in range(len(heads))]
    rule = [f"|{'-' * (widths[0] + 2)}|", *(f"{'-' * (width + 1)}:|" for width in widths[1:])]
    lines = []
    for first, *rest in cells:
        others = "".join(f" {cell.rjust(width)} |" for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(f"| {first.ljust(widths[0])} |{others}")
    return [lines[0], "".join(rule), *lines[1:]]


def _wide(row: Sequence[str]) -> bool:
    return row[1].startswith("missing")
