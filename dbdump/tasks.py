"""The operator's tasks: read flags, call, exit. Also the `dbdump` console command.

Nothing but invoke is imported at first: `invoke --list` and shell completion wait for this module.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from invoke import Argument, Collection, Config, Context, Exit, ParseError, Program, Task, task

from .flags import FLAGS, OVERRIDES, SELECTION, as_invoke_spells, asked_of, told_usage

if TYPE_CHECKING:
    from .asked import Asked

_connections: list[tuple[str, Callable[[list[str]], None]]] = []  # of `fab -H`: each host, and its dump


def _flagged(*names: str, name: str | None = None, post: Sequence[Task[Any]] = ()) -> Callable[..., Task[Any]]:
    """Make a task of a function of what is asked for, with the flags `names`, and those that are its parameters.

    With `post` the hosts of `fab -H` are gathered for what comes after the last of them.
    """

    def declare(body: Callable[..., int]) -> Task[Any]:
        """Return the task whose flags are those names and the parameters of `body` after its first."""
        _, *alone = inspect.signature(body).parameters
        flags = [*names, *alone]

        def run(context: Context, **given: Any) -> None:
            """Ask `body` for what was given, now or, under `fab -H`, after the last host."""

            def work(hosts: list[str]) -> None:
                """Ask for these hosts, and end the program with the exit status, unless that is 0. Raises Exit."""
                own = {each: given[each] for each in alone}

                def ask() -> int:
                    """Call it. Raises UsageError for flags that make no sense."""
                    _refuse_flags_of_others(context, given)
                    return body(asked_of({**given, "host": hosts}), **own)

                _finish(ask, body.__name__.strip("_"), given)

            hosts = [word for each in given["host"] or () for word in [*filter(None, each.split(","))] or [""]]
            connected = getattr(context, "original_host", None)  # under `fab -H`
            if connected and post:
                _connections.append((connected, work))
            else:
                work([connected] if connected else hosts)

        run.__doc__, run.__name__ = body.__doc__, body.__name__
        run.__signature__ = _signature(flags)  # type: ignore[attr-defined]  # invoke makes flags of parameters
        return Task(
            run, name=name, auto_shortflags=False,
            post=tuple(post),  # type: ignore[arg-type]  # invoke's own decorator gives it tasks as well
            iterable=[each for each in flags if FLAGS[each].default == ()],
            help={each.strip("_"): FLAGS[each].help for each in flags},
        )  # fmt: skip

    return declare


def _refuse_flags_of_others(context: Context, given: Mapping[str, Any]) -> None:
    """Raise UsageError for invoke's own --dry, or -R, which does nothing here, and for fab's -H beside our --host."""
    from .errors import UsageError

    if given["host"] and hasattr(context, "original_host"):
        raise UsageError("fab -H and --host both name hosts", "Name them by one of the two.")
    if context.config.run.dry:  # it is of commands that `context` runs, and here none does
        raise UsageError("--dry is invoke's own, and keeps nothing from being done here", "Say --dry-run.")


def _signature(flags: Sequence[str]) -> inspect.Signature:
    """Return the parameters that invoke makes `flags` of; to it a list is a None that is iterable."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults = {each: False if FLAGS[each].default is False else None for each in flags}
    parameters = [inspect.Parameter(each, kind, default=default) for each, default in defaults.items()]
    return inspect.Signature([inspect.Parameter("context", kind), *parameters])


@task(auto_shortflags=False)
def dump_connections(_: Context) -> None:
    """Dump the hosts of `fab -H`, all at once: it calls the task for one after the other, and then this."""
    if _connections:
        dump_hosts = _connections[-1][1]
        dump_hosts([host for host, _ in _connections])


@_flagged(*SELECTION, *OVERRIDES, "jobs", "json", post=[dump_connections])
def dump(asked: Asked, dry_run: bool) -> int:
    """Dump databases: those of the recipes, or with --backend those that flags name.

    Without --host, the recipes of every host. Flags win over what a recipe says. With --dry-run the script of
    each dump is printed, secrets masked.

    Exit status: 0 all stored; 1 at least one dump failed, the others were still made;
    2 recipe or usage error; 3 nothing matched; 75 locked, another run is at it;
    130 interrupted (128 + the signal).
    """
    from .dump import dump, show_dry_run

    return show_dry_run(asked) if dry_run else dump(asked)


@_flagged(*SELECTION, *OVERRIDES, "json", name="list")
def list_(asked: Asked) -> int:
    """List the dumps that are stored, the newest first, and what is there and is no dump."""
    from .list import show_list

    return show_list(asked)


@_flagged(*SELECTION, *OVERRIDES, "jobs", "json")
def verify(asked: Asked, all: bool, latest: bool, restore: bool, to: str | None) -> int:
    """Read dumps back from where they are stored, and see that they are whole, genuine, and can be restored.

    Exit status: 0 all good; 4 a dump is missing or fails; 1 one could not be looked at; else as dump.
    """
    from .errors import UsageError
    from .verify import verify

    if all and latest:
        raise UsageError("--all and --latest", "Leave one of them out.")
    return verify(asked, every=all, drill=restore, to=to)


