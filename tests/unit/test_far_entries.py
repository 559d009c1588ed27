"""What ls and grep say of a far directory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbdump.stored import Entry
from dbdump.writers.far_entries import read_entries

MANIFEST = "20261122T203000Z.sql.json"


def listed(directory: str, file: str, size: int) -> bytes:
    """Return a line of ls."""
    return f"-rw------- 1 1000    1000 {size:>9} Nov 22 20:30 ./{directory}/{file}".encode()


def told(directory: str, file: str, text: bytes) -> list[bytes]:
    """Return grep's lines of a file: the last has an end, whether the file's has one or not."""
    lines = text.split(b"\n")
    return [f"./{directory}/{file}:".encode() + each for each in (lines if lines[-1] else lines[:-1])]


def test_a_file_that_is_no_text_has_a_size():
    """Of ls of coreutils, busybox and BSD, with an ACL's mark, and a date of an earlier year."""
    lines = [
        b"-rw-r--r-- 1 0 0 10 Nov 25 04:39 ./one/20261122T203000Z.sql",
        b"-rw-r--r--    1 0        0               123 Nov 25  2020 ./two/.x.part",
        b"-rw-r--r--+  1 501  20  7 Jan  1 12:00 ./two/1 b",
    ]
    assert read_entries(lines) == [
        Entry("one", "20261122T203000Z.sql", 10),
        Entry("two", ".x.part", 123),
        Entry("two", "1 b", 7),
    ]


def test_a_directory_is_an_entry_of_no_file():
    """Of ls of coreutils, busybox and BSD; its own name may have spaces."""
    lines = [
        b"drwx------ 2 1000 1000 4096 Nov 25 04:39 ./one",
        b"drwx------    2 0        0                40 Nov 25  2020 ./@globals",
        b"drwx------+  1 501  20  64 Jan  1 12:00 ./a b",
    ]
    assert read_entries(lines) == [Entry("one", "", 0), Entry("@globals", "", 0), Entry("a b", "", 0)]


@given(st.dictionaries(st.sampled_from(["a", "b", "@globals", "x%20y"]), st.binary(), min_size=1))
def test_every_byte_of_a_text_comes_through(texts):
    """With a line end at its end or without, with empty lines, colons and what looks like another's line."""
    lines = [listed(directory, MANIFEST, len(text)) for directory, text in texts.items()]
    for directory, text in texts.items():
        lines += told(directory, MANIFEST, text)
    assert {each.directory: each.text for each in read_entries(lines)} == texts


@given(st.lists(st.sampled_from([b"./b/20261122T203000Z.sql.json:{}", b"-rw 1 1 1 1 Jan 1 1 ./b/x", b"./b/x: No such "
                                 b"file or directory", b""])))  # fmt: skip
def test_a_text_is_never_taken_for_another_line(lines):
    """What is in one file says nothing of another."""
    text = b"".join(line + b"\n" for line in lines)
    seen = read_entries([listed("a", MANIFEST, len(text)), *told("a", MANIFEST, text)])
    assert seen == [Entry("a", MANIFEST, len(text), text)]


def test_what_went_is_left_out_and_what_cannot_be_read_is_not():
    """A manifest that went after it was listed is no fault; one that is there and cannot be read has no text."""
    lines = [
        *(listed(directory, MANIFEST, 5) for directory in "abc"),
        listed("d", MANIFEST, 0),
        f"grep: ./a/{MANIFEST}: No such file or directory".encode(),
        f"grep: ./b/{MANIFEST}: Permission denied".encode(),
        b"",
    ]
    assert [(each.directory, each.text) for each in read_entries(lines)] == [("b", None), ("c", None), ("d", b"")]


def test_names_that_are_not_utf_8():
    """Each is an entry like any other."""
    assert read_entries([b"-rw 1 1 1 3 Jan 1 1 ./a\xe9/b\xff"]) == [Entry("a\udce9", "b\udcff", 3)]
