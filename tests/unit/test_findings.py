"""Judging what a check found: room, clocks, keys; and how it is told."""

from __future__ import annotations

import pytest

from dbdump.backends.postgresql_rights import Asked, asked_of
from dbdump.errors import ConnectError, Interrupted, RecipeError, StageError
from dbdump.findings import Finding, clock, error_of, expiry, guarded, once, space, summary
from dbdump.wrappers.gpg_keys import read_keys

DAY = 86400
WITH_VALUE = "deEfFhjnNpStTUZ"


@pytest.mark.parametrize(
    ("free", "last", "severity"),
    [
        (None, 100, "ok"), (0, 0, "error"), (1, 0, "ok"), (0, 100, "error"), (49, 100, "error"), (50, 100, "warning"),
        (99, 100, "warning"), (100, 100, "ok"), (10**12, 100, "ok"),
    ],
)  # fmt: skip
def test_room_is_judged_by_the_last_dumps(free, last, severity):
    """As much as they took is enough, half of it is a warning, less is an error, and so is none at all."""
    assert space(free, last).severity == severity


@pytest.mark.parametrize(
    ("told", "severity", "words"),
    [
        (None, "ok", "is not known"), (1000.0, "ok", "goes right"), (999.0, "ok", "goes right"),
        (940.0, "ok", "goes right"), (938.0, "warning", "61 s behind"), (1065.0, "ok", "goes right"),
        (1066.0, "warning", "61 s ahead of"),
    ],
)  # fmt: skip
def test_a_clock_may_be_a_minute_off(told, severity, words):
    """It is compared with ours before and after it was asked, so that a slow answer is no skew."""
    found = clock(told, 1000.0, 1005.0, "db1")
    assert found.severity == severity
    assert words in found.message


@pytest.mark.parametrize(
    ("expires", "severity", "words"),
    [
        (None, "ok", "never expires"), (DAY * 300, "ok", "in 300 days"), (DAY * 30, "ok", "in 30 days"),
        (DAY * 30 - 1, "warning", "in 29 days"), (DAY, "warning", "in 1 day"), (1, "warning", "in 0 days"),
        (0, "error", "is expired"), (-DAY, "error", "is expired"),
    ],
)  # fmt: skip
def test_a_key_warns_a_month_ahead(expires, severity, words):
    """Thirty days are enough, fewer are a warning, none an error."""
    found = expiry("the key", None if expires is None else 10_000 + expires, 10_000)
    assert found.severity == severity
    assert found.message.endswith(words)


def key_of(*parts: tuple[str, str, str, str]) -> str:
    """Return a listing of a key whose parts are kind, state, expiry and abilities."""
    lines = []
    for number, (kind, state, expires, can) in enumerate(parts):
        lines += [f"{kind}:{state}:255:22:AAAA:1:{expires}::u:::{can}:::+::", f"fpr:::::::::{number:040X}:"]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("parts", "expires"),
    [
        ([("pub", "u", "", "scSC"), ("sub", "u", "", "e")], None),
        ([("pub", "u", "500", "scSC"), ("sub", "u", "", "e")], 500),
        ([("pub", "u", "", "scSC"), ("sub", "u", "300", "e")], 300),
        ([("pub", "u", "500", "scSC"), ("sub", "u", "300", "e"), ("sub", "u", "400", "e")], 400),
        ([("pub", "u", "500", "scSC"), ("sub", "u", "300", "e"), ("sub", "u", "", "e")], 500),
        ([("pub", "u", "", "scSC"), ("sub", "e", "900", "e"), ("sub", "u", "300", "e")], 300),
        ([("pub", "u", "", "scSC"), ("sub", "u", "200", "s"), ("sub", "u", "300", "e")], 300),
    ],
)
def test_a_key_expires_with_its_primary_or_with_the_last_subkey_that_fits(parts, expires):
    """A younger subkey takes over; one that is expired, or for another purpose, counts for nothing."""
    (key,) = read_keys(key_of(*parts))
    assert key.expires("encrypt") == expires


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], Asked()),
        (["--role=dump"], Asked(role="dump")),
        (["--role", "dump", "-v"], Asked(role="dump")),
        (["-vn", "app"], Asked(part=True)),
        (["--exclude-table=x"], Asked(part=True)),
        (["--schema-only"], Asked(part=True)),
        (["-B"], Asked(objects=False)),
        (["--no-large-objects", "--no-owner"], Asked(objects=False)),
        (["--enable-row-security"], Asked(all_rows=False)),
        (["--no-owner", "--no-sync"], Asked()),
    ],
)
def test_what_pg_dump_is_asked_for_is_read_off_its_options(words, asked):
    """Only a part of a database, no large objects, another role, fewer rows."""
    assert asked_of(words, WITH_VALUE) == asked


def test_an_error_is_a_finding_and_what_comes_after_it_is_still_looked_at():
    """Its own stage and hint are kept; where it has no hint, its message may have one. An interrupt is no finding."""

    def looked(error: Exception):
        yield Finding("ok", "first", "fine")
        raise error

    found = list(guarded(looked(ConnectError("gone", "Look.")), "host"))
    assert [(each.severity, each.stage, each.hint) for each in found] == [
        ("ok", "first", ""),
        ("error", "connect", "Look."),
    ]
    assert error_of(RecipeError("bad"), "backend", "db", lambda _: "Mend it.") == Finding(
        "error", "backend", "bad", "Mend it.", "db"
    )
    with pytest.raises(Interrupted):
        list(guarded(looked(Interrupted("ended")), "host"))


def test_what_is_found_twice_is_told_once():
    """A host that is not there would say so to every question; the same of another database is another finding."""
    twice = [error_of(StageError("psql", "no"), "x"), error_of(StageError("psql", "no"), "y")]
    assert list(once([*twice, Finding("error", "psql", "no", database="a")])) == [
        twice[0], Finding("error", "psql", "no", database="a"),
    ]  # fmt: skip


def test_the_last_line_counts():
    """One is singular; recipe files that cannot be used are errors as well."""
    error, warning = Finding("error", "x", "x"), Finding("warning", "x", "x")
    assert summary([], 0) == "0 errors, 0 warnings"
    assert summary([error, warning, Finding("ok", "x", "x")], 0) == "1 error, 1 warning"
    assert summary([error, warning, warning], 2) == "3 errors, 2 warnings"


def test_a_finding_is_one_line_with_its_hint_on_another():
    """What is no text, or would break the line, is escaped."""
    found = Finding("error", "connect", "no\nway", "Do.", "new\nline", "db1", "shop")
    assert found.lines == [r"ERROR    db1/shop/new\nline  connect: no\nway", "         hint: Do."]
    assert Finding("ok", "zstd", "1.5.4", host="db1", recipe="shop").lines == ["ok       db1/shop  zstd: 1.5.4"]


def test_a_bug_in_one_look_is_a_finding_of_it():
    """Whatever is raised: it names the look, has its traceback, and what comes after is still looked at."""

    def look():
        yield Finding("ok", "first", "is there")
        raise ValueError("of a plug-in")

    first, bug = guarded(look(), "backend")
    assert first.stage == "first"
    assert (bug.severity, bug.stage, bug.message) == ("error", "backend", "bug: ValueError: of a plug-in")
    assert bug.hint == "Please report it with the traceback."
    assert "in look" in bug.bug
    with pytest.raises(KeyboardInterrupt):
        list(guarded((_ for _ in [1] if _raises(KeyboardInterrupt)), "backend"))


def _raises(kind: type[BaseException]) -> bool:
    raise kind
