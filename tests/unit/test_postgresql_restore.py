"""What is in a database, asked while the server may still make it."""

from __future__ import annotations

import pytest

from dbdump.backends.postgresql_restore import contents
from dbdump.errors import StageError


def asking(*answers: str | None):
    """Return what gives these answers, one after the other; None: that there is no such database."""
    left = list(answers)

    def ask(_database: str, *_questions: str) -> str:
        """Give the next one."""
        if (answer := left.pop(0)) is None:
            raise StageError("psql", 'FATAL:  database "copy" does not exist')
        return answer

    return ask


@pytest.mark.parametrize(
    ("answers", "things"), [(["3"], 3), ([None, "f"], None), ([None, "t", "0"], 0)], ids=["there", "none", "made now"]
)
def test_a_database_that_comes_meanwhile_is_asked_again(answers, things):
    """Whoever was killed while he made it waits for nothing more, and the server makes it all the same."""
    assert contents(asking(*answers), "copy") == things


def test_one_that_cannot_be_asked_says_why():
    """As where nobody may connect to it."""
    with pytest.raises(StageError, match="does not exist"):
        contents(asking(None, "t", None), "copy")
