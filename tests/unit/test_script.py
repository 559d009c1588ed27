"""Scripts as text, and what scripts say, without running any."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.backends.postgresql import PostgreSQL
from dbdump.host import LocalShell
from dbdump.pipeline import cause, describe, to_blame
from dbdump.scratch import Scratch
from dbdump.script import Said, Stage, render, restore_line
from dbdump.user import User

DUMP = Stage("pg_dump", ("pg_dump", "a b"))
ZSTD = Stage("zstd", ("zstd", "-q"))

PLAIN = """\
(
umask 077
exec 3<&0 </dev/null
( trap '' TERM; read -r _ <&3; kill -TERM 0; sleep 5; kill -KILL 0 ) >/dev/null 2>&1 &
watchdog=$!
{ pg_dump 'a b' 3<&-; printf '\\n%s 0 %d\\n' TOK $? >&2; } |
{ zstd -q 3<&-; printf '\\n%s 1 %d\\n' TOK $? >&2; }
{ kill -KILL $watchdog; wait $watchdog; } 2>/dev/null
exit 0
)"""


def test_a_script():
    """Every stage tells its exit status; all of it ends when stdin closes."""
    assert render([DUMP, ZSTD], "TOK") == PLAIN


def test_a_script_with_secrets_and_variables():
    """Secrets are read before the watchdog reads, and exported to their stage only."""
    stage = Stage("d", ("d",), environment={"A": "it's"}, secrets=("ONE", "TWO"))
    lines = render([stage, ZSTD], "TOK").splitlines()
    assert lines[3:5] == ["unset ONE; IFS= read -r ONE <&3", "unset TWO; IFS= read -r TWO <&3"]
    assert lines[7].startswith("{ export ONE; export TWO; A='it'\"'\"'s' d 3<&-; printf")
    assert "export" not in lines[8]


@pytest.mark.parametrize(
    ("mechanism", "expected"),
    [
        ("setpriv", "HOME=~postgres USER=postgres LOGNAME=postgres setpriv --reuid=postgres --regid=dba "
                    "--init-groups -- d"),
        ("runuser", "HOME=~postgres USER=postgres LOGNAME=postgres runuser -u postgres -- d"),
        ("sudo", "sudo -n -H -u postgres -- sh -c "),
        ("su", "su -s /bin/sh -c "),
    ],
)  # fmt: skip
def test_a_script_as_another_user(mechanism, expected):
    """Root becomes the user in place; under sudo and su the watchdog is inside, as that user."""
    text = render([Stage("d", ("d",), user=User("postgres", "dba", mechanism))], "TOK")
    assert f"{{ {expected}" in text
    inside = "wait $child" in text
    assert inside == (mechanism in ("sudo", "su"))
    assert text.count("kill -TERM 0") == 1


@pytest.mark.parametrize("mechanism", ["setpriv", "runuser", "sudo", "su"])
def test_what_starts_a_command_runs_as_its_user(mechanism):
    """The starter is inside what becomes the user, as sudo would drop the variables that it sets."""
    user = User("postgres", "dba", mechanism)
    line = render([Stage("d", ("d", "x"), user=user, starter=("stdbuf", "-o1"))], "TOK")
    assert "-- stdbuf -o1 d x" in line
    assert restore_line(["/d/x"], [], Stage("d", ("d",), starter=("stdbuf", "-o1"))) == "d < /d/x"


def test_the_look_at_the_stream_comes_after_the_first_stage():
    """check_stream puts its copy between the dump and the wrappers."""
    text = render([DUMP, ZSTD], "TOK", check_stream=True)
    assert text.index("pg_dump") < text.index("perl") < text.index("tee /dev/fd/4") < text.index("zstd")


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_every_argument_is_quoted(argv):
    """A shell that splits the line of a stage gets the argv back, whatever is in it."""
    line = render([Stage("x", ("program", *argv))], "TOK").split("{ program ", 1)[1].split(" 3<&-; printf", 1)[0]
    assert shlex.split(line) == argv


def test_restore_lines():
    """The file goes through the inverse of each wrapper, then into the command, as its user."""
    unwrap = [["gpg", "-d"], ["zstd", "-dc"]]
    stage = Stage("r", ("restore", "a b"), user=User("postgres", "dba", "sudo"))
    assert restore_line(["/d/x y"], unwrap, stage) == (
        "gpg -d < '/d/x y' | zstd -dc | sudo -n -H -u postgres -- restore 'a b'"
    )
    assert restore_line(["/d/x"], unwrap, None) == "gpg -d < /d/x | zstd -dc"
    assert restore_line(["/d/x"], [], Stage("r", ("restore",))) == "restore < /d/x"
    assert restore_line(["/d/x"], [], None) == "cat < /d/x"


def said(*pieces: bytes) -> Said:
    """Return what was said in `pieces`."""
    heard = Said("TOK", keep=2)
    for piece in (*pieces, b""):
        heard.feed(piece)
    return heard


def test_statuses_are_told_apart_from_messages():
    """Lines with the token are the script's, others the tools', however they were cut on their way."""
    heard = said(b"warning\n\nTO", b"K 1 0\nunfinished\nTOK 0 3\n", b"NOT 0 0\n", b"end")
    assert heard.statuses == {1: 0, 0: 3}
    assert heard.messages == ["warning", "unfinished", "NOT 0 0", "end"]


def test_messages_are_bounded():
    """The first and the last are kept, a line without an end is cut."""
    assert said(*(b"%d\n" % number for number in range(9))).messages == ["0", "1", "7", "8"]
    assert [len(line) for line in said(b"x" * 20000).messages] == [20000]
    assert sum(len(line) for line in said(*[b"x" * 5000] * 40).messages) < 50000


def test_statuses_survive_a_flood():
    """An exit status between two floods of messages is not lost with them."""
    assert said(b"x\n" * 999, b"TOK 0 0\n", b"x\n" * 999).statuses == {0: 0}


def test_the_stream_s_looks():
    """First bytes, last bytes and size, as the script tells them."""
    heard = said(b"TOK first 5047\nTOK rest 7\nTOK last 444d50\n")
    assert (heard.first, heard.end, heard.raw_bytes) == (b"PG", b"PGDMP", 9)
    assert said(b"TOK first\nTOK last\nTOK rest 0\n").raw_bytes == 0
    assert said(b"").raw_bytes is None


def test_the_copy_s_status():
    """The copy that check_stream makes tells its exit status too."""
    assert said(b"TOK check 137\n").check == 137


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_on_stderr_are_text_for_a_terminal(pieces):
    """Whatever a tool writes becomes lines without control characters."""
    assert all(line == line.strip() and not set(line) & set("\0\x1b\r\x07") for line in said(*pieces).messages)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([0, 0], None), ([1, 0], 0), ([141, 2], 1), ([1, 2], 1), ([3, 141], 0), ([141, 141], 1), ([None, 0], 0),
     ([0, None], 1), ([137, 0, 0], 0), ([141, 0], 0)],
)  # fmt: skip
def test_who_is_to_blame(statuses, expected):
    """The right-most that failed other than by SIGPIPE; one that told nothing has failed."""
    assert to_blame(statuses) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, "was killed before it could tell its exit status"), (1, "exit status 1"), (137, "killed by SIGKILL"),
     (-9, "killed by SIGKILL"), (143, "killed by SIGTERM"), (127, "x: not found"), (126, "x: cannot be run"),
     (128 + 50, "killed by signal 50"), (255, "exit status 255")],
)  # fmt: skip
def test_exit_statuses_in_words(status, expected):
    """An exit status is told as what it means."""
    assert describe(status, "x")[0] == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], ""),
        (["one", "two"], "one; two"),
        (["warning", "x: error: bad", "more"], "x: error: bad"),
        (["warning", "x: it is so", "more"], "x: it is so"),
        (["x: error: bad", "x: detail: Query was: LOCK TABLE t"], "x: error: bad; Query was: LOCK TABLE t"),
        (["x: error: bad", "x: error: query was: LOCK TABLE t"], "x: error: bad"),
        (["FATAL:  no", "DETAIL:  because"], "FATAL:  no; because"),
        (["unknown option -- Z", "usage: x [-a]", "[-b]", "[-c]"], "unknown option -- Z"),
        (["usage: x [-a]", "[-b]", "[-c]", "[-d]"], "usage: x [-a]"),
    ],
)
def test_the_cause_among_messages(messages, expected):
    """The line of trouble with its detail, or the program's own, or all there is."""
    assert cause(messages, "x") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("x: error: query was: LOCK TABLE t", "x: error; LOCK TABLE t"), ("x: query was: SELECT", "x: error"),
     ("x: détail : La requête était : LOCK TABLE t", "x: error; LOCK TABLE t"),
     ("x: detail: of another LOCK TABLE", "x: error; of another LOCK TABLE")],
)  # fmt: skip
def test_a_detail_that_only_a_backend_knows(line, expected):
    """Its pattern says what of the next line it is, where that does not call itself one."""
    assert cause(["x: error", line], "x", PostgreSQL.detail) == expected


def test_a_scratch_server_sees_no_variable_that_leads_away():
    """Neither those that the recipe overrules, nor those that a server to throw away has nothing to do with."""
    scratch = Scratch(LocalShell(), PostgreSQL(host="/run/pg"), without=("PGOPTIONS",))
    assert scratch.stage(["psql"]).without == ("PGHOSTADDR", "PGSERVICE", "PGOPTIONS")
    assert "unset PGHOSTADDR PGSERVICE PGOPTIONS; psql" in render((scratch.stage(["psql"]),), "token")
