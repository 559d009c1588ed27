"""Run a pipeline on a host: pump and hash its bytes, and judge every exit status."""

from __future__ import annotations

import hashlib
import re
import secrets
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePath

from .errors import ConnectionLost, Interrupted, StageError
from .host import PIPE_BYTES
from .redact import redact
from .script import SIGPIPE_STATUS, Said, Stage, render
from .shell import Asker, Running, Shell, Stalled

ANSWER_TIMEOUT = 120.0  # seconds without a byte, for a command that only answers a question
_LONGEST_ANSWER = 64 << 20  # bytes: the names of a million databases fit
_LOOK = 1.0  # seconds without a byte after which it is looked whether anybody still waits for one


@dataclass(frozen=True)
class Outcome:
    """What a pipeline that succeeded gave: its bytes' count and SHA-256, exit statuses, what it said."""

    stored_bytes: int
    sha256: str
    statuses: tuple[int, ...]
    said: Said


@dataclass(frozen=True)
class Ended:
    """A pipeline that has ended, well or not: its bytes' count and SHA-256, the script's exit status, what it said.

    `cut` says that the first stage did not take all that it was fed.
    """

    size: int
    sha256: str
    exit_status: int
    said: Said
    cut: bool


Write = Callable[[memoryview], object]
Look = Callable[[], object]


class Feeder(threading.Thread):
    """Feeds a running script while somebody else reads what it makes of it."""

    def __init__(self, running: Running, feed: Callable[[Write], object], timeout: float) -> None:
        super().__init__(name="feeder")
        self._running = running
        self._feed = feed
        self._timeout = timeout
        self.error: BaseException | None = None
        self.cut = False
        self.pieces = 0
        self.start()

    def run(self) -> None:
        """Feed it to the end, and say so by end-of-file; what went wrong is in `error`."""
        try:
            self._feed(self._write)
        except (OSError, Stalled):
            self.cut = True  # it reads no more; mostly its exit status says why
        except BaseException as error:  # noqa: BLE001  raised where the dump is
            self.error = error
        self._running.hang_up()

    def _write(self, piece: memoryview) -> None:
        self.pieces += 1
        self._running.write(piece, self._timeout)


@dataclass(frozen=True)
class Pipeline:
    """Stages that run as one script on a host.

    `values` holds the secrets that the stages name; `stall_timeout` is in seconds; `check_stream` has the
    raw stream looked at on its way. With `fed` the first stage reads what `run` is given to feed it.
    """

    stages: tuple[Stage, ...]
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    stall_timeout: float = ANSWER_TIMEOUT
    check_stream: bool = False
    fed: bool = False

    def script(self, token: str) -> str:
        """Return the sh script that runs it."""
        return render(self.stages, token, check_stream=self.check_stream, fed=self.fed)

    def run(
        self, shell: Shell, write: Write, feed: Callable[[Write], object] | None = None, look: Look | None = None
    ) -> Outcome:
        """Run on `shell` and hand every byte to `write`, in order; return when every stage exited 0.

        Raises StageError that names the stage to blame, Interrupted when the shell was ended meanwhile,
        and whatever `write` raises. Nothing of the pipeline is left running in any case. `feed` is called with
        what takes the bytes for the first stage; where it raises, that is the error. So it is for `look`, which
        is called again and again while no byte comes.
        """
        ended = self.pump(shell, write, feed, look)
        self.judge(ended)
        statuses = ended.said.statuses
        return Outcome(ended.size, ended.sha256, tuple(statuses[i] for i in self._indices), ended.said)

    def pump(
        self, shell: Shell, write: Write, feed: Callable[[Write], object] | None = None, look: Look | None = None
    ) -> Ended:
        """Do what `run` does, and return how it ended, whatever its exit statuses."""
        said = Said(token := secrets.token_hex(8))
        running = shell.start(self.script(token), [self.values[name] for name in self._secrets], said)
        digest, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(PIPE_BYTES))
        exit_status = -1
        feeder = Feeder(running, feed, self.stall_timeout) if feed else None
        try:
            while count := self._read(running, buffer, feeder, said, look):
                digest.update(buffer[:count])
                write(buffer[:count])
                size += count
            exit_status = running.wait()
        except Stalled:
            raise self._stall(said) from None
        except ConnectionLost:
            if not (shell.ended or self._in_vain(said)):  # who ends all that is left there loses it, too
                raise
        finally:
            running.end()
            if feeder:
                feeder.join()
        if shell.ended:
            raise Interrupted("ended before it was complete")
        if feeder and feeder.error:
            raise feeder.error
        return Ended(size, digest.hexdigest(), exit_status, said, bool(feeder and feeder.cut))

    def _read(self, running: Running, buffer: memoryview, feeder: Feeder | None, said: Said, look: Look | None) -> int:
        """Read the next bytes. Raises Stalled where none come, and the feeder gets none rid of either.

        A stage that waits, for a lock perhaps, and whose reader has failed meanwhile, is ended at once.
        """
        step, waited = min(_LOOK, self.stall_timeout), 0.0
        seen = said.heard, feeder.pieces if feeder else 0
        while True:
            try:
                return running.read_into(buffer, step)
            except Stalled:
                if look is not None:
                    look()
                before, seen = seen, (said.heard, feeder.pieces if feeder else 0)
                waited = waited + step if seen == before else 0.0
                if waited >= self.stall_timeout:
                    raise
                if not self.fed and self._in_vain(said):
                    running.hang_up()

    def _in_vain(self, said: Said) -> bool:
        """Whether whatever still runs has nobody left to write to, because that has failed."""
        told = self._in_order(said)
        waiting = [index for index, status in enumerate(told) if status is None]
        failed = [index for index, status in enumerate(told) if status]
        return bool(waiting and failed) and max(waiting) < min(failed)

    def _in_order(self, said: Said) -> list[int | None]:
        """Return the exit statuses in the order of the bytes: what looks at the raw stream is after the first stage."""
        told = [said.statuses.get(index) for index in self._indices]
        return [told[0], said.check, *told[1:]] if self.check_stream else told

    def answer(self, shell: Shell) -> bytes:
        """Run on `shell` and return all it wrote; for commands that answer a question."""
        answer = bytearray()

        def add(piece: memoryview) -> None:
            """Take the next bytes of the answer. Raises StageError for one that is far too long."""
            answer.extend(piece)
            if len(answer) > _LONGEST_ANSWER:
                raise StageError(self.stages[0].name, f"answered more than {_LONGEST_ANSWER} bytes")

        self.run(shell, add)
        return bytes(answer)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return self.stages[0].secrets

    @property
    def _indices(self) -> range:
        return range(len(self.stages))

    def _stall(self, said: Said) -> StageError:
        told = self._cause(said, self.stages[0])
        return StageError(
            self.stages[0].name,
            f"no byte for {self.stall_timeout:g} s, ended as stalled{': ' + told if told else ''}",
            "A lock, a stopped process or a stuck disk; if the server is only slow, raise stall_timeout.",
        )

    def judge(self, ended: Ended) -> None:
        """Raise StageError that names the stage to blame, unless all went well."""
        exit_status, said = ended.exit_status, ended.said
        for stage in self.stages if exit_status == 0 else ():
            if said.statuses.get(self.stages.index(stage)) == 0 and (missing := set(stage.proof) - said.status_words):
                raise StageError(stage.name, f"exited 0 without {', '.join(sorted(missing))}", "Try it by hand.")
        index = to_blame(self._in_order(said))
        if self.check_stream and index:
            if index == 1:
                text, hint = describe(said.check, "tee")
                raise StageError("check", f"{text}, between {self.stages[0].name} and what is stored", hint)
            index -= 1
        if index is None and exit_status == 0:
            if self.check_stream and said.raw_bytes is None:
                raise StageError("check", "exited 0, and did not say what it has seen", "Try perl, and tee, by hand.")
            if ended.cut:
                raise StageError(self.stages[0].name, "exited 0 before it had read all of the dump")
            return
        raise self.blame(ended, index)

    def blame(self, ended: Ended, index: int | None) -> StageError:
        """Return the error that names the stage at `index`, or the script itself."""
        stage = self.stages[index or 0]
        status = ended.exit_status if index is None else ended.said.statuses.get(index)
        text, hint = describe(status, stage.argv[0])
        told = self._cause(ended.said, stage)
        return StageError(stage.name, f"{text}: {told}" if told else text, hint)

    def _cause(self, said: Said, stage: Stage) -> str:
        told = cause(said.messages, PurePath(stage.argv[0]).name, stage.detail)
        return redact(told, self.values.values())[:_LONGEST_CAUSE]


