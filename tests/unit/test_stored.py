"""What the files of a recipe are told to be: dumps, what is left of some, what was tampered with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.catalog import DumpName, encode
from dbdump.manifest import Manifest
from dbdump.stored import Drill, Entry, Listing, Record, Stored, Stray, read_listing, remembered
from dbdump.testing import ODD_NAMES, dump_name, manifest_of

DATA = b"a dump"
NAME = dump_name()
MANIFEST = manifest_of(NAME, DATA)
FOUND = Record(MANIFEST.sha256, "2026-11-23T04:00:00.000Z", "structure")
DRILL = Drill("2026-11-23T05:00:00.000Z", 4.2, 3, 1000)


def entry(file: str, text: bytes | None = None, size: int = len(DATA), directory: str = "orders") -> Entry:
    """Return a file of a database."""
    return Entry(directory, file, size if text is None else len(text), text)


def dumped(name: DumpName = NAME, manifest: Manifest | None = None) -> list[Entry]:
    """Return the two files of a dump."""
    manifest = manifest or manifest_of(name, DATA)
    directory = name.directory[2]
    return [
        Entry(directory, name.file, len(DATA)),
        Entry(directory, name.manifest_file, 500, manifest.to_json()),
    ]  # fmt: skip


def read(entries: Iterable[Entry]) -> Listing:
    """Return what the files of db1/shop are."""
    return read_listing("db1", "shop", entries)


def only_stray(entries: Iterable[Entry]) -> Stray:
    """Return the one stray that there is, and see that nothing is a dump."""
    listing = read(entries)
    assert not listing.dumps
    assert len(listing.strays) == 1
    return listing.strays[0]


@pytest.mark.parametrize(
    ("before", "now", "noted"),
    [
        (None, ("bytes", ""), ("bytes", "")),
        (("structure", ""), ("bytes", ""), ("bytes", "")),
        (("content", "odd"), ("bytes", ""), ("content", "odd")),
        (("content", "odd"), ("content", ""), ("content", "odd")),
        (("content", "odd"), ("structure", ""), ("structure", "")),
        (("structure", "drill: odd"), ("structure", ""), ("structure", "drill: odd")),
        (("structure", "drill: odd"), ("restored", ""), ("restored", "")),
        ((None, "odd"), ("bytes", ""), ("bytes", "")),
        (("content", "odd"), ("bytes", "worse"), ("bytes", "worse")),
    ],
)
def test_a_fault_stays_until_somebody_looks_further(before, now, noted):
    """That a tool or a key is missing where it is looked at today refutes nothing."""
    earlier = before and Record("", "2026-11-23T04:00:00Z", *before, DRILL)
    later = Record("", "2026-11-24T04:00:00Z", *now, None)
    found = remembered(earlier, later)
    assert (found.level, found.fault) == noted
    assert found.drill is None
    assert found.at == (later.at if noted == now else "2026-11-23T04:00:00Z")


def test_a_dump_with_its_manifest_is_committed():
    """It has the name, the manifest, that manifest's own bytes, and the size that its file has now."""
    (stored,) = read(dumped()).dumps
    assert stored == Stored(NAME, MANIFEST, MANIFEST.to_json(), len(DATA), signed=False)
    assert not stored.verified


def test_a_signature_and_a_record_are_beside_it():
    """They make it signed and verified, and are no files of their own."""
    beside = [entry(NAME.signature_file), entry(NAME.record_file, FOUND.to_json())]
    listing = read([*dumped(), *beside])
    assert not listing.strays
    assert listing.dumps[0].signed
    assert listing.dumps[0].record == FOUND
    assert listing.dumps[0].verified


def test_a_record_of_a_fault_does_not_verify_it():
    """What was found bad is committed, and not verified."""
    bad = replace(FOUND, level=None, fault="its bytes have changed")
    (stored,) = read([*dumped(), entry(NAME.record_file, bad.to_json())]).dumps
    assert stored.record == bad
    assert not stored.verified


