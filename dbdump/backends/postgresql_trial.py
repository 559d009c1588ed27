"""Whether a dump of PostgreSQL could begin to be restored: asked where it would run, before anything is dropped."""

from __future__ import annotations

from collections.abc import Sequence

# $1 says that several at once, or a new name, would need a file in TMPDIR; then the programs.
_TRIAL = r"""
file=$1; shift
for each; do command -v "$each" >/dev/null || { echo "error: $each: not found" >&2; exit 1; }; done
[ -z "$file" ] || { file=$(mktemp "${TMPDIR:-/tmp}/dbdump.XXXXXXXX") && rm -f -- "$file"; }
"""


def trying(restorers: Sequence[str], *, spools: bool) -> list[str]:
    """Return the argv that fails where a dump that psql and `restorers` restore could not be begun."""
    return ["sh", "-c", _TRIAL, "sh", "file" if spools else "", "psql", *restorers]
