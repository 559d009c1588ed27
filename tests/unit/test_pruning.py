"""What is to go, of any files: only dumps of the recipe, never what must stay, and nobody is asked without need."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.history import put

from dbdump import Directory, Dump, Keep, SQLite, localhost
from dbdump.catalog import DumpName, new_stamp
from dbdump.machines import Machines
from dbdump.place import Place
from dbdump.plan import Job
from dbdump.pruning import cuts, left_out, prune_place
from dbdump.stored import Entry, Record, Stored, read_listing
from dbdump.testing import manifest_of

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def entries(
    when: datetime, database: str = "orders", *, size: int = 1000, lost: bool = False, cut_short: bool = False,
    fault: str | None = None,
) -> list[Entry]:  # fmt: skip
    """Return the files of a dump that began then; `fault` is what verify found."""
    name = DumpName("db1", "shop", database, new_stamp(when), ".sql.zst")
    manifest = replace(manifest_of(name, b""), started=when.isoformat(), stored_bytes=size)
    directory, text = name.directory[-1], manifest.to_json()
    found = [Entry(directory, name.manifest_file, len(text), text)]
    if not lost:
        found.append(Entry(directory, name.file, size // 2 if cut_short else size))
    if fault is not None:
        record = Record(manifest.sha256, NOW.isoformat(), "bytes", fault).to_json()
        found.append(Entry(directory, name.record_file, len(record), record))
    return found


def cut(files: list[Entry], keep: Keep, fault=lambda stored: ""):
    """Return what is to be done with the dumps of the one database."""
    (one,) = cuts(read_listing("db1", "shop", files), keep, NOW, lambda dumps: [fault(each) for each in dumps])
    return one


def stamps(dumps) -> list[str]:
    """Return their days."""
    return [(each if isinstance(each, Stored) else each[0]).name.stamp[:8] for each in dumps]


def daily(count: int) -> list[Entry]:
    """Return the files of dumps of so many days."""
    return [each for day in range(count) for each in entries(NOW - timedelta(days=day))]


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sets(st.integers(-3, 30), min_size=1), min_size=1))
@settings(deadline=None)
def test_what_the_newest_run_has_not_stored_keeps_all(days_ago):
    """A database with a dump of the newest run is not spared, one without is; the future, and its dumps, are no run."""
    files = [each for name, ago in days_ago.items() for day in ago for each in entries(NOW - timedelta(day), name)]
    listing = read_listing("db1", "shop", files)
    past = {name: min(day for day in ago if day >= 0) for name, ago in days_ago.items() if max(ago) >= 0}
    spared = left_out(listing.dumps, NOW)
    assert spared == {name for name, day in past.items() if day > min(past.values())}
    for one in cuts(listing, Keep(last=1), NOW, lambda dumps: [""] * len(dumps), spared):
        assert not (one.pruned and one.id.rpartition("/")[2] in spared)


def test_what_is_known_to_be_bad_does_not_count():
    """Cut short, found bad by verify, or by a drill: none of them pushes a dump out that may be good."""
    files = [*entries(NOW, cut_short=True), *entries(NOW - timedelta(hours=1), fault="no end"), *daily(5)[2:]]
    found = cut(files, Keep(last=2))
    assert stamps(found.kept) == ["20261125", "20261125", "20261124", "20261123"]
    assert [why for _, why in found.kept] == ["bad", "bad", "newest, last", "last"]
    assert stamps(found.pruned) == ["20261121", "20261122"]


def test_signatures_are_asked_for_only_where_something_would_go():
    """Each of them once, and none where all are kept."""
    asked: list[Stored] = []

    def fault(stored: Stored) -> str:
        asked.append(stored)
        return ""

    assert not cut(daily(3), Keep(last=3), fault).pruned
    assert not asked
    assert stamps(cut(daily(4), Keep(last=3), fault).pruned) == ["20261122"]
    assert len(asked) == 4


def test_a_dump_with_a_fault_takes_no_place():
    """Four days, the second of them not signed: the two that are kept are the first and the third."""
    found = cut(daily(4), Keep(last=2), lambda stored: "not signed" if stored.name.stamp[:8] == "20261124" else "")
    assert stamps(found.kept) == ["20261125", "20261123"]
    assert stamps(found.ignored) == ["20261124"]
    assert stamps(found.pruned) == ["20261122"]


def test_a_small_dump_that_is_not_signed_holds_nothing():
    """It counts for nothing; one that is signed holds all."""
    files = [*entries(NOW, size=1), *daily(6)[2:]]
    found = cut(files, Keep(last=2), lambda stored: "not signed" if stored.size == 1 else "")
    assert not found.held
    assert stamps(found.ignored) == ["20261125"]
    assert stamps(found.kept) == ["20261124", "20261123"]
    assert stamps(found.pruned) == ["20261120", "20261121", "20261122"]
    assert cut(files, Keep(last=2)).held


def test_a_manifest_alone():
    """It goes where its dump would go; where that would be kept it tells of a loss, and stays."""
    files = [*daily(3), *entries(NOW - timedelta(days=1, hours=1), lost=True),
             *entries(NOW - timedelta(days=9), lost=True)]  # fmt: skip
    found = cut(files, Keep(daily=3))
    assert stamps(found.lost) == ["20261116", "20261124"]
    assert not found.pruned
    assert not cut([*daily(3), *entries(NOW - timedelta(days=9), lost=True)], Keep(last=9)).lost
    newer = [entry for day in range(3) for entry in entries(NOW - timedelta(days=day), lost=day < 2)]
    assert not cut(newer, Keep(last=1)).lost


_ages = st.integers(-30, 400)
_kind = st.sampled_from(["", "", "", "lost", "cut short", "bad", "good"])  # good ones seldom: others are newer
_file = st.tuples(_ages, st.integers(0, 10**6), _kind)
_files = st.one_of([st.lists(_file, unique_by=lambda each: each[0], min_size=n, max_size=40) for n in (1, 12)])
_keeps = st.builds(Keep, last=st.integers(1, 4), daily=st.sampled_from([0, 0, 3]), monthly=st.sampled_from([0, 0, 3]))


def _made(files) -> list[Entry]:
    faults = {"good": "", "bad": "no end"}
    return [
        entry for age, size, kind in files
        for entry in entries(NOW - timedelta(days=age), size=size, lost=kind == "lost", cut_short=kind == "cut short",
                             fault=faults.get(kind))
    ]  # fmt: skip


@given(_files, _keeps, st.sets(st.integers(-30, 400)))
def test_of_any_files_what_must_stay_stays(files, keep, unsigned):
    """The newest that counts, the newest verified, bad and future ones, and those whose signature is not good."""
    unsigned_stamps = {new_stamp(NOW - timedelta(days=age)) for age in unsigned}
    listing = read_listing("db1", "shop", _made(files))
    faults = {each.name: "no" if each.name.stamp in unsigned_stamps else "" for each in listing.dumps}
    for found in cuts(listing, keep, NOW, lambda dumps: [faults[each.name] for each in dumps]):
        gone = [each.name for each in found.pruned]
        assert len(gone) + len(found.kept) + len(found.ignored) == len(listing.dumps)
        counted = [
            each.name for each in listing.dumps
            if each.manifest.begun <= NOW and each.size == each.manifest.stored_bytes
            and not (each.record and each.record.fault) and each.name.stamp not in unsigned_stamps
        ]  # fmt: skip
        verified = [each.name for each in listing.dumps if each.name in counted and each.verified]
        assert set(gone) <= set(counted) - set(counted[:1]) - set(verified[:1])
        assert gone == sorted(gone, key=lambda name: name.stamp)
        assert all(each.size == 0 for each in found.lost)
        # What would be the newest tells of a loss.
        assert not counted or all(each.name.stamp < counted[0].stamp for each in found.lost)
        signed = [each for each in _made(files) if each.file.partition(".")[0] not in unsigned_stamps]
        if counted:  # whoever adds to them what is not signed makes nothing of it
            assert stamps(found.pruned) == stamps(cut(signed, keep).pruned)
            assert found.held == cut(signed, keep).held


_names = st.sampled_from(["notes.txt", "20200101T000000Z.sql", ".20200101T000000Z.sql.0a1b2c3d.part", "x.json", "-rf",
                          "20200101T000000Z.sql.json", "20200101T000000Z.sql.verified", "lost+found"])  # fmt: skip
_kinds = st.sampled_from(["file", "directory", "link"])


@pytest.fixture(scope="module")
def machines():
    """The one that the tests run on."""
    with closing(Machines(here=True)) as made:
        yield made


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 60), unique=True, max_size=12),
    st.dictionaries(_names, _kinds),
    st.sampled_from(["people", "../orders", "ORDERS"]),
    st.integers(1, 4),
)
def test_only_files_of_the_recipe_are_deleted(machines, ages, foreign, other, last):
    """Of any directory: what a manifest of this host, recipe and database names, and nothing beside it."""
    with tempfile.TemporaryDirectory() as top:
        where, to = Path(top), Directory(top)
        dumps = [put(where, "orders", timedelta(days=age), sign=lambda _: b"signature") for age in sorted(ages)]
        for more in ({"host": "db1"}, {"recipe": "crm"}):
            put(where, "orders", timedelta(days=99), **more)
        put(where, other, timedelta(days=99))
        directory = Path(to.place("localhost", "shop")) / "orders"
        directory.mkdir(mode=0o700, exist_ok=True)
        for name, kind in foreign.items():
            path = directory / name
            if kind == "file":
                path.write_text("foreign")
            elif kind == "directory":
                path.mkdir()
            else:
                path.symlink_to(top)
        before = set(where.rglob("*"))
        job = Job(localhost, "shop", Dump(SQLite(path="x"), to=to, keep=Keep(last=last)))
        prune_place(Place(job, to, machines), lambda database: True, lambda text: None)
        gone = before - set(where.rglob("*"))
        assert gone == {
            each.with_name(each.name + more) for each in dumps[last:] for more in ("", ".json", ".json.sig")
        }


class Dying:
    """A file system that turns read-only after so many removals below a directory; it notes what was removed."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.removed: list[str] = []
        sys.addaudithook(self._heard)  # for good: nobody takes one back

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "os.remove" or self.left is None:
            return
        if not self.left:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self.left -= 1
        self.removed.append(str(arguments[0]))


