"""The benchmark works: on tiny data it measures blocks of each kind, and says which targets are met."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ("autopostgresqlbackup", "automysqlbackup", "borgmatic", "mydumper", "django-dbbackup")
BLOCKS = ("large", "mariadb", "sent_small", "listing")


def test_the_benchmark_runs(tmp_path):
    """Every contender has a row, the missing ones too; nothing is left in /tmp, and no file is changed."""
    before, written = set(Path("/tmp").glob("dbdump-bench-*")), _written()
    done = subprocess.run([sys.executable, "-m", "invoke", "dev.bench", "--small", f"--only={','.join(BLOCKS)}"],
                          env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, cwd=ROOT, capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    targets = [line.rstrip() for line in lines if line.startswith("target: ")]
    assert len(targets) == 5
    assert all(line.endswith((": met", ": missed")) for line in targets)
    assert [line for line in lines if line.startswith("## ")] == [f"## {each}" for each in BLOCKS]
    rows = {line.split("|")[1].strip() for line in lines if line.startswith("| ")}
    assert {"dbdump", "by hand", "pg_dump -Fd -j2", "the original's pipeline", *PEERS} <= rows
    assert "missing: autopostgresqlbackup not installed" in done.stdout
    assert not [line for line in lines if "it failed" in line]
    assert set(Path("/tmp").glob("dbdump-bench-*")) <= before
    assert _written() == written


def _written() -> dict[str, bytes]:
    """Return what a real run writes."""
    places = (ROOT / "tests/bench" / name for name in ("RESULTS.md", "results.json", "times.svg"))
    return {each.name: each.read_bytes() for each in places if each.exists()}
