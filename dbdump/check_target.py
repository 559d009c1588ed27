"""Whether a recipe's dumps can be stored: the place, its rights, its room, and its machine's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .errors import ReadError, WriteError
from .findings import Finding, Severity, clock, guarded, space
from .place import Place

_LOOK = "Look at it as the account that stores there; every directory down to it has to be that account's own."

_LIST = "Nothing there may be of others, or list, verify, restore and prune fail."


def target_findings(place: Place, databases: Sequence[str]) -> Iterator[Finding]:
    """Yield how the place of the dumps of a job's `databases` is. Raises ConnectError where it cannot be reached."""
    before = time.time()
    try:
        found = place.store.condition(place.job.host.name, place.job.recipe, databases)
    except WriteError as error:
        yield Finding("error", "target", error.message, error.hint)
        return
    after = time.time()
    for fault in found.faults:
        yield Finding("error", "target", fault, _LOOK)
    if not found.faults:
        how = "can be written" if found.writable else "whether it can be written only a dump will tell"
        yield Finding("ok", "target", f"{found.path}: {how}")
    last: list[int] = []
    yield from guarded(_last(place, last), "target")
    yield space(found.free_bytes, sum(last))
    yield clock(found.clock, before, after, "the target")


def _last(place: Place, sizes: list[int]) -> Iterator[Finding]:
    """Add to `sizes` that of the last dump of each database; yield why they cannot be known. Raises ConnectError."""
    try:
        listing = place.listed_once()
    except ReadError as error:
        # A dump that prunes lists them as well.
        severity: Severity = "warning" if place.job.dump.keep is None else "error"
        yield Finding(severity, "target", f"what is stored cannot be listed: {error.message}", _LIST)
        return
    newest = {each.manifest.database: each.size for each in reversed(listing.dumps)}
    sizes.extend(newest.values())