DYING = Dying()


@settings(max_examples=30)
@given(st.sets(st.integers(0, 60), min_size=3, max_size=7), st.integers(1, 2), st.integers(0, 20))
def test_a_prune_that_dies_anywhere_is_finished_by_the_next(machines, ages, last, removals):
    """Each dump goes before its manifest; what is left then is whole, or a manifest; and the next leaves the same."""
    with tempfile.TemporaryDirectory() as top:
        where, to = Path(top), Directory(top)
        dumps = [put(where, "orders", timedelta(days=age), fault="", sign=lambda _: b"s") for age in sorted(ages)]
        place = Place(Job(localhost, "shop", Dump(SQLite(path="x"), to=to, keep=Keep(last=last))), to, machines)
        whole = {path.parent: set(path.parent.iterdir()) for path in dumps}[dumps[0].parent]
        DYING.left, DYING.removed = removals, []
        try:
            said = prune_place(place, lambda database: True, lambda text: None)
        finally:
            DYING.left = None
        left = set(dumps[0].parent.iterdir())
        assert bool(said[0].failure) == (removals < 4 * len(dumps[last:]))
        assert {path.name for path in whole - left} == set(DYING.removed)
        assert all(path.with_name(f"{path.name}.json") in left for path in left if path.suffix == ".gpg")
        order = [name[len("20261122T203000Z.bin.gpg") :] for name in DYING.removed]
        assert order == (["", ".verified", ".json.sig", ".json"] * len(dumps))[: len(order)]
        prune_place(place, lambda database: True, lambda text: None)
        assert set(dumps[0].parent.iterdir()) == {
            path.with_name(path.name + more)
            for path in dumps[:last]
            for more in ("", ".json", ".json.sig", ".verified")
        }
