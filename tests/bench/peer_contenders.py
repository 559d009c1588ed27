"""The other tools as contenders, each in its documented default and in its fastest setting that still compresses."""

from __future__ import annotations

from collections.abc import Sequence

from .auto_contenders import automysqlbackup, autopostgresqlbackup
from .borg_contenders import borgmatic
from .compare import Bench
from .contenders import Contender
from .django_contenders import dbbackup
from .peers import missing
from .workload import LARGE


def on_postgres(bench: Bench, databases: Sequence[str], *, again: bool = True) -> tuple[Contender, ...]:
    """Return those that dump PostgreSQL; with `again` borg as well where it has all chunks already."""
    connection = {"ENGINE": "django.db.backends.postgresql", "HOST": bench.postgres.host, "USER": "postgres"}

    def borg(name: str, kept: str, **how: str) -> Contender:
        # No hostname: PGHOST leads there. borgmatic makes a path of it, and of a socket's directory one that hangs.
        return borgmatic(bench, name, [f"{{name: {each}, username: postgres{kept}}}" for each in databases], **how)

    fast = {"compression": "zstd,3", "encryption": "none"}
    return (
        autopostgresqlbackup(bench, "autopostgresqlbackup", databases),
        autopostgresqlbackup(bench, "autopostgresqlbackup, tuned", databases, "COMP=none EXT=sql.gz OPT=--compress=1"),
        borg("borgmatic", ""),
        borg("borgmatic, tuned", ", options: '--compress=0'", **fast),
        *([borg("borgmatic, tuned, 2nd archive", ", options: '--compress=0'", **fast, again="yes")] if again else ()),
        dbbackup(bench, "django-dbbackup", databases, connection),
        dbbackup(bench, "django-dbbackup, tuned", databases, connection, connector={"DUMP_SUFFIX": "--compress=1"}),
    )


def on_mariadb(bench: Bench, defaults: str) -> tuple[Contender, ...]:
    """Return those that dump MariaDB; `defaults` is the option file that leads there."""
    connection = {"ENGINE": "django.db.backends.mysql", "USER": "root"}

    def borg(name: str, **how: str) -> Contender:
        return borgmatic(bench, name, [f"{{name: {LARGE}, username: root}}"], kind="mysql_databases", **how)

    fast = {"compression": "zstd,3", "encryption": "none"}
    return (
        automysqlbackup(bench, "automysqlbackup", LARGE, defaults),
        automysqlbackup(bench, "automysqlbackup, tuned", LARGE, defaults, "COMPDIRECT=yes"),
        _mydumper(bench, "mydumper", defaults),
        _mydumper(bench, "mydumper --compress", defaults, "--compress"),
        _mydumper(bench, "mydumper, tuned", defaults, "--compress", "--rows=250000"),
        borg("borgmatic"),
        borg("borgmatic, tuned", **fast),
        borg("borgmatic, tuned, 2nd archive", **fast, again="yes"),
        dbbackup(bench, "django-dbbackup", [LARGE], connection),
        dbbackup(bench, "django-dbbackup --compress", [LARGE], connection, "--compress"),
    )


def _mydumper(bench: Bench, name: str, defaults: str, *flags: str) -> Contender:
    words = ("mydumper", f"--database={LARGE}", f"--outputdir={bench.out}/dump", *flags)
    return Contender(name, " ".join(words), (*words, f"--defaults-file={defaults}"), peer=True,
                     missing=missing("mydumper"))  # fmt: skip
