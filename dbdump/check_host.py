"""Whether a host can be reached, who it takes us for, and what time it has."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .boot import RemoteShell
from .findings import Finding, clock
from .links import Reach
from .pipeline import Pipeline
from .plan import Job
from .script import Stage
from .shell import Shell

_ASK = "id -un; date -u +%s"


def host_findings(job: Job, reach: Reach) -> Iterator[Finding]:
    """Yield whether the host of a job can be reached, as whom, and how its clock goes. Raises ConnectError."""
    shell: Shell = reach.host
    before = time.time()
    name, told = Pipeline((Stage("host", ("sh", "-c", _ASK)),)).answer(shell).decode("utf-8", "replace").split()[:2]
    if not isinstance(shell, RemoteShell):
        yield Finding("ok", "host", f"it is this machine, as {name}")
        return
    yield Finding("ok", "host", f"reached {shell.link.account}, as {name}")
    yield clock(float(told) if told.isdecimal() else None, before, time.time(), job.host.name)
