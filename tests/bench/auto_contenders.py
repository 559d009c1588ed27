"""autopostgresqlbackup and automysqlbackup as Debian ships them, but for the path of their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from . import peers
from .compare import Bench
from .contenders import Contender


def autopostgresqlbackup(bench: Bench, name: str, databases: Sequence[str], more: str = "") -> Contender:
    """Return it with Debian's configuration, our server and `databases`, and `more` settings."""
    ours = [
        "SU_USERNAME=",  # su -l would lose what leads to the server
        f"DBHOST={bench.postgres.host}",
        f'DBNAMES="{" ".join(databases)}"',
    ]
    return _contender(bench, "autopostgresqlbackup", name, ours, more, {})


def automysqlbackup(bench: Bench, name: str, database: str, defaults: str, more: str = "") -> Contender:
    """Return it with Debian's configuration, our server and `database`, and `more` settings."""
    ours = [f'DBNAMES="{database}"']
    return _contender(bench, "automysqlbackup", name, ours, more, {"/etc/mysql/debian.cnf": defaults})


def _contender(
    bench: Bench, tool: str, name: str, ours: Sequence[str], more: str, paths: Mapping[str, str]
) -> Contender:
    typed = f"{tool}, of its configuration: {more or 'the default'}"
    if missing := peers.missing(tool) or _twice_today():
        return Contender(name, typed, (), peer=True, missing=missing)
    (directory := bench.top / "peers").mkdir(exist_ok=True)
    settings, script = (directory / f"{name}.{kind}".replace(" ", "_") for kind in ("conf", "bash"))
    shipped = f"etc/default/{tool}"
    last = [f"BACKUPDIR={bench.out}", "MAILCONTENT=stdout", *more.split()]
    settings.write_text("\n".join([_with((peers.CACHE / tool / shipped).read_text(), paths), *ours, *last, ""]))
    script.write_text(_with(peers.unpacked(tool).read_text(), {**paths, f"/{shipped}": str(settings)}))
    return Contender(name, typed, ("bash", str(script)), peer=True)


def _with(text: str, paths: Mapping[str, str]) -> str:
    for shipped, ours in paths.items():
        text = text.replace(shipped, ours)
    return text


def _twice_today() -> str:
    """Say why not to measure on the first of a month: both dump everything twice then."""
    return "it dumps twice on the first of a month" if datetime.now(UTC).astimezone().day == 1 else ""
