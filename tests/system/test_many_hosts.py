"""Databases of many machines in one run: each host at its own pace, one summary, one exit status."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from servers.process import wait_for
from support import end_of, files, sqlite_database

from dbdump.script import Said

KINDS = {"db1": "bash", "db2": "dash", "db3": "tcsh"}  # each host is an account of its own
FAB = Path(__file__).parents[2] / ".venv" / "bin" / "fab"

# Each dump notes when it began and ended, in a directory that every account can write.
BACKEND = """
from dbdump import *

@backend("noting")
class Noting(Backend):
    suffix = ".bin"
    notes: str = option(default="", help="where to note it")
    databases: int = option(default=1, help="how many there are")
    seconds: float = option(default=0, help="what a dump takes")
    when: str = option(default="true", help="what has to be so of the notes before it goes on, in sh")
    def get_db_list(self): return [f"d{{index}}" for index in range(int(self.databases))]
    def get_command(self, database):
        note = f"date +%s.%N >>$(id -un).{{database}}"
        wait = f"n=0; until {{self.when}} || [ $n -gt 600 ]; do n=$((n + 1)); sleep 0.05; done"
        return ["sh", "-c", f"umask 0; cd {notes}; {{note}}; {{wait}}; sleep {{self.seconds}}; seq 99; {{note}}"]

"""

RECIPE = """
{host} = Host({host!r}, ssh={remote!r}{more})

@recipe({host}, tags={tags})
def shop(host):
    return Dump({dump}, wrap=[], to=Directory({datadir!r}))
