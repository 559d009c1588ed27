"""A run that goes on while dump after dump of it fails loses no file descriptor (FAULTS, row 47)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from resources import recipe_file
from support import needs_root

DATABASES = 16

# Before each dump it notes how many descriptors dbdump has open; the one before it has ended by then.
_RECIPE = """
@backend("noting")
class Noting(Backend):
    def get_db_list(self): return [f"d{{number}}" for number in range({databases})]
    def prepare_db(self, database):
        with open({log!r}, "a") as log: print(len(os.listdir("/proc/self/fd")), file=log)
    def get_command(self, database):
        return ["sh", "-c", "head -c 1500000 /dev/urandom" + ("" if "QUICK" in os.environ else {more!r})]

@recipe({host})
def app(host): return Dump(Noting(), wrap=[Gzip()], to={to})
"""


@contextmanager
def full(path: Path, uid: int) -> Iterator[None]:
    """Have 1 MiB of room in a directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,mode=700,uid={uid}", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)  # a shell there may end after dbdump


@needs_root
@pytest.mark.parametrize(
    ("place", "fault"),
    [("directory", "full"), ("fabric", "full"), ("fabric", "lost"), ("openssh", "lost"), ("sftp", "lost"),
     ("host", "lost")],
)  # fmt: skip
def test_dump_after_dump_fails(dbdump, sshd, datadir, unharmed, tmp_path, place, fault):
    """47: at the sink, or because the connection was lost: as much is open before the last one as before the third."""
    kind = "sftp" if place == "sftp" else "dash"
    there = sshd.accounts.directory_of(kind, tmp_path.name)
    unharmed.directories.append(there)
    log, host, to = tmp_path / "log", "localhost", f"Directory({str(datadir)!r})"
    if place == "directory":
        there = datadir
    elif place == "host":
        host = f"Host('far', ssh={sshd.remote(kind)!r}, retries=0)"
    else:
        transport = place.replace("sftp", "fabric")
        to = f"Remote({sshd.remote(kind)!r}, {str(there)!r}, transport={transport!r}, retries=0)"
    dies = f"; kill -9 $(pgrep -f '^sshd: {sshd.accounts.user(kind)}@')" if fault == "lost" else ""
    recipes = recipe_file(tmp_path, _RECIPE.format(databases=DATABASES, log=str(log), host=host, to=to, more=dies))
    flags = ["dump", f"--recipes={recipes}", "--jobs=1"]
    before = sshd.logins
    with full(there, there.stat().st_uid) if fault == "full" else nullcontext():
        done = dbdump(*flags)
    assert f"0 stored, 0 skipped, {DATABASES} failed" in done.stdout, done.stdout
    assert sshd.logins - before >= (DATABASES if fault == "lost" else 0)
    opened = [int(line) for line in log.read_text().splitlines()]
    assert len(opened) == DATABASES
    assert opened[-1] < opened[2] + 4, opened  # one that each of them had lost would be more
    unharmed.check()
    unharmed.again(*flags, "--database=d0", env={"QUICK": "1"})
