"""How a task ends: what it says last, the document that stdout was promised, and its exit status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .errors import DbdumpError
from .progress import Plain
from .report import document, hand_over


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