"""


class Farm:
    """Hosts with a recipe each, in one file."""

    def __init__(self, sshd, directory: Path, datadir: Path) -> None:
        self.sshd = sshd
        self.datadir = datadir
        self.recipes = directory / "recipes"
        self.recipes.mkdir()
        self.notes = sshd.accounts.directory / directory.name
        self.notes.mkdir()
        self.notes.chmod(0o777)
        self.file = self.recipes / "farm.py"
        self.file.write_text(BACKEND.format(notes=self.notes))

    @property
    def flags(self) -> list[str]:
        """The flags that dump it."""
        return ["dump", f"--recipes={self.recipes}"]

    def add(
        self, host: str, dump: str = "Noting()", *, remote: str = "", tags: tuple[str, ...] = (), more: str = ""
    ) -> None:
        """Add a host and its recipe."""
        text = RECIPE.format(host=host, dump=dump, tags=tags, more=more, datadir=str(self.datadir),
                             remote=remote or self.sshd.remote(KINDS[host]))  # fmt: skip
        self.file.write_text(self.file.read_text() + text)

    def at_once(self, kind: str = "*") -> int:
        """Return how many dumps of an account, or of all, ran at the same time at most."""
        user = kind if kind == "*" else self.sshd.accounts.user(kind)
        steps = []
        for path in self.notes.glob(f"{user}.*"):
            began, ended = map(float, path.read_text().split())
            steps += [(began, 1), (ended, -1)]
        running = [0]
        for _, step in sorted(steps):
            running.append(running[-1] + step)
        return max(running)

    def stored(self) -> list[str]:
        """Return `host/recipe/database` of each dump that is stored."""
        return sorted("/".join(path.parts[-4:-1]) for path in self.datadir.rglob("*.bin"))


@pytest.fixture
def farm(sshd, tmp_path, datadir):
    """A file of recipes without one yet; at the end nothing of ours is left on any host."""
    made = Farm(sshd, tmp_path, datadir)
    yield made
    for kind in KINDS.values():
        wait_for(lambda kind=kind: not sshd.accounts.processes(kind), "the processes on the host to end")


@pytest.fixture
def three(farm):
    """Three hosts with two databases each; the first two are production."""
    for host in KINDS:
        farm.add(host, "Noting(databases=2)", tags=() if host == "db3" else ("prod",))
    return farm


def lines(text: str, start: str) -> list[str]:
    """Return the first words of the lines that begin with `start`, without their figures."""
    return sorted(line.split()[1] for line in text.splitlines() if line.startswith(start))


@pytest.mark.parametrize(
    ("flags", "hosts"),
    [(["--host=db1,db3"], "db1 db3"), (["--tag=prod"], "db1 db2"), ([], "db1 db2 db3"), (["--host=db[23]"], "db2 db3")],
)
def test_which_hosts_are_dumped(three, dbdump, flags, hosts):
    """--host, --tag or nothing for all; a line for each database, and one for each host."""
    done = dbdump(*three.flags, *flags)
    assert done.returncode == 0, done.stdout
    wanted = [f"{host}/shop/d{index}" for host in hosts.split() for index in (0, 1)]
    assert lines(done.stdout, "stored ") == wanted
    assert three.stored() == wanted
    for host in hosts.split():
        assert f"\n{host}: 2 stored, 0 skipped, 0 failed; 576 bytes\n" in done.stdout
    assert f"\n{len(wanted)} stored, 0 skipped, 0 failed; " in done.stdout


def begun(number: int) -> str:
    """Return what dumps wait for that are to run at once: until so many have begun; if they never do, half a minute."""
    return f"when='[ $(ls | wc -l) -ge {number} ]', seconds=0.5"


@pytest.mark.parametrize(("more", "most"), [("", 2), (", per_host=1", 1), (", per_host=3, transport='openssh'", 3)])
def test_so_many_at_once_on_one_host(farm, dbdump, more, most):
    """At most per_host dumps, two where nobody says, run at once on a host, whatever --jobs is."""
    farm.add("db1", f"Noting(databases=4, {begun(most)})", more=more)
    done = dbdump(*farm.flags, "--jobs=8")
    assert done.returncode == 0, done.stdout
    assert farm.at_once(KINDS["db1"]) == most


def test_so_many_at_once_in_all(farm, dbdump):
    """--jobs is for all hosts together."""
    for host in KINDS:
        farm.add(host, f"Noting(databases=2, {begun(3)})")
    done = dbdump(*farm.flags, "--jobs=3")
    assert done.returncode == 0, done.stdout
    assert farm.at_once() == 3


def test_a_slow_host_holds_nobody_up(farm, dbdump):
    """Dumps that wait for their host's turn hold no place that another host could use."""
    all_of_db2 = "[ $(cat *.d? | wc -l) -ge 5 ]"  # two notes of each, beside the one of who waits
    farm.add("db1", f"Noting(databases=3, seconds=0.5, when='{all_of_db2}')", more=", per_host=1")
    farm.add("db2", "Noting(databases=2)")
    done = dbdump(*farm.flags, "--jobs=2")
    assert done.returncode == 0, done.stdout
    order = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("stored ")]
    assert max(order.index(f"db2/shop/d{index}") for index in (0, 1)) < order.index("db1/shop/d1")


def test_one_connection_for_all_dumps_of_a_host(three, dbdump):
    """Six dumps of three hosts, and all that is asked before, are three connections."""
    before = three.sshd.logins
    assert dbdump(*three.flags, "--jobs=6").returncode == 0
    assert three.sshd.logins - before == 3


def test_so_many_log_in_at_once(own_sshd, reach):
    """The first over OpenSSH have a connection each: sshd drops none as one too many, as it does by default."""
    server = own_sshd(
        inside=("sh", "-c", 'for f; do :; done; sed -i "s/^MaxSt.*/MaxStartups 9:100:9/" "$f"; exec "$@"', "sh")
    )
    shells = [reach.links.shell(server.remote(kind), "openssh") for kind in ("bash", "dash")]
    with ThreadPoolExecutor(24) as pool:
        started = list(pool.map(lambda index: shells[index % 2].start("true", [], Said("")), range(24)))
    assert [each.wait() for each in started] == [0] * 24


