"""Retention: what is kept, of any history, whatever the clock did."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdump.catalog import DumpName, new_stamp
from dbdump.errors import RecipeError
from dbdump.retention import Dated, Keep, Retention, retain, shrunken

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def dumped(when: datetime, size: int = 1000, *, verified: bool = False, bad: bool = False) -> Dated:
    """Return a dump that began then."""
    return Dated(DumpName("db1", "shop", "orders", new_stamp(when), ".sql"), when, size, verified, bad)


def every(step: timedelta, count: int) -> list[Dated]:
    """Return dumps at regular times up to now."""
    return [dumped(NOW - step * index) for index in range(count)]


def days(result: Retention) -> list[str]:
    """Return the stamps of what is kept, newest first."""
    return sorted((name.stamp for name in result.kept), reverse=True)


def test_the_last_ones_are_kept():
    """`last` keeps so many, and the others are pruned, oldest first."""
    dumps = every(timedelta(days=1), 5)
    result = retain(dumps, Keep(last=2), NOW)
    assert days(result) == ["20261125T030000Z", "20261124T030000Z"]
    assert [name.stamp[:8] for name in result.pruned] == ["20261121", "20261122", "20261123"]


def test_the_newest_of_each_period_is_kept():
    """Not midnight's: of each day that has a dump at all, the last one."""
    dumps = [dumped(datetime(2026, 11, day, hour, tzinfo=UTC)) for day in (1, 2, 10, 20) for hour in (1, 13, 22)]
    assert days(retain(dumps, Keep(daily=3), NOW)) == ["20261120T220000Z", "20261110T220000Z", "20261102T220000Z"]


def test_rules_add_up():
    """What any rule keeps is kept, and says by which."""
    dumps = every(timedelta(hours=12), 100)
    result = retain(dumps, Keep(last=1, weekly=2, monthly=2, yearly=5), NOW)
    assert result.kept[dumps[0].name] == ("newest", "last", "weekly", "monthly", "yearly")
    assert days(result) == ["20261125T030000Z", "20261122T150000Z", "20261031T150000Z", "20261006T150000Z"]
    assert result.kept[dumps[-1].name] == ("oldest yearly",)


def test_the_oldest_is_kept_while_a_rule_is_not_filled():
    """As restic does: of a history of six weeks, three years of it are kept as far back as they go."""
    dumps = every(timedelta(days=1), 40)
    result = retain(dumps, Keep(daily=3, yearly=3), NOW)
    assert days(result) == ["20261125T030000Z", "20261124T030000Z", "20261123T030000Z", "20261017T030000Z"]
    assert result.kept[dumps[-1].name] == ("oldest yearly",)
    assert len(retain(dumps, Keep(daily=3, yearly=1), NOW).kept) == 3


def test_one_that_does_not_count_is_not_the_oldest():
    """The oldest of those that count is."""
    dumps = [*every(timedelta(days=1), 40), dumped(NOW - timedelta(days=40), bad=True)]
    assert retain(dumps, Keep(yearly=3), NOW).kept[dumps[-2].name] == ("oldest yearly",)


def test_the_oldest_of_a_period_needs_no_rule_twice():
    """Where each dump is of a period of its own, or only the newest there is, nothing is called the oldest."""
    dumps = every(timedelta(days=40), 3)
    result = retain(dumps, Keep(monthly=5), NOW)
    assert set(result.kept.values()) == {("newest", "monthly"), ("monthly",)}
    assert retain([], Keep(monthly=5), NOW) == Retention()


@pytest.mark.parametrize(("within", "count"), [("36h", 37), ("2d", 49), ("1w", 100), ("99999w", 100)])
def test_within_is_counted_from_the_newest(within, count):
    """A host that was off for a year does not lose all it has."""
    dumps = [dumped(NOW - timedelta(days=365, hours=index)) for index in range(100)]
    assert len(retain(dumps, Keep(within=within), NOW).kept) == count


