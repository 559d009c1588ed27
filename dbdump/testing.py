"""Contract suites for those who write backends, wrappers or writers: subclass one in a test file for pytest.

class TestRedis(BackendContract):
    def make(self):
        return Redis()
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .backends.base import Backend
from .backends.registry import find
from .bound import Bound
from .catalog import SCHEMA, DumpName, Manifest
from .errors import WriteError
from .host import LocalShell, localhost
from .machines import Machines
from .pipeline import Pipeline
from .plan import Job, Planned, Refused
from .progress import Plain
from .recipe import Dump
from .report import Result
from .runner import run
from .script import Stage
from .wrappers.base import Wrapper
from .writers.base import Sink, Store, Writer
from .writers.directory import Directory

ODD_NAMES = ("a b", "x;y", "-v", "--result-file=x", "dbname=postgres", "../x", ".", "é", "a\nb", "%", "UPPER", "upper",
             "x" * 63, "€" * 64, "q'\"\\`$(id)*?", "bad\udce9name")  # fmt: skip


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


class _Nothing(Backend):
    """A backend for jobs that only store."""

    def get_db_list(self) -> list[str]:
        """Return none."""
        return []

    def get_command(self, database: str) -> None:
        """Return none."""


@contextmanager
def _bound(backend: Backend) -> Iterator[Bound]:
    job = _job(backend, Directory("unused"))
    with closing(Machines(here=True)) as machines:
        bound = Bound(job, machines.reach(job), "20261122T203000Z")
        try:
            yield bound
        finally:
            bound.backend.cleanup()


def _job(backend: Backend, to: Writer, *wrappers: Wrapper) -> Job:
    return Job(localhost, "contract", Dump(backend, wrap=wrappers, to=to, stall_timeout=60.0))


def _dump(backend: Backend, directory: Path, *wrappers: Wrapper) -> list[Result]:
    job = _job(backend, Directory(str(directory)), *wrappers)
    return run([job], [], 2, Plain(), here=False)[0]


def _stage(argv: list[str]) -> Stage:
    return Stage(argv[0], tuple(argv))


def _cat(path: Path) -> Stage:
    return _stage(["cat", str(path)])


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

    def test_its_dumps_are_whole(self, tmp_path: Path) -> None:
        """Every dump looks like a whole one, and says how it is restored."""
        results = _dump(replace(self.make(), check_stream=True), tmp_path)
        assert {result.status for result in results} <= {"stored", "skipped"}, results
        stored = list(Directory(str(tmp_path)).list("localhost", "contract"))
        assert len(stored) == sum(result.status == "stored" for result in results) > 0
        assert all(manifest.raw_bytes and manifest.restore for _, manifest in stored)

    def test_a_failing_stage_leaves_nothing(self, tmp_path: Path) -> None:
        """Where a later stage fails, no dump is stored, and the one to blame is named."""
        results = _dump(self.make(), tmp_path, Broken())
        failed = [result for result in results if result.status == "failed"]
        assert failed
        assert all("sh: exit status 3: error: broken on purpose" in result.text for result in failed)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class WrapperContract:
    """What every wrapper does. `make` returns one whose program is on PATH."""

    def make(self) -> Wrapper:
        """Return a wrapper."""
        raise NotImplementedError

    def made(self) -> Wrapper:
        """Make one, for this machine."""
        shell = LocalShell()
        made = self.make()
        return made.on({made.program}, lambda argv: Pipeline((_stage(list(argv)),)).answer(shell))

    def test_its_inverse_gives_back_every_byte(self, tmp_path: Path) -> None:
        """What is wrapped and unwrapped again is what it was, empty or large."""
        for data in (b"", b"x", b"\0\xff" * 500, os.urandom(3 << 20)):
            source = tmp_path / "source"
            source.write_bytes(data)
            stages = (_cat(source), _stage(self.made().command()), _stage(self.made().inverse()))
            assert Pipeline(stages).answer(LocalShell()) == data

    def test_its_bound_holds(self, tmp_path: Path) -> None:
        """It never makes more of its input than it says: that is how an empty dump is known."""
        for size in (0, 1, 100, 3 << 20):
            source = tmp_path / "source"
            source.write_bytes(os.urandom(size))
            wrapped = Pipeline((_cat(source), _stage(self.made().command()))).answer(LocalShell())
            assert len(wrapped) <= self.made().most_bytes(size)

    def test_it_has_a_suffix(self) -> None:
        """Its suffix is one."""
        assert self.made().suffix.startswith(".")


class WriterContract:
    """What every writer does. `make` returns one that stores below the directory it is given."""

    def make(self, directory: Path) -> Writer:
        """Return a writer."""
        raise NotImplementedError

    @contextmanager
    def made(self, directory: Path) -> Iterator[Store]:
        """Make one, for a dump of this machine."""
        with closing(Machines(here=True)) as machines:
            yield self.make(directory).bound(machines.reach(_job(_Nothing(), Directory("unused"))))

    def test_it_stores_every_byte(self, tmp_path: Path) -> None:
        """A committed dump is listed with its manifest, and reads as it was written."""
        name, data = dump_name(), os.urandom(3 << 20)
        with self.made(tmp_path) as to:
            store(to, name, data)
            assert list(to.list(name.host, name.recipe)) == [(name, manifest_of(name, data))]
            assert b"".join(to.read(name)) == data

    def test_odd_names_stay_apart(self, tmp_path: Path) -> None:
        """Databases of any name are stored, each in its own place."""
        names = {dump_name(database): os.urandom(99) for database in ODD_NAMES}
        with self.made(tmp_path) as to:
            for name, data in names.items():
                store(to, name, data)
            assert {each for each, _ in to.list("db1", "shop")} == set(names)
            assert {name: b"".join(to.read(name)) for name in names} == names

    def test_an_aborted_dump_is_gone(self, tmp_path: Path) -> None:
        """Before commit nothing is listed, after abort nothing is left."""
        name = dump_name()
        with self.made(tmp_path) as to:
            sink = to.open(name)
            sink.write(memoryview(b"half"))
            assert not list(to.list(name.host, name.recipe))
            sink.abort()
            sink.abort()
            self.has_nothing(to, name)

    def test_what_differs_from_its_manifest_is_refused(self, tmp_path: Path) -> None:
        """Bytes that are not those of the manifest, by size or by SHA-256, are never named."""
        name = dump_name()
        with self.made(tmp_path) as to:
            for wrong in (b"whol", b"wholf"):
                sink = to.open(name)
                sink.write(memoryview(b"whole"))
                refused(sink, manifest_of(name, wrong))
                self.has_nothing(to, name)

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        """Another dump of the same name is refused, and the first one stays."""
        name = dump_name()
        with self.made(tmp_path) as to:
            store(to, name, b"first")
            sink = to.open(name)
            sink.write(memoryview(b"other"))
            refused(sink, manifest_of(name, b"other"))
            assert b"".join(to.read(name)) == b"first"

    def test_the_same_commit_twice_is_one(self, tmp_path: Path) -> None:
        """A commit that is repeated, because its answer was lost, succeeds."""
        name = dump_name()
        with self.made(tmp_path) as to:
            store(to, name, b"same")
            store(to, name, b"same")
            assert [each for each, _ in to.list(name.host, name.recipe)] == [name]

    def test_a_deleted_dump_is_gone(self, tmp_path: Path) -> None:
        """Delete removes the dump and its manifest, and nothing else."""
        name, other = dump_name(), dump_name("other")
        with self.made(tmp_path) as to:
            store(to, name, b"one")
            store(to, other, b"two")
            to.delete(name)
            assert [each for each, _ in to.list(name.host, name.recipe)] == [other]

    def has_nothing(self, to: Store, name: DumpName) -> None:
        """Assert that nothing is stored under `name`, nor listed."""
        assert not list(to.list(name.host, name.recipe))
        try:
            found = list(to.read(name))
        except WriteError:
            return
        raise AssertionError(f"{found!r} is stored under a final name")


def dump_name(database: str = "orders") -> DumpName:
    """Return the name of a dump."""
    return DumpName("db1", "shop", database, "20261122T203000Z", ".sql.zst")


def manifest_of(name: DumpName, data: bytes) -> Manifest:
    """Return the manifest of a dump of `data`."""
    fixed: dict[str, Any] = {"stages": (), "versions": {}, "signer": None, "recipients": (), "restore": "cat"}
    when = "2026-11-22T20:30:00.000Z"
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(SCHEMA, name.host, name.recipe, "test", name.database, when, when, None, len(data), digest, **fixed)


def store(to: Store, name: DumpName, data: bytes) -> None:
    """Store `data` as a whole dump."""
    sink = to.open(name)
    try:
        sink.write(memoryview(data))
        sink.commit(manifest_of(name, data))
    finally:
        sink.abort()


def refused(sink: Sink, manifest: Manifest) -> None:
    """Assert that `sink` does not commit with `manifest`."""
    try:
        sink.commit(manifest)
    except WriteError:
        return
    else:
        raise AssertionError("it was committed")
    finally:
        sink.abort()
