"""What every writer does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..backends.base import Backend
from ..catalog import DumpName
from ..errors import DumpError, Locked, WriteError
from ..machines import Machines
from ..stored import Entry, Listing, Record, read_listing
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


def _listing(to: Store) -> Listing:
    name = dump_name()
    return read_listing(name.host, name.recipe, to.entries(name.host, name.recipe))


def _files(to: Store) -> list[str]:
    name = dump_name()
    return [each.file for each in to.entries(name.host, name.recipe) if each.file]


def _names(to: Store) -> set[DumpName]:
    return {each.name for each in _listing(to).dumps}


def _strays(to: Store) -> list[str]:
    return [each.path for each in _listing(to).strays]


def _told(kind: type[DumpError], work: Callable[[], object]) -> str:
    try:
        work()
    except kind as error:
        return error.message
    return ""


def _record(name: DumpName, fault: str) -> Record:
    return Record(manifest_of(name, b"whole").sha256, "2026-11-23T03:00:00+00:00", "content", fault)


class WriterContract:
    """What every writer does. `make` returns one that stores below the directory it is given.

    `locks` says whether places can be held there.
    """

    locks = True

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
            (found,) = _listing(to).dumps
            manifest = manifest_of(name, data)
            assert (found.name, found.manifest, found.size) == (name, manifest, len(data))
            assert found.text == manifest.to_json()
            assert (found.signed, found.record) == (False, None)
            assert b"".join(to.read(name)) == data

    def test_odd_names_stay_apart(self, tmp_path: Path) -> None:
        """Databases of any name are stored, each in its own place."""
        names = {dump_name(database): os.urandom(99) for database in ODD_NAMES}
        with self.made(tmp_path) as to:
            for name, data in names.items():
                store(to, name, data)
            assert _names(to) == set(names)
            assert not _strays(to)
            assert {name: b"".join(to.read(name)) for name in names} == names

    def test_an_aborted_dump_is_gone(self, tmp_path: Path) -> None:
        """Before commit nothing is listed, after abort nothing is left."""
        name = dump_name()
        with self.made(tmp_path) as to:
            sink = to.open(name)
            sink.write(memoryview(b"half"))
            assert not _names(to)
            assert len(_strays(to)) == 1
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
            assert _names(to) == {name}

    def test_a_deleted_dump_is_gone(self, tmp_path: Path) -> None:
        """Delete removes all that is of the dump, and nothing else; once more is no error."""
        name, other = dump_name(), dump_name("other")
        with self.made(tmp_path) as to:
            store(to, name, b"one", signature=b"signed")
            store(to, other, b"two")
            to.note(name, b"{}")
            to.delete(name)
            assert sorted(_files(to)) == [other.file, other.manifest_file]
            to.delete(name)
            assert _names(to) == {other}

    def test_where_nothing_was_stored_nothing_is(self, tmp_path: Path) -> None:
        """A recipe that was never run has no entries, and its place can be held."""
        with self.made(tmp_path) as to:
            assert not list(to.entries("db1", "shop"))
            with to.held("db1", "shop", alone=True):
                assert not list(to.entries("db1", "shop"))
            for missing in (to.read, to.signature):
                self.is_missing(missing, dump_name())

    def test_a_database_that_has_no_dump_is_told(self, tmp_path: Path) -> None:
        """Its directory is an entry, with no file's name: so it is known that it was begun."""
        with self.made(tmp_path) as to:
            to.open(dump_name("begun")).abort()
            store(to, dump_name(), b"whole")
            directories = {each for each in to.entries("db1", "shop") if not each.file}
            assert directories == {Entry("begun", "", 0), Entry("orders", "", 0)}
            assert _listing(to).directories == ("begun", "orders")

    def test_entries_that_are_not_wanted_any_more(self, tmp_path: Path) -> None:
        """Who stops in the middle of them leaves nothing that is in the way of others."""
        name = dump_name()
        with self.made(tmp_path) as to:
            store(to, name, b"whole")
            entries = to.entries(name.host, name.recipe)
            next(entries)
            del entries
            assert _names(to) == {name}
            assert b"".join(to.read(name)) == b"whole"

    def test_a_signature_is_stored(self, tmp_path: Path) -> None:
        """The signature of a manifest is read as it was written, and who has none is told from who has."""
        name, other = dump_name(), dump_name("other")
        signature = b"\0\r\n\xff" + os.urandom(500)
        with self.made(tmp_path) as to:
            store(to, name, b"one", signature=signature)
            store(to, other, b"two")
            assert to.signature(name) == signature
            self.is_missing(to.signature, other)
            assert {each.name: each.signed for each in _listing(to).dumps} == {name: True, other: False}

    def test_a_record_replaces_the_last(self, tmp_path: Path) -> None:
        """What verify found is stored beside the dump, each time in place of the last, and nothing else is left."""
        name = dump_name()
        with self.made(tmp_path) as to:
            store(to, name, b"whole")
            files = set(_files(to))
            for fault in ("", "x" * 5000, "changed"):
                to.note(name, _record(name, fault).to_json())
                (found,) = _listing(to).dumps
                assert found.record == _record(name, fault)
            assert set(_files(to)) == files | {name.record_file}

    def test_a_dump_that_is_gone_gets_no_record(self, tmp_path: Path) -> None:
        """Where somebody has removed it since it was read, that is said, and nothing is left where it was."""
        name, other = dump_name(), dump_name("other")
        with self.made(tmp_path) as to:
            store(to, name, b"whole")
            store(to, other, b"whole")
            to.delete(name)
            assert f"{name.file} is gone" in _told(WriteError, lambda: to.note(name, b"{}"))
            assert sorted(_files(to)) == [other.file, other.manifest_file]

    def test_how_a_place_is_can_be_told(self, tmp_path: Path) -> None:
        """Before anything was stored, and after it; nothing is made to find it out."""
        name = dump_name()
        with self.made(tmp_path) as to:
            before = sorted(tmp_path.rglob("*"))
            empty = to.condition(name.host, name.recipe, [name.database])
            assert sorted(tmp_path.rglob("*")) == before
            store(to, name, b"whole")
            for found in (empty, to.condition(name.host, name.recipe, [name.database, "none"])):
                assert found.path
                assert not found.faults
                assert found.writable is not False
                assert found.free_bytes is None or found.free_bytes > 0
            assert _names(to) == {name}

    def test_a_place_is_held_alone_or_with_others(self, tmp_path: Path) -> None:
        """Who holds a place alone keeps out all others, and is kept out by any; without locks nobody is."""
        name = dump_name()
        with self.made(tmp_path) as to, self.made(tmp_path) as another:
            store(to, name, b"whole")
            for one, other in ((to, another), (to, to)):
                with one.held(name.host, name.recipe, alone=False):
                    self.is_free(other, alone=False)
                    self.is_taken(other, alone=True)
                    other.open(dump_name("beside")).abort()
                with one.held(name.host, name.recipe, alone=True):
                    self.is_taken(other, alone=False)
                    self.is_taken(other, alone=True)
                    one.delete(name)
                    assert not _names(one)
                self.is_free(other, alone=True)
                store(to, name, b"whole")

    def test_a_dump_holds_its_place(self, tmp_path: Path) -> None:
        """From when it is begun until it is committed nobody can be alone there; and where one is, none begins."""
        name = dump_name()
        with self.made(tmp_path) as to, self.made(tmp_path) as another:
            store(to, dump_name("old"), b"old")
            sink = to.open(name)
            self.is_taken(another, alone=True)
            self.is_free(another, alone=False)
            sink.write(memoryview(b"whole"))
            sink.commit(manifest_of(name, b"whole"))
            self.is_free(another, alone=True)
            to.open(name).abort()
            with another.held(name.host, name.recipe, alone=True):
                told = _told(Locked, lambda: to.open(name).abort())
                assert "a prune is at work there" in told if self.locks else not told
            to.open(name).abort()

    def is_free(self, to: Store, *, alone: bool) -> None:
        """Assert that a place can be held."""
        name = dump_name()
        with to.held(name.host, name.recipe, alone=alone):
            pass

    def is_taken(self, to: Store, *, alone: bool) -> None:
        """Assert that a place cannot be held, and that it is said who is there; without locks that it can."""
        told = _told(Locked, lambda: self.is_free(to, alone=alone))
        assert ("a dump, verify, restore or prune" if alone else ": a prune") in told if self.locks else not told

    def is_missing(self, read: Callable[[DumpName], Iterable[object]], name: DumpName) -> None:
        """Assert that there is nothing to read."""
        try:
            found = list(read(name))
        except WriteError:
            return
        raise AssertionError(f"{found!r} is stored under a final name")

    def has_nothing(self, to: Store, name: DumpName) -> None:
        """Assert that nothing is stored under `name`, nor listed."""
        assert not _files(to)
        self.is_missing(to.read, name)
