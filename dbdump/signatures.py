"""Whose signature the manifests of a recipe must have, and whether they have it; GnuPG is asked on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from .errors import ReadError, StageError
from .host import is_here
from .pipeline import Pipeline, asker
from .place import Place
from .script import Stage
from .stored import Stored
from .unwrap import signing
from .wrappers.gpg_verify import allowed, checking, signature_fault

_AT_ONCE = 4
_INSTALL = "Install gpg on this machine."


class Signatures:
    """The signatures of a recipe, if it signs; nothing is asked before the first of them is looked at."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._shell = place.machines.local
        self._gpg = signing(place.job.dump.wrap or ())

    def faults(self, dumps: Sequence[Stored]) -> list[str]:
        """Return what is wrong with the signature of each manifest, or nothing; where nobody signs, nothing is.

        Raises StageError where nobody can say: no GnuPG is here, or not the key of the recipe.
        """
        if self._gpg is None:
            return [""] * len(dumps)
        _ = self.keys  # before all others ask for them as well
        with ThreadPoolExecutor(_AT_ONCE, "signature") as pool:
            return list(pool.map(self._fault_or_error, dumps))

    def fault(self, stored: Stored) -> str:
        """Return what is wrong with the signature of one manifest; see `faults`. Raises ReadError as well."""
        if self._gpg is None:
            return ""
        if not stored.signed:
            return "its manifest is not signed"
        keys = self.keys
        try:
            argv = checking(self._gpg.homedir, self._place.signature(stored.name))
        except ValueError as error:
            return f"its manifest has no signature, but {error}"
        text = memoryview(stored.text)
        ended = Pipeline((Stage("gpg", tuple(argv)),), fed=True).pump(self._shell, len, lambda write: write(text))
        if fault := signature_fault(ended.said.status_lines, keys):
            return f"its manifest: {fault}"
        return "" if stored.manifest.signer in keys else f"its manifest names another signer: {stored.manifest.signer}"

    @cached_property
    def keys(self) -> frozenset[str]:
        """The fingerprints of the keys that may sign."""
        if self._gpg is None:
            return frozenset()
        if not is_here("gpg"):
            raise StageError("gpg", "not found on PATH here: nobody can say whose signature is right", _INSTALL)
        return allowed(self._gpg, asker(self._shell))

    def _fault_or_error(self, stored: Stored) -> str:
        try:
            return self.fault(stored)
        except ReadError as error:
            return error.message
