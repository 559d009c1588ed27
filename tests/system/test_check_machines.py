"""The preflight on machines and places: what cannot be reached, written, or held; and nothing is written."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from resources import recipe_file
from servers.gnupg import GnuPG
from support import needs_root, sqlite_database, state

TRANSPORTS = ["fabric", "openssh"]


@pytest.fixture
def check(dbdump, tmp_path):
    """Write a recipe that stores `to` a place, wrapped as said, and check it; other recipes may come before it."""

    def run(to: str, *flags: str, backend: str, before: str = "", host: str = "localhost", wrap: str = "[]", **more):
        recipes = recipe_file(tmp_path, f"""
{before}
@recipe({host})
def shop(host):
    return Dump({backend}, wrap={wrap}, to={to})
""")  # fmt: skip
        return dbdump("check", f"--recipes={recipes}", *flags, **more)

    return run


@pytest.fixture
def sqlite(database) -> str:
    """A backend that always has something to dump."""
    return f"SQLite(path={str(database)!r})"


def told(done, *words: str) -> str:
    """Return the only line that has all of `words`."""
    (line,) = [line for line in done.stdout.splitlines() if all(word in line for word in words)]
    return line


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """Mount a small file system on a directory, for as long as it is needed."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(["size=1m", "mode=700", *options]), "none", path], check=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def dumped(dbdump, recipes: Path) -> None:
    """Dump what the recipes say."""
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 0, done.stdout


# -- a directory here --------------------------------------------------------------------------------------------------


