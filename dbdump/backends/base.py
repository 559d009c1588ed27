"""What a backend is: a class with `get_db_list()` and `get_command(database)`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

from ..catalog import GLOBALS
from ..errors import RecipeError
from ..findings import Finding
from ..paths import absolute
from ..shell import Asker


def option(*, help: str, default: Any = MISSING, factory: Any = MISSING, repr: bool = True) -> Any:  # noqa: A002  as dataclasses.field has it
    """Declare an option of a backend: its default, or a `factory` of one, and what `invoke backends` says."""
    metadata = {"help": help}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata, repr=repr)
    return field(default=default, metadata=metadata, repr=repr)


def path_on_host(path: str, *, here: bool) -> str:
    """Return a path of an option: relative to where dbdump was started if `here`, else to the account's home."""
    return str(absolute(path)) if here else path.removeprefix("~/")


@dataclass(frozen=True)
class StreamShape:
    """What a whole raw stream looks like: one of `first` at its start, `last` within its last 512 bytes."""

    first: tuple[bytes, ...] = ()
    last: bytes = b""

    def fault(self, first: bytes, end: bytes) -> str | None:
        """Return what is wrong with a stream that begins with `first` and ends with `end`, or None."""
        if not first:
            return "the dump is empty"
        if self.first and not first.startswith(self.first):
            return f"the dump begins with {first[:24]!r}, not as one of these does"
        if self.last not in end:
            return f"the dump does not end with {self.last!r}: it is not complete"
        return None


NOT_EMPTY = StreamShape()


class Reader(NamedTuple):
    """A program that no dump needs, but who reads one back on the machine that runs dbdump: one of `names` will do.

    Without it `lost` is how it is, in words, and `install` is what has it.
    """

    names: Sequence[str]
    lost: str
    install: str


class Obstacle(NamedTuple):
    """What a dump failed by, and need not fail by again: `told` says so to people, and `is_there` as long as it is."""

    told: str
    is_there: Callable[[], bool]


