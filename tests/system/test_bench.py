"""The benchmark works: on tiny data it measures every block and says which targets are met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs(tmp_path):
    """Every table and target is printed, nothing is left in /tmp, and the ratios of tiny data mean nothing."""
    before = set(Path("/tmp").glob("dbdump-bench-*"))
    done = subprocess.run([sys.executable, "-m", "invoke", "dev.bench", "--small"], cwd=ROOT, capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    targets = [line for line in done.stdout.splitlines() if line.startswith("target: ")]
    assert len(targets) >= 6
    assert all(line.endswith((": met", ": missed")) for line in targets)
    for block in ("one large database, custom format", "small databases", "peak memory", "6 dumps of 3 databases",
                  "invoke --list"):  # fmt: skip
        assert block in done.stdout
    assert set(Path("/tmp").glob("dbdump-bench-*")) <= before
