"""How a database stands, told from what is stored of it: a table of histories and verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.catalog import DumpName, encode, new_stamp
from dbdump.errors import RecipeError, UsageError
from dbdump.monitor import nagios, unknown
from dbdump.spans import age, ago, parse_span
from dbdump.standing import WORST_FIRST, Rule, Standing, standings
from dbdump.stored import Drill, Entry, Level, Listing, Record, Stored, Stray, read_listing
from dbdump.testing import manifest_of

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
RULE = Rule(NOW, timedelta(hours=26))


def moment(hours: float) -> str:
    """Return the time so many hours ago."""
    return (NOW - timedelta(hours=hours)).isoformat()


def stored(hours: float, record: Record | None = None, size: int = 1000, told: int | None = None) -> Stored:
    """Return a dump that began so many hours ago."""
    name = DumpName("db1", "shop", "orders", new_stamp(NOW - timedelta(hours=hours)), ".sql.zst")
    manifest = replace(manifest_of(name, b""), started=moment(hours), stored_bytes=size if told is None else told)
    return Stored(name, manifest, manifest.to_json(), size, signed=False, record=record)


def record(hours: float, fault: str = "", level: Level | None = "structure", drill: Drill | None = None) -> Record:
    """Return what verify found so many hours ago."""
    return Record("", moment(hours), None if fault else level, fault, drill)


def drilled(hours: float, fault: str = "") -> Record:
    """Return the record of a drill so many hours ago."""
    return record(hours, drill=Drill(moment(hours), 4.2, 3, 1000, fault))


def stray(hours: float, suffix: str = ".sql.zst.json", *, bad: bool = True) -> Stray:
    """Return a file of no dump with the stamp of so many hours ago."""
    return Stray(f"orders/{new_stamp(NOW - timedelta(hours=hours))}{suffix}", 1, "it was moved or swapped", bad)


def test_a_dump_that_is_not_signed():
    """Where the recipe signs it has failed: restore would refuse it; one that was made before counts for nothing."""
    rule, signed = replace(RULE, signed=True), replace(stored(3), signed=True)
    assert (standing([signed, stored(27)], rule=rule).state, standing([signed, stored(27)], rule=rule).age) == (
        "ok",
        10800,
    )
    found = standing([stored(3), replace(stored(27), signed=True)], rule=rule)
    assert (found.state, found.age) == ("failed", 27 * 3600)
    assert "20261125T000000Z is not signed, and the recipe signs" in found.message
    assert standing([stored(3)]).state == "ok"


def standing(dumps: Sequence[Stored], *strays: Stray, rule: Rule = RULE) -> Standing:
    """Return how the one database with `dumps`, the newest first, stands."""
    (only,) = standings("db1", "shop", Listing(tuple(dumps), strays), rule)
    return only


# What there is; the state; the age of the last good dump in hours; what is said.
HISTORIES = {
    "fresh": ([stored(3)], "ok", 3, ""),
    "fresh, just so": ([stored(26)], "ok", 26, ""),
    "verified": ([stored(3, record(2))], "ok", 3, ""),
    "drilled": ([stored(3, drilled(2))], "ok", 3, ""),
    "too old": ([stored(26.01)], "stale", 26.01, "its last good dump is too old"),
    "smaller": ([stored(3, size=501), stored(27), stored(51)], "ok", 3, ""),
    "shrunken": ([stored(3, size=400), stored(27), stored(51)], "shrunken", 3,
                 "the newest has 400 bytes, 60% less than is usual"),
    "shrunken and too old": ([stored(30, size=400), stored(54)], "stale", 30,
                             "its last good dump is too old; the newest has 400 bytes, 60% less than is usual"),
    "grown": ([stored(3, size=9000), stored(27)], "ok", 3, ""),
    "verify failed": ([stored(3, record(2, "bit flip")), stored(25)], "failed", 25,
                      "20261125T000000Z failed verify 2.0 h ago: bit flip"),
    "verify failed, the one before is too old": (
        [stored(3, record(2, "bit flip")), stored(27)], "failed", 27,
        "20261125T000000Z failed verify 2.0 h ago: bit flip; its last good dump is too old"),
    "verify failed on all": ([stored(3, record(2, "bit flip"))], "failed", None,
                             "20261125T000000Z failed verify 2.0 h ago: bit flip; no good dump"),
    "drill failed": ([stored(3, drilled(2, "pg_restore: error")), stored(25)], "failed", 25,
                     "20261125T000000Z failed its drill 2.0 h ago: pg_restore: error"),
    "drill failed, and verify says so": (
        [stored(3, replace(drilled(2, "pg_restore: error"), fault="drill: pg_restore: error"))], "failed", None,
        "20261125T000000Z failed its drill 2.0 h ago: pg_restore: error; no good dump"),
    "drill failed, and then verify": (
        [stored(3, replace(drilled(2, "pg_restore: error"), fault="bit flip"))], "failed", None,
        "20261125T000000Z failed verify 2.0 h ago: bit flip; "
        "20261125T000000Z failed its drill 2.0 h ago: pg_restore: error; no good dump"),
    "verify failed once, and none since": (
        [stored(3), stored(25, record(24, "bit flip"))], "failed", 3,
        "20261124T020000Z failed verify 24.0 h ago: bit flip"),
    "verify failed once, and not since": ([stored(3, record(2)), stored(25, record(24, "bit flip"))], "ok", 3, ""),
    "drill failed once, and only verified since": (
        [stored(3, record(2)), stored(25, drilled(24, "error"))], "failed", 3,
        "20261124T020000Z failed its drill 24.0 h ago: error"),
    "drill failed once, and not since": ([stored(3, drilled(2)), stored(25, drilled(24, "error"))], "ok", 3, ""),
    "cut": ([stored(3, size=10, told=1000), stored(25)], "failed", 25,
            "20261125T000000Z has 10 bytes, and its manifest says 1000"),
    "an old one is cut": ([stored(3), stored(25, size=10, told=1000)], "ok", 3, ""),
    "from the future alone": (
        [stored(-1)], "stale", None,
        "no good dump; 20261125T040000Z is from the future, and does not count: a clock is wrong"),
    "from the future beside a fresh one": (
        [stored(-1), stored(3)], "ok", 3,
        "20261125T040000Z is from the future, and does not count: a clock is wrong"),
    "from the future by no more than clocks differ": ([stored(-0.01), stored(30)], "ok", 0, ""),
    "from the future beside one that is cut": (
        [stored(-1), stored(3, size=10, told=1000), stored(25)], "failed", 25,
        "20261125T000000Z has 10 bytes, and its manifest says 1000; "
        "20261125T040000Z is from the future, and does not count: a clock is wrong"),
    "from the future and verified, beside one that failed": (
        [stored(-1, record(1)), stored(3, record(2, "bit flip")), stored(25)], "failed", 25,
        "20261125T000000Z failed verify 2.0 h ago: bit flip; "
        "20261125T040000Z is from the future, and does not count: a clock is wrong"),
    "from the future beside an old one": (
        [stored(-1), stored(30)], "stale", 30, "its last good dump is too old; "
        "20261125T040000Z is from the future, and does not count: a clock is wrong"),
}  # fmt: skip


@pytest.mark.parametrize(("dumps", "state", "hours", "message"), HISTORIES.values(), ids=HISTORIES)
def test_a_history_and_its_verdict(dumps, state, hours, message):
    """The state is the worst that there is, the age is of the last good dump, and all is said."""
    found = standing(dumps)
    assert (found.state, found.message) == (state, message)
    assert found.age == (None if hours is None else pytest.approx(hours * 3600))
    assert found.fine == (state == "ok")
    assert found.dumps == len(dumps)


def test_a_recipe_without_any_dump_is_missing():
    """That is what a wrong datadir, or a disk that is not mounted, looks like."""
    assert standing([]) == Standing("db1", "shop", None, "missing", "no dump at all")


def test_what_is_not_finished_is_not_looked_at():
    """A run may be at it; a recipe that has nothing else is missing."""
    part = Stray("orders/.20261125T025900Z.sql.zst.0123abcd.part", 1, "not finished")
    unnamed = stray(0.1, ".sql.zst", bad=False)
    assert standing([stored(3)], part, unnamed).state == "ok"
    found = standing([], part, unnamed)
    assert (found.database, found.state) == (None, "missing")


def only_directories(*directories: str, strays: Sequence[Stray] = ()) -> list[tuple[str | None, str, str]]:
    """Return what is told, beside a fresh dump, of the databases that have these directories."""
    found = standings("db1", "shop", Listing((stored(3),), tuple(strays), ("orders", *directories)), RULE)
    return [(each.database, each.state, each.message) for each in found if each.database != "orders"]


def test_a_database_that_never_had_a_dump_is_missing():
    """Its directory is all that there is of it, or there is what a run that failed has left."""
    part = Stray("Carts~1/.20261125T025900Z.sql.zst.0123abcd.part", 1, "not finished")
    assert only_directories() == []
    assert only_directories("a%20b") == [("a b", "missing", "no dump at all")]
    assert only_directories("Carts~1", strays=[part]) == [
        ("Carts", "missing", "no dump at all, and .20261125T025900Z.sql.zst.0123abcd.part: not finished")
    ]
    cut = encode("x" * 300)
    assert only_directories(cut) == [(cut, "missing", "no dump at all")]


def test_a_database_with_nothing_but_manifests_of_no_dump_is_told_once():
    """It has failed, and is called by its name."""
    odd = Stray("a%20b/20261125T000000Z.sql.json", 1, "it was moved", bad=True)
    assert only_directories("a%20b", strays=[odd]) == [("a b", "failed", "20261125T000000Z.sql.json: it was moved")]


@pytest.mark.parametrize(("hours", "state"), [(1, "failed"), (3, "failed"), (4, "ok"), (-9, "failed")])
def test_a_newer_manifest_that_is_of_no_dump(hours, state):
    """Where the newest dump was moved, swapped or deleted, the one before it is not all there is to say."""
    found = standing([stored(3)], stray(hours))
    assert found.state == state
    assert found.good is not None
    assert (found.message == "") is (state == "ok")
    assert standing([stored(-100), stored(3)], stray(hours)).state == state


def test_a_database_with_nothing_but_manifests_of_no_dump():
    """It is called by its directory, and has failed."""
    found = standing([], stray(30), stray(3))
    assert (found.database, found.state) == ("orders", "failed")
    assert found.message == "20261125T000000Z.sql.zst.json: it was moved or swapped"


def test_what_was_done_last_is_told_of_any_dump():
    """The last verify and the last drill need not be those of the newest dump."""
    dumps = [stored(3), stored(27, record(1)), stored(51, drilled(40)), stored(75, drilled(50))]
    found = standing(dumps)
    assert (found.verified, found.drilled, found.good) == (dumps[1], dumps[2], dumps[0])
    assert found.record is not None
    assert found.record.at == moment(1)
    assert found.drill is not None
    assert found.drill.at == moment(40)


def test_what_was_bad_is_not_what_is_usual():
    """A dump that was cut counts neither as the newest nor as what it is compared with."""
    found = standing([stored(1, size=1, told=900), stored(3, size=900), stored(27), stored(51, size=1, told=7)])
    assert found.usual_bytes == 1000
    assert "less than is usual" not in found.message


def test_the_alarm_is_the_recipes():
    """How much may be lost is what `keep` says."""
    dumps = [stored(3, size=850), stored(27)]
    assert standing(dumps).state == "ok"
    assert standing(dumps, rule=replace(RULE, alarm=0.1)).state == "shrunken"


def test_databases_are_apart():
    """Each has its own history, whatever their names do on a disk."""
    entries = [
        each
        for database in ("Orders", "orders", "a/b")
        for each in _files(DumpName("db1", "shop", database, new_stamp(NOW), ".sql"))
    ]
    found = standings("db1", "shop", read_listing("db1", "shop", entries), replace(RULE, now=NOW + timedelta(hours=1)))
    assert {each.database: each.state for each in found} == {"Orders": "ok", "orders": "ok", "a/b": "ok"}


def _files(name: DumpName) -> list[Entry]:
    manifest = replace(manifest_of(name, b"x"), started=NOW.isoformat())
    directory = name.directory[2]
    return [Entry(directory, name.file, 1), Entry(directory, name.manifest_file, 9, manifest.to_json())]


@given(st.lists(st.tuples(st.floats(-100, 100), st.sampled_from([None, record(1), record(1, "bad"), drilled(2)]))))
def test_nothing_is_fresh_that_is_not_good(history):
    """Whatever the history: it is ok only with a good dump of the right age, and worse only for a reason."""
    dumps = sorted((stored(*each) for each in history), key=lambda each: each.manifest.begun, reverse=True)
    found = standing(dumps)
    if found.state == "ok":
        assert found.good is not None
        assert not (found.good.record and found.good.record.fault)
        assert 0 <= found.age <= 26 * 3600
    else:
        assert found.message


@pytest.mark.parametrize(
    ("text", "span"),
    [("90m", timedelta(minutes=90)), ("26h", timedelta(hours=26)), ("3d", timedelta(3)), ("2w", timedelta(14)),
     ("99999w", timedelta(weeks=99999))],
)  # fmt: skip
def test_a_span_as_a_flag_says_it(text, span):
    """A number and one of four letters."""
    assert parse_span("--max-age", text) == span


@pytest.mark.parametrize("text", ["", "26", "h", "0h", "-3d", "1.5h", "26 h", "26H", "3d2h", "100000w", "3y", "٣d"])
def test_a_span_that_is_none(text):
    """It is refused, and a hint says how to write one."""
    with pytest.raises(UsageError) as caught:
        parse_span("--max-age", text)
    assert caught.value.message == f"--max-age={text}: not a time"
    assert caught.value.hint == "Write for example --max-age=26h, or 90m, 3d, 2w."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "in the future"), (0, "0 min"), (89 * 60, "89 min"), (90 * 60, "1.5 h"), (47 * 3600, "47.0 h"),
     (48 * 3600, "2 d"), (86400 * 400, "400 d")],
)  # fmt: skip
def test_a_span_for_people(seconds, text):
    """It is as exact as somebody wants to know, and reads the same before `ago`."""
    assert age(seconds) == text
    assert ago((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == (text if seconds < 0 else f"{text} ago")


LINE = re.compile(
    r"DBDUMP (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+"
    r"( \|( '[^'=|\n]+'=\d+(s;\d+;\d+;0|B;;;0))+)?\n"
)


def said(capsys, *found: Standing, errors: Sequence[RecipeError] = (), signal: int | None = None) -> tuple[int, str]:
    """Return the exit status and the line for Nagios, which has the form that the guidelines want."""
    code = nagios(found, timedelta(hours=26), errors, signal)
    line = capsys.readouterr().out
    assert LINE.fullmatch(line), line
    return code, line.rstrip("\n")


def test_nagios_when_all_is_well(capsys):
    """One line says how many there are, and how old the oldest is; each has its age and its size."""
    code, line = said(capsys, standing([stored(3.2)]))
    assert code == 0
    assert line == (
        "DBDUMP OK - 1 database, oldest 3.2 h | "
        "'db1/shop/orders age'=11520s;93600;93600;0 'db1/shop/orders size'=1000B;;;0"
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["ok", "excluded"], 0),
        (["ok", "shrunken"], 1),
        (["shrunken", "stale"], 2),
        (["missing"], 2),
        (["failed"], 2),
        (["unknown", "ok"], 2),
    ],
)
def test_nagios_says_the_worst(capsys, states, code):
    """A warning is what shrank; whatever leaves no good dump is critical."""
    found = [replace(standing([stored(3)]), state=each, message="why") for each in states]
    found.sort(key=lambda each: WORST_FIRST.index(each.state))
    assert said(capsys, *found)[0] == code


def test_nagios_and_a_broken_recipe(capsys):
    """What may be missing there is unknown; what is known to be bad is worse."""
    broken = [RecipeError("site.py:3: NameError: name 'x' is not defined")]
    code, line = said(capsys, replace(standing([stored(3)]), state="shrunken"), errors=broken)
    assert (code, line.partition(" - ")[0]) == (3, "DBDUMP UNKNOWN")
    assert "site.py:3: NameError" in line
    assert said(capsys, standing([]), errors=broken)[0] == 2
    assert said(capsys, errors=broken)[0] == 3


def test_nagios_names_the_first_few(capsys):
    """The line can be read on a telephone, whatever the number of databases."""
    bad = [replace(standing([stored(30)]), database=f"d{index}") for index in range(5)]
    _, line = said(capsys, *bad)
    text = "db1/shop/d{0} stale: its last good dump is too old"
    assert line.partition(" | ")[0] == (
        f"DBDUMP CRITICAL - 5 stale of 5 databases, oldest 30.0 h: {text.format(0)}; {text.format(1)}; "
        f"{text.format(2)}; and 2 more"
    )


@pytest.mark.parametrize("database", ["it's", "a=b", "a|b", "a\nb", "é", "bad\udce9name", "50%", " ", "'=|%"])
def test_nagios_and_an_odd_name(capsys, database):
    """No name ends its label, the text or the line."""
    said(capsys, replace(standing([stored(3)]), database=database))
    said(capsys, replace(standing([stored(30)]), database=database))


def test_nagios_labels_stay_apart(capsys):
    """Two names are two labels, though some of their characters cannot be in one."""
    lines = [said(capsys, replace(standing([stored(3)]), database=name))[1] for name in ("a=b", "a%3db", "a'b")]
    assert len(set(lines)) == 3


def test_nagios_and_the_end(capsys):
    """A run that was ended by a signal, or by an error, knows nothing."""
    code, line = said(capsys, standing([stored(3)]), signal=15)
    assert (code, line.partition(" | ")[0]) == (3, "DBDUMP UNKNOWN - ended by signal 15")
    assert unknown("no such | file\nhere") == 3
    assert capsys.readouterr().out == "DBDUMP UNKNOWN - no such / file\\nhere\n"
