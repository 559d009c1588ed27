"""The flags of the tasks: what each is called, says and means. Nothing is imported here before a task runs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asked import Asked


@dataclass(frozen=True)
class Flag:
    """One flag: what `--help` says of it, and what it is where nobody gives it.

    None is of one that takes a text, an empty tuple of one that may be repeated, False of a switch.
    """

    help: str
    default: tuple[()] | bool | None = None


FLAGS = {
    "host": Flag("only this host's recipes; a glob, repeatable, or several with commas: --host=db1,db2", ()),
    "recipe": Flag("only recipes of this name; a glob, repeatable: --recipe=shop", ()),
    "tag": Flag("only recipes with this tag; repeatable: --tag=prod", ()),
    "database": Flag("only databases of this name; a glob, repeatable: --database='shop_*'", ()),
    "recipes": Flag("directory of the recipe files; else DBDUMP_RECIPES, else ./recipes: --recipes=/etc/dbdump"),
    "backend": Flag("without a recipe: postgresql, mysql, sqlite or another: --backend=postgresql"),
    "datadir": Flag("directory that dumps are stored under (/var/backups): --datadir=/srv/dumps"),
    "remote": Flag("on another machine; what ssh takes before the command: --remote='-p 2222 me@vault'"),
    "sign": Flag("sign dumps and manifests with this key of GnuPG; verify accepts no other: --sign=dumps@db1"),
    "encrypt": Flag("encrypt for this key; repeatable, each of them can decrypt: --encrypt=ops@example.org", ()),
    "su": Flag("run all SQL commands as this user: --su=postgres"),
    "defaults": Flag("mysql: option file of the clients, passed first: --defaults=/root/dump.cnf"),
    "psql_options": Flag("postgresql: more options for psql: --psql-options='-h /run/pg -p 5433'"),
    "pg_dump_options": Flag("postgresql: more options for pg_dump: --pg-dump-options='--no-owner -n app'"),
    "option": Flag("any other option of the backend; repeatable: --option path=/srv/app.db", ()),
    "jobs": Flag("how many at once; else one for each core: --jobs=4"),
    "here": Flag("run the recipes of any host on this machine: --host=db1 --here", default=False),
    "json": Flag("one JSON document on stdout, as README describes it; all else on stderr: --json", default=False),
    "dry_run": Flag("only say what would be done: --dry-run", default=False),
    "all": Flag("every dump, not only the latest of each database: --all", default=False),
    "latest": Flag("the latest dump of each database, as is done without it: --latest", default=False),
    "restore": Flag("restore each into a scratch database, count, and drop it: the drill: --restore", default=False),
    "to": Flag("restore on this host of the recipes, not on the dump's own: --to=db2, or db2/RECIPE"),
    "at": Flag("which dump: latest, or its stamp: --at=20261122T203000Z"),
    "as_": Flag("restore under this name, or for SQLite as this file: --as=orders_old"),
    "file": Flag("restore from this file, with its manifest beside it: --file=/mnt/20261122T203000Z.pgdump.zst"),
    "force": Flag("drop what is in the way, and restore in its place: --force", default=False),
    "to_stdout": Flag("restore nothing, and write the raw dump to stdout once it is verified", default=False),
    "yes": Flag("do not ask: --yes", default=False),
    "globals": Flag("restore roles or users too, from @globals of the same run: --globals", default=False),
    "max_age": Flag("how old the last good dump may be: 26h, 3d, 90m: --max-age=26h"),
    "nagios": Flag("one line and the exit status as Nagios wants them: --nagios", default=False),
    "prometheus": Flag("write this file for Prometheus' textfile collector: --prometheus=/var/lib/node/dbdump.prom"),
}

SELECTION = ("host", "recipe", "tag", "database", "recipes", "here")
OVERRIDES = ("backend", "datadir", "remote", "sign", "encrypt", "su", "defaults", "psql_options", "pg_dump_options",
             "option")  # fmt: skip


def asked_of(given: Mapping[str, Any]) -> Asked:
    """Return what the flags ask for. Raises UsageError for one that is empty, or makes no sense."""
    from .asked import Asked
    from .overrides import Overrides, positive, refuse_empty, split_options

    flags = {name: flag.default for name, flag in FLAGS.items()} | dict(given)
    free = ("psql_options", "pg_dump_options", "option")  # an empty one says that there are none
    refuse_empty({
        "--" + name.strip("_").replace("_", "-"): value for name, value in flags.items() if name not in free
    })  # fmt: skip
    named = ("su", "defaults", "psql_options", "pg_dump_options")
    options = {name: [flags[name]] for name in named if flags[name] is not None}
    overrides = Overrides(
        flags["datadir"], options | split_options(flags["option"]), flags["remote"], flags["sign"], flags["encrypt"]
    )
    return Asked(
        flags["host"], flags["recipe"], flags["tag"], flags["database"], flags["recipes"], flags["backend"],
        overrides, positive("--jobs", flags["jobs"]) or os.cpu_count() or 1, flags["here"], flags["json"],
    )  # fmt: skip


def told_usage(error: str, words: Sequence[str], tasks: Collection[str]) -> tuple[str, str]:
    """Return what invoke's parser says of `words`, of which the first may be one of `tasks`, and a hint."""
    message = re.sub(r"^Flag <Argument: ([\w-]+).*", r"--\1 needs a value", error)
    if not words or words[0] not in tasks:
        return message, "dbdump --list has the tasks, and dbdump TASK --help has their flags."
    return message, f"dbdump {words[0]} --help has its flags; a database is named with --database=NAME."


def as_invoke_spells(argv: Sequence[str]) -> list[str]:
    """Return `argv` as invoke takes it, where a flag may come without a task, and one has two spellings.

    `dbdump --backend=…` means `dbdump dump --backend=…`, and --pg_dump-options is --pg-dump-options.
    """
    words = [
        "--pg-dump-options" + word.removeprefix("--pg_dump-options")
        if word.partition("=")[0] == "--pg_dump-options"
        else word
        for word in argv
    ]
    flags = {"--" + name.replace("_", "-") for name in (*SELECTION, *OVERRIDES, "jobs", "json", "dry_run")}
    if words and words[0].partition("=")[0] in flags:
        words.insert(0, "dump")
    return words
