"""Plan and run jobs, several databases at once; one failure never stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

from .attempt import attempt, failed
from .bound import Bound
from .catalog import new_stamp, printable, utc_now
from .down import pause
from .errors import ConnectError, ConnectionLost, DbdumpError, Interrupted, StageError
from .locks import only_run, own_stamp
from .machines import PER_HOST, Machines, Queues
from .manifest import Manifest
from .outcome import manifest_of, refuse_bad_stream, warnings_of
from .pipeline import Look, Outcome, Pipeline, Write
from .plan import Job, Plan, Planned, Refused, Skipped, known_secrets
from .progress import Display
from .report import Result
from .script import Stage
from .signals import Signals
from .writers.base import Sink, Store
from .writers.on_host import HostSink

_LOOK_SECONDS = 0.5  # between the first two looks whether what is in the way is gone; then longer each time
_LONGEST_LOOK_SECONDS = 5.0
_MOST_RECIPES = 64  # at once: each waits for a server's list, or for its dumps


def run(
    jobs: Sequence[Job], databases: Sequence[str], slots: int, display: Display, *, here: bool
) -> tuple[list[Result], int | None]:
    """Run `jobs`, `slots` databases at once; return what became of each, and the signal that ended it all.

    `databases` are globs; empty: all of them. With `here`, every host's jobs run on this machine.
    """
    with (
        Signals() as signals,
        Runner(databases, slots, display, here=here) as runner,
        ThreadPoolExecutor(_MOST_RECIPES, "recipe") as recipes,
    ):
        futures = [recipes.submit(runner.run_job, job) for job in jobs]
        results = signals.all_of(futures, runner.end)
    return list(chain.from_iterable(results)), signals.received


def dry_run(job: Job, databases: Sequence[str], *, here: bool) -> tuple[list[Plan], Result | None]:
    """Return what `run` would do for one job, or how it would fail. Only the server is asked."""
    plans: list[Plan] = []
    secrets = [*known_secrets(job.dump.backend)]

    def plan() -> None:
        """Ask the host, and plan. Raises what either raises."""
        bound = Bound(job, machines.reach(job), new_stamp())
        secrets.extend(bound.secrets)
        plans.extend(bound.plan(databases))

    with closing(Machines(here=here)) as machines:
        return plans, attempt(job.id, secrets, plan, job.dump.backend.hint)


class Runner:
    """What the jobs of one run share: a stamp, the machines, `slots` for databases, and the display."""

    def __init__(self, databases: Sequence[str], slots: int, display: Display, *, here: bool) -> None:
        self.machines = Machines(here=here)
        self._databases = databases
        self._queues = Queues(slots)
        self._display = display
        self._stamp = own_stamp()
        self._told: set[str] = set()
        self._ending = threading.Event()

    def end(self) -> None:
        """End every script on every machine, start no more, and wait for no connection to come back."""
        self._ending.set()
        self.machines.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._queues.close()
        self.machines.close()

    def run_job(self, job: Job) -> list[Result]:
        """Dump the databases of one job; an error before the first of them is a result of its own."""
        results: list[Result] = []
        secrets = [*known_secrets(job.dump.backend)]

        def dump_all() -> None:
            """Dump and prune under the lock of the run. Raises Locked, and what keeps it from beginning."""
            with only_run(job):
                bound = Bound(job, self.machines.reach(job, early=True), self._stamp)
                secrets.extend(bound.secrets)
                with closing(bound):
                    databases = self._dump_all(bound, results)
                if job.dump.keep is not None and not self.machines.local.ended:
                    results.extend(self._prune(bound, databases))

        if failure := attempt(job.id, secrets, dump_all, job.dump.backend.hint):
            results.append(failure)
            self._display.finished(failure)
        return results

    def _dump_all(self, bound: Bound, results: list[Result]) -> list[str]:
        """Dump what a job's host has; add to `results`, and return the databases that were stored."""
        if bound.notice and bound.notice not in self._told:
            self._told.add(bound.notice)
            self._display.notice(bound.notice)
        host = bound.job.host
        bound.choose_before_prepare()
        try:
            bound.backend.prepare()
            at_once = host.per_host or (None if bound.shell.here else PER_HOST)
            submit = partial(self._queues.submit, host.name, at_once, partial(self._one, bound.store))
            plans = bound.plan(self._databases)
            futures = [submit(each) for each in plans]
            done = [future.result() for future in futures]
            results.extend(done)
        finally:
            bound.backend.cleanup()
        return [plan.name.database for plan, result in zip(plans, done, strict=True) if result.status == "stored"]

    def _prune(self, bound: Bound, databases: Sequence[str]) -> list[Result]:
        from .place import Place  # noqa: PLC0415
        from .pruning import prune_after  # noqa: PLC0415  only where something is kept, and so pruned

        return prune_after(Place(bound.job, bound.store, self.machines), databases, self._display)

    def _one(self, store: Store, planned: Plan) -> Result:
        if isinstance(planned, Skipped):
            result = Result(planned.name.id, "skipped", planned.reason)
        elif isinstance(planned, Refused):
            with suppress(DbdumpError):  # its directory: status sees by it that a dump is missing
                sink = store.open(planned.name)
                sink.abort()
                self._tell_of_leftovers(planned.name.id, sink)
            result = failed(planned.name.id, planned.error, ())
        else:
            result = self._dump(planned)
        result = replace(result, database=planned.name.database)
        self._display.finished(result)
        return result

    def _dump(self, planned: Planned) -> Result:
        started = time.monotonic()
        stored: list[int] = []
        name, backend = planned.name, planned.backend

        def dump() -> None:
            """Store it, with what the backend does before and after. Raises what those raise."""
            try:
                backend.prepare_db(name.database)
                stored.append(self._store_or_again(planned))
            finally:
                backend.cleanup_db(name.database)

        failure = attempt(name.id, planned.pipeline.values.values(), dump, backend.hint)
        seconds = time.monotonic() - started
        location = planned.store.location(name)
        if failure and stored:  # it was the cleaning up that failed
            text = f"{failure.text}; the dump itself is stored: {location}"
            return replace(failure, text=text, stored_bytes=stored[0], seconds=seconds)
        return failure or Result(name.id, "stored", location, "", stored[0], seconds)

    def _store_or_again(self, planned: Planned) -> int:
        """Store one database, from the beginning again where a connection was lost and nothing was committed.

        What is out for a short while is waited for, longer each time.
        """
        tried = 0
        while True:
            try:
                return self._store_unhindered(planned)
            except ConnectionLost as error:
                if not self._ending.is_set() and tried == planned.retries:
                    raise
                seconds = pause(tried)
                if not self._ending.is_set():
                    self._display.notice(f"{planned.name.id}: {error.message}; once more in {seconds:g} s")
                if self._ending.wait(seconds):
                    raise Interrupted("ended before it was complete") from error
                tried += 1

    def _store_unhindered(self, planned: Planned) -> int:
        """Store one database, from the beginning again each time that what it failed by is gone."""
        while True:
            try:
                return self._store(planned)
            except StageError as error:
                planned = self._without_obstacle(planned, error)

    def _without_obstacle(self, planned: Planned, error: StageError) -> Planned:
        """Wait until what a dump failed by is gone, and return how it begins anew. Raises `error` where it is none."""
        name = planned.name
        obstacle = planned.backend.obstacle(name.database, error.message)
        if obstacle is None:
            raise error
        self._display.notice(f"{name.id}: {printable(obstacle.told)}")
        seconds = _LOOK_SECONDS
        while obstacle.is_there():
            if self._ending.wait(seconds):
                raise Interrupted("ended before it was complete") from error
            seconds = min(2 * seconds, _LONGEST_LOOK_SECONDS)
        argv = planned.backend.get_command(name.database)
        return planned if argv is None else planned.by(argv)

    def _store(self, planned: Planned) -> int:
        """Dump one database into its writer, commit it, and return the bytes that were stored."""
        started = utc_now("milliseconds")
        self._display.started(planned.name.id)
        sink = planned.store.open(planned.name)

        def write(piece: memoryview) -> None:
            """Store the next bytes, and show that they came."""
            sink.write(piece)
            self._display.advanced(planned.name.id, len(piece))

        try:
            look = planned.backend.watch(planned.name.database)
            if isinstance(sink, HostSink):
                advanced = partial(self._display.advanced, planned.name.id)
                outcome = sink.run(planned.pipeline, planned.shell, advanced)
            else:
                outcome = self._run(planned, write, sink.look)
            refuse_bad_stream(planned, outcome)
            look()
            manifest = manifest_of(planned, outcome, started)
            sink.commit(manifest, self._signature(planned, manifest))
            for warning in warnings_of(planned, outcome):
                self._display.notice(f"{planned.name.id}: {printable(warning)}")
        except (StageError, ConnectError):
            sink.abort()
            sink.look()  # where it could not be opened after all, that is the cause to tell
            raise
        finally:
            sink.abort()
            self._tell_of_leftovers(planned.name.id, sink)
        return outcome.stored_bytes

    def _tell_of_leftovers(self, name: str, sink: Sink) -> None:
        for leftover in sink.leftovers:
            self._display.notice(f"{name}: removed {leftover}, left by a run that was killed")

    def _run(self, planned: Planned, write: Write, look: Look) -> Outcome:
        """Run the pipeline on its host, and what wraps it on the controller, if anything does."""
        if planned.wrapping is None:
            return planned.pipeline.run(planned.shell, write, None, look)
        outcomes: list[Outcome] = []

        def feed(to_wrappers: Write) -> None:
            """Have the host dump into the wrappers here."""
            outcomes.append(planned.pipeline.run(planned.shell, to_wrappers, None, look))

        wrapped = planned.wrapping.run(self.machines.local, write, feed, look)
        return replace(wrapped, statuses=outcomes[0].statuses + wrapped.statuses, said=outcomes[0].said)

    def _signature(self, planned: Planned, manifest: Manifest) -> bytes | None:
        """Return the detached signature of a manifest, made where the key is; None where nothing is signed."""
        if planned.keys is None or planned.keys.signer is None:
            return None
        stage = Stage("gpg", tuple(planned.keys.signing()), proof=("SIG_CREATED",))
        text, signature = memoryview(manifest.to_json()), bytearray()
        shell = self.machines.local if planned.wrapping else planned.shell
        Pipeline((stage,), fed=True).run(shell, signature.extend, lambda write: write(text))
        return bytes(signature)