def test_a_record_keeps_its_drill():
    """What is noted is read as it was."""
    drilled = replace(FOUND, level="restored", drill=DRILL)
    assert Record.from_json(drilled.to_json(), MANIFEST.sha256) == drilled


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "0" * 64},
        {"schema": 2},
        {"at": "yesterday"},
        {"at": "2026-11-23T04:00:00"},
        {"at": "0001-01-01T00:00:00+23:59"},
        {"at": 5},
        {"level": "very deep"},
        {"level": ["bytes"]},
        {"fault": None},
        {"fault": 7},
        {"drill": "well"},
        {"drill": {"at": FOUND.at}},
        {"drill": {**asdict(DRILL), "seconds": "4"}},
        {"drill": {**asdict(DRILL), "seconds": float("nan")}},
        {"drill": {**asdict(DRILL), "seconds": -1}},
        {"drill": {**asdict(DRILL), "rows": True}},
        {"drill": {**asdict(DRILL), "rows": 10**400}},
        {"drill": {**asdict(DRILL), "fault": []}},
        {"drill": {**asdict(DRILL), "at": "2026-11-23"}},
        {"more": 1},
    ],
)
def test_a_record_about_other_bytes_or_of_nonsense_is_none(changed):
    """The dump counts as never verified."""
    text = json.dumps({**asdict(FOUND), **changed}).encode()
    (stored,) = read([*dumped(), entry(NAME.record_file, text)]).dumps
    assert stored.record is None


def test_a_temporary_file_is_no_dump():
    """A run is at it, or was killed; so is one of the manifest's."""
    for final in (NAME.file, NAME.manifest_file, NAME.record_file):
        stray = only_stray([entry(f".{final}.0123abcd.part")])
        assert stray == Stray(
            f"orders/.{final}.0123abcd.part", len(DATA), "not finished: a run is at it, or was killed"
        )


def test_a_file_without_a_manifest_is_no_dump():
    """It was never finished, whatever is in it, and even where it has a signature or a record."""
    beside = [entry(NAME.signature_file), entry(NAME.record_file, FOUND.to_json())]
    stray = only_stray([entry(NAME.file), *beside])
    assert stray == Stray(f"orders/{NAME.file}", len(DATA), "no manifest: it was never finished")


def test_a_manifest_whose_dump_is_gone():
    """It is said to be one, not taken for tampering, and what it was of is known."""
    stray = only_stray(dumped()[1:])
    assert (stray.path, stray.why, stray.bad) == (
        f"orders/{NAME.manifest_file}",
        "a manifest whose dump is gone",
        False,
    )
    assert stray.lost is not None
    assert (stray.lost.name, stray.lost.size) == (NAME, 0)


@pytest.mark.parametrize(
    "other",
    [
        replace(MANIFEST, host="db2"),
        replace(MANIFEST, recipe="carts"),
        replace(MANIFEST, database="customers"),
        replace(MANIFEST, database="Orders"),
    ],
)
def test_a_dump_that_was_moved_or_swapped(other):
    """A manifest of another host, recipe or database does not make the file a dump of this one."""
    stray = only_stray(dumped(manifest=other))
    assert stray.bad
    assert stray.why == (
        f"its manifest is of a dump of {other.host}/{other.recipe}/{other.database}: it was moved or swapped"
    )


def test_a_dump_that_was_renamed():
    """An old dump under a new stamp is not a new one, and its manifest says which it is."""
    new = replace(NAME, stamp="20261123T203000Z")
    stray = only_stray(dumped(new, MANIFEST))
    assert (stray.bad, stray.path) == (True, f"orders/{new.manifest_file}")
    assert stray.why == f"its manifest is of {NAME.file}: it was renamed"