def asked(silent: socket.socket) -> int:
    """Return how many connections were made to a socket that takes none."""
    silent.settimeout(0)
    number = 0
    with suppress(BlockingIOError):
        while True:
            silent.accept()[0].close()
            number += 1
    return number


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_host_that_is_down_costs_its_timeout_and_nothing_else(three, dbdump, transport):
    """Nobody answers there: its connect timeout later, paid once, the others are stored; the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = three.sshd.through(silent.getsockname()[1]).remote("bash", "-o", "ConnectTimeout=2")
        for host in ("db4", "db5"):  # two names of one machine
            three.add(host, "Noting(databases=9)", remote=remote, more=f", transport={transport!r}")
        began = time.monotonic()
        done = dbdump(*three.flags)
        seconds = time.monotonic() - began
        tries = asked(silent)
    assert done.returncode == 1
    assert seconds > 2
    assert tries in (1, 2)  # not for each database; the two names may ask at the same time
    assert len(three.stored()) == 6
    assert "\ndb4: 0 stored, 0 skipped, 1 failed; 0 bytes\n" in done.stdout
    assert set(lines(done.stdout, "FAILED ")) == {"db4/shop:", "db5/shop:"}
    (failure, hint) = done.stdout.splitlines()[-2:]
    assert failure.startswith("FAILED   db5/shop: connect: ")
    assert hint.strip() == "hint: Is the machine up, and sshd on that port?"


def test_a_host_whose_key_is_unknown(three, dbdump, tmp_path):
    """It is not dumped, and is told how to be known; the others are stored."""
    nobody = tmp_path / "known_hosts"
    nobody.write_text("")
    remote = three.sshd.remote("bash").replace(str(three.sshd.known_hosts), str(nobody))
    three.add("db4", remote=remote)
    done = dbdump(*three.flags)
    assert done.returncode == 1
    assert len(three.stored()) == 6
    (failure, hint) = done.stdout.splitlines()[-2:]
    assert failure.startswith("FAILED   db4/shop: connect: ")
    assert "host key verification failed" in failure
    assert "ssh-keyscan" in hint


def test_a_host_that_has_no_account_of_ours(three, dbdump):
    """A host that lets nobody in, and a name that ssh cannot find, are a line each."""
    three.add("db4", remote=three.sshd.remote("bash").replace("@127.0.0.1", "-nobody@127.0.0.1"))
    three.add("db5", remote="dbdump@no-such-host.invalid")
    done = dbdump(*three.flags)
    assert done.returncode == 1
    assert len(three.stored()) == 6
    assert set(lines(done.stdout, "FAILED ")) == {"db4/shop:", "db5/shop:"}
    assert "permission denied" in done.stdout


def test_a_site_is_a_range_of_hosts(farm, dbdump):
    """A recipe of a site is one for each of its hosts, or for those that it names; the site's defaults count."""
    remotes = [farm.sshd.remote(kind) for kind in KINDS.values()]
    farm.file.write_text(
        farm.file.read_text()
        + f"""
site = Site(hosts=[Host(f"web{{n}}", ssh={remotes!r}[n - 1]) for n in range(1, 4)],
            wrap=[Gzip()], to=Directory({str(farm.datadir)!r}))

@site.recipe
def every(host):
    return Dump(Noting())

@site.recipe(only=["web2"], tags=["one"])
def some(host):
    return Dump(Noting(), wrap=[])
"""
    )
    done = dbdump(*farm.flags)
    assert done.returncode == 0, done.stdout
    assert lines(done.stdout, "stored ") == ["web1/every/d0", "web2/every/d0", "web2/some/d0", "web3/every/d0"]
    assert sorted(name.partition(".")[2] for name in files(farm.datadir) if ".json" not in name) == [
        "bin", "bin.gz", "bin.gz", "bin.gz"]  # fmt: skip
    (farm.notes / "other").mkdir(mode=0o700)  # it may be the same second still
    done = dbdump(*farm.flags, "--host=web2", "--tag=one", f"--datadir={farm.notes}/other")
    assert lines(done.stdout, "stored ") == ["web2/some/d0"]