def asker(shell: Shell) -> Asker:
    """Return what runs an argv on `shell`, as the user that it is of, and gives its stdout."""
    return lambda argv: Pipeline((Stage(PurePath(argv[0]).name, tuple(argv)),)).answer(shell)


def to_blame(statuses: Sequence[int | None]) -> int | None:
    """Return the index of the stage that caused a failure, or None where all exited 0.

    It is the right-most one that failed other than by SIGPIPE: a stage that ends early takes those before
    it along. A status of None is a stage that ended without telling one.
    """
    failed = [index for index, status in enumerate(statuses) if status != 0]
    causes = [index for index in failed if statuses[index] != SIGPIPE_STATUS]
    return max(causes or failed, default=None)


def describe(status: int | None, program: str) -> tuple[str, str]:
    """Return an exit status of a shell's command in words, and a hint where there is one."""
    match status:
        case None:
            return "was killed before it could tell its exit status", ""
        case 126 | 127:
            word = "not found" if status == 127 else "cannot be run"  # noqa: PLR2004  POSIX 2.8.2
            return f"{program}: {word}", f"Install {program} on that host, or add its directory to PATH."
        case _ if status < 0 or 128 < status < 128 + signal.NSIG:  # noqa: PLR2004  as above; ssh itself ends with 255
            number = -status if status < 0 else status - 128
            names = {each.value: each.name for each in signal.Signals}
            return f"killed by {names.get(number, f'signal {number}')}", ""
        case _:
            return f"exit status {status}", ""


_DETAIL = re.compile(r"(?:[\w-]+: )?detail: *(.*)", re.IGNORECASE)
_LONGEST_CAUSE = 500  # characters of a line for people
_TROUBLE = re.compile(r"error|fatal|denied|fail|cannot|could not|unable|no such|not found", re.IGNORECASE)


def cause(messages: Sequence[str], program: str, detail: str = "") -> str:
    """Return the line of `messages` that says what went wrong, and its detail where the next line has one.

    It is the first that speaks of trouble, or that `program` begins with its name, or else the last few; how the
    program is used is no cause. A detail is what follows that word, or what the pattern `detail` matches.
    """
    troubles = (index for index, line in enumerate(messages) if _TROUBLE.search(line))
    named = (index for index, line in enumerate(messages) if line.startswith(f"{program}: "))
    index = next(chain(troubles, named), None)
    if index is None:
        usage = next((index for index, line in enumerate(messages) if line.lower().startswith("usage:")), None)
        return "; ".join(messages[:usage][-3:] or messages[:1])
    following = "".join(messages[index + 1 : index + 2])
    match = _DETAIL.match(following) or re.search(f"({detail})", following)
    return "; ".join(filter(None, [messages[index], match and match[1]]))