@dataclass(kw_only=True)
class Backend(ABC):
    """One kind of database server.

    A subclass says what to dump with `get_db_list` and `get_command`; all else has a default. Decorated with
    `@backend("name")`, its annotated attributes are its options. For each host `on` makes a copy of an instance.
    """

    su: str | None = option(default=None, help="user that the backend's commands run as")
    include: Sequence[str] = option(default=(), help="globs of the databases to dump; every one when empty")
    exclude: Sequence[str] = option(default=(), help="globs of the databases to leave out")
    check_stream: bool | None = option(
        default=None,
        help="look at the first bytes, end marker and size of the raw stream, for the price of a copy of it",
    )
    env: Mapping[str, str] = option(factory=dict, help="secret variables for its commands", repr=False)

    name: ClassVar[str] = ""
    by_stdio: ClassVar[bool] = False  # whether its commands write as C's stdio does, in pieces that stdbuf can enlarge
    is_file: ClassVar[bool] = False  # whether a database is a file, by its path: no server is needed to restore one
    globals_first: ClassVar[bool] = True  # whether they are restored before the databases, or after them
    hints: ClassVar[Sequence[tuple[str, str]]] = ()  # a pattern of a tool's message, what to do about it
    detail: ClassVar[str] = ""  # a pattern of what belongs to such a message too, in its next line

    @property
    def suffix(self) -> str:
        """What a dump's file name ends with, before the wrappers' suffixes."""
        return ".dump"

    @property
    def stage(self) -> str | None:
        """How errors and the manifest call the dump command; None: by its program's name."""
        return None

    def checks_stream(self, database: str) -> bool:  # noqa: ARG002
        """Return whether the raw stream of `database` is looked at, where the recipe does not say."""
        return False

    @abstractmethod
    def get_db_list(self) -> list[str]:
        """Return the names of the databases. Raises ListError or StageError."""

    @abstractmethod
    def get_command(self, database: str) -> list[str] | None:
        """Return the argv that dumps `database` to stdout, or None to skip it; `Skip` says why."""

    def get_restore_command(self, database: str) -> list[str] | None:  # noqa: ARG002
        """Return the argv that restores `database` from stdin, or None where there is no such command."""
        return None

    def reading(self, suffix: str) -> Self:
        """Return a copy for dumps whose raw stream has that suffix: an older one may be of another format.

        Raises RecipeError where this backend makes no such dumps.
        """
        if suffix not in (self.suffix, ".sql"):
            raise RecipeError(f"{self.name} makes no {suffix} dumps", "Was the recipe's backend changed since?")
        return copy(self)

    def get_check_command(self, database: str) -> list[str] | None:  # noqa: ARG002
        """Return the argv that reads a whole raw dump of `database` from stdin, and exits 0 where it is sound.

        It runs where verify runs, without a server. None: the first and the last bytes are looked at, see `shape_of`.
        """
        return None

    def get_load_command(self, database: str, into: str, jobs: int) -> list[str] | None:  # noqa: ARG002
        """Return the argv that makes `into` of a raw dump of `database` on stdin, with up to `jobs` at once.

        `into` is not there, or has nothing in it. It exits 0 only where all went well. None: there is none.
        """
        return self.get_restore_command(database) if into == database else None

    def get_replacing_command(self, database: str, into: str, jobs: int) -> list[str] | None:  # noqa: ARG002
        """Return an argv like `get_load_command`'s that replaces an `into` that is there, at once, at its end.

        None: it has to be discarded before.
        """
        return None

    def spools(self, database: str, into: str, jobs: int) -> bool:  # noqa: ARG002
        """Return whether `get_load_command` reads all of its stdin before it looks at `into`.

        An `into` that is there is then discarded as late as that.
        """
        return False

    def get_trial_command(self, database: str, into: str, jobs: int) -> list[str] | None:  # noqa: ARG002
        """Return an argv that fails where `get_load_command` could not begin, and changes nothing, or None.

        It runs before anything is dropped.
        """
        return None

    def identity(self, database: str) -> str:  # noqa: ARG002
        """Return a value that changes when `database` is replaced, as a file's number does; empty: nobody can tell."""
        return ""

    def target_of(self, database: str, name: str | None) -> str:
        """Return what a restored `database` is called: `name`, where one is given. Raises UsageError."""
        return name or database

    def contents(self, database: str) -> int | None:
        """Return how many tables `database` has on the host that this is bound to, None where it is not there.

        Raises NotImplementedError where the backend cannot tell.
        """
        raise NotImplementedError

    def let_go(self, database: str) -> None:  # noqa: B027
        """Called before a scratch `database` is discarded: take from it what would keep it from being dropped."""

    def discard(self, database: str) -> None:
        """Drop `database`. Raises NotImplementedError where the backend cannot."""
        raise NotImplementedError

    def count(self, database: str) -> tuple[int, int]:
        """Return how many tables `database` has, and how many rows all of them. Raises NotImplementedError."""
        raise NotImplementedError

    def for_files_here(self) -> Self:
        """Return a copy that restores files on this machine, as whoever runs dbdump; asked where `is_file`."""
        return replace(self, su=None)

    def get_globals_command(self) -> list[str] | None:
        """Return the argv that dumps what belongs to the server, not to one database, or None."""
        return None

    def suffix_of(self, database: str) -> str:
        """Return the suffix for `database`; globals are SQL."""
        return ".sql" if database == GLOBALS else self.suffix

    def shape_of(self, database: str) -> StreamShape:  # noqa: ARG002
        """Return what a whole raw stream of `database` looks like."""
        return NOT_EMPTY

    def environment(self) -> dict[str, str]:
        """Return secret variables for the commands; their values never stand in an argv, a log or a file."""
        return dict(self.env)

    @property
    def hidden_variables(self) -> Sequence[str]:
        """Variables of the caller's that its commands must not see: they would win over what the recipe says."""
        return ()

    @property
    def programs(self) -> Sequence[str]:
        """The programs that have to be on the PATH of the user whom its commands run as."""
        return ()

    @property
    def restorers(self) -> Sequence[str]:
        """The programs that only a restore needs, on the same PATH."""
        return ()

    @property
    def readers(self) -> Sequence[Reader]:
        """The programs that verify and drills run on the machine that runs dbdump; it is asked for unbound."""
        return ()

    def check(self, wanted: Callable[[str], bool]) -> Iterator[Finding]:  # noqa: ARG002
        """Yield what would make the dump of a `wanted` database fail, beside what `get_command` raises.

        It asks and writes nothing; of what is all right, too, it may say so.
        """
        yield from ()

    def versions(self) -> dict[str, str]:
        """Return versions for the manifest, by name: of the tool, and of the server."""
        return {}

    def prepare(self) -> None:  # noqa: B027
        """Called before the list is asked for, once a run; not in a dry run."""

    def watch(self, database: str) -> Callable[[], None]:  # noqa: ARG002
        """Called right before each dump of `database`; what it returns, after that, before it counts as one.

        That raises StageError where something happened meanwhile that makes it no backup, without a word of the tool.
        """
        return lambda: None

    def obstacle(self, database: str, message: str) -> Obstacle | None:  # noqa: ARG002
        """Return what was in the way of a dump that failed with `message`; None: it would fail again.

        Without it the dump begins anew, by the argv that `get_command` returns then. Raises StageError.
        """
        return None

    def prepare_db(self, database: str) -> None:  # noqa: B027
        """Called before `database` is dumped."""

    def cleanup_db(self, database: str) -> None:  # noqa: B027
        """Called after `database` was dumped or failed; always, even when `prepare_db` failed."""

    def cleanup(self) -> None:  # noqa: B027
        """Called after the last database; always, even when `prepare` failed."""

    def on(self, ask: Asker, *, here: bool = True) -> Self:  # noqa: ARG002  for those with paths among their options
        """Return a copy that is bound to a host: `ask` runs a command there; `here` says that it is this machine."""
        bound = copy(self)
        object.__setattr__(bound, "_ask", ask)
        return bound

    def output(self, argv: Sequence[str]) -> bytes:
        """Return what `argv` writes to stdout, run on the host, as `su`, with `environment()`."""
        return self._ask(argv)

    def hint(self, message: str) -> str:
        """Return what to do about a tool's `message`, or an empty string."""
        return next((hint for pattern, hint in self.hints if re.search(pattern, message)), "")

    def _ask(self, argv: Sequence[str]) -> bytes:
        raise RuntimeError(f"{self.name or type(self).__name__} is not bound to a host: cannot run {argv[0]}")
