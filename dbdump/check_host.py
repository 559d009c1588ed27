"""Whether a host can be reached, who it takes us for, and what time it has."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .findings import Finding, clock
from .links import Reach
from .pipeline import Pipeline
from .plan import Job
from .remote_shell import RemoteShell
from .script import Stage
from .shell import Shell

_ASK = 'printf "%s\\n" "$(id -un 2>/dev/null)" "$(date -u +%s 2>/dev/null)"'  # a dump needs neither


def host_findings(job: Job, reach: Reach) -> Iterator[Finding]:
    """Yield whether the host of a job can be reached, as whom, and how its clock goes. Raises ConnectError."""
    shell: Shell = reach.host
    before = time.time()
    said = Pipeline((Stage("host", ("sh", "-c", _ASK)),)).answer(shell).decode("utf-8", "replace")
    name, told = [*said.split("\n"), ""][:2]
    how = f", as {name}" if name else ""
    if not isinstance(shell, RemoteShell):
        yield Finding("ok", "host", f"it is this machine{how}")
        return
    yield Finding("ok", "host", f"reached {shell.link.account}{how}")
    yield clock(float(told) if told.isdecimal() else None, before, time.time(), job.host.name)
