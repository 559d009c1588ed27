"""Any process of a restore, a verify, a drill or a prune is killed or ended at any time.

The dumps are what they were, but for those that the plan of a prune said would go; the target is not touched, or it is
said how far it came; and the next run works. FAULTS_RUNS and FAULTS_SEED are those of test_kill_loop.py.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from resources import recipe_file
from servers.history import days
from servers.pruning import stamps
from support import end_of, rows, sqlite_database

from faults.killing import BACK, RUNS, cases
from faults.test_kill_loop import DB1, LONGEST, VAULT, note_strike

NAME, COPY = "kill_back", "kill_back_copy"
ROWS = 10_000
MANY = 40  # dumps, of which one is kept

RECIPES = """
class Back(Slow):
    def command(self): return ["cat"]
    def inverse(self): return super().command()

def postgresql(**more): return PostgreSQL(host={socket!r}, user="postgres", include=[{name!r}], globals=False, **more)
def store(transport): return Remote({vault!r}, {there!r}, transport=transport, retries={retries})

HOSTS = dict(host=Host("db1", ssh={db1!r}))
BACKENDS = dict(
    plain=lambda: postgresql(format="plain"), sqlite=lambda: SQLite(path={path!r}),
    mariadb=lambda: MySQL(defaults={defaults!r}, include=[{name!r}], globals=False),
)
STORES = dict(
    fabric=lambda: store("fabric"), openssh=lambda: store("openssh"),
    sftp=lambda: Remote({sftp!r}, {by_sftp!r}, retries={retries}),
)
stored = {place!r}.rpartition("_")[2]

@recipe(HOSTS.get({place!r}, localhost))
def back(host):
    to = STORES[stored]() if stored in STORES else Directory({datadir!r})
    last = GPG(encrypt=["ops"]) if stored in STORES else Zstd()
    return Dump(BACKENDS.get({place!r}, postgresql)(), wrap=[Back(), last], to=to, keep=Keep(last=1), stall_timeout=20)
