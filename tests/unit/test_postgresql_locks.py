"""How long pg_dump waits for locks, and what is done when it has given up."""

import pytest

from dbdump.backends.postgresql_locks import LockWait

TIMEOUT = "ERROR: canceling statement due to statement timeout; Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"
TRANSLATED = "FEHLER: storniere Anfrage wegen Zeitüberschreitung; Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"
REFUSED = "ERROR: permission denied for table t; Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"


@pytest.mark.parametrize(("most", "seconds"), [(300, 0.5), (0.2, 0.2), (0, 0.5)])
def test_pg_dump_hardly_waits(most, seconds):
    """However long a lock is waited for; 0 is for ever, as for pg_dump."""
    assert LockWait(most).seconds == seconds


@pytest.mark.parametrize("message", [TIMEOUT, TRANSLATED])
def test_a_locked_table_is_in_the_way_as_long_as_it_is_locked(message):
    """Whatever language the server speaks. pg_dump is given no longer than before."""
    wait, answers = LockWait(300), iter("ttf")
    obstacle = wait.obstacle(message, lambda: next(answers))
    assert obstacle
    assert [obstacle.is_there(), obstacle.is_there()] == [True, False]
    assert wait.seconds == 0.5


@pytest.mark.parametrize("message", [TIMEOUT, TRANSLATED])
def test_a_server_that_takes_long_for_its_locks_is_given_twice_the_time(message):
    """It may have ten thousand tables. At the end it has had all of the time."""
    wait = LockWait(4)
    for seconds in (1, 2, 0.5):
        obstacle = wait.obstacle(message, lambda: "f")
        assert obstacle
        assert not obstacle.is_there()
        assert wait.seconds == seconds
    assert wait.obstacle(message, lambda: "f") is None


def test_for_ever_is_not_for_what_is_no_lock():
    """In another language, what pg_dump may not do looks like what takes too long."""
    wait = LockWait(0)
    assert any(wait.obstacle(TRANSLATED, lambda: "f") is None for _ in range(20))


@pytest.mark.parametrize("message", [REFUSED, "ERROR: canceling statement due to statement timeout"])
def test_another_failure_is_one(message):
    """What is none, where no table is locked, is not tried again."""
    assert LockWait(300).obstacle(message, lambda: "f") is None


def test_a_lock_is_not_waited_for_longer_than_that():
    """What is over when pg_dump gives up, it had waited for itself."""
    assert LockWait(0.5).obstacle(TIMEOUT, lambda: "t") is None
