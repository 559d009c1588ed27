"""What came of a dump whose commands have all ended: whether it is whole, its warnings, and its manifest. Pure."""

from __future__ import annotations

from pathlib import PurePath

from .catalog import utc_now
from .errors import StageError
from .manifest import SCHEMA, Manifest
from .pipeline import Outcome, Pipeline
from .plan import Planned
from .redact import redact

_LONG = 200  # characters of an argument with line ends in it


def warnings_of(planned: Planned, outcome: Outcome) -> list[str]:
    """Return what the dump program warns of though it exits 0: mostly that it leaves something out."""
    program = PurePath(planned.pipeline.stages[0].argv[0]).name
    told = [each for each in outcome.said.messages if each.startswith(f"{program}: ") and "warning" in each.lower()]
    return [redact(each, planned.pipeline.values.values()) for each in told]


def refuse_bad_stream(planned: Planned, outcome: Outcome) -> None:
    """Raise StageError where every stage exited 0, and yet the stream is not that of a whole dump."""
    stage = planned.pipeline.stages[0].name
    if outcome.stored_bytes <= planned.empty_bytes:
        raise StageError(stage, "exited 0, but the dump is empty", "Run the backend's command by hand.")
    if planned.pipeline.check_stream:
        shape = planned.backend.shape_of(planned.name.database)
        if fault := shape.fault(outcome.said.first or b"", outcome.said.end):
            raise StageError(stage, f"exited 0, but {fault}", "Run the backend's command by hand.")


def manifest_of(planned: Planned, outcome: Outcome, started: str) -> Manifest:
    """Return the manifest of a dump that was `started` then."""
    name, pipeline = planned.name, planned.pipeline
    return Manifest(
        schema=SCHEMA,
        host=name.host,
        recipe=name.recipe,
        backend=planned.backend.name,
        database=name.database,
        file=name.file,
        started=started,
        finished=utc_now("milliseconds"),
        raw_bytes=outcome.said.raw_bytes,
        stored_bytes=outcome.stored_bytes,
        sha256=outcome.sha256,
        stages=tuple(
            {"name": stage.name, "argv": [_shown(word, pipeline) for word in stage.argv], "status": status}
            for stage, status in zip(planned.stages, outcome.statuses, strict=True)
        ),
        versions=dict(planned.versions),
        signer=planned.keys.signer if planned.keys else None,
        recipients=planned.keys.recipients if planned.keys else (),
        restore=planned.restore(planned.store.source(name)),
    )


def _shown(word: str, pipeline: Pipeline) -> str:
    """Return an argument as the manifest shows it: no secret, and not a whole program."""
    word = redact(word, pipeline.values.values())
    return word if "\n" not in word or len(word) < _LONG else f"<{len(word)} characters of program>"
