"""Files of known hosts: what is read of them, and which are for ssh alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbdump.known_hosts import for_ssh_alone, known_keys

HASHED = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg="  # of 192.168.1.61; paramiko's own tests


def test_lines_that_are_no_keys_are_passed_over(tmp_path):
    """Comments, blanks, broken Base64, bytes that are no text and lines cut short are none."""
    file = tmp_path / "known_hosts"
    file.write_bytes(b"# h k AAAA\n\n h,i k AAAA a comment\nh k AAA\nh k\n\xff k AAAA\r\nh k !!!!\n")
    assert list(known_keys(str(file))) == [("h", "k", b"\0\0\0"), ("i", "k", b"\0\0\0"), ("\ufffd", "k", b"\0\0\0")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h k AAAA\nh j AAAA\ni k AAAA", False),
        ("h k AAAA\nh k AAAA\nh,h k AAAA", False),
        ("h k AAAA\nh k AAAB", True),
        ("h k AAAA\ni,h k AAAB", True),
        ("h k AAAA\n[h]:22 k AAAB", False),
        ("@cert-authority * k AAAA", True),
        ("  @revoked h k AAAA", True),
        ("*.example.org k AAAA", True),
        ("!h,h? k AAAA", True),
        ("# what?\nh k AAAA what?", False),
        ("|1|x|y k AAAA\n|1| k AAAA\n|1|*|!| k AAAA", False),
        ("", False),
    ],
)
def test_files_for_ssh_alone(tmp_path, text, expected):
    """Marks, patterns, and two keys of one kind for the host are ssh's; all else fabric reads as ssh does."""
    file = tmp_path / "known_hosts"
    file.write_text(text)
    assert for_ssh_alone([str(file)], "h", 22) is expected


def test_a_port_and_capitals(tmp_path):
    """A key without its port is ssh's to take, where there is none with it; and names are the same in capitals."""
    file = tmp_path / "known_hosts"
    file.write_text("DB.example.org k AAAA\n")
    assert for_ssh_alone([str(file)], "db.example.org", 2222)
    assert not for_ssh_alone([str(file)], "db.example.org", 22)
    assert not for_ssh_alone([str(file)], "other", 2222)
    file.write_text("db.example.org k AAAA\n[DB.example.org]:2222 k AAAB\n")
    assert not for_ssh_alone([str(file)], "db.example.org", 2222)


def test_a_name_that_is_hashed(tmp_path):
    """It is found all the same, also where another port than its own is asked for."""
    file = tmp_path / "known_hosts"
    file.write_text(f"{HASHED} k AAAA\n192.168.1.61 k AAAB\n")
    assert for_ssh_alone([str(file)], "192.168.1.61", 22)
    file.write_text(f"{HASHED} k AAAA\n")
    assert not for_ssh_alone([str(file)], "192.168.1.61", 22)
    assert for_ssh_alone([str(file)], "192.168.1.61", 2222)
    assert not for_ssh_alone([str(file)], "192.168.1.62", 22)


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text("|1@*!h =AZ\n").map(str.encode)))
def test_no_file_breaks_it(tmp_path_factory, data):
    """Whatever is in it, it is read or passed over."""
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(data)
    list(known_keys(str(file)))
    for_ssh_alone([str(file)], "h", 22)
