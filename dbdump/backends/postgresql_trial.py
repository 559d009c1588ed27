"""Whether pg_restore could begin to restore an archive: asked where it would run, before anything is dropped."""

from __future__ import annotations

# $1 says that several at once, or a new name, would need a file in TMPDIR.
_TRIAL = r"""
for each in psql pg_restore; do command -v "$each" >/dev/null || { echo "error: $each: not found" >&2; exit 1; }; done
[ -z "$1" ] || { file=$(mktemp "${TMPDIR:-/tmp}/dbdump.XXXXXXXX") && rm -f -- "$file"; }
"""


def trying_custom(database: str, into: str, jobs: int) -> list[str]:
    """Return the argv that fails where an archive of `database` could not be begun to be made `into`."""
    return ["sh", "-c", _TRIAL, "sh", "file" if jobs > 1 or into != database else ""]