"""


@dataclass
class Target:
    """Where a dump is restored to: its name, what is there, and what is to be there in the end."""

    name: str
    content: Callable[[], str | None]  # None where there is nothing, not even an empty database
    whole: str


def of_postgres(postgres, name: str) -> Target:
    """Make a database there, and return what it is restored to: a copy, or itself."""
    postgres.create(NAME)
    postgres.sql(f"CREATE TABLE t AS SELECT md5(g::text) AS v FROM generate_series(1, {ROWS}) g", NAME)

    def content() -> str | None:
        if not postgres.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            return None
        if not postgres.sql("SELECT 1 FROM pg_class WHERE relname = 't'", name):
            return ""
        return postgres.sql("SELECT count(*), md5(string_agg(v, '' ORDER BY v)) FROM t", name)

    return Target(name, content, postgres.sql("SELECT count(*), md5(string_agg(v, '' ORDER BY v)) FROM t", NAME))


def of_mariadb(mariadb) -> Target:
    """Make a database there, and return a copy of it."""
    tables = f"SELECT count(*) FROM information_schema.tables WHERE table_schema = '{COPY}'"
    there = f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{COPY}'"
    mariadb.create(NAME)
    mariadb.sql(f"CREATE TABLE t AS SELECT md5(seq) AS v FROM seq_1_to_{ROWS}", NAME)

    def content() -> str | None:
        if not mariadb.sql(there):
            return None
        return mariadb.sql("SELECT count(*), sum(crc32(v)) FROM t", COPY) if mariadb.sql(tables) != "0" else ""

    return Target(COPY, content, mariadb.sql("SELECT count(*), sum(crc32(v)) FROM t", NAME))


def of_sqlite(path: Path) -> Target:
    """Make a database file, and return what it is copied to."""
    copy = path.with_name("copy.db")
    sqlite_database(path, 600_000)
    return Target(str(copy), lambda: str(rows(copy)) if copy.exists() else None, str(rows(path)))


@pytest.fixture
def target(case, request, postgres, tmp_path) -> Iterator[Target]:
    """The database of a place, and where its dump is restored to."""
    if case.place == "sqlite":
        yield of_sqlite(tmp_path / "app.db")
        return
    if case.place == "mariadb":
        server = request.getfixturevalue("mariadb")
        yield of_mariadb(server)
    else:
        server = postgres
        yield of_postgres(server, NAME if case.place == "alone" else COPY)
    server.drop(NAME, COPY)


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> Path:
    """A datadir with the dumps of many days."""
    top = tmp_path_factory.mktemp("history")
    top.chmod(0o700)
    days(top, NAME, count=MANY, recipe="back")
    return top


@pytest.fixture
def flags(case, request, target, accounts, sshd, gnupg, postgres, dbdump, datadir, unharmed, tmp_path, monkeypatch):
    """The flags of a place, where there is a dump, or many that are to go."""
    monkeypatch.setenv("GNUPGHOME", str(gnupg.home))
    account = {"fabric": VAULT, "openssh": VAULT, "sftp": "sftp"}.get(case.place.rpartition("_")[2])
    places = {kind: accounts.directory_of(kind, tmp_path.name) for kind in (VAULT, "sftp")}
    recipes = recipe_file(tmp_path, RECIPES.format(
        place=case.place, name=NAME, db1=sshd.remote(DB1), retries=case.retries, socket=postgres.host,
        datadir=str(datadir), vault=sshd.remote(VAULT), there=str(places[VAULT]), sftp=sshd.remote("sftp"),
        by_sftp=str(places["sftp"]), path=str(tmp_path / "app.db"),
        defaults=request.getfixturevalue("mariadb").defaults_file() if case.place == "mariadb" else "",
    ))  # fmt: skip
    unharmed.directories[:] = [datadir, *places.values()]
    if case.place.startswith("prune"):
        shutil.copytree(request.getfixturevalue("history"), top := places.get(account, datadir), dirs_exist_ok=True)
        if account:
            accounts.own(account, top)
    else:
        assert dbdump("dump", f"--recipes={recipes}").returncode == 0
        if case.place == "alone":
            postgres.drop(NAME)
    unharmed.begin()
    return [f"--recipes={recipes}"]


@pytest.fixture(scope="module")
def strikes() -> Iterator[list[bool]]:
    """Collect of each case whether it struck somebody, which most do."""
    made: list[bool] = []
    yield made
    assert made.count(False) <= 2 + len(made) // 3, f"{made.count(False)} of {len(made)} cases struck nobody"


@pytest.fixture
def strike_at(case, accounts, started, strikes, unharmed, said) -> Callable[..., tuple[int, str]]:
    """Run a command, and send the signal when it is time; return the exit status and what was printed."""

    def run(*arguments: str) -> tuple[int, str]:
        process = started(*arguments)
        struck = note_strike(case, process, accounts, strikes, unharmed)
        code, out = end_of(process, LONGEST)
        said.append(out)
        if process.pid in struck:
            assert code in {signal.SIGKILL: (-9, 0), signal.SIGTERM: (143, -15, 0)}[case.signal], out
        else:
            assert code in (0, 1, 4), out
        unharmed.nothing_runs()
        return code, out

    return run


CASES = cases(BACK, max(RUNS // 4, 1), (signal.SIGKILL, signal.SIGTERM))


def of(*places: str):
    """Parametrize a test with the cases of places that begin so."""
    return pytest.mark.parametrize(
        "case", [each for each in CASES if each.place.startswith(places)], ids=lambda case: case.id
    )


@of("jobs", "alone", "plain", "mariadb", "sqlite", "host", "fabric", "openssh")
def test_while_it_is_restored(case, flags, target, dbdump, strike_at, unharmed, tmp_path):
    """132: what is left is told as it is, and is in the way of the next run, or is not; with --force that works."""
    jobs = "--jobs=1" if case.place == "alone" else "--jobs=2"
    restore = ["restore", *flags, f"--as={target.name}", "--yes", jobs]
    code, out = strike_at(*restore)
    unharmed.check()
    left = target.content()
    assert code or left == target.whole, out
    if code and not unharmed.killed:
        assert told(out, left, target.whole), f"there is {left}: {out}"
    if left:
        done = dbdump(*restore, env={"QUICK": "1"})
        assert done.returncode == 1
        assert "is not empty" in done.stderr
    unharmed.again(*restore, "--force", env={"QUICK": "1"})
    assert target.content() == target.whole
    # A program that is killed leaves its file, and nobody else removes it, who cannot know that it is dead.
    parts = [str(each) for each in tmp_path.glob(".dbdump*")]
    assert unharmed.killed or all(each in out for each in parts), out


def told(out: str, left: str | None, whole: str) -> bool:
    """Whether it is said what is left; what has not begun says only why."""
    if left is None:
        begun = "FAILED" in out or "interrupted" in out
        return not begun or "nothing was touched" in out or "left: nothing of " in out
    if left == "":
        return ", empty" in out or "as far as it came" in out
    return "as far as it came" in out or (left == whole and ", all of it" in out)


@of("verify", "drill")
def test_while_it_is_verified(case, flags, strike_at, unharmed):
    """No dump is called bad that is not, and the next verify says that it is good."""
    verify = ["verify", *flags, *(["--restore"] if case.place == "drill" else [])]
    strike_at(*verify)
    unharmed.check()
    assert "good" in unharmed.again(*verify, env={"QUICK": "1"})


@of("prune")
def test_while_it_is_pruned(case, flags, strike_at, unharmed):
    """104: only what the plan said is gone, each dump before its manifest; the next prune does the rest."""
    _, out = strike_at("prune", *flags)
    planned = stamps(out, "prune")
    files = unharmed.no_longer(planned)
    unharmed.old_dumps_are_untouched()
    for dump in (each for each in files if each.suffix == ".bin"):
        assert not dump.exists() or dump.with_name(f"{dump.name}.json").exists(), f"{dump} has lost its manifest"
    said = unharmed.again("prune", *flags)
    assert " 1 kept" in said
    files += unharmed.no_longer(stamps(said, "prune"))
    assert not [each for each in files if each.exists()]
    unharmed.check()