def test_a_dump_that_was_rolled_back():
    """The old manifest in the place of the new one is that of another file; the old dump is still one."""
    new = replace(NAME, stamp="20261123T203000Z")
    listing = read([*dumped(), *dumped(new, MANIFEST)])
    assert [each.name for each in listing.dumps] == [NAME]
    (stray,) = [each for each in listing.strays if each.bad]
    assert stray.path == f"orders/{new.manifest_file}"
    assert stray.why == f"its manifest is of {NAME.file}, which is there too: an old one was put in its place"


def test_two_dumps_of_one_directory_that_were_swapped():
    """Neither is a dump any more."""
    new = replace(NAME, stamp="20261123T203000Z")
    listing = read([*dumped(new, MANIFEST), *dumped(NAME, manifest_of(new, DATA))])
    assert not listing.dumps
    assert [each.bad for each in listing.strays] == [True, True]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not a manifest: "),
        (b"null", "not a manifest: "),
        (b"[]", "not a manifest: "),
        (b"\xff\xfe", "not a manifest: "),
        (b"[" * 100_000, "not a manifest: "),
        (b'{"schema": 1}', "not a manifest: 'stages'"),
        (b'{"schema": 2}', "manifest of schema 2"),
        (MANIFEST.to_json()[:-20], "not a manifest: "),
    ],
)
def test_a_manifest_of_nonsense(text, why):
    """It is told, and the file beside it is no dump."""
    stray = only_stray([entry(NAME.file), entry(NAME.manifest_file, text)])
    assert stray.bad
    assert stray.why.startswith(why)


def test_a_manifest_that_cannot_be_read():
    """A store that could not get at its content does not make it a dump."""
    stray = only_stray([entry(NAME.file), entry(NAME.manifest_file)])
    assert (stray.bad, stray.why) == (True, "its manifest cannot be read")


@pytest.mark.parametrize(
    "changed",
    [
        {"database": "\ud800"},
        {"host": 5},
        {"signer": 0},
        {"signer": "\udfff"},
        {"recipients": [None]},
        {"recipients": 3},
        {"raw_bytes": ""},
        {"raw_bytes": False},
        {"stored_bytes": None},
        {"stored_bytes": -1},
        {"stored_bytes": 1e3},
        {"started": "2026-11-22T20:30:00"},
        {"started": "0001-01-01T00:00:00+23:59"},
        {"started": None},
        {"finished": "now"},
        {"stages": []},
        {"stages": {}},
        {"stages": [1]},
        {"\ud800": 1},
    ],
)
def test_a_manifest_with_an_odd_value(changed):
    """A value that no dump has makes it none, and is never more than a line in the listing."""
    keys = {**json.loads(MANIFEST.to_json()), **changed}
    stray = only_stray([entry(NAME.file), entry(NAME.manifest_file, json.dumps(keys).encode())])
    assert stray.bad


@pytest.mark.parametrize(
    "file",
    [
        "README",
        "20261122T203000Z",
        "x.sql",
        "notes.json",
        ".hidden",
        ".nfs000123",
        "lost+found",
        "20261122.sql",
        ".lock",
    ],
)
def test_what_is_not_ours_is_passed_over(file):
    """Other files in the directories are nobody's business."""
    found, alone = read([*dumped(), entry(file), entry(file, b"{}", directory="other")]), read(dumped())
    assert (found.dumps, found.strays) == (alone.dumps, alone.strays)


def test_directories_of_databases_are_told():
    """Those too that have no file; what dbdump never called a directory is nobody's business."""
    names = ["@globals", "Shop", "x" * 300, "a b"]
    others = ["lost+found", ".snapshot", "Shop", "a b", "caf\u00e9", "%", ""]
    directories = [Entry(each, "", 0) for each in [*map(encode, names), *others]]
    assert read([*dumped(), *directories]).directories == tuple(sorted(["orders", *map(encode, names)]))


