"""What every backend does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.base import Backend
from ..backends.registry import find
from ..bound import Bound
from ..machines import Machines
from ..plan import Planned, Refused
from ..probe import PROGRAMS
from ..progress import Plain
from ..report import Result
from ..runner import run
from ..stored import read_listing
from ..wrappers.base import Wrapper
from ..writers.directory import Directory
from .dumps import job_of


@dataclass(frozen=True)
class Broken:
    """A wrapper that takes one byte, and fails."""

    suffix = ".broken"
    program = "sh"

    def on(self, programs: object, ask: object) -> Broken:  # noqa: ARG002  the same everywhere
        """Return itself."""
        return self

    def command(self) -> list[str]:
        """Return an argv that fails in the middle of the stream."""
        return ["sh", "-c", "dd bs=1 count=1 2>/dev/null; echo error: broken on purpose >&2; exit 3"]

    def inverse(self) -> list[str]:
        """Return nothing useful: there is nothing to unwrap."""
        return ["cat"]

    def most_bytes(self, size: int) -> int:
        """Return `size`."""
        return size


@contextmanager
def _bound(backend: Backend) -> Iterator[Bound]:
    job = job_of(backend, Directory("unused"))
    with closing(Machines(here=True)) as machines:
        bound = Bound(job, machines.reach(job), "20261122T203000Z")
        try:
            yield bound
        finally:
            bound.backend.cleanup()


def _dump(backend: Backend, directory: Path, *wrappers: Wrapper) -> list[Result]:
    job = job_of(backend, Directory(str(directory)), *wrappers)
    return run([job], [], 2, Plain(), here=False)[0]


class BackendContract:
    """What every backend does. `make` returns one that has at least one database to dump here."""

    def make(self) -> Backend:
        """Return a backend, not bound to a host."""
        raise NotImplementedError

    def test_it_is_registered(self) -> None:
        """The backend is found by its name, and its suffix is one."""
        made = self.make()
        assert find(made.name) is type(made)
        assert made.suffix.startswith(".")

    def test_it_lists_each_database_once(self) -> None:
        """The list has names, as text, and none of them twice."""
        with _bound(self.make()) as bound:
            bound.backend.prepare()
            names = bound.backend.get_db_list()
        assert names
        assert all(isinstance(name, str) for name in names)
        assert len(set(names)) == len(names)

    def test_its_commands_are_argv_lists(self) -> None:
        """Every database has a command that can be run as it is, or a reason to be skipped."""
        with _bound(self.make()) as bound:
            bound.backend.prepare()
            plans = bound.plan([])
        assert any(isinstance(each, Planned) for each in plans)
        assert not [each for each in plans if isinstance(each, Refused)]

    def test_its_check_finds_nothing_that_is_not_there(self) -> None:
        """Where all can be dumped, its programs are found, and there is no error among its findings."""
        with _bound(self.make()) as bound:
            bound.plan([])
            wanted = bound.backend.programs
            found = bound.backend.output(["sh", "-c", PROGRAMS, "sh", *wanted]).decode().split("\n")
            assert set(wanted) <= set(found)
            findings = list(bound.backend.check(lambda _: True))
        assert not [each for each in findings if each.severity == "error"]

    def test_its_dumps_are_whole(self, tmp_path: Path) -> None:
        """Every dump looks like a whole one, and says how it is restored."""
        results = _dump(replace(self.make(), check_stream=True), tmp_path)
        assert {result.status for result in results} <= {"stored", "skipped"}, results
        stored = read_listing("localhost", "contract", Directory(str(tmp_path)).entries("localhost", "contract"))
        assert not stored.strays
        assert len(stored.dumps) == sum(result.status == "stored" for result in results) > 0
        assert all(each.manifest.raw_bytes and each.manifest.restore for each in stored.dumps)

    def test_a_failing_stage_leaves_nothing(self, tmp_path: Path) -> None:
        """Where a later stage fails, no dump is stored, and the one to blame is named."""
        results = _dump(self.make(), tmp_path, Broken())
        failed = [result for result in results if result.status == "failed"]
        assert failed
        assert all("sh: exit status 3: error: broken on purpose" in result.text for result in failed)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