@pytest.fixture
def fab(farm, tmp_path):
    """Fabric's own program, run where a tasks.py imports the task."""
    (tmp_path / "tasks.py").write_text("from dbdump.tasks import dump\n")

    def run(*arguments: str, here: str = ""):
        argv = [FAB, "-c", "tasks", *arguments, f"--recipes={farm.recipes}"]
        return subprocess.run(argv, cwd=here or tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("here", ["", str(FAB.parents[2])])
def test_fab_names_the_hosts(three, fab, here):
    """fab -H does as --host does, also where dbdump's own tasks.py is: one run and one summary."""
    done = fab("-H", "db1,db3", "dump", here=here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines(done.stdout, "stored ") == ["db1/shop/d0", "db1/shop/d1", "db3/shop/d0", "db3/shop/d1"]
    assert "\n4 stored, 0 skipped, 0 failed; 1.2 kB in " in done.stdout
    assert done.stdout.count(" in ") == 1


def test_fab_names_a_host_without_a_recipe(three, fab):
    """It is an error in words with exit status 3, as for --host; nothing is dumped instead."""
    done = fab("-H", "db9", "dump")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "db9" in done.stderr
    assert "Traceback" not in done.stderr
    assert three.stored() == []


def test_fab_names_hosts_and_so_does_a_flag(three, fab):
    """Neither is passed over: it is an error, and nothing is dumped."""
    done = fab("-H", "db1", "dump", "--host=db2")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("both name hosts") == 1
    assert three.stored() == []


def test_fab_with_a_host_that_fails(three, fab):
    """One exit status for all: 1 where one of them failed."""
    three.add("db4", remote="dbdump@no-such-host.invalid")
    done = fab("-H", "db4,db1", "dump")
    assert done.returncode == 1, done.stdout + done.stderr
    assert lines(done.stdout, "stored ") == ["db1/shop/d0", "db1/shop/d1"]
    assert "Traceback" not in done.stderr


def test_fab_dumps_its_hosts_at_once(farm, fab):
    """fab calls the task for one host after the other; the dumps are made together all the same."""
    for host in KINDS:
        farm.add(host, f"Noting({begun(3)})")
    assert fab("-H", "db1,db2,db3", "dump", "--jobs=3").returncode == 0
    assert farm.at_once() == 3


def test_an_interrupt_ends_the_dumps_of_every_host(farm, started):
    """INT: 130, nothing stored, and no process left on any of them."""
    for host in KINDS:
        farm.add(host, "Noting(databases=2, seconds=50)")
    process = started(*farm.flags, "--jobs=6")
    wait_for(lambda: len(list(farm.notes.iterdir())) == 6, "all dumps to begin")
    process.send_signal(signal.SIGINT)
    code, text = end_of(process)
    assert code == 130, text
    assert files(farm.datadir) == {}


def test_hosts_without_a_recipe(farm, dbdump):
    """--backend with --host: whatever ssh takes is a host, and is called what its destination is."""
    database = sqlite_database(farm.notes / "app.db", 1000)
    flags = ["dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={farm.datadir}"]
    remote = farm.sshd.remote("bash")
    done = dbdump(*flags, f"--host={remote}", "--host=localhost")
    assert done.returncode == 0, done.stdout + done.stderr
    account = f"{farm.sshd.accounts.user('bash')}@127.0.0.1"
    assert set(lines(done.stdout, "stored ")) == {f"{account}/sqlite/app.db", "localhost/sqlite/app.db"}
    assert f"\n{account}: 1 stored, 0 skipped, 0 failed; " in done.stdout
    assert (farm.datadir / account.replace("@", "%40") / "sqlite" / "app.db").is_dir()
    twice = dbdump(*flags, f"--host={remote}", f"--host=-v {remote}")
    assert twice.returncode == 2
    assert "would write to one place" in twice.stderr
