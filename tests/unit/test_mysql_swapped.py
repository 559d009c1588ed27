"""Which tables became others while they were dumped, judged from what the server says before and after."""

from __future__ import annotations

import pytest

from dbdump.backends.mysql import MySQL
from dbdump.backends.mysql_grants import Grants, read_grants
from dbdump.backends.mysql_probe import Version
from dbdump.backends.mysql_server import Server
from dbdump.backends.mysql_swap import Moment, question, read_moment, replaced

BEFORE = {"t": {3}, "a_new": {4}, "parts": {5, 6}, "other": {7}}


def moment(tables: dict[str, set[int]], *, forgets: bool = False) -> Moment:
    """Return a moment in which 9 is the newest table of the server."""
    return Moment({name: frozenset(each) for name, each in tables.items()}, 9, forgets)


CHANGES = {
    "nothing": ({}, []),
    "a swap": ({"t": {4}, "a_new": set(), "t_old": {3}}, ["t"]),
    "two traded names": ({"t": {7}, "other": {3}}, ["other", "t"]),
    "one from another database": ({"t": {2}}, ["t"]),
    "two swaps, the last with one that is new": ({"t": {12}, "a_new": set()}, ["t"]),
    "one made anew": ({"t": {12}}, []),
    "a new one, and one that is gone": ({"new": {12}, "other": set()}, []),
    "a partition exchanged": ({"parts": {4, 6}, "a_new": {5}}, ["a_new", "parts"]),
    "a partition dropped": ({"parts": {6}}, ["parts"]),
    "a partition added": ({"parts": {5, 6, 12}}, []),
    "partitions made anew": ({"parts": {12, 13}}, []),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_table_that_may_lack_rows(change, expected):
    """Not one that is new, gone, or made anew by itself: who comes to that one gets error 1412."""
    after = {name: each for name, each in {**BEFORE, **change}.items() if each}
    assert replaced(moment(BEFORE), moment(after)) == expected


def test_where_innodb_forgets_there_is_no_error_1412():
    """Seen in 10.11, with more tables than table_definition_cache: a table that was emptied and filled is empty."""
    after = moment({**BEFORE, "t": {12}})
    assert replaced(moment(BEFORE), after) == []
    assert replaced(moment(BEFORE, forgets=True), after) == ["t"]
    assert replaced(moment(BEFORE), moment(after.tables, forgets=True)) == ["t"]


def test_an_answer_is_read():
    """Partitions of a table are lines of one name; what has none is a table in the making."""
    answer = "newest\t9\t1\ntable\t3\t74C39F\ntable\t5\t70\ntable\t6\t70\ntable\t8\t\n"
    assert read_moment(answer) == Moment({"tß": frozenset({3}), "p": frozenset({5, 6})}, 9, forgets=True)


def server(version: str, *grants: str) -> Server:
    """Return a server of that version, and a user with these grants."""
    nothing: frozenset[str] = frozenset()
    rows = Grants("u@h", read_grants(f"GRANT {each} TO `u`@`h`" for each in grants))
    return Server(Version(version), (), {}, nothing, nothing, nothing, keeps_history=True, grants=rows)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (server("10.11.6-MariaDB", "PROCESS ON *.*"), "innodb_sys_tables"),
        (server("10.11.6-MariaDB", "SELECT ON *.*"), "UNIX_TIMESTAMP(), 1"),
        (server("5.7.44", "ALL PRIVILEGES ON *.*"), "UNIX_TIMESTAMP(), 1"),
        (server("8.0.36", "ALL PRIVILEGES ON *.*"), "UNIX_TIMESTAMP(), 0"),
    ],
)
def test_the_question_is_one_that_the_user_may_ask(asked, words):
    """Numbers, where they may be seen; else times, and only those of a dictionary outlive a rename."""
    assert words in question(asked, "shop")


def test_another_failure_uses_up_no_second_dump():
    """Once a database is dumped anew, whatever it had failed by before."""
    backend, swapped = MySQL(), "its rows may be missing, as it is another one than when the dump began: table t"
    assert backend.obstacle("shop", "Error 1412: Table definition has changed") is None
    assert backend.obstacle("shop", swapped)
    assert backend.obstacle("shop", swapped) is None
    assert backend.obstacle("other", swapped)
