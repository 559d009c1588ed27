"""The operator's tasks: read flags, call, exit. Also the `dbdump` console command.

Nothing but invoke is imported at first: `invoke --list` and shell completion wait for this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any

from invoke import Collection, Context, Exit, ParseError, Program, task

_SELECTION = {
    "host": "only this host's recipes; a glob, repeatable, or several with commas: --host=db1,db2",
    "recipe": "only recipes of this name; a glob, repeatable: --recipe=shop",
    "tag": "only recipes with this tag; repeatable: --tag=prod",
    "database": "only databases of this name; a glob, repeatable: --database='shop_*'",
    "recipes": "directory of the recipe files; else DBDUMP_RECIPES, else ./recipes: --recipes=/etc/dbdump",
}
_OVERRIDES = {
    "backend": "without a recipe: what to dump; postgresql, mysql, sqlite or another: --backend=postgresql",
    "datadir": "directory that dumps are stored under (/var/backups): --datadir=/srv/dumps",
    "remote": "store on another machine; what ssh takes before the command: --remote='-p 2222 me@vault'",
    "sign": "sign dumps and manifests with this key of GnuPG: --sign=dumps@db1",
    "encrypt": "encrypt for this key; repeatable, each of them can decrypt: --encrypt=ops@example.org",
    "su": "run all SQL commands as this user: --su=postgres",
    "defaults": "mysql: option file of the clients, passed first: --defaults=/root/dump.cnf",
    "psql_options": "postgresql: more options for psql: --psql-options='-h /run/pg -p 5433'",
    "pg_dump_options": "postgresql: more options for pg_dump: --pg-dump-options='--no-owner -n app'",
    "option": "any other option of the backend; repeatable: --option path=/srv/app.db",
}
_RUNNING = {
    "jobs": "databases dumped at once; else one for each core: --jobs=4",
    "here": "run the recipes of any host on this machine: --host=db1 --here",
    "dry_run": "print the script of each dump, secrets masked, and dump nothing: --dry-run",
}


_connections: list[tuple[str, Callable[[list[str]], int]]] = []  # of `fab -H`: each host, and its dump


@task(auto_shortflags=False)
def dump_connections(_: Context) -> None:
    """Dump the hosts of `fab -H`, all at once: it calls the task for one after the other, and then this."""
    if _connections:
        dump_hosts = _connections[-1][1]
        _finish(lambda: dump_hosts([host for host, _ in _connections]))


@task(
    iterable=["host", "recipe", "tag", "database", "encrypt", "option"],
    help=_SELECTION | _OVERRIDES | _RUNNING,
    auto_shortflags=False,
    post=[dump_connections],
)
def dump(  # noqa: PLR0913  a flag each
    context: Context,
    host: Sequence[str] | None = None,
    recipe: Sequence[str] | None = None,
    tag: Sequence[str] | None = None,
    database: Sequence[str] | None = None,
    recipes: str | None = None,
    backend: str | None = None,
    datadir: str | None = None,
    remote: str | None = None,
    sign: str | None = None,
    encrypt: Sequence[str] | None = None,
    su: str | None = None,
    defaults: str | None = None,
    psql_options: str | None = None,
    pg_dump_options: str | None = None,
    option: Sequence[str] | None = None,
    jobs: str | None = None,
    here: bool = False,
    dry_run: bool = False,
) -> None:
    """Dump databases: those of the recipes, or with --backend those that flags name.

    Without --host, the recipes of every host. Flags win over what a recipe says.

    Exit status: 0 all stored; 1 at least one dump failed, the others were still made;
    2 recipe or usage error; 3 nothing matched; 130 interrupted (128 + the signal).
    """

    def work(hosts: list[str]) -> int:
        from . import workflow
        from .options import Overrides, positive, refuse_empty, split_options

        refuse_empty({
            "--host": host, "--recipe": recipe, "--tag": tag, "--database": database, "--recipes": recipes,
            "--backend": backend, "--datadir": datadir, "--remote": remote, "--sign": sign, "--encrypt": encrypt,
            "--su": su, "--defaults": defaults,
        })  # fmt: skip

        named = {
            "su": su, "defaults": defaults,
            "psql_options": psql_options, "pg_dump_options": pg_dump_options,
        }  # fmt: skip
        options = {name: [value] for name, value in named.items() if value is not None}
        asked = workflow.Asked(
            hosts,
            recipe or (),
            tag or (),
            database or (),
            recipes,
            backend,
            Overrides(datadir, options | split_options(option or ()), remote, sign, encrypt or ()),
            positive("--jobs", jobs) or os.cpu_count() or 1,
            here,
        )
        return workflow.show_dry_run(asked) if dry_run else workflow.dump(asked)

    if connected := getattr(context, "original_host", None):  # under `fab -H`
        _connections.append((connected, work))
    else:
        _finish(lambda: work([name for each in host or () for name in each.split(",") if name]))


@task(help={"recipes": _SELECTION["recipes"]}, auto_shortflags=False)
def recipes(_: Context, recipes: str | None = None) -> None:
    """List hosts, recipes, tags, and what each recipe is for."""

    def work() -> int:
        from . import workflow

        return workflow.show_recipes(recipes)

    _finish(work)


@task(help={"recipes": _SELECTION["recipes"]}, auto_shortflags=False)
def backends(_: Context, recipes: str | None = None) -> None:
    """List backends, built in and plugged in, with their options."""

    def work() -> int:
        from . import workflow

        return workflow.show_backends(recipes)

    _finish(work)


def _finish(work: Callable[[], int]) -> None:
    """Do `work` and end the program with its exit status; an operator's error is a line, not a traceback."""
    from .errors import DbdumpError
    from .workflow import complain

    _prepare_standard_streams()
    try:
        code = work()
    except DbdumpError as error:
        code = complain(error)
    except KeyboardInterrupt:
        code = 130
    if code:
        raise Exit(code=code)


def _prepare_standard_streams() -> None:
    """Open what cron may have closed, or the next file that is opened becomes stdin or stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this locale cannot show


class _Console(Program):
    """invoke's program, with 2 for a usage error, as the tasks themselves have it."""

    def parse_core(self, argv: list[str] | None) -> None:
        self._usage(super().parse_core, argv)

    def parse_tasks(self) -> None:
        self._usage(super().parse_tasks)

    @staticmethod
    def _usage(parse: Callable[..., None], *arguments: Any) -> None:
        try:
            parse(*arguments)
        except ParseError as error:
            print(f"dbdump: {error}", file=sys.stderr)  # noqa: T201
            raise Exit(code=2) from None


def original_spelling(argv: Sequence[str]) -> list[str]:
    """Return `argv` with what the original program took put as invoke takes it.

    `dbdump --backend=…` means `dbdump dump --backend=…`, and --pg_dump-options is --pg-dump-options.
    """
    words = [
        "--pg-dump-options" + word.removeprefix("--pg_dump-options")
        if word.partition("=")[0] == "--pg_dump-options"
        else word
        for word in argv
    ]
    flags = {"--" + name.replace("_", "-") for name in _SELECTION | _OVERRIDES | _RUNNING}
    if words and words[0].partition("=")[0] in flags:
        words.insert(0, "dump")
    return words


def main() -> None:
    """Run the `dbdump` console command."""
    from . import __version__

    program = _Console(namespace=Collection(dump, recipes, backends), name="dbdump", version=__version__)
    program.run(["dbdump", *original_spelling(sys.argv[1:])])