@pytest.mark.parametrize("database", ODD_NAMES)
def test_a_database_with_an_odd_name(database):
    """It is listed by its own name, from the directory of that name, and from no other."""
    name = dump_name(database)
    assert read(dumped(name)).of(database)[0].name == name
    moved = [replace(each, directory="elsewhere") for each in dumped(name)]
    assert only_stray(moved).bad


def test_the_newest_is_the_first():
    """Dumps of all databases are one list, by when they began, not by their stamps or the order of the files."""
    began = ["2026-11-22T20:30:00.500Z", "2026-11-22T20:30:00+02:00", "2026-11-22T20:30:00.400+00:00"]
    names = [replace(dump_name(f"d{index}"), stamp=f"2026112{index}T203000Z") for index in range(3)]
    entries = [
        each
        for name, when in zip(names, began, strict=True)
        for each in dumped(name, replace(manifest_of(name, DATA), started=when))
    ]
    assert [each.name.database for each in read(reversed(entries)).dumps] == ["d0", "d2", "d1"]


@pytest.mark.parametrize(
    ("suffix", "stages", "raw", "wrapped"),
    [
        (".sql", 1, ".sql", ()),
        (".sql.zst", 2, ".sql", (".zst",)),
        (".sql.zst.gpg", 3, ".sql", (".zst", ".gpg")),
        (".tar.sql", 1, ".tar.sql", ()),
        (".tar.sql.zst", 2, ".tar.sql", (".zst",)),
        (".tar.sql.zst.gpg", 3, ".tar.sql", (".zst", ".gpg")),
        (".sql.gpg", 2, ".sql", (".gpg",)),
        (".sql", 4, ".sql", ()),  # no wrapper of it has a suffix
    ],
)
def test_what_it_is_wrapped_in(suffix, stages, raw, wrapped):
    """The suffixes tell, and how many stages there were, whatever the backend's own suffix has in it."""
    name = replace(NAME, suffix=suffix)
    manifest = replace(manifest_of(name, DATA), stages=tuple({"name": str(index)} for index in range(stages)))
    (stored,) = read(dumped(name, manifest)).dumps
    assert (stored.raw_suffix, stored.wrapped) == (raw, wrapped)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (NAME.manifest_file, True),
        (NAME.record_file, True),
        (NAME.file, False),
        (NAME.signature_file, False),
        (f".{NAME.manifest_file}.0123abcd.part", False),
        ("", False),
    ],
)
def test_whose_content_a_store_has_to_give(file, expected):
    """Manifests and records, and nothing that may be large."""
    assert Entry.is_text(file) is expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "orders", FOUND.at]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


def near(text: bytes) -> st.SearchStrategy[bytes]:
    """Return texts that are nearly `text`, which is a JSON object, and some that are not at all."""
    keys = json.loads(text)
    changed = st.dictionaries(st.sampled_from([*keys, "other"]), JSON, max_size=3)
    removed = st.sets(st.sampled_from([*keys]), max_size=1)
    objects = st.builds(
        lambda more, less: {k: v for k, v in {**keys, **more}.items() if k not in less}, changed, removed
    )
    cut = st.integers(0, len(text)).map(lambda at: text[:at])
    texts = (objects | JSON).map(lambda each: json.dumps(each).encode())
    return texts | cut | st.binary(max_size=50)


@given(manifest=near(MANIFEST.to_json()), record=near(replace(FOUND, drill=DRILL).to_json()))
def test_whatever_is_in_the_files_it_is_a_dump_or_none(manifest, record):
    """No content of a manifest or of a record ends in an error, and one that is a dump can be told about."""
    listing = read([entry(NAME.file), entry(NAME.manifest_file, manifest), entry(NAME.record_file, record)])
    assert len(listing.dumps) + len(listing.strays) == 1
    for stored in listing.dumps:
        assert encode(stored.manifest.database) == "orders"
        assert stored.record is None or stored.record.sha256 == stored.manifest.sha256
