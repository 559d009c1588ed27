"""Names on disk and manifests."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dbdump.catalog import GLOBALS, DumpName, decode, encode, is_cut, new_stamp, printable
from dbdump.errors import WriteError
from dbdump.manifest import Manifest
from dbdump.testing import ODD_NAMES, dump_name, manifest_of

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
    st.binary(max_size=70).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text("aA.-%~@/", max_size=6),
    st.sampled_from(ODD_NAMES),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders", "orders"),
        ("a.b-c_9", "a.b-c_9"),
        ("a b", "a%20b"),
        ("-v", "%2dv"),
        ("..", "%2e%2e"),
        (".", "%2e"),
        ("../x", "%2e.%2fx"),
        ("", "%"),
        ("%", "%25"),
        ("é", "%c3%a9"),
        ("bad\udce9", "bad%e9"),
        ("Shop", "Shop~1"),
        ("SHOP", "SHOP~f"),
        ("a~1", "a%7e1"),
        ("real@globals", "real%40globals"),
        (GLOBALS, GLOBALS),
    ],
)
def test_encoding(name, expected):
    """A name is percent-encoded where it has to be, and otherwise read as it is."""
    assert encode(name) == expected


@given(NAMES, NAMES)
@example("A", "a~1")
@example("x" * 300, "x" * 301)
@example("€" * 64, "€" * 65)
def test_encoding_keeps_names_apart(one, other):
    """Two names have two encodings, on a file system that ignores case as well."""
    assume(one != other)
    assert encode(one).lower() != encode(other).lower()


@given(NAMES)
@example("€" * 64)
def test_an_encoded_name_is_one_component(name):
    """It is ASCII, short enough with its stamp, not hidden, no option, and stays in its directory."""
    text = encode(name)
    assert text.isascii()
    assert 0 < len(text) <= 200
    assert text[0] not in ".-"
    assert text[-1] != "."
    assert not set(text) & set("/\0\n\\ ")


def test_a_stamp_is_utc_to_the_second():
    """Whatever the time zone, a run has one stamp."""
    when = datetime(2026, 11, 22, 22, 30, 0, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert new_stamp(when) == "20261122T203000Z"


def test_a_file_s_name_gives_the_dump_s():
    """The name of a dump can be read back from the name of its file, and no other file has one."""
    name = dump_name()
    assert DumpName.of_file("db1", "shop", "orders", name.file) == name
    for other in (".20261122T203000Z.sql.12345678.part", "notes.txt", "20261122T203000Z", "20261122.sql"):
        with pytest.raises(WriteError, match="not the name of a dump"):
            DumpName.of_file("db1", "shop", "orders", other)


def test_a_manifest_reads_as_it_was_written():
    """One JSON object, with a name that is no text kept as it is."""
    manifest = replace(manifest_of(dump_name("bad\udce9"), b"data"), stages=({"name": "a", "argv": [], "status": 0},))
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(NAMES)
def test_an_encoded_name_is_read_back(name):
    """A directory tells the name of its database, unless that was cut."""
    directory = encode(name)
    assert decode(directory) == (None if is_cut(directory) or not name else name)
    assert is_cut(directory) is ("~sha256-" in directory)


@given(st.one_of(st.text(), st.text("aA%2d~1.-@/", max_size=9)))
def test_a_directory_of_another_name_is_none(directory):
    """What `encode` never makes is the directory of no database."""
    name = decode(directory)
    assert name is None or encode(name) == directory


@given(st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb'\{"schema": ?[0-9],?.*\}')))
@example(b"[]")
@example(b"{}")
@example(b'{"schema": 1}')
@example(b'{"schema": 1, "stages": 1}')
@example(b'{"schema": 2}')
@example(b"[" * 5000)
def test_what_is_no_manifest_is_refused_in_words(text):
    """Any bytes are a manifest or an error that an operator can read."""
    with pytest.raises(WriteError, match="manifest"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("plain", "plain"), ("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("é", "é"), ("bad\udce9", r"bad\xe9")],
)
def test_printable(name, expected):
    """What would break a line, or play with a terminal, is escaped."""
    assert printable(name) == expected


@given(NAMES | st.text())
def test_what_is_printable_is_one_line_of_text(name):
    """Whatever the name, a terminal shows it, in any encoding that has its characters."""
    told = printable(name)
    assert told.isprintable()
    assert told == name or "\\" in told
    told.encode()
