"""The stage that looks at the ends of a raw stream, with streams of any length, in any pieces."""

from __future__ import annotations

import os
import subprocess

import pytest

from dbdump.stream_ends import Ends


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 511, 512, 513, 600, 100_000, 3 << 20])
@pytest.mark.parametrize("piece", [1, 7, 500, 1 << 20])
def test_the_ends_of_a_stream(size, piece):
    """Its size, its first 64 bytes and its last 512, however it comes."""
    if size / piece > 100_000:
        piece = 4096
    stream = os.urandom(size)
    argv = Ends.stage().argv
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for start in range(0, size, piece):
            os.write(process.stdin.fileno(), stream[start : start + piece])
        said, _ = process.communicate()
    assert process.returncode == 0
    assert Ends.read(said) == Ends(size, stream[:64], stream[-512:] if size else b"")
