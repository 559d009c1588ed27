"""Secrets stay where they belong on the way to another machine, and a signature alone is no dump (FAULTS, part E)."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from servers.process import wait_for
from support import end_of, files, pid_of, processes

KIND = "bash"
SECRET, CALLERS = "c4n4ry-s3cr3t", "c4n4ry-0f-th3-c4ll3r"

RECIPE = """
from dbdump import *

@backend("vault")
class Vault(Backend):
    def get_db_list(self): return ["ok", "fails"]
    def get_command(self, database):
        script = ('test "$SECRET" = {head}"4ry-s3cr3t" || exit 9; sleep 1; head -c 300000 /dev/urandom;'
                  ' test $1 = ok || {{ echo "error: $SECRET is bad" >&2; exit 1; }}')
        return ["sh", "-c", script, "sh", database]

@recipe(localhost)
def vault(host):
    return Dump(Vault(env={{"SECRET": "{head}" + "4ry-s3cr3t"}}), wrap=[Zstd(), GPG(sign="signer", encrypt=["ops"])],
                to=Remote({remote!r}, {path!r}, transport={transport!r}))
"""


def environments() -> dict[int, str]:
    """Return the environment of every process but dbdump's own, of which each is a copy until it is a program."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            before = (entry / "cmdline").read_bytes()
            text = (entry / "environ").read_bytes().decode(errors="replace")
            if before == (entry / "cmdline").read_bytes() and b"dbdump.tasks" not in before:
                found[int(entry.name)] = text
    return found


@pytest.fixture
def there(sshd, tmp_path):
    """An empty directory of the account, removed at the end."""
    path = sshd.accounts.directory_of(KIND, tmp_path.name)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
def test_a_secret_is_nowhere_on_the_way(sshd, started, dbdump, gnupg, there, tmp_path, monkeypatch, transport):
    """117, 118, 121: no argv of any process, no line, dry run or file has it; the caller's own reach no child."""
    monkeypatch.setenv("GNUPGHOME", str(gnupg.home))
    monkeypatch.setenv("CALLERS", CALLERS)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "site.py").write_text(
        RECIPE.format(head=SECRET[:3], remote=sshd.remote(KIND), path=str(there), transport=transport)
    )
    told = [dbdump("dump", f"--recipes={recipes}", "--dry-run").stdout]
    assert "IFS= read -r SECRET" in told[0]
    process = started("dump", f"--recipes={recipes}")
    seen: dict[int, str] = {}
    while process.poll() is None:
        told += processes("").values()
        seen |= environments()
    status, said = end_of(process)
    assert status == 1
    assert "1 stored, 0 skipped, 1 failed" in said
    assert "error: *** is bad" in said
    assert any("sleep 1" in line for line in told)
    stored = files(there)
    assert sorted(Path(name).suffix for name in stored) == [".gpg", ".json", ".sig"]
    told += [said, *stored, *(content.decode("latin-1") for content in stored.values())]
    assert not [line for line in told if SECRET in line or CALLERS in line]
    assert any(SECRET in text for text in seen.values())
    assert not {pid for pid, text in seen.items() if CALLERS in text} - {os.getpid()}
    assert dbdump("dump", f"--recipes={recipes}", "--database=ok").returncode == 0


@pytest.mark.parametrize(("mode", "status"), [(0o600, 0), (0o644, 1)])
def test_a_password_file_that_others_can_read(postgres, role, dbdump, datadir, tmp_path, mode, status):
    """119: PostgreSQL does not use it, so the dump fails, and the hint says why."""
    role("guarded", "LOGIN PASSWORD 'right'")
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:guarded:right\n")
    file.chmod(mode)
    done = dbdump("dump", "--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=guarded",
                  "--option=globals=false", "--database=postgres", f"--datadir={datadir}",
                  env={"PGPASSFILE": str(file)})  # fmt: skip
    assert done.returncode == status, done.stdout
    if status:
        assert "no password supplied" in done.stdout
        assert "hint: Give ~/.pgpass the password, and chmod 600 it" in done.stdout
        assert files(datadir) == {}
    file.chmod(0o600)  # with which the next run works


@pytest.mark.parametrize("home", ["/nonexistent", "/sys"])
def test_a_home_that_is_not_there(dbdump, database, datadir, gnupg, monkeypatch, home):
    """115: without HOME's directory, or where nobody can write to it, gpg has no keys: said before the dump."""
    monkeypatch.delenv("GNUPGHOME", raising=False)
    flags = ["dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}", "--sign=signer"]
    done = dbdump(*flags, env={"HOME": home})
    assert done.returncode == 1
    assert "localhost/sqlite: gpg: " in done.stdout
    assert home in done.stdout
    assert "hint: " in done.stdout
    assert files(datadir) == {}
    assert dbdump(*flags, env=gnupg.environment).returncode == 0


def test_a_good_signature_of_half_a_dump(started, gnupg, datadir, tmp_path, monkeypatch):
    """113: where the dump is killed, gpg signs what came before, and exits 0; it is not stored all the same."""
    monkeypatch.setenv("GNUPGHOME", str(gnupg.home))
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "site.py").write_text(f"""
import os
from dbdump import *
@backend("half")
class Half(Backend):
    def get_db_list(self): return ["one"]
    def get_command(self, database):
        wait = "" if "QUICK" in os.environ else "; exec sleep 61.{os.getpid()}"
        return ["sh", "-c", "head -c 3000000 /dev/urandom" + wait]
@recipe(localhost)
def half(host): return Dump(Half(), wrap=[GPG(sign="signer", encrypt=["ops"])], to=Directory({str(datadir)!r}))
""")
    process = started("dump", f"--recipes={recipes}")
    wait_for(lambda: any(path.stat().st_size > 2_000_000 for path in datadir.rglob("*.part")), "bytes to be encrypted")
    os.kill(pid_of(f"61.{os.getpid()}", "sleep"), signal.SIGKILL)
    status, said = end_of(process)
    assert status == 1
    assert "FAILED   localhost/half/one: sh: killed by SIGKILL" in said
    assert files(datadir) == {}
