"""What reads foreign bytes ends in words or in what it is to tell, soon, and is not filled up by them."""

from __future__ import annotations

import contextlib
import json
import string
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbdump.backends.mysql_probe import read_tools
from dbdump.backends.mysql_server import read_server
from dbdump.backends.postgresql import PostgreSQL
from dbdump.errors import DbdumpError, ListError, StageError, WriteError
from dbdump.manifest import Manifest
from dbdump.pipeline import cause
from dbdump.redact import redact
from dbdump.script import Said
from dbdump.ssh_words import settings_of, split_remote, without_ssh
from dbdump.testing import dump_name, manifest_of
from dbdump.wrappers.gpg_keys import read_keys
from dbdump.wrappers.gpg_verify import decryption_fault, locked, signature_fault

SECONDS = 10.0  # for anything here: what takes longer hangs
in_time = settings(deadline=SECONDS * 1000)
LONG = 70_000  # characters: about the longest line that is kept of a stderr


@pytest.fixture(autouse=True)
def unharmed():
    """Nothing is run here."""


def words(*known: str, more: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    """Return lines of known words and others."""
    other = more or st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=9)
    return st.lists(st.sampled_from(known) | other, max_size=8).map(" ".join)


STATUS = words(
    "NEWSIG", "GOODSIG", "VALIDSIG", "BADSIG", "ERRSIG", "EXPKEYSIG", "ERROR", "pkdecrypt_failed", "ENC_TO",
    "DECRYPTION_OKAY", "DECRYPTION_FAILED", "9", "11", "9" * 5000, "A" * 40,
)  # fmt: skip


@in_time
@given(st.lists(STATUS))
@example(["ENC_TO", "ERROR pkdecrypt_failed " + "9" * 5000])
@example(["ENC_TO", "ERROR pkdecrypt_failed"])
def test_status_lines_of_gnupg(lines):
    """Whatever GnuPG says, it is judged in a line."""
    said = Said("TOKEN")
    for line in lines:
        said.feed(f"[GNUPG:] {line}\n".encode())
    heard = said.status_lines
    for told in (signature_fault(heard, {"A" * 40}), decryption_fault(heard, encrypted=True), locked(heard)):
        assert "\n" not in told


@in_time
@given(st.lists(words("pub", "sec", "sub", "fpr", "uid", "u", "9" * 5000).map(lambda line: line.replace(" ", ":"))))
@example(["pub:u:255:22:A:1:" + "9" * 5000 + "::u:::sc", "fpr:::::::::A"])
def test_a_listing_of_keys(lines):
    """Whatever is in a keyring, its keys can be asked whether they are good."""
    for key in read_keys("\n".join(lines)):
        assert key.fault("sign") in ("", *key.fault("sign").splitlines())


def test_a_tool_that_never_stops_talking():
    """What is kept of a stderr has a bound: of its lines, of their length, and of what looks like GnuPG's."""
    said = Said("TOKEN")
    for number in range(20_000):
        said.feed(b"[GNUPG:] WORD%d\n" % number + b"noise\n" * 10)
    for _ in range(100):
        said.feed(b"x" * 65536)
    assert len(said.messages) <= 80
    assert len(said.status_lines) <= 1000
    assert len(said.status_words) <= 1000
    assert max(map(len, said.messages)) < 2 * 65536


@pytest.mark.parametrize(
    "piece",
    ["a", "a:", "://", "x://y:", "x://y:z@", "password=", "password='", "'", "password='\\", "pass ", "PGPASSWORD='",
     "\x1b[", "error: ", "DETAIL: "],
)  # fmt: skip
def test_a_long_line_is_read_in_time(piece):
    """Of a line as long as a pipe the cause is found, and its secrets are hidden, at once."""
    line = piece * (LONG // len(piece))
    began = time.thread_time()  # whoever else wants the processor
    said = Said("TOKEN")
    said.feed(f"{line}\n".encode())
    redact(cause(said.messages, "pg_dump"))
    assert time.thread_time() - began < SECONDS


ANSWERS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"150018 15.1", b"616263 t", b"616263", b"zz t", b"\xff", b"", b"150018", b"x y"])).map(
        b"\n".join
    ),
)


@in_time
@given(ANSWERS)
@example(b"")
@example(b"\xff")
@example("150018 15.1\u2028x\n616263 t".encode())
def test_what_psql_answers(answer):
    """A list of databases, or an error that says that it is none."""
    backend = PostgreSQL().on(lambda argv: answer if argv[0] == "psql" else b"pg_dump (PostgreSQL) 99.1")
    with contextlib.suppress(ListError, StageError):
        assert all(isinstance(name, str) for name in backend.get_db_list())


TABLE = st.lists(
    st.sampled_from(["server\t11.4\troot@localhost", "database\t6162", "database\tzz", "unsafe\t61\t62", "unsafe\t61",
                     "history", "GRANT SELECT ON `a`.* TO `u`", "GRANT SELECT ON \x009.* TO u", "a\tb", "\\"])
    | st.text(max_size=20)
).map("\n".join)  # fmt: skip


@in_time
@given(TABLE)
def test_what_the_client_of_mysql_answers(answer):
    """A server, or an error that says that it is none."""
    with contextlib.suppress(ListError):
        assert read_server(answer).databases


@in_time
@given(st.lists(st.sampled_from(["mariadb-dump", "mysql", "x Ver 9.1 Distrib 10.11-MariaDB", "", " --flag", "9" * 5000])
                | st.text(max_size=9), max_size=9).map("\n".join))  # fmt: skip
@example("mariadb-dump\nmariadb")
def test_what_the_programs_of_mysql_print(answer):
    """Programs, or an error that says what is missing."""
    with contextlib.suppress(StageError):
        assert read_tools(answer).dump


@in_time
@given(st.text(string.printable, max_size=30) | words("-i", "~nobody-has-it/k", "-p", "9" * 5000, "u@h", "h", "-o",
                                                       "UserKnownHostsFile=~x/k", "Port=x"))  # fmt: skip
@example("-i ~nobody-has-it/key host")
@example("-i " + "k" * 5000 + " host")
@example("-p 99999 host")
@example("-p " + "9" * 5000 + " host")
def test_a_remote_comes_to_settings(remote):
    """Or it says what is wrong with it."""
    with contextlib.suppress(DbdumpError):
        assert 0 < settings_of(without_ssh(split_remote(remote))).port < 65536


MANIFEST = json.loads(manifest_of(dump_name(), b"data").to_json())


@pytest.mark.parametrize("key", [*MANIFEST, "x" * 100_000], ids=lambda key: key[:9])
@pytest.mark.parametrize("value", ["x" * 100_000, ["y"] * 9999, {"z" * 99_999: 1}], ids=["text", "list", "object"])
def test_a_refused_manifest_is_told_in_a_line(key, value):
    """However long what is wrong with it may be."""
    text = json.dumps({**MANIFEST, key: value, "schema": value if key == "schema" else 1}).encode()
    try:
        Manifest.from_json(text)
    except WriteError as error:
        assert len(error.message) < 500  # noqa: PT017  it need not be raised