def test_periods_are_those_of_utc():
    """A dump of 23:30 UTC is of that day, whatever the zone it is told in."""
    zone = datetime.now(UTC).astimezone().tzinfo
    one = dumped(datetime(2026, 11, 1, 23, 30, tzinfo=UTC).astimezone(zone))
    two = dumped(datetime(2026, 11, 2, 0, 30, tzinfo=UTC).astimezone(zone))
    assert len(retain([one, two], Keep(daily=2), NOW).kept) == 2


def test_a_week_is_one_of_its_own_year():
    """The first week of 2026 begins in 2025, and is not the first one of 2025."""
    dumps = [dumped(datetime(*day, tzinfo=UTC)) for day in ((2026, 1, 2), (2025, 12, 30), (2025, 1, 1), (2024, 6, 1))]
    assert days(retain(dumps, Keep(weekly=2), NOW)) == ["20260102T000000Z", "20250101T000000Z"]


def test_the_original_s_numbers():
    """They are offered under one name."""
    assert Keep.original() == Keep(last=3, hourly=24, daily=31, monthly=12, yearly=3)


@pytest.mark.parametrize(
    "values",
    [{}, {"last": -1}, {"daily": 1.5}, {"last": True}, {"within": "soon"}, {"last": 1, "shrink_alarm": 0},
     {"last": 1, "shrink_alarm": 2}, {"shrink_alarm": 0.5}],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(values):
    """A Keep that would keep nothing, or is not to be counted, is an error where it is written."""
    with pytest.raises(RecipeError):
        Keep(**values)


def test_a_shrunken_dump_holds_all():
    """Where the newest lost more than half of its usual size, none is pruned, and that is said."""
    dumps = [dumped(NOW, 499), *(dumped(NOW - timedelta(days=day)) for day in range(1, 9))]
    result = retain(dumps, Keep(last=1), NOW)
    assert not result.pruned
    assert result.held == "the newest has 499 bytes, 50% less than is usual"
    assert len(result.kept) == 9
    assert retain(dumps, Keep(last=1, shrink_alarm=0.8), NOW).pruned


def test_one_large_dump_is_no_history():
    """The median of five counts, not the largest; the first dump of all shrank from nothing."""
    assert not shrunken([1000, 9000, 1000, 1000, 1000, 1000, 90000], 0.5)
    assert not shrunken([1], 0.5)


def test_those_of_the_future_neither_count_nor_go():
    """After a clock went wrong, what it dated is kept, and takes no place of others."""
    dumps = [dumped(NOW + timedelta(days=400)), *every(timedelta(days=1), 4)]
    result = retain(dumps, Keep(last=2), NOW)
    assert len(result.kept) == 3
    assert result.kept[dumps[0].name] == ("from the future",)


def test_the_newest_verified_stays():
    """Whatever the numbers say, what is known to restore is not pruned before another is."""
    dumps = every(timedelta(days=1), 10)
    dumps[7] = dumped(NOW - timedelta(days=7), verified=True)
    dumps[8] = dumped(NOW - timedelta(days=8), verified=True)
    assert days(retain(dumps, Keep(last=1), NOW)) == ["20261125T030000Z", "20261118T030000Z"]


def test_a_bad_dump_takes_nobody_s_place():
    """Three newer ones that verify found bad push nothing out, and are there to be looked at."""
    dumps = [*(dumped(NOW - timedelta(days=day), 1, bad=True) for day in range(3)), *every(timedelta(days=1), 8)[3:]]
    result = retain(dumps, Keep(last=3), NOW)
    assert [name.stamp[:8] for name in result.pruned] == ["20261118", "20261119"]
    assert result.kept[dumps[0].name] == ("bad",)
    assert result.kept[dumps[3].name] == ("newest", "last")


def test_a_database_that_is_gone_keeps_its_dumps():
    """Years after its last dump the rules still keep of it what they kept then: they count dumps, not days."""
    dumps = every(timedelta(hours=6), 300)
    keep = Keep(last=2, hourly=5, daily=4, weekly=3, monthly=2, yearly=1, within="3d")
    first = retain(dumps, keep, NOW)
    left = [each for each in dumps if each.name in first.kept]
    assert len(left) > 10
    assert retain(left, keep, NOW + timedelta(days=3650)).pruned == ()


def test_a_run_after_a_clock_that_was_ahead():
    """A dump dated next year, and then none like it: of the months before it each still has its dump."""
    months = [dumped(datetime(2026, month, 20, tzinfo=UTC)) for month in range(1, 12)]
    ahead = dumped(NOW + timedelta(days=365))
    while_ahead = retain([*months, ahead], Keep(monthly=12), NOW + timedelta(days=365))
    assert while_ahead.pruned == ()
    assert set(retain([*months, ahead], Keep(monthly=3), NOW).pruned) == {each.name for each in months[:-3]}


_moments = st.integers(-400 * 24 * 3600, 30 * 24 * 3600).map(lambda seconds: NOW + timedelta(seconds=seconds))
_found = st.sampled_from(["", "", "", "", "good", "bad"])  # seldom good, so that more than its age has to keep it
_dump = st.builds(
    lambda when, size, found: dumped(when, size, verified=found == "good", bad=found == "bad"),
    _moments, st.integers(0, 10**9), _found,
)  # fmt: skip
_dumps = st.one_of([st.lists(_dump, unique_by=lambda each: each.name, min_size=n, max_size=40) for n in (0, 12)])
_WITHIN = {"": 0, "6h": 6, "36h": 36, "3d": 3 * 24, "2w": 14 * 24}  # in hours
_counts = st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"])
_keeps = st.builds(
    lambda counts, within, alarm: Keep(**(counts or {"last": 1}), within=within, shrink_alarm=alarm),
    st.dictionaries(_counts, st.integers(1, 5), max_size=3), st.sampled_from(list(_WITHIN)),
    st.sampled_from([0.2, 0.5, 1.0]),
)  # fmt: skip


def counted(dumps: Sequence[Dated], now: datetime) -> list[Dated]:
    """Return those that count, the oldest first: they are not bad, nor from the future but for a minute."""
    soon = now + timedelta(minutes=1)
    return sorted((each for each in dumps if each.started <= soon and not each.bad), key=lambda each: each.started)


def is_shrunken(dumps: Sequence[Dated], alarm: float, now: datetime) -> bool:
    """Whether the newest that counts is smaller by more than `alarm` than the median of the five before it."""
    newest, *before = [each.stored_bytes for each in reversed(counted(dumps, now))] or [0]
    return bool(before) and newest < (1 - alarm) * statistics.median(before[:5])


def must_stay(dumps: Sequence[Dated], now: datetime) -> set[DumpName]:
    """Return what stays whatever is to be kept: the newest, the newest verified, bad ones, those of the future."""
    past = counted(dumps, now)
    newest = [*past[-1:], *[each for each in past if each.verified][-1:]]
    return {each.name for each in dumps if each in newest or each not in past}


@given(_dumps, _keeps)
def test_nothing_is_lost_that_must_not_be(dumps, keep):
    """Each dump is kept or pruned; the newest, the newest verified, bad ones and those of the future are kept."""
    result = retain(dumps, keep, NOW)
    assert set(result.kept) | set(result.pruned) == {each.name for each in dumps}
    assert not set(result.kept) & set(result.pruned)
    assert must_stay(dumps, NOW) <= set(result.kept)


@given(_dumps, _keeps)
def test_a_newest_that_shrank_holds_all(dumps, keep):
    """By more than is allowed, against the median of the five before it; where it did not, nothing is held."""
    result = retain(dumps, keep, NOW)
    if is_shrunken(dumps, keep.shrink_alarm, NOW):
        assert result.pruned == ()
    else:
        assert not result.held


_near = st.integers(-21 * 24, 24).map(lambda hours: NOW + timedelta(hours=hours))


@given(st.lists(st.builds(dumped, _near), unique_by=lambda each: each.name), st.sampled_from(list(_WITHIN)[1:]))
def test_within_keeps_what_is_no_older_and_nothing_else(dumps, within):
    """Than that before the newest that counts, to the second."""
    past = counted(dumps, NOW)
    older = [each for each in past if past[-1].started - each.started > timedelta(hours=_WITHIN[within])]
    assert retain(dumps, Keep(within=within), NOW).pruned == tuple(each.name for each in older)


_PERIODS = {
    "hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y",
}  # fmt: skip


@given(_dumps, _keeps)
def test_each_rule_is_filled_or_keeps_the_oldest(dumps, keep):
    """Of each period that it still counts the newest is kept; where there are fewer, the oldest of all is as well."""
    kept = retain(dumps, keep, NOW).kept
    past = counted(dumps, NOW)
    for rule, form in _PERIODS.items():
        newest = {f"{each.started:{form}}": each for each in past}
        wanted = list(newest.values())[::-1][: getattr(keep, rule)]
        assert all(rule in kept[each.name] for each in wanted)
        is_oldest = [name for name, why in kept.items() if f"oldest {rule}" in why]
        unfilled = len(newest) < getattr(keep, rule) and past and past[0] not in wanted
        assert is_oldest == ([past[0].name] if unfilled else [])


@given(_dumps, _keeps)
def test_pruning_twice_is_pruning_once(dumps, keep):
    """What one run left, the next leaves as well: an interrupted prune goes on where it stopped."""
    result = retain(dumps, keep, NOW)
    left = [each for each in dumps if each.name not in result.pruned]
    assert retain(left, keep, NOW).pruned == ()
    half = [each for each in dumps if each.name not in result.pruned[: len(result.pruned) // 2]]
    again = retain(half, keep, NOW)
    assert set(again.pruned) == set(result.pruned[len(result.pruned) // 2 :]) or again.held


@given(_dumps, _keeps, _keeps)
def test_more_is_kept_by_more(dumps, keep, other):
    """A rule with larger numbers never keeps less."""
    names = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    within = max(keep.within, other.within, key=lambda each: _WITHIN[each])
    more = Keep(**{name: max(getattr(keep, name), getattr(other, name)) for name in names}, within=within,
                shrink_alarm=keep.shrink_alarm)  # fmt: skip
    assert set(retain(dumps, keep, NOW).kept) <= set(retain(dumps, more, NOW).kept)


@given(_dumps, _keeps, st.integers(0, 40 * 365))
def test_time_alone_prunes_nothing_more(dumps, keep, later):
    """Of a database that is gone all stays that was there when it went, however long ago that is."""
    past = [each for each in dumps if each.started <= NOW]
    left = [each for each in past if each.name in retain(past, keep, NOW).kept]
    assert retain(left, keep, NOW + timedelta(days=later)).pruned == ()


_hours = st.one_of(st.integers(-48, 48), st.integers(-90 * 24, 90 * 24))
_runs = st.lists(
    st.tuples(_hours, st.sampled_from([True, True, False]), st.integers(0, 10**6), _found), min_size=12, max_size=40
)


@given(_runs, _keeps)
def test_runs_under_a_clock_that_jumps(runs, keep):
    """A prune after each jump, forth or back, most after a dump: none takes what must stay by the clock of its time."""
    now, dumps = NOW, []
    for hours, dumps_now, size, found in runs:
        now += timedelta(hours=hours)
        made = dumped(now, size, verified=found == "good", bad=found == "bad")
        if dumps_now and made.name not in {each.name for each in dumps}:  # a writer overwrites nothing
            dumps.append(made)
        gone = set(retain(dumps, keep, now).pruned)
        assert not gone & must_stay(dumps, now)
        assert not (gone and is_shrunken(dumps, keep.shrink_alarm, now))
        dumps = [each for each in dumps if each.name not in gone]


@given(_dumps, _keeps)
def test_the_order_of_what_is_given_is_nothing(dumps, keep):
    """A store lists in no order: what is kept, why, and what goes first do not depend on it."""
    assert retain(dumps, keep, NOW) == retain(list(reversed(dumps)), keep, NOW)


@given(_dumps, _keeps)
def test_a_newer_dump_brings_none_back(dumps, keep):
    """What a prune that was killed has left over, the next one deletes, though there is a newer dump by then."""
    result = retain(dumps, keep, NOW)
    newest = max((each.started for each in counted(dumps, NOW)), default=NOW)
    newer = dumped(newest + (NOW - newest) / 2, 10**9)
    if newest < newer.started and newer.name not in {each.name for each in dumps}:
        assert set(result.pruned) <= set(retain([*dumps, newer], keep, NOW).pruned)
