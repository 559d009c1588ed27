"""How long pg_dump waits for locks, and what is done when it has given up."""

import pytest

from dbdump.backends.postgresql_locks import LockWait

TIMEOUT = "ERROR: canceling statement due to statement timeout; Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"
GERMAN = "storniere Anfrage wegen Zeitüberschreitung der Anfrage"
TRANSLATED = f"FEHLER:  {GERMAN}; LOCK TABLE public.t IN ACCESS SHARE MODE"
REFUSED = "ERROR: permission denied for table t; Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"


@pytest.mark.parametrize(("most", "seconds"), [(300, 0.5), (0.2, 0.2), (0, 0.5)])
def test_pg_dump_hardly_waits(most, seconds):
    """However long a lock is waited for; 0 is for ever, as for pg_dump."""
    assert LockWait(most).seconds == seconds


@pytest.mark.parametrize("message", [TIMEOUT, TRANSLATED])
def test_a_locked_table_is_in_the_way_as_long_as_it_is_locked(message):
    """Whatever language the server speaks. pg_dump is given no longer than before."""
    wait, answers = LockWait(300), iter("ttf")
    obstacle = wait.obstacle(message, lambda: next(answers), lambda: GERMAN)
    assert obstacle
    assert [obstacle.is_there(), obstacle.is_there()] == [True, False]
    assert wait.seconds == 0.5


@pytest.mark.parametrize("message", [TIMEOUT, TRANSLATED])
def test_a_server_that_takes_long_for_its_locks_is_given_twice_the_time(message):
    """It may have ten thousand tables. At the end it has had all of the time."""
    wait = LockWait(4)
    for seconds in (1, 2, 0.5):
        obstacle = wait.obstacle(message, lambda: "f", lambda: GERMAN)
        assert obstacle
        assert not obstacle.is_there()
        assert wait.seconds == seconds
    assert wait.obstacle(message, lambda: "f", lambda: GERMAN) is None


@pytest.mark.parametrize("message", [REFUSED, TIMEOUT.partition(";")[0]])
def test_another_failure_is_one(message):
    """What is none is not tried again, and nobody looks for a lock."""
    assert LockWait(300).obstacle(message, lambda: pytest.fail("asked"), lambda: GERMAN) is None


def test_a_lock_is_not_waited_for_longer_than_that():
    """What is over when pg_dump gives up, it had waited for itself."""
    assert LockWait(0.5).obstacle(TIMEOUT, lambda: "t", lambda: GERMAN) is None
