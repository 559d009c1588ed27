"""What can go wrong, told to the operator: one line of cause and a hint.

DbdumpError
├── UsageError       flags that make no sense                   exit 2
│   └── NoSuchBackend   --backend is none that there is
├── RecipeError      a recipe file that cannot be used          exit 2
├── NothingMatched   a selection that selects nothing           exit 3
└── DumpError        one recipe or one database failed          exit 1
    ├── ConnectError the host cannot be reached
    │   └── ConnectionLost  it was reached, and then no more
    ├── ListError    the databases could not be listed
    ├── StageError   a command of the dump failed
    ├── WriteError   the bytes could not be stored
    ├── ReadError    what is stored could not be read
    ├── BadDump      a stored dump is not what it should be     exit 4
    │   └── Gone         it was there, and is no more
    ├── Locked       somebody else is at it                     exit 75
    └── Interrupted  the run was ended by a signal
"""

from __future__ import annotations


class DbdumpError(Exception):
    """An error that an operator can cause, and mend.

    `message` is lower case and without a full stop; `hint` is a sentence that says what to do.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DbdumpError):
    """Flags that make no sense, alone or together."""

    exit_code = 2


class NoSuchBackend(UsageError):  # noqa: N818  what it is
    """No backend has that name: none that is built in, and none of a recipe file."""


class RecipeError(DbdumpError):
    """A recipe, or the file it is in, that cannot be used."""

    exit_code = 2


class NothingMatched(DbdumpError):  # noqa: N818  a result as much as an error
    """A selection of hosts, recipes, tags or databases that selects nothing."""

    exit_code = 3


class DumpError(DbdumpError):
    """One recipe or one database that was not dumped; `stage` names the step that failed."""

    stage = "dump"


class ConnectError(DumpError):
    """The host cannot be reached."""

    stage = "connect"


class ConnectionLost(ConnectError):  # noqa: N818  what happened, not what is wrong
    """The connection was there, and is gone: what it was for may be tried once more."""


class ListError(DumpError):
    """The list of databases could not be had."""

    stage = "list"


class StageError(DumpError):
    """A command of the dump failed; `stage` is the name of that command."""

    def __init__(self, stage: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.stage = stage


class WriteError(DumpError):
    """The bytes could not be stored where the recipe wants them."""

    stage = "write"


class ReadError(DumpError):
    """What is stored could not be read: whether it is good, nobody knows."""

    stage = "read"


class BadDump(DumpError):  # noqa: N818  what it is
    """A stored dump is missing, or not what its manifest, its signature or its recipe say."""

    stage = "verify"
    exit_code = 4


class Gone(BadDump):
    """A stored dump was removed since it was listed, which says nothing of what it was."""


class Locked(DumpError):  # noqa: N818  what it is
    """Another run is at work on the same recipe, or in the same directory."""

    stage = "lock"
    exit_code = 75  # EX_TEMPFAIL of sysexits(3): try again later


class Interrupted(DumpError):  # noqa: N818  what happened, not what is wrong
    """The run was ended by a signal before this dump was complete."""

    stage = "run"


class Skip(Exception):  # noqa: N818  like pytest's: raised to say why, not that something is wrong
    """Raised by a backend's `get_command` to skip one database, with the reason that is reported."""


def interrupted(signal: int, left: str) -> DumpError:
    """Return the error of a run that a signal ended; `left` says how things are now."""
    error = DumpError(f"interrupted: {left}")
    error.exit_code = 128 + signal
    return error


def with_hint(line: str, hint: str) -> list[str]:
    """Return a line for people, and below it the hint, where there is one."""
    return [line, f"         hint: {hint}"] if hint else [line]
