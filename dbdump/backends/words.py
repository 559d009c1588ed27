"""Option strings of the tools: split into words, spelled out, and refused where they are not the operator's to give."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from ..errors import RecipeError
from ..redact import looks_secret


def words(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return an option string split as a shell splits words; what is a list already stays as it is.

    Raises RecipeError for an unbalanced quote, and for a password: argv is there for everybody to see.
    """
    try:
        split = tuple(shlex.split(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise RecipeError(f"cannot split {value!r} into words: {error}", "Balance the quotes.") from error
    if any(map(looks_secret, split)):
        raise RecipeError(
            "a password stands in an option string, where every user of the host could read it",
            "Put it into ~/.pgpass, or into a file that --defaults names, readable by its owner only.",
        )
    return split


def spelled_out(given: Iterable[str], with_value: str) -> Iterator[str]:
    """Yield the flags of `given` one by one, in the plainest of the spellings that the tools understand.

    `-vf` is two flags, where `with_value` has the letters whose value may be joined to them; to the clients of
    MySQL, `--Result_File=x` is --result-file=x, and `--loose-force` is --force.
    """
    for word in given:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = re.sub(r"^--(?:(?:loose|enable)-)+", "--", name.replace("_", "-").lower())
            yield name + equals + value
        elif word.startswith("-"):
            for letter in word[1:]:
                yield "-" + letter
                if letter in with_value:
                    break


def refuse_words(option: str, flags: Iterable[str], refused: Mapping[str, str]) -> None:
    """Raise RecipeError, with its hint, where one of `flags`, spelled out, is one of `refused`.

    A long one is known by any beginning of it, as getopt does.
    """
    for flag in flags:
        name = flag.partition("=")[0]
        for known, hint in refused.items():
            if name == known or (known.startswith(name) and len(name) > len("--f")):
                raise RecipeError(f"{option}: {name!r} is not yours to give", hint)
