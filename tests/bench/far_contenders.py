"""The command lines that are measured on their way to other machines, and on many of them at once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .borg_contenders import borgmatic
from .compare import Bench
from .contenders import Contender, console, dbdump, line
from .far import Far
from .workload import SMALL, query

TRANSPORTS = ("fabric", "openssh")

_STORING = """\
from dbdump import GPG, Dump, PostgreSQL, Remote, Zstd, localhost, recipe

@recipe(localhost)
def {transport}(_):
    return Dump(PostgreSQL(), wrap=[Zstd(), GPG(sign={key!r}, encrypt=[{key!r}])],
                to=Remote({remote!r}, {out!r}, transport={transport!r}))
"""
_HOSTS = """\
from dbdump import Directory, Dump, Host, PostgreSQL, Site, Zstd
from recipes.stream_recipe import Stream

REMOTES = {remotes!r}
farm = Site([Host(f"web{{n:02}}", ssh=remote, transport={transport!r}) for n, remote in enumerate(REMOTES)],
            to=Directory({out!r}))

@farm.recipe(tags=["databases"])
def shop_{transport}(host):
    return Dump(PostgreSQL({server}), wrap=[Zstd()])

@farm.recipe(tags=["streams"])
def stream_{transport}(host):
    return Dump(Stream(), wrap=[])
"""


def put_recipes(recipes: Path, out: Path, far: Far, server: str) -> None:
    """Write recipes, by transport, that store on another machine, and that dump on each of many.

    `server` are the arguments of PostgreSQL that lead those machines to the server.
    """
    for each in TRANSPORTS:
        told = {"transport": each, "out": str(out)}
        (recipes / f"storing_{each}.py").write_text(_STORING.format(key=far.key, remote=far.remotes[0], **told))
        (recipes / f"hosts_{each}.py").write_text(_HOSTS.format(remotes=far.remotes, server=server, **told))


def encrypted(out: Path, recipes: Path, far: Far, database: str) -> tuple[Contender, ...]:
    """Return the line written by hand, and dbdump over each transport: signed, encrypted and sent away."""
    return (
        line("by hand", _by_hand(out, far, database)),
        *(
            _ours(recipes, f"dbdump, {each}", f"--host=localhost --recipe={each} --database={database}")
            for each in TRANSPORTS
        ),
    )


def borg(bench: Bench, database: str) -> tuple[Contender, ...]:
    """Return borgmatic with a repository on the same machine, encrypted and authenticated by borg."""
    remote = bench.far.remotes[0]
    default, tuned = (f"{{name: {database}, username: postgres{more}}}" for more in ("", ", options: '--compress=0'"))
    return (
        borgmatic(bench, "borgmatic", [default], ssh=remote),
        borgmatic(bench, "borgmatic, tuned", [tuned], compression="zstd,3", ssh=remote),
    )


def small(out: Path, far: Far) -> tuple[Contender, ...]:
    """Return the same line in a loop over many small databases, four at once, and dbdump with flags alone.

    The four share one connection, which is the best that is written by hand.
    """
    listed = f'psql -At -c "{query(SMALL)}" postgres'
    flags = (f"--sign={far.key}", f"--encrypt={far.key}", f"--remote={far.remotes[0]}", f"--database={SMALL}*")
    return (
        line("loop", f"for db in $({listed}); do {_by_hand(out, far, '$db')}; done"),
        line("xargs -P4, one connection", _over_one_connection(out, far, listed)),
        dbdump("dbdump --jobs=4", out, *flags, "--jobs=4"),
        dbdump("dbdump --jobs=1", out, *flags, "--jobs=1"),
    )


def hosts(recipes: Path, transport: str, jobs: Sequence[int], databases: str) -> tuple[Contender, ...]:
    """Return dbdump on all hosts, with each number of jobs, for the databases that a glob matches."""
    flags = f"--host=web* --recipe=shop_{transport} --database={databases}"
    return tuple(_ours(recipes, f"dbdump --jobs={each}", f"{flags} --jobs={each}") for each in jobs)


def hosts_by_hand(out: Path, remotes: Path, server: str, jobs: int) -> Contender:
    """Return the line that stores here what is dumped on each host, over one connection to each, `jobs` at once.

    The file `remotes` has a REMOTE in each line, whose second word is the port; `server` is how the tools get to the
    server from there.
    """
    listed = shlex.quote(f'psql {server} -Atc "{query(SMALL)}" postgres')
    made = f"pg_dump {server} -Fc -Z0 $db | zstd"
    each = (f'ssh="ssh -o ControlPath={out}-$2.mux $*"; $ssh -o ControlMaster=yes -fN >/dev/null 2>&1; status=0; '
            f'for db in $($ssh {listed} | head -n 4); do $ssh "{made}" >{out}/$2.$db || status=1; done; '
            "$ssh -O exit 2>/dev/null; exit $status")  # fmt: skip
    return line(f"xargs -P{jobs}", f"xargs -L1 -P{jobs} bash -o pipefail -c {shlex.quote(each)} bash <{remotes}")


def streams(recipes: Path, transport: str, jobs: Sequence[int], size: int) -> tuple[Contender, ...]:
    """Return the same for a stream of `size` bytes from each host, sent as it is."""
    flags = f"--host=web* --recipe=stream_{transport} --option=size={size}"
    return tuple(_ours(recipes, f"dbdump --jobs={each}", f"{flags} --jobs={each}") for each in jobs)


def far_streams(recipes: Path, out: Path, far: Far, count: int, size: int) -> Contender:
    """Return dbdump with `count` streams of `size` bytes, eight at once, to another machine."""
    options = f"--option=streams={count} --option=size={size} --jobs=8 --datadir={out}"
    return console("dbdump", "dbdump", f"--recipes={recipes}", "--host=localhost", "--recipe=stream",
                   f"--remote={far.remotes[0]}", *options.split())  # fmt: skip


def _by_hand(out: Path, far: Far, database: str) -> str:
    return f"{_made(far, database)} | ssh {far.remotes[0]} 'cat > {out}/'{database}"


def _made(far: Far, database: str) -> str:
    gpg = f"gpg --batch --compress-algo none --trust-model always -se -u {far.key} -r {far.key}"
    return f"pg_dump -Fc -Z0 {database} | zstd -T0 | {gpg}"


def _over_one_connection(out: Path, far: Far, listed: str) -> str:
    ssh = f"ssh -o ControlPath={out}.mux {far.remotes[0]}"
    each = f'{_made(far, "{}")} | {ssh} "cat > {out}/{{}}"'
    master = f"{ssh} -o ControlMaster=yes -fN >/dev/null 2>&1"
    return f"{master} && {listed} | xargs -P4 -I{{}} sh -c '{each}'; status=$?; {ssh} -O exit 2>/dev/null; exit $status"


def _ours(recipes: Path, name: str, flags: str) -> Contender:
    return console(name, "dbdump", "dump", f"--recipes={recipes}", *shlex.split(flags))