@_flagged(*SELECTION, *OVERRIDES, "jobs")
def restore(
    asked: Asked,
    at: str | None,
    to: str | None,
    as_: str | None,
    file: str | None,
    force: bool,
    to_stdout: bool,
    yes: bool,
    globals: bool,
) -> int:
    """Restore one database: its dump is verified first, all of it, and then loaded.

    What is in the way is left alone, unless --force is given. Exit status: 0 restored; 4 the dump is missing or
    bad, nothing was touched; 1 restoring failed, and what is left is said; else as dump.
    """
    from .restore import Wanted, restore

    return restore(asked, Wanted(at, to, as_, file, force, to_stdout, yes, globals))


@_flagged(*SELECTION, *OVERRIDES)
def prune(asked: Asked, dry_run: bool) -> int:
    """Delete the dumps that no rule of their recipe's `keep` keeps; what goes is printed before it goes."""
    from .prune import prune

    return prune(asked, dry_run=dry_run)


@_flagged(*SELECTION, *OVERRIDES, "json")
def status(asked: Asked, max_age: str | None, nagios: bool, prometheus: str | None) -> int:
    """Say of each database how old its last good dump is, and whether that is all right.

    Exit status: 0 all are; 4 a dump is missing, stale, shrunken or failed; with --nagios those of Nagios.
    """
    from .status import status

    return status(asked, max_age, nagios=nagios, prometheus=prometheus)


@_flagged(*SELECTION, *OVERRIDES, "json")
def check(asked: Asked) -> int:
    """Look for all that would make a dump fail: tools, login, rights, keys, machines, space. Nothing is written."""
    from .check import check

    return check(asked)


@task(help={"recipes": FLAGS["recipes"].help}, auto_shortflags=False)
def recipes(_: Context, recipes: str | None = None) -> None:
    """List hosts, recipes, tags, and what each recipe is for."""

    def work() -> int:
        from .inventory import show_recipes

        return show_recipes(recipes)

    _finish(work)


@task(help={"recipes": FLAGS["recipes"].help}, auto_shortflags=False)
def backends(_: Context, recipes: str | None = None) -> None:
    """List backends, built in and plugged in, with their options."""

    def work() -> int:
        from .inventory import show_backends

        return show_backends(recipes)

    _finish(work)


TASKS = (dump, list_, verify, restore, prune, status, check, recipes, backends)


def _finish(work: Callable[[], int], command: str = "", given: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Do `work` and end the program with its exit status; an operator's error is a line, not a traceback.

    `given` are the flags of `command`: what --json or --nagios promise of stdout holds for an error too.
    """
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)  # invoke sets it: each start would compile it all
    from .ending import bug_for_nagios, complain
    from .errors import DbdumpError

    _prepare_standard_streams()
    try:
        code = work()
    except DbdumpError as error:
        code = complain(error, command, as_json=given.get("json", False), nagios=given.get("nagios", False))
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if not given.get("nagios"):
            raise
        code = bug_for_nagios(error)
    if code:
        raise Exit(code=code)


def _prepare_standard_streams() -> None:
    """Open what cron may have closed, or the next file that is opened becomes stdin or stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this locale cannot show


_CORE = {"complete", "debug", "help", "list", "list-depth", "list-format", "print-completion-script", "version",
         "write-pyc"}  # fmt: skip


class _Console(Program):
    """invoke's program, with 2 for a usage error, as the tasks themselves have it.

    Of its own flags it has those that say something of the tasks; the others are of commands that invoke runs.
    """

    def create_config(self) -> None:
        self.config = Config(lazy=True)  # of no files: the user may be one who cannot read those in HOME

    def core_args(self) -> list[Argument]:
        return [each for each in super().core_args() if each.name in _CORE]

    def update_config(self, merge: bool = True) -> None:
        if merge:
            self.config.merge()

    def parse_core(self, argv: list[str] | None) -> None:
        self._usage(super().parse_core, argv)

    def parse_tasks(self) -> None:
        self._usage(super().parse_tasks)
        if self.tasks and self.args["list"].got_value:
            self._usage(_refuse_list)

    @staticmethod
    def _usage(parse: Callable[..., None], *arguments: Any) -> None:
        try:
            parse(*arguments)
        except ParseError as error:
            from .ending import complain
            from .errors import UsageError

            words = as_invoke_spells(sys.argv[1:])
            asked = {"as_json": "--json" in words, "nagios": "--nagios" in words}
            told = told_usage(str(error), words, [str(each.name) for each in TASKS])
            raise Exit(code=complain(UsageError(*told), words[0], **asked)) from None


def _refuse_list() -> None:
    """Raise ParseError: with --list after it, a task is not done."""
    raise ParseError("--list, or -l, lists the tasks: leave out the task's name")


def main() -> None:
    """Run the `dbdump` console command."""
    from . import __version__

    program = _Console(namespace=Collection(*TASKS), name="dbdump", version=__version__)
    program.run(["dbdump", *as_invoke_spells(sys.argv[1:])])
