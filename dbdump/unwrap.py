"""Take the wrappers off a stored dump again: the stages that make its raw stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from .errors import StageError
from .script import Stage
from .stored import Stored
from .wrappers.base import Wrapper
from .wrappers.compress import Gzip, Zstd
from .wrappers.gpg import GPG
from .wrappers.gpg_verify import decrypting

_BUILT_IN: dict[str, Wrapper] = {each.suffix: each for each in (Zstd(), Gzip())}


def signing(wrappers: Sequence[Wrapper]) -> GPG | None:
    """Return the wrapper of a recipe that signs, if one does."""
    return next((each for each in wrappers if isinstance(each, GPG) and each.sign), None)


def unwrapping(stored: Stored, wrappers: Sequence[Wrapper]) -> tuple[Stage, ...]:
    """Return the stages that turn the stored bytes into the raw stream, the last wrapper's first.

    `wrappers` are the recipe's: one that is its own, and GnuPG's homedir, are told by them. A dump may be older
    than they are. Raises StageError for a wrapper that nobody knows any more.
    """
    return tuple(_stage(stored, suffix, wrappers) for suffix in reversed(stored.wrapped))


def _stage(stored: Stored, suffix: str, wrappers: Sequence[Wrapper]) -> Stage:
    if suffix == GPG.suffix:
        return _decryption(stored, wrappers)
    own = (each for each in wrappers if each.suffix == suffix)
    wrapper = next(own, _BUILT_IN.get(suffix))
    if wrapper is None:
        raise StageError("unwrap", f"no wrapper of the recipe takes {suffix} off", "Put the one that made it back.")
    argv = tuple(wrapper.inverse())
    return Stage(PurePath(argv[0]).name, argv)


def _decryption(stored: Stored, wrappers: Sequence[Wrapper]) -> Stage:
    homedir = next((each.homedir for each in wrappers if isinstance(each, GPG)), None)
    proof = [*(["DECRYPTION_OKAY"] if stored.manifest.recipients else []),
             *(["GOODSIG", "VALIDSIG"] if signing(wrappers) else [])]  # fmt: skip
    return Stage("gpg", tuple(decrypting(homedir)), proof=tuple(proof))
