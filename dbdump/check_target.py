"""Whether a recipe's dumps can be stored: the place, its rights, its room, and its machine's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .errors import WriteError
from .findings import Finding, Severity, clock, guarded, space
from .plan import Job
from .stored import read_listing
from .writers.base import Store

_LOOK = "Look at it as the account that stores there; every directory down to it has to be that account's own."

_LIST = "Nothing there may be of others, or list, verify, restore and prune fail."


def target_findings(job: Job, store: Store, databases: Sequence[str]) -> Iterator[Finding]:
    """Yield how the place of the dumps of a job's `databases` is. Raises ConnectError where it cannot be reached."""
    before = time.time()
    try:
        place = store.condition(job.host.name, job.recipe, databases)
    except WriteError as error:
        yield Finding("error", "target", error.message, error.hint)
        return
    after = time.time()
    for fault in place.faults:
        yield Finding("error", "target", fault, _LOOK)
    if not place.faults:
        how = "can be written" if place.writable else "whether it can be written only a dump will tell"
        yield Finding("ok", "target", f"{place.path}: {how}")
    last: list[int] = []
    yield from guarded(_last(job, store, last), "target")
    yield space(place.free_bytes, sum(last))
    yield clock(place.clock, before, after, "the target")


def _last(job: Job, store: Store, sizes: list[int]) -> Iterator[Finding]:
    """Add to `sizes` that of the last dump of each database; yield why they cannot be known. Raises ConnectError."""
    host, recipe = job.host.name, job.recipe
    try:
        listing = read_listing(host, recipe, store.entries(host, recipe))
    except WriteError as error:
        severity: Severity = "warning" if job.dump.keep is None else "error"  # a dump that prunes lists them as well
        yield Finding(severity, "target", f"what is stored cannot be listed: {error.message}", _LIST)
        return
    newest = {each.manifest.database: each.size for each in reversed(listing.dumps)}
    sizes.extend(newest.values())