def test_a_datadir_that_is_not_there_is_found_and_not_made(check, sqlite, datadir, tmp_path):
    """It may be a disk that is not mounted; with create=True it is as good as its parent."""
    missing = tmp_path / "missing"
    before = state(datadir)
    done = check(f"Directory({str(missing)!r})", backend=sqlite)
    assert done.returncode == 1
    assert told(done, "target: ").endswith(f"{missing}: no such file or directory")
    assert "hint: Mount or make the datadir first" in done.stdout
    done = check(f"Directory({str(datadir / 'new')!r}, create=True)", backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert told(done, "target: ").endswith(f"{datadir}: can be written")
    assert state(datadir) == before


@needs_root
def test_each_directory_that_stands_in_the_way_is_named(check, datadir, tmp_path):
    """Below the datadir: one that others can write, a symbolic link, one of somebody else; each in one run."""
    place = datadir / "localhost" / "shop"
    paths = [str(sqlite_database(tmp_path / name, 1000)) for name in ("app.db", "other", "foreign", "link", "file")]
    for path in (place.parent, place, place / "app.db", place / "other", place / "foreign"):
        path.mkdir(mode=0o700)
    (place / "other").chmod(0o777)
    os.chown(place / "foreign", 12345, 12345)
    (place / "link").symlink_to(tmp_path)
    (place / "file").touch()
    before = state(datadir)
    done = check(f"Directory({str(datadir)!r})", backend=f"SQLite(path={paths!r})")
    assert done.returncode == 1
    assert "others can write there" in told(done, "ERROR", f"target: {place}/other")
    assert "belongs to somebody else, user 12345" in told(done, "ERROR", f"target: {place}/foreign")
    assert "target: " in told(done, "ERROR", f"{place}/link")
    assert "not a directory" in told(done, "ERROR", f"target: {place}/file")
    assert done.stdout.splitlines()[-1] == "4 errors, 0 warnings"
    assert state(datadir) == before
    done = check(f"Directory({str(datadir)!r})", "--database=app.db", backend=f"SQLite(path={paths!r})")
    assert done.returncode == 0, done.stdout


@needs_root
def test_what_is_beside_the_directories_of_a_dump_is_no_fault(check, dbdump, sqlite, datadir, tmp_path):
    """Nobody else's directory, file or symbolic link fails a dump that does not use it."""
    beside(datadir, 12345)
    done = check(f"Directory({str(datadir)!r})", backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "0 errors, 0 warnings"
    dumped(dbdump, tmp_path / "recipes")


def beside(datadir: Path, owner: int) -> None:
    """Put what no dump uses where a recipe stores."""
    place = datadir / "localhost" / "shop"
    for path in (place.parent, place, place / "app.db", place / "foreign", place / "shared"):
        path.mkdir(mode=0o700)
    os.chown(place / "foreign", owner, owner)
    (place / "shared").chmod(0o777)
    (place / "link").symlink_to("/")
    (place / "file").touch()


@needs_root
def test_a_read_only_file_system_cannot_be_written(check, sqlite, tmp_path):
    """Not even by root."""
    (tmp_path / "ro").mkdir(mode=0o700)
    with mounted(tmp_path / "ro", "ro") as path:
        done = check(f"Directory({str(path)!r})", backend=sqlite)
    assert done.returncode == 1
    assert told(done, "ERROR").endswith(f"target: {path}: cannot be written")


@needs_root
def test_room_is_measured_by_what_the_last_dumps_took(check, dbdump, datadir, small_disk, tmp_path):
    """Room for them again is enough, less is a warning, less than half an error, and so is none."""
    source = tmp_path / "f.db"
    backend = f"SQLite(path={str(source)!r})"
    subprocess.run(["sqlite3", source, "CREATE TABLE t AS SELECT randomblob(400000)"], check=True)
    to = f"Directory({str(small_disk)!r})"
    assert "free; the last" not in check(to, backend=backend).stdout
    dumped(dbdump, tmp_path / "recipes")
    done = check(to, backend=backend)
    assert (done.returncode, told(done, "space: ").split()[0]) == (0, "ok")
    assert re.search(r"space: \d+\.\d kB free; the last dumps take 4\d\d\.\d kB", done.stdout)
    for size, code, word in ((300_000, 0, "warning"), (500_000, 1, "ERROR"), (2_000_000, 1, "ERROR")):
        fill(small_disk / "filler", size)
        before = state(small_disk)
        done = check(to, backend=backend)
        assert (done.returncode, told(done, "space: ").split()[0]) == (code, word), done.stdout
        assert state(small_disk) == before
    assert "space: 0 bytes free" in done.stdout


def fill(path: Path, size: int) -> None:
    """Write a file of so many bytes, or of as many as there is room for."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for _ in range(size // 1000):
            file.write(b"x" * 1000)


# -- a directory there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("kind", "clock"), [("dash", "goes right"), ("busybox", "goes right"), ("sftp", "is not known")]
)
def test_a_place_on_another_machine_is_looked_at_without_writing(
    check, dbdump, sqlite, sshd, accounts, tmp_path, kind, clock, transport
):
    """Before the first dump and after it: rights, room and clock, as far as the account has words for them."""
    path = accounts.directory_of(kind, tmp_path.name)
    to = f"Remote({sshd.remote(kind)!r}, {str(path)!r}, transport={transport!r})"
    home = accounts.home(kind)
    before = state(home)
    done = check(to, backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert told(done, "target: ").endswith(f"target: {accounts.user(kind)}@{sshd.address}:{path}: can be written")
    assert re.search(r"space: \S+ [kMGT]B free$", done.stdout, re.MULTILINE)
    assert told(done, "clock: that of the target").endswith(clock)
    assert state(home) == before
    dumped(dbdump, tmp_path / "recipes")
    before = state(home)
    done = check(to, backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert f"{path}/localhost/shop: can be written" in done.stdout
    assert "the last dumps take 3.0 MB" in done.stdout
    assert state(home) == before
    (path / "localhost" / "shop").chmod(0o500)
    (path / "localhost" / "shop" / "app.db").chmod(0o777)
    done = check(to, backend=sqlite)
    assert told(done, "ERROR", "cannot be written").endswith(f"{path}/localhost/shop: cannot be written")
    assert told(done, "ERROR", "app.db").endswith("app.db: others can write there")


@pytest.mark.parametrize("kind", ["dash", "busybox", "sftp"])
def test_what_is_beside_them_there_is_no_fault_unless_it_is_pruned(
    check, dbdump, sqlite, sshd, accounts, tmp_path, kind
):
    """What the account may not look into is a warning; with `keep` the list of all is needed, and a dump fails too."""
    path = accounts.directory_of(kind, tmp_path.name)
    beside(path, 0)
    for each in (path / "localhost", path / "localhost/shop", path / "localhost/shop/app.db"):
        os.chown(each, accounts.uids[kind], -1)
    to = f"Remote({sshd.remote(kind)!r}, {str(path)!r})"
    done = check(to, backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert kind == "sftp" or "foreign" in told(done, "warning", "denied")
    assert "what is stored cannot be listed: " in told(done, "warning", "denied")
    dumped(dbdump, tmp_path / "recipes")
    assert check(f"{to}, keep=Keep(last=9)", backend=sqlite).returncode == 1
    assert dbdump("dump", f"--recipes={tmp_path}/recipes").returncode == 1


@pytest.mark.parametrize("kind", ["dash", "sftp"])
def test_a_place_there_that_is_missing_shared_or_read_only(check, sqlite, sshd, accounts, tmp_path, kind):
    """Each is told as what it is."""
    path = accounts.directory_of(kind, tmp_path.name)

    def run(directory: Path):
        done = check(f"Remote({sshd.remote(kind)!r}, {str(directory)!r})", backend=sqlite)
        assert done.returncode == 1, done.stdout
        return told(done, "ERROR", "  target: ")

    assert run(path / "missing").lower().endswith("no such file or directory")
    path.chmod(0o777)
    assert run(path).endswith(f"{path}: others can write there")
    path.chmod(0o700)
    with mounted(path, "ro", f"uid={accounts.uids[kind]}"):
        assert run(path).endswith(f"{path}: {'read-only file system' if kind == 'sftp' else 'cannot be written'}")
    accounts.own("nologin", path)
    path.chmod(0o700)
    assert "denied" in run(path)


@pytest.mark.parametrize("kind", ["dash", "sftp"])
def test_room_there_is_measured_as_well(check, sqlite, sshd, accounts, dbdump, tmp_path, kind):
    """By df, or by SFTP's statvfs."""
    path = accounts.directory_of(kind, tmp_path.name)
    with mounted(path, f"uid={accounts.uids[kind]}"):
        source = tmp_path / "f.db"
        subprocess.run(["sqlite3", source, "CREATE TABLE t AS SELECT randomblob(600000)"], check=True)
        to, backend = f"Remote({sshd.remote(kind)!r}, {str(path)!r})", f"SQLite(path={str(source)!r})"
        assert check(to, backend=backend).returncode == 0
        dumped(dbdump, tmp_path / "recipes")
        done = check(to, backend=backend)
        assert told(done, "space: ").startswith("warning"), done.stdout
        fill(path / "filler", 250_000)
        assert told(check(to, backend=backend), "space: ").startswith("ERROR")


def test_what_an_account_has_no_programs_for_is_not_known(check, sqlite, sshd, accounts, tmp_path):
    """It has no df and no date: that is said, and is no error."""
    path = accounts.directory_of("bare", tmp_path.name)
    done = check(f"Remote({sshd.remote('bare')!r}, {str(path)!r})", backend=sqlite)
    assert done.returncode == 0, done.stdout
    assert "space: how much is free there is not known" in done.stdout
    assert "clock: that of the target is not known" in done.stdout


@contextmanager
def another_time(accounts, kind: str, seconds: int) -> Iterator[None]:
    """Give an account a clock of its own, so many seconds off."""
    with accounts.with_programs(kind, date=f"echo $(($(/usr/bin/date -u +%s) + {seconds}))"):
        yield


def test_clocks_that_differ_are_a_warning(check, sqlite, sshd, accounts, tmp_path):
    """That of the host, and that of the target, each by itself."""
    path = accounts.directory_of("dash", tmp_path.name)
    host = f'Host("db1", ssh={sshd.remote("bash")!r})'
    to, backend = (
        f"Remote({sshd.remote('dash')!r}, {str(path)!r})",
        'SQLite(path="/etc/hostname", python="/usr/bin/python3")',
    )
    with another_time(accounts, "dash", -3600), another_time(accounts, "bash", 400):
        done = check(to, backend=backend, host=host)
    ahead, behind = (
        told(done, "warning  db1/shop  clock", "db1 is"),
        told(done, "warning  db1/shop  clock", "target is"),
    )
    assert re.search(r"that of db1 is (39\d|400) s ahead of this machine's$", ahead)
    assert re.search(r"that of the target is 3(59\d|600) s behind this machine's$", behind)
    assert "hint: Set both clocks by NTP" in done.stdout


# -- hosts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_keys_of_hosts_that_nobody_knows_are_found_on_both_sides(
    check, sqlite, own_sshd, sshd, accounts, tmp_path, transport
):
    """An unknown one, and one that has changed; each once, whatever fails by it; the next recipe goes on."""
    unknown = own_sshd()
    unknown.known_hosts.write_text("")
    changed = own_sshd()
    changed.know("other_key")
    path = accounts.directory_of("dash", f"{tmp_path.name}-{transport}")
    before = f"""
@recipe(Host("db1", ssh={unknown.remote("bash")!r}, transport={transport!r}))
def far(host):
    return Dump({sqlite}, wrap=[], to=Remote({changed.remote("dash")!r}, "dumps", transport={transport!r}))
"""
    done = check(f"Remote({sshd.remote('dash')!r}, {str(path)!r})", backend=sqlite, before=before)
    assert done.returncode == 1
    assert "host key verification failed" in told(done, "ERROR    db1/far  connect: ", accounts.user("bash"))
    assert "the host key has changed" in told(done, "ERROR    db1/far  connect: ", accounts.user("dash"))
    assert "hint: Add it" in done.stdout or "hint: Add its key" in done.stdout
    assert "databases: 1 to dump" in told(done, "localhost/shop  databases")
    assert done.stdout.splitlines()[-1] == "2 errors, 0 warnings"


def test_a_host_that_is_down_hides_no_other_and_not_its_own_target(check, sqlite, accounts, datadir):
    """It is one finding of its recipe; where its dumps would go is looked at all the same."""
    done = check(f"Directory({str(datadir)!r})", backend=sqlite, before=f"""
@recipe(Host("down", ssh="-p 1 nobody@127.0.0.1"))
def lost(host):
    return Dump({sqlite}, to=Directory({str(datadir)!r}))
""")  # fmt: skip
    assert done.returncode == 1
    assert "no connection to 127.0.0.1" in told(done, "ERROR    down/lost  connect")
    assert "can be written" in told(done, "ok       down/lost  target")
    assert "1 to dump" in told(done, "ok       localhost/shop  databases")
    assert done.stdout.splitlines()[-1] == "1 error, 0 warnings"


def test_a_host_without_the_tools_and_without_the_user_is_told_all_of_it(check, sshd, accounts, datadir):
    """No sudo to the database's user, no zstd, no gpg: three findings, and where the bytes go is fine."""
    with accounts.without("bash", "zstd", "gpg"):
        done = check(f"Directory({str(datadir)!r})", backend='PostgreSQL(su="postgres")',
                     host=f'Host("db1", ssh={sshd.remote("bash")!r})',
                     wrap='[Zstd(), GPG(encrypt=["ops@example.org"])]')  # fmt: skip
    assert done.returncode == 1
    assert f"host: reached {accounts.user('bash')}@127.0.0.1, as {accounts.user('bash')}" in done.stdout
    assert "cannot run commands as postgres" in told(done, "ERROR    db1/shop  su: ")
    assert "not found" in told(done, "ERROR    db1/shop  zstd: ")
    assert "not found" in told(done, "ERROR    db1/shop  gpg: ")
    assert done.stdout.splitlines()[-1] == "3 errors, 0 warnings"


def test_a_host_without_zstd_is_a_warning_where_gzip_would_do(check, sqlite, sshd, accounts, datadir, database):
    """Which is so where the recipe does not say how to wrap."""
    with accounts.without("bash", "zstd", "pigz"):
        backend = f'SQLite(path={str(database)!r}, python="/usr/bin/python3")'
        done = check(f"Directory({str(datadir)!r})", backend=backend, wrap="None",
                     host=f'Host("db1", ssh={sshd.remote("bash")!r})')  # fmt: skip
    assert told(done, "warning  db1").endswith("zstd: not found on the host's PATH: gzip compresses instead")
    assert re.search(r"gzip: 1\.\d+", done.stdout)


def test_what_reads_a_dump_back_here_and_is_not_here_is_a_warning(check, sshd, datadir, without):
    """The host has all; this machine, where verify and drills run, has no zstd, no gpg, and no client of MySQL."""
    host = f'Host("db1", ssh={sshd.remote("bash")!r})'
    given = {"host": host, "backend": "MySQL()", "wrap": '[Zstd(), GPG(encrypt=["nobody@example.org"])]'}
    to = f"Directory({str(datadir)!r})"
    warnings = [line for line in check(to, **given).stdout.splitlines() if line.startswith("warning")]
    assert not warnings
    done = check(to, **given, env=without("zstd", "gpg", "mariadb", "mysql"))
    assert "nor is mysql: its dumps are not drilled here" in told(done, "warning  db1/shop  mariadb: ")
    for program in ("zstd", "gpg"):
        assert told(done, f"warning  db1/shop  {program}: ").endswith(
            "not found on the PATH of this machine: neither verify nor restore can read its dumps here"
        )
        assert f"hint: Install {program} here; dumps are made without it." in done.stdout


def test_what_a_restore_there_needs_and_is_not_there_is_a_warning(check, sshd, accounts, postgres, datadir):
    """Dumps are made without it, and one day it is late to learn that."""
    host = f'Host("db1", ssh={sshd.remote("bash")!r})'
    server = f'PostgreSQL(host={postgres.host!r}, user="postgres")'
    with accounts.without("bash", "pg_restore", "awk"):
        done = check(f"Directory({str(datadir)!r})", backend=server, host=host)
    assert done.returncode == 0, done.stdout
    for program in ("pg_restore", "awk"):
        assert "who could not restore there" in told(done, f"warning  db1/shop  {program}: ")
    assert done.stdout.splitlines()[-1] == "0 errors, 2 warnings"


def test_the_keys_are_those_of_the_machine_that_wraps(check, sqlite, gnupg, sshd, accounts, datadir):
    """With wrap_at="controller" they are looked for here, else on the host, which has none."""
    host = f'Host("db1", ssh={sshd.remote("bash")!r})'
    to = f"Directory({str(datadir)!r})"
    env = {"GNUPGHOME": str(gnupg.home)}
    wrap = '[GPG(encrypt=["ops@example.org"])]'
    before = state(accounts.home("bash"))
    there = check(to, backend=sqlite, host=host, wrap=wrap, env=env)
    assert "keyblock resource" in told(there, "ERROR", f"gpg: keyblock resource '{accounts.home('bash')}")
    assert state(accounts.home("bash")) == before
    here = check(f'{to}, wrap_at="controller"', backend=sqlite, host=host, wrap=wrap, env=env)
    assert f"the key {gnupg.keys['ops']} of 'ops@example.org', to encrypt for, never expires" in here.stdout
    assert not [line for line in here.stdout.splitlines() if line.startswith("ERROR") and "gpg" in line]


def test_a_signature_that_verify_could_not_check_here_is_a_warning(check, database, gnupg, sshd, accounts, datadir):
    """The host signs with a key that it alone has, and nobody here can decrypt; then the public key is imported."""
    home = GnuPG(accounts.home("bash") / ".gnupg", gnupg.keys)
    shutil.copytree(gnupg.home, home.home, ignore=shutil.ignore_patterns("S.*"))
    accounts.own("bash", home.home)
    how = {
        "host": f'Host("db1", ssh={sshd.remote("bash")!r})', "backend": f"SQLite(path={str(database)!r})",
        "wrap": '[GPG(sign="signer", encrypt=["ops@example.org"])]',
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dbdump-gpg-", dir="/tmp") as top:
        own = GnuPG(Path(top))
        try:
            done = check(f"Directory({str(datadir)!r})", **how, env={"GNUPGHOME": top})
            fault = f"verify cannot check signatures here: {gnupg.keys['signer']} is not in the keyring"
            assert told(done, "warning  db1").endswith(fault)
            assert told(done, "verify cannot decrypt here").startswith("ok ")
            done = check(f"Directory({str(datadir)!r}), keep=Keep(last=3)", **how, env={"GNUPGHOME": top})
            worse = fault.replace("verify cannot", "neither verify nor prune, after each dump, can")
            assert told(done, "ERROR    db1", "signatures").endswith(worse)
            own.gpg("--import", data=gnupg.gpg("--export", gnupg.keys["signer"]))
            done = check(f"Directory({str(datadir)!r})", **how, env={"GNUPGHOME": top})
            assert not [line for line in done.stdout.splitlines() if line.startswith("warning")]
            assert "signs and encrypts, and asks for nothing" in done.stdout
        finally:
            own.stop()
            home.stop()
            shutil.rmtree(home.home)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_directory_of_the_dumps_own_host_is_looked_at_there(check, sshd, accounts, database, tmp_path, transport):
    """By the same account; and where the host is down, that is one finding."""
    path = accounts.directory_of("dash", f"{tmp_path.name}-{transport}")
    to, backend = f'Directory({str(path)!r}, on="host")', f"SQLite(path={str(database)!r})"
    done = check(to, backend=backend, host=f'Host("db1", ssh={sshd.remote("dash")!r}, transport={transport!r})')
    assert told(done, "target: ").endswith(f"{accounts.user('dash')}@127.0.0.1:{path}: can be written")
    down = f'Host("down", ssh="-p 1 nobody@127.0.0.1", transport={transport!r})'
    done = check(to, backend=backend, host=down)
    error, _, last = done.stdout.splitlines()
    assert error.startswith("ERROR    down/shop  connect: ")
    assert last == "1 error, 0 warnings"
