"""How a task ends: what it says last, the document that stdout was promised, and its exit status."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence

from .errors import DbdumpError, WriteError
from .progress import Plain
from .report import COMMANDS, document, error_text, hand_over


def end(  # noqa: PLR0913  each is another thing
    command: str,
    code: int,
    *,
    bugs: Iterable[str],
    lines: Iterable[str],
    items: Iterable[Mapping[str, object]] = (),
    errors: Sequence[DbdumpError] = (),
    as_json: bool = False,
    aside: bool = False,
) -> int:
    """Say the tracebacks of `bugs`, if any, and then `lines`, with `aside` on stderr; return `code`.

    With `as_json` stdout gets the document of `items` and `errors`, and nothing else. Raises WriteError where nobody
    takes it.
    """
    plain = Plain(to_stderr=as_json or aside)
    if text := "\n".join([*(bug.rstrip("\n") for bug in bugs if bug), *lines]):
        plain.say(text)
    if as_json:
        hand_over(document(command, code, list(items), errors))
    return code


def complain(error: DbdumpError, command: str = "", *, as_json: bool = False, nagios: bool = False) -> int:
    """Print an error that ended it all on stderr, and return its exit status.

    stdout gets what it was promised to: the JSON document of `command`, or the line for Nagios.
    """
    with contextlib.suppress(OSError):  # nobody hears it there
        print(f"dbdump: {error_text(error)}", file=sys.stderr, flush=True)  # noqa: T201
    if nagios:
        from .monitor import unknown  # noqa: PLC0415  only for Nagios

        return unknown(error.message)
    if as_json and command in COMMANDS:
        with contextlib.suppress(WriteError):  # the first error is the one to tell
            hand_over(document(command, error.exit_code, (), [error]))
    return error.exit_code


def bug_for_nagios(error: Exception) -> int:
    """Print the traceback of an error that no operator can cause, and the line for Nagios; return its exit status."""
    from .monitor import unknown  # noqa: PLC0415  only for Nagios

    traceback.print_exception(error)
    return unknown(f"bug: {type(error).__name__}: {error}")
