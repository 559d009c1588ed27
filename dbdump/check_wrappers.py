"""Whether a recipe's wrappers can be used: their programs, their versions, and GnuPG."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .backends.base import Reader
from .check_keys import key_findings
from .check_readers import missing
from .findings import Finding, guarded
from .links import Reach
from .pipeline import asker
from .plan import Job, chosen_wrappers, wanted_wrappers
from .probe import probe
from .shell import Asker, Shell
from .wrappers.base import Wrapper
from .wrappers.compress import COMPRESSORS, Compress
from .wrappers.gpg import GPG

_KNOWN = (*COMPRESSORS, GPG.program)  # what another program would do with --version, nobody knows
_VERSION = re.compile(r"\d+(?:\.\d+)+")


def wrapper_findings(job: Job, reach: Reach) -> Iterator[Finding]:
    """Yield what there is to say of each wrapper of a job, on the machine that wraps. Raises ConnectError."""
    wanted = wanted_wrappers(job.dump.wrap)
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
            yield from key_findings(each, ask, asker(reach.controller), prunes=job.dump.keep is not None)
            yield from guarded(missing(reach.controller, [_unwraps("gpg")]), "gpg")
        else:
            yield from guarded(_program(each, programs, ask, reach.controller), each.program)


def _program(wrapper: Wrapper, programs: frozenset[str], ask: Asker, here: Shell) -> Iterator[Finding]:
    (chosen,) = chosen_wrappers([wrapper], programs, ask)
    yield Finding("ok", chosen.program, _version(ask, chosen.program) if chosen.program in _KNOWN else "is there")
    yield from missing(here, [_unwraps(chosen.inverse()[0])])


def _unwraps(program: str) -> Reader:
    return Reader([program], "neither verify nor restore can read its dumps here", program)


def _version(ask: Asker, program: str) -> str:
    said = ask(["sh", "-c", '"$1" --version </dev/null 2>&1; exit 0', "sh", program]).decode("utf-8", "replace")
    match = _VERSION.search(said)
    return match[0] if match else "is there, and does not say its version"
