"""The README's section on other machines runs, on accounts of this machine."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from readme import AUTHORIZED_KEYS, MACHINE_TASKS, MACHINES, PLACEMENTS, sh
from servers.sudo import with_sudo
from support import manifests, needs_root

DB1, WEB, VAULT = "sudoer", "dash", "fish"  # the accounts that are those machines


class Machines:
    """The README's machines, and a directory with its recipe."""

    def __init__(self, sshd, here: Path, changes: dict[str, str]) -> None:
        self.sshd = sshd
        self.here = here
        self.changes = changes
        self.vault = sshd.accounts.home(VAULT) / "dumps"
        self.web = sshd.accounts.home(WEB) / "dumps"

    def run(self, line: str, **env: str) -> str:
        """Run a line of the README with these machines in place of its own."""
        return sh(self.put(line), self.here, **env)

    def put(self, text: str) -> str:
        """Return a text of the README with these machines in it."""
        for old, new in self.changes.items():
            text = text.replace(old, new)
        return text


@pytest.fixture
def machines(accounts, own_sshd, postgres, mariadb, gnupg, tmp_path):
    """db1 with a key ring and sudo, three web hosts with MariaDB, the vault."""
    sshd = own_sshd(inside=with_sudo(f"{accounts.user(DB1)} ALL=(postgres) NOPASSWD: ALL"))
    ring, option_file = accounts.home(DB1) / ".gnupg", accounts.home(WEB) / "dump.cnf"
    shutil.copytree(gnupg.home, ring, ignore=shutil.ignore_patterns("S.*"))
    shutil.copy(mariadb.defaults_file(), option_file)
    accounts.own(DB1, ring)
    accounts.own(WEB, option_file)
    changes = {
        'ssh="dump@db1.example.org"': f"ssh={sshd.remote(DB1)!r}",
        'ssh=f"dump@web{n}.example.org"': f"ssh={sshd.remote(WEB)!r}",
        '"-p 2222 backup@vault.example.org"': repr(sshd.remote(VAULT)),
        "-p 2222 backup@vault.example.org": sshd.remote(VAULT),
        "/etc/dump.cnf": str(option_file),
        "/var/backups": str(accounts.home(WEB) / "dumps"),
        "dumps@db1.example.org": "signer@example.org",
        'su="postgres"': f'su="postgres", host={postgres.host!r}',
    }
    made = Machines(sshd, tmp_path, changes)
    recipes = tmp_path / "recipes"
    recipes.mkdir(mode=0o700)
    (recipes / "shop.py").write_text(made.put(MACHINES))
    (tmp_path / "tasks.py").write_text("from dbdump.tasks import backends, dump, recipes\n")
    yield made
    subprocess.run(["gpgconf", "--homedir", ring, "--kill", "all"], check=True, user=accounts.user(DB1))
    shutil.rmtree(ring)
    for kind, host in ((VAULT, "db1"), (VAULT, "localhost"), (WEB, "web1"), (WEB, "web2"), (WEB, "web3")):
        shutil.rmtree(accounts.home(kind) / "dumps" / host, ignore_errors=True)
    with suppress(FileNotFoundError):
        option_file.unlink()


@needs_root
def test_each_command_works_with_the_recipe(machines, postgres, mariadb, gnupg):
    """The recipe's dumps of four hosts land where it says, signed, encrypted, or kept on the host."""
    everything, some, dry, here, fab, flags = MACHINE_TASKS.replace("\\\n", " ").splitlines()
    assert "0 failed" in machines.run(everything)
    assert {each.name for each in machines.web.iterdir()} >= {"web1", "web2", "web3"}
    manifest = manifests(machines.vault / "db1")["postgres"]
    assert manifest["signer"] == gnupg.keys["signer"]
    assert manifest["recipients"] == [gnupg.keys["ops"]]
    told = machines.run(some)
    assert "db1: " in told
    assert "web2: " in told
    assert "web1: " not in told
    assert "gpg --batch" in machines.run(dry)
    machines.sshd.accounts.own("root", machines.web)  # on web1 it would be its own
    assert "0 failed" in machines.run(here)
    machines.sshd.accounts.own(WEB, machines.web)
    told = machines.run(fab)
    assert "db1: " in told
    assert "web1: " in told
    line = flags.replace("--su=postgres", f"--su=postgres --option=host={postgres.host}")
    assert "0 failed" in machines.run(line, GNUPGHOME=str(gnupg.home))
    assert manifests(machines.vault / "localhost")["postgres"]["recipients"] == [gnupg.keys["ops"]]


@needs_root
def test_the_line_of_authorized_keys_lets_a_dump_in(accounts, own_sshd, dbdump, database):
    """With `restrict` before the key of the vault's account a dump is stored as before."""
    sshd = own_sshd()
    line = AUTHORIZED_KEYS.strip().replace(
        "ssh-ed25519 AAAA… dump@db1", (accounts.directory / "client_key.pub").read_text()
    )
    assert line.startswith("restrict ssh-ed25519 AAAA")
    (sshd.directory / "keys" / accounts.user(VAULT)).write_text(line)
    path = accounts.directory_of(VAULT, "restricted")
    done = dbdump("dump", "--backend=sqlite", f"--option=path={database}", f"--remote={sshd.remote(VAULT)}",
                  "--datadir=dumps/restricted")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert set(manifests(path)) == {"app.db"}


def test_the_picture_has_every_placement():
    """Each writer in the picture is one that the recipes of this section, or the first one, use."""
    for writer in ('Directory("/var/backups", on="host")', 'Directory("/srv/dumps")', "Remote(", "--here"):
        assert writer in PLACEMENTS
