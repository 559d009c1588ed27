"""Whose signature the manifests of a recipe must have, and whether they have it; GnuPG is asked on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import PurePath

from .errors import StageError, WriteError
from .host import clean_environment
from .pipeline import Pipeline
from .script import Stage
from .stored import Stored
from .survey import Place
from .unwrap import signing
from .wrappers.gpg import GPG
from .wrappers.gpg_verify import allowed, checking, signature_fault

_AT_ONCE = 4


class Signatures:
    """The signatures of a recipe, if it signs; nothing is asked before the first of them is looked at."""

    def __init__(self, place: Place) -> None:
        self._store = place.store
        self._shell = place.machines.local
        self._gpg = signing(place.job.dump.wrap or ())

    def faults(self, dumps: Sequence[Stored]) -> list[str]:
        """Return what is wrong with the signature of each manifest, or nothing; where nobody signs, nothing is.

        Raises StageError where nobody can say: no GnuPG is here, or not the key of the recipe.
        """
        if self._gpg is None:
            return [""] * len(dumps)
        check = partial(self._fault, self._gpg, self._keys)
        with ThreadPoolExecutor(_AT_ONCE, "signature") as pool:
            return list(pool.map(check, dumps))

    def _fault(self, gpg: GPG, keys: frozenset[str], stored: Stored) -> str:
        if not stored.signed:
            return "not signed"
        try:
            argv = checking(gpg.homedir, self._store.signature(stored.name))
        except (ValueError, WriteError) as error:
            return f"no signature, but {error}"
        text = memoryview(stored.text)
        ended = Pipeline((Stage("gpg", tuple(argv)),), fed=True).pump(self._shell, len, lambda write: write(text))
        if fault := signature_fault(ended.said.status_lines, keys):
            return fault
        return "" if stored.manifest.signer in keys else f"names another signer: {stored.manifest.signer}"

    @cached_property
    def _keys(self) -> frozenset[str]:
        if shutil.which("gpg", path=clean_environment(os.environ)["PATH"]) is None:
            raise StageError("gpg", "no gpg here: nobody can say whose signature is right", "Install gnupg here.")
        return frozenset() if self._gpg is None else allowed(self._gpg, self._ask)

    def _ask(self, argv: Sequence[str]) -> bytes:
        return Pipeline((Stage(PurePath(argv[0]).name, tuple(argv)),)).answer(self._shell)
