"""The other tools: where they are, which of them are missing, and how the benchmark gets them."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

from .machine import say

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbdump-bench"
PYTHON = "/usr/bin/python3"  # Debian's, which has the libraries of its packages
DJANGO = CACHE / "django"

# Only unpacked: installed, they would put a job into cron or systemd, which dumps or complains every night.
_UNPACKED = {
    "autopostgresqlbackup": "usr/sbin/autopostgresqlbackup",
    "automysqlbackup": "usr/sbin/automysqlbackup",
    "borgmatic": "usr/bin/borgmatic",
}
_INSTALLED = {"borg": "borgbackup", "mydumper": "mydumper"}
_LIBRARIES = ("python3-colorama", "python3-jsonschema", "python3-requests", "python3-ruamel.yaml")  # of borgmatic
_FROM_PYPI = ("django-dbbackup", "psycopg2-binary", "PyMySQL")


def unpacked(name: str) -> Path:
    """Return the program of a package that is only unpacked, whether it is there or not."""
    return CACHE / name / _UNPACKED[name]


def missing(*names: str) -> str:
    """Return why a contender of these tools cannot run, or nothing."""
    absent = [name for name in names if not _there(name)]
    return f"{' and '.join(absent)} not installed" if absent else ""


def install() -> None:
    """Get what is missing; what cannot be had stays missing, and is said to be."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = [package for name, package in _INSTALLED.items() if missing(name)]
    if missing("borgmatic"):
        wanted += _LIBRARIES
    if wanted:
        _try(["apt-get", "update", "-q"])
        _try(["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted])
    for name in filter(missing, _UNPACKED):
        _unpack(name)
    if missing("django-dbbackup"):
        venv.create(DJANGO, with_pip=True, clear=True)
        _try([str(DJANGO / "bin" / "pip"), "install", "-q", *_FROM_PYPI])


def versions() -> str:
    """Return the versions of those that are there, as they are told."""
    asked = {
        "borg": ["borg", "--version"],
        "mydumper": ["mydumper", "--version"],
        "mariadb-dump": ["mariadb-dump", "--version"],
        "django-dbbackup": [str(DJANGO / "bin" / "pip"), "show", "django-dbbackup"],
    }
    told = [_first(argv) for name, argv in asked.items() if shutil.which(argv[0])]
    told += [f"{name} {(CACHE / name / 'version').read_text()}" for name in _UNPACKED if not missing(name)]
    return ", ".join(told)


def _there(name: str) -> bool:
    if name in _UNPACKED:
        return unpacked(name).exists()
    if name == "django-dbbackup":
        return (DJANGO / "bin" / "django-admin").exists()
    return shutil.which(name) is not None


def _unpack(package: str) -> None:
    into = CACHE / package
    into.mkdir(exist_ok=True)
    if _try(["apt-get", "download", "-q", package], into):
        deb = next(into.glob("*.deb"))
        _try(["dpkg-deb", "-x", str(deb), str(into)])
        (into / "version").write_text(deb.name.split("_")[1].replace("%3a", ":"))


def _first(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    lines = [line for line in done.stdout.splitlines() if not line.startswith("WARNING")]
    if argv[1:2] == ["show"]:
        return " ".join(line.partition(": ")[2] for line in lines if line.startswith(("Name:", "Version:")))
    return lines[0].partition(",")[0].strip() if lines else argv[0]


def _try(argv: list[str], directory: Path = Path("/")) -> bool:
    """Run it, and say what it said where it fails."""
    its = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, cwd=directory, env=its, check=False, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    if done.returncode:
        say(f"{' '.join(argv)} failed: {done.stdout[-1000:]}")
    return done.returncode == 0
