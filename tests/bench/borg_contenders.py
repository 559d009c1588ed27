"""borgmatic with borg: pg_dump or mysqldump into a pipe that borg reads, into a repository that is new each time."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from . import peers
from .compare import Bench
from .contenders import Contender

_SETTINGS = """\
location:
    source_directories: [{top}/peers/nothing]
    repositories: ["{repository}"]
    borgmatic_source_directory: {top}/peers/pipes
storage:
    compression: {compression}
hooks:
    {kind}:
"""


def borgmatic(
    bench: Bench, name: str, databases: Sequence[str], *, kind: str = "postgresql_databases",
    compression: str = "lz4", encryption: str = "repokey", again: str = "", ssh: str = "",
) -> Contender:  # fmt: skip
    """Return `borgmatic create` of `databases`, which are YAML, in flow style.

    `compression` and `encryption` are of its documented default. With `again` the repository has an archive of the
    same already, of whose chunks none is compressed or stored again. `ssh` is REMOTE, where the repository is.
    """
    options = databases[0].partition("options: ")[2].rstrip("}")
    shown = [f"compression {compression}", f"encryption {encryption}", *([f"options {options}"] if options else [])]
    typed = f"borgmatic create; {', '.join(shown)}; {'2nd archive of the same' if again else 'a new repository'}"
    if missing := peers.missing("borg", "borgmatic"):
        return Contender(name, typed, (), peer=True, missing=missing)
    (bench.top / "peers" / "nothing").mkdir(parents=True, exist_ok=True)
    settings = bench.top / "peers" / f"{name}-{kind}-{len(databases)}.yaml".replace(" ", "_")
    repository = f"{bench.out}/repo"
    if ssh:
        _, port, *_, host = ssh.split()
        repository = f"ssh://{host}:{port}{bench.out}/repo"
    told = {"top": bench.top, "repository": repository, "compression": compression, "kind": kind}
    settings.write_text(_SETTINGS.format(**told) + "".join(f"        - {each}\n" for each in databases))
    argv = (peers.PYTHON, str(peers.unpacked("borgmatic")), "--config", str(settings), "create")
    before = f"rm -rf {bench.top}/peers/pipes && borg init --encryption {encryption} {repository}"
    if again:
        before = _kept(bench, settings.with_suffix(".kept"), f"{before} && {shlex.join(argv)}")
    return Contender(name, typed, argv, before=before, environment=_environment(bench, ssh), peer=True)


def _kept(bench: Bench, kept: Path, first: str) -> str:
    """Return shell that makes the `first` archive once, and brings it back each time: that may take minutes.

    What borg knows of a repository is kept with it: it refuses one that is older than what it knows.
    """
    repository, base = bench.out / "repo", _base(bench)
    brought = f"rm -rf {base} && cp -a {kept}/{base.name} {base.parent} && cp -a {kept}/repo {bench.out}"
    return f"if [ -d {kept} ]; then {brought}; else {first}; mkdir {kept}; cp -a {repository} {base} {kept}; fi"


def _base(bench: Bench) -> Path:
    return bench.top / "peers" / "borg"


def _environment(bench: Bench, ssh: str) -> dict[str, str]:
    rsh = {"BORG_RSH": " ".join(["ssh", *ssh.split()[2:-1]])} if ssh else {}
    return {
        "BORG_BASE_DIR": str(_base(bench)),
        "BORG_PASSPHRASE": "bench",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "PYTHONPATH": str(peers.CACHE / "borgmatic/usr/lib/python3/dist-packages"),
        **rsh,
    }
