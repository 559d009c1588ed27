"""Do something, and have what went wrong as a result: what fails stops nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable

from .catalog import printable
from .errors import DbdumpError, DumpError, Locked
from .redact import redact
from .report import Result


def attempt(
    name: str, secrets: Iterable[str], action: Callable[[], None], hint: Callable[[str], str] = lambda _: ""
) -> Result | None:
    """Do `action`; return None, or the failure it ended in, without any of `secrets` in it."""
    try:
        action()
    except DbdumpError as error:
        return failed(name, error, secrets, hint)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a bug in one dump must not stop the others
        text = f"bug: {type(error).__name__}: {error}"
        trace = redact(traceback.format_exc(), secrets)
        return Result(name, "failed", redact(text, secrets), "Please report it with the traceback.", bug=trace)
    return None


def failed(name: str, error: DbdumpError, secrets: Iterable[str], hint: Callable[[str], str] = lambda _: "") -> Result:
    """Return the result that says so: that something was in the way, if that is all, or what went wrong."""
    message = printable(redact(error.message, secrets))
    if isinstance(error, Locked):
        return Result(name, "locked", message, error.hint)
    stage = f"{error.stage}: " if isinstance(error, DumpError) else ""
    return Result(name, "failed", f"{stage}{message}", error.hint or hint(error.message))
