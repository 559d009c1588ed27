"""Whether a recipe's wrappers can be used: their programs and versions, and the keys of GnuPG."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from .errors import DbdumpError
from .findings import Finding, error_of, expiry, guarded
from .links import Reach
from .pipeline import Pipeline
from .plan import Job, chosen_wrappers
from .probe import probe
from .script import Stage
from .shell import Shell
from .wrappers.base import Wrapper
from .wrappers.compress import Compress
from .wrappers.gpg import GPG, PinnedGPG
from .wrappers.gpg_keys import Key

Ask = Callable[[Sequence[str]], bytes]

_KNOWN = ("zstd", "gzip", "pigz", "gpg")  # what another program would do with --version, nobody knows
_VERSION = re.compile(r"\d+(?:\.\d+)+")


def wrapper_findings(job: Job, reach: Reach) -> Iterator[Finding]:
    """Yield what there is to say of each wrapper of a job, on the machine that wraps. Raises ConnectError."""
    wanted = [Compress()] if job.dump.wrap is None else list(job.dump.wrap)
    if not wanted:
        return
    shell = reach.controller if job.dump.wrap_at == "controller" else reach.host
    ask = asker(shell)
    programs = probe(shell, sorted({*_KNOWN, *(each.program for each in wanted)}), None).programs
    if Compress() in wanted and "zstd" not in programs:
        yield Finding("warning", "zstd", "not found on the host's PATH: gzip compresses instead", "Install zstd there.")
    for each in wanted:
        if isinstance(each, GPG) and "gpg" in programs:
            yield Finding("ok", "gpg", _version(ask, "gpg"))
            yield from _keys(each, ask, asker(reach.controller))
        else:
            yield from guarded(_program(each, programs, ask), each.program)


def asker(shell: Shell) -> Ask:
    """Return what runs an argv on `shell` and gives its stdout."""
    return lambda argv: Pipeline((Stage(PurePath(argv[0]).name, tuple(argv)),)).answer(shell)


def _program(wrapper: Wrapper, programs: frozenset[str], ask: Ask) -> Iterator[Finding]:
    (chosen,) = chosen_wrappers([wrapper], programs, ask)
    yield Finding("ok", chosen.program, _version(ask, chosen.program) if chosen.program in _KNOWN else "is there")


def _version(ask: Ask, program: str) -> str:
    said = ask(["sh", "-c", '"$1" --version </dev/null 2>&1; exit 0', "sh", program]).decode("utf-8", "replace")
    match = _VERSION.search(said)
    return match[0] if match else "is there, and does not say its version"


def _keys(gpg: GPG, ask: Ask, here: Ask) -> Iterator[Finding]:
    """Yield how each key of `gpg` is, whether the good ones work, and who can decrypt `here`, on the controller."""
    recipients: list[Key] = []
    signers: list[Key] = []
    asked = [(name, False) for name in gpg.encrypt] + ([(gpg.sign, True)] if gpg.sign else [])
    for name, secret in asked:
        try:
            key = gpg.key(ask, name, secret=secret)
        except DbdumpError as error:
            yield error_of(error, "gpg")
            continue
        (signers if secret else recipients).append(key)
        what = f"the key {key.fingerprint} of {name!r}, to {'sign with' if secret else 'encrypt for'},"
        yield expiry(what, key.expires("sign" if secret else "encrypt"), time.time())
    signer = signers[0] if signers else None
    prints = tuple(dict.fromkeys(each.fingerprint for each in recipients))
    pinned = PinnedGPG(signer.fingerprint if signer else None, prints, gpg.homedir)
    if pinned.proof:
        yield from guarded(_tried(pinned, signer, ask), "gpg")
    if prints:
        yield from guarded(_decrypts(gpg, prints, here), "gpg")


def _tried(pinned: PinnedGPG, signer: Key | None, ask: Ask) -> Iterator[Finding]:
    pinned.tried(ask, signer)
    done = [*(["signs"] if pinned.signer else []), *(["encrypts"] if pinned.recipients else [])]
    yield Finding("ok", "gpg", f"{' and '.join(done)}, and asks for nothing")


def _decrypts(gpg: GPG, recipients: Sequence[str], here: Ask) -> Iterator[Finding]:
    for each in recipients:
        try:
            gpg.key(here, each, secret=True)
        except DbdumpError:
            continue
        yield Finding("ok", "gpg", f"verify can decrypt here: the secret key of {each} is here")
        return
    yield Finding("ok", "gpg", "verify cannot decrypt here: no recipient's secret key is here")
