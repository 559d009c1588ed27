"""The manifest of a dump: what is in it, and what is none."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from .catalog import LONE_SURROGATE
from .errors import WriteError

SCHEMA = 1
_MOST_TOLD = 200  # characters of what is wrong with a file


@dataclass(frozen=True)
class Manifest:
    """The commit record of a dump: one JSON object in the file beside it.

    `file` is the name that the dump was given. `started` and `finished` are UTC, ISO 8601. `raw_bytes` is the
    size before the wrappers, None where to know it would have cost a copy; `stored_bytes` and `sha256` are those
    of the file. `stages` has each stage's `name`, `argv` with secrets masked, and exit `status`. `restore` is the
    shell line that restores the file without dbdump. `signer` and `recipients` are of GnuPG.
    """

    schema: int
    host: str
    recipe: str
    backend: str
    database: str
    file: str
    started: str
    finished: str
    raw_bytes: int | None
    stored_bytes: int
    sha256: str
    stages: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    signer: str | None
    recipients: tuple[str, ...]
    restore: str

    @property
    def begun(self) -> datetime:
        """When it was started."""
        return datetime.fromisoformat(self.started).astimezone(UTC)

    def to_json(self) -> bytes:
        """Return it as one JSON object, ASCII, with a line end."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the manifest in `text`.

        Raises WriteError where it is no manifest, or one of a schema that this version does not know.
        """
        try:
            keys = json.loads(text)
            if keys["schema"] != SCHEMA:
                raise WriteError(f"manifest of schema {keys['schema']!r:.60}", "A newer dbdump wrote it.")
            stages = tuple(map(dict, keys.pop("stages")))
            manifest = cls(stages=stages, recipients=tuple(keys.pop("recipients")), **keys)
            manifest.refuse_odd_types()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise WriteError(f"not a manifest: {str(error)[:_MOST_TOLD]}") from error
        return manifest

    def refuse_odd_types(self) -> None:
        """Raise TypeError or ValueError for a value that no dump of ours has: anybody may have written the file."""
        texts = (self.host, self.recipe, self.backend, self.database, self.file, self.sha256, self.restore)
        keys = [*self.recipients, *([] if self.signer is None else [self.signer])]
        if not all(isinstance(each, str) for each in (*texts, *keys)):
            raise TypeError("a name that is no text")
        if LONE_SURROGATE.search("".join([*texts, *keys])):
            raise ValueError("a name that no file system has")
        if type(self.stored_bytes) is not int or type(self.raw_bytes) not in (int, type(None)):
            raise TypeError("a size that is no number")
        if not 0 <= self.stored_bytes < 1 << 63:
            raise ValueError("a size that no file has")
        if any(datetime.fromisoformat(each).tzinfo is None for each in (self.started, self.finished)):
            raise ValueError("a time without a zone")
        _ = self.begun  # OverflowError, where UTC has no such year
        if not self.stages:
            raise ValueError("no stages")
