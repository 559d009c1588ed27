"""What every writer does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..backends.base import Backend
from ..catalog import DumpName
from ..errors import WriteError
from ..machines import Machines
from ..writers.base import Store, Writer
from ..writers.directory import Directory
from .dumps import ODD_NAMES, dump_name, job_of, manifest_of, refused, store


class _Nothing(Backend):
    """A backend for jobs that only store."""

    def get_db_list(self) -> list[str]:
        """Return none."""
        return []

    def get_command(self, database: str) -> None:
        """Return none."""


class WriterContract:
    """What every writer does. `make` returns one that stores below the directory it is given."""

    def make(self, directory: Path) -> Writer:
        """Return a writer."""
        raise NotImplementedError

    @contextmanager
    def made(self, directory: Path) -> Iterator[Store]:
        """Make one, for a dump of this machine."""
        with closing(Machines(here=True)) as machines:
            yield self.make(directory).bound(machines.reach(job_of(_Nothing(), Directory("unused"))))

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
