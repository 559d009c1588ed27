"""The invoke namespace: the operator's tasks, and `dev` for those who work on dbdump itself.

Nothing but invoke is imported at first, as in dbdump/tasks.py.
"""

import os
import shlex
import sys

from invoke import Collection, Context, Exit, task

from dbdump.tasks import TASKS

# What the tests start or measure, and the Debian package it is in.
NEEDED = {
    "/usr/bin/python3": "python3",  # one that every user can run
    "busybox": "busybox-static",
    "faketime": "faketime",
    "fish": "fish",
    "gpg": "gnupg",
    "initdb": "postgresql",
    "ip": "iproute2",
    "jq": "jq",
    "mariadbd": "mariadb-server",
    "mount": "mount",
    "pgrep": "procps",
    "pigz": "pigz",
    "redis-server": "redis-server",
    "setpriv": "util-linux",
    "sqlite3": "sqlite3",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "sudo": "sudo",
    "tcsh": "tcsh",
    "useradd": "passwd",
    "zstd": "zstd",
}


def _missing() -> list[str]:
    import shutil
    from glob import glob

    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *glob("/usr/lib/postgresql/*/bin")]
    path = os.pathsep.join(places)
    return sorted(package for program, package in NEEDED.items() if not shutil.which(program, path=path))


@task
def setup(c: Context) -> None:
    """Install the Debian packages that the tests need; who is not root is told the line to run."""
    if not (packages := _missing()):
        return
    install = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        raise Exit(f"the tests need packages that are not here; run as root: {install}", code=1)
    c.run(f"apt-get update -q && DEBIAN_FRONTEND=noninteractive {install}", echo=True)


@task(
    pre=[setup],
    help={"only": "what else to tell pytest: --only='-k sqlite -x'", "coverage": "measure which lines run"},
)
def test(c: Context, only: str = "", coverage: bool = False) -> None:
    """Run the tests, on real servers that they start and stop."""
    python = shlex.quote(sys.executable)
    runner = f"{python} -m coverage run -m pytest" if coverage else f"{python} -m pytest"
    # Four files at once, since most of their time is waiting; the tests of one file may look for the same things.
    c.run(f"{runner} {only or '-n 4 --dist loadfile'}", pty=False)
    if coverage:
        c.run(f"{python} -m coverage combine -q && {python} -m coverage report")


@task(
    pre=[setup],
    help={
        "long": "200 processes killed, of a new seed, and every system call: for the night",
        "seed": "repeat a run that said its seed: --seed=1",
        "runs": "how many processes of dumps to kill; of restores, verifies and prunes a quarter as many",
        "only": "what else to tell pytest: --only='-k openssh -x'",
    },
)
def faults(c: Context, long: bool = False, seed: str = "", runs: int = 0, only: str = "") -> None:
    """Inject faults into real dumps, and see after each that nothing was harmed."""
    import secrets

    seed = shlex.quote(seed or (secrets.token_hex(4) if long else "1"))
    setting = f"FAULTS_SEED={seed} FAULTS_RUNS={runs or (200 if long else 30)}{' FAULTS_LONG=1' if long else ''}"
    c.run(f"{setting} {shlex.quote(sys.executable)} -m pytest tests/faults {only or '-n 4 --dist loadfile'}", echo=True)


@task
def lint(c: Context) -> None:
    """Check style, layering and types."""
    python = shlex.quote(sys.executable)
    for line in ("ruff check .", "ruff format --check .", "mypy"):
        c.run(f"{python} -m {line}", echo=True)


@task(
    help={
        "small": "tiny databases, one run: does the benchmark itself work?",
        "runs": "measured runs of each contender; the median counts",
        "only": "only the blocks of these names or globs: --only=large,mariadb",
        "page": "measure nothing: make RESULTS.md anew, after LIMITS.md was changed",
    }
)
def bench(_: Context, small: bool = False, runs: int = 5, only: str = "", page: bool = False) -> None:
    """Measure dbdump beside hand-written lines and other tools, and write tests/bench/RESULTS.md."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "tests"))
    from bench import bench as benchmark

    if page:
        benchmark.write()
    else:
        benchmark.main(small=small, runs=runs, only=only)


ns = Collection(*TASKS, dev=Collection(setup, test, faults, lint, bench))
