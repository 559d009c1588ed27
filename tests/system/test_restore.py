"""Restore: from everywhere, into the right place, and never what is bad, changed or only half there."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from servers.gnupg import GnuPG
from servers.process import wait_for
from support import COMMAND, default_signals, end_of, gone, processes, rows, sqlite_database
from test_verify import SEALED, SIGNED, Site, flipped, grown, truncated

PLACES = ("directory", "fabric", "openssh", "sftp")


@pytest.fixture
def there(sshd, tmp_path, datadir):
    """The flags for a place to store in, by its name."""
    made = []

    def flags(place: str) -> list[str]:
        if place == "directory":
            return [f"--datadir={datadir}"]
        kind = "sftp" if place == "sftp" else "dash"
        path = sshd.accounts.directory_of(kind, f"{tmp_path.name}-{place}")
        made.append(path)
        # OpenSSH, because fabric cannot honour such an option.
        more = ["-o", "CanonicalizeHostname=no", "-o", "Ciphers=aes128-ctr"] if place == "openssh" else []
        return [f"--remote={sshd.remote(kind, *more)}", f"--datadir={path}"]

    yield flags
    for path in made:
        shutil.rmtree(path)


@pytest.fixture
def content(postgres, mariadb, tmp_path):
    """A database of each backend: its flags, what it has, and how it is wiped."""

    def of(backend: str):
        if backend == "postgresql":
            return postgresql(postgres)
        return mysql(mariadb) if backend == "mysql" else sqlite(tmp_path)

    yield of
    postgres.drop("matrix")
    mariadb.drop("matrix")


def postgresql(server):
    """A database of PostgreSQL."""
    server.create("matrix")
    server.sql(
        "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 3000) g; CREATE INDEX ON t (g)", "matrix"
    )
    flags = ["--backend=postgresql", "--option", f"host={server.host}", "--option", "user=postgres"]
    return flags, lambda: server.sql("SELECT * FROM t ORDER BY g", "matrix"), lambda: server.drop("matrix")


def mysql(server):
    """A database of MariaDB."""
    server.create("matrix")
    server.sql("CREATE TABLE t AS SELECT seq, MD5(seq) FROM seq_1_to_3000", "matrix")
    flags = ["--backend=mysql", f"--defaults={server.defaults_file()}"]
    return flags, lambda: server.sql("SELECT * FROM t ORDER BY seq", "matrix"), lambda: server.drop("matrix")


def sqlite(top: Path):
    """A database of SQLite."""
    path = sqlite_database(top / "matrix", 300_000)
    return ["--backend=sqlite", "--option", f"path={path}"], lambda: rows(path), path.unlink


@pytest.mark.parametrize("sealed", [[], ["--sign=signer@example.org", "--encrypt=ops@example.org"]])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("backend", ["postgresql", "mysql", "sqlite"])
def test_dumped_wiped_restored(dbdump, gnupg, there, content, backend, place, sealed):
    """Every backend, stored everywhere, plain or signed and encrypted: the content is what it was."""
    flags, look, wipe = content(backend)
    flags = [*flags, "--database=matrix", *there(place), *sealed]
    before = look()
    env = {"GNUPGHOME": str(gnupg.home)}
    done = dbdump("dump", *flags, env=env)
    assert done.returncode == 0, done.stdout
    wipe()
    done = dbdump("restore", *flags, "--yes", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith(f"verified localhost/{backend}/matrix 20")
    assert last.startswith(f"restored localhost/{backend}/matrix 20")
    assert look() == before


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


def refused(site: Site, said: str, *flags: str, code: int = 4) -> str:
    """Restore over what is there, and see that it is refused with what is said, and that nothing was touched."""
    target = site.top / "app.db"
    before = target.read_bytes()
    done = site("restore", "--yes", "--force", "--database=app.db", *flags)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr, done.stdout + done.stderr
    assert "hint: " in done.stdout + done.stderr
    assert target.read_bytes() == before
    assert not list(site.top.glob(".dbdump*"))
    return done.stdout + done.stderr


@pytest.mark.parametrize("wrap", ["", "Zstd()", SEALED])
@pytest.mark.parametrize(
    ("tamper", "said"),
    [(truncated, "truncated: "), (flipped, "changed since it was stored: "), (grown, "too long: ")],
)
def test_bytes_that_were_changed(site, wrap, tamper, said):
    """Truncated, bit-flipped or longer: nothing is touched."""
    site.wrap = wrap
    tamper(site.dump())
    assert "nothing was touched" in refused(site, said)


@pytest.mark.parametrize("wrap", ["Zstd()", SIGNED])
def test_swapped_and_rolled_back(site, wrap):
    """Its bytes are those of another dump."""
    site.wrap = wrap
    sqlite_database(site.top / "other.db", 1000)
    old = site.dump()
    (stolen,) = site.files("other.db")
    site.top.joinpath("app.db").unlink()
    sqlite_database(site.top / "app.db", 200_000)
    new = site.dump()
    new.write_bytes(stolen.read_bytes())
    refused(site, "swapped: its bytes are those of localhost/app/other.db")
    new.write_bytes(old.read_bytes())
    refused(site, f"rolled back: its bytes are those of {old.name.split('.')[0]}")


def test_a_manifest_that_is_of_another_dump(site):
    """The newest is bad by its name alone: it is refused, and only a stamp makes an older one do."""
    old = site.dump()
    new = site.dump()
    for end in ("", ".json"):
        shutil.copy(f"{old}{end}", f"{new}{end}")
    said = refused(site, "it was renamed, or an old one put in its place")
    stamp = old.name.split(".")[0]
    assert f"--at={stamp}" in said
    refused(site, "it was renamed", f"--at={new.name.split('.')[0]}")
    done = site("restore", "--yes", "--force", "--database=app.db", f"--at={stamp}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_there_is_is_bad(site):
    """There is no good one to speak of."""
    file = site.dump()
    Path(f"{file}.json").write_text("{")
    refused(site, "not a manifest")


def test_the_newest_is_gone(site):
    """A manifest whose dump is gone is no reason to take an older dump without a word."""
    site.dump()
    site.dump().unlink()
    refused(site, "a manifest whose dump is gone")


def test_signatures(site, gnupg):
    """Unsigned, or signed by a stranger."""
    site.wrap = SEALED
    file = site.dump()
    site.sign(file, "second")
    refused(site, f"signed by {gnupg.keys['second']}, which is no key of the recipe's")
    Path(f"{file}.json.sig").unlink()
    refused(site, "its manifest is not signed")


def test_without_the_secret_key(site, gnupg, tmp_path_factory):
    """What cannot be decrypted here cannot be restored here; that is no fault of the dump."""
    site.wrap = SEALED
    site.dump()
    home = GnuPG(Path(f"/tmp/dbdump-gpg-{os.getpid()}"), dict(gnupg.keys))
    home.home.mkdir(mode=0o700)
    try:
        home.gpg("--import", data=gnupg.gpg("--export"))
        site.home = home
        refused(site, "cannot be decrypted here", code=1)
    finally:
        home.stop()
        shutil.rmtree(home.home)


# Stores as a directory does; its second reader gets other bytes than the first one.
CHANGING = """
class Changing(Directory):
    seen = []
    def bound(self, reach): return self
    def read(self, name):
        self.seen.append(name)
        for piece in super().read(name):
            yield piece if len(self.seen) < 2 else {how}
"""
CHANGES = ["piece[:-1] + bytes([piece[-1] ^ 1])", "piece[:-9]", "piece + b'x'", "b'x' * len(piece)", "b''"]


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("wrap", ["", "Zstd()"])
@pytest.mark.parametrize("form", ["plain", "custom"])
def test_changed_while_it_is_restored(postgres, dbdump, datadir, tmp_path, gnupg, wrap, form, how):
    """The second pass is compared too: psql never commits what was not verified, whatever it was given."""
    postgres.create("moving")
    try:
        postgres.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g", "moving")
        recipes = tmp_path / "recipes"
        recipes.mkdir()
        (recipes / "r.py").write_text(f"""
from dbdump import *
{CHANGING.format(how=how)}
@recipe(localhost)
def app(host):
    return Dump(PostgreSQL(host={postgres.host!r}, user="postgres", format={form!r}, check_stream=False),
                wrap=[{wrap}], to=Changing({str(datadir)!r}))
""")
        flags = [f"--recipes={recipes}", "--database=moving"]
        assert dbdump("dump", *flags).returncode == 0
        postgres.drop("moving")
        done = dbdump("restore", *flags, "--yes")
        assert done.returncode == 4, done.stdout + done.stderr
        assert "changed since it was verified, a moment ago" in done.stdout
        if form == "plain":
            assert "left: moving, empty" in done.stdout or "left: nothing of moving" in done.stdout
            if "empty" in done.stdout:
                assert postgres.sql("SELECT count(*) FROM pg_class WHERE relname = 't'", "moving") == "0"
        else:
            assert "left: nothing of moving" in done.stdout  # the archive was never begun to be read
        wait_for(lambda: not postgres.clients(), "the end of every client")
    finally:
        postgres.drop("moving")


def test_more_than_one_database(site):
    """Exactly one is restored: several are named, in one recipe or in two."""
    sqlite_database(site.top / "other.db", 1000)
    assert site("dump").returncode == 0
    done = site("restore", "--yes")
    assert done.returncode == 2
    assert "more than one database: localhost/app/app.db, localhost/app/other.db" in done.stderr
    done = site("restore", "--yes", "--database=*.db")
    assert done.returncode == 2
    site.more["before"] = f"""@recipe(Host("elsewhere", ssh="nobody@127.0.0.1"))
def app(host):
    return Dump(SQLite(path="/nowhere"), to=Directory({str(site.datadir)!r}))
"""
    shutil.copytree(site.datadir / "localhost", site.datadir / "elsewhere")
    for path in (site.datadir / "elsewhere").rglob("*.json"):
        path.write_text(path.read_text().replace('"localhost"', '"elsewhere"'))
    done = site("restore", "--yes", "--database=app.db")
    assert done.returncode == 2
    assert "elsewhere/app/app.db, localhost/app/app.db" in done.stderr
    assert "--host" in done.stderr


def test_no_dump(site):
    """Exit 4 where there is none, and what there is; 3 where no recipe is meant, 2 for what is no stamp."""
    done = site("restore", "--yes")
    assert done.returncode == 4
    assert "no dump of anything is stored" in done.stderr
    file = site.dump()
    done = site("restore", "--yes", "--database=nothing")
    assert done.returncode == 4
    assert "no dump of nothing is stored" in done.stderr
    assert "There is: localhost/app/app.db." in done.stderr
    done = site("restore", "--yes", "--at=20200101T000000Z")
    assert done.returncode == 4
    assert f"There is: {file.name.split('.')[0]}." in done.stderr
    assert site("restore", "--yes", "--at=yesterday").returncode == 2
    assert site("restore", "--yes", "--host=nobody").returncode == 3
    done = site("restore", "--yes", "--as=x", "--to=nobody")
    assert done.returncode == 3
    assert "no recipe is for host 'nobody'" in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--to-stdout", "--force"], "--force with --to-stdout"),
        (["--to-stdout", "--as=x"], "--as with --to-stdout"),
        (["--file=x", "--at=latest", "--yes"], "--at with --file"),
        (["--file=x", "--globals", "--yes"], "--globals with --file"),
        (["--database=@globals", "--as=x", "--yes"], "has no other name"),
        ([], "nobody to ask"),
        (["--force"], "what is there would be dropped"),
    ],
)
def test_flags_that_make_no_sense(site, flags, said):
    """Each is said before anything is done."""
    done = site("restore", *flags)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("stamp", ["old", "new", "latest"])
def test_a_stamp_says_which(site, stamp):
    """The newest, or the one that is asked for."""
    files, contents = {}, {}
    for each in ("old", "new"):
        (site.top / "app.db").unlink()
        sqlite_database(site.top / "app.db", 200_000)
        files[each], contents[each] = site.dump(), rows(site.top / "app.db")
    at = "latest" if stamp == "latest" else files[stamp].name.split(".")[0]
    done = site("restore", "--yes", "--force", f"--at={at}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") == contents["new" if stamp == "latest" else stamp]


def test_a_copy_of_a_dump(site, dbdump, tmp_path):
    """A file with its manifest beside it: by its recipe, or by flags; verified as any other."""
    before = rows(site.top / "app.db")
    site.wrap = SEALED
    file = site.dump()
    (copies := tmp_path / "copies").mkdir()
    for end in ("", ".json", ".json.sig"):
        shutil.move(f"{file}{end}", copies)
    copy = copies / file.name
    (site.top / "app.db").unlink()
    done = site("restore", "--yes", f"--file={copy}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(site.top / "app.db") == before
    env = {"GNUPGHOME": str(site.home.home)}
    other = ["restore", "--yes", f"--file={copy}", "--recipes=none"]
    (tmp_path / "none").mkdir()
    done = dbdump(*other, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "localhost/app/app.db" in done.stderr
    assert "--backend=sqlite" in done.stderr
    done = dbdump("restore", "--yes", f"--file={copy}", "--backend=sqlite", "--option=path=x.db", "--as=y.db",
                  "--sign=signer@example.org", env=env)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(tmp_path / "y.db") == before
    done = site("restore", "--yes", f"--file={copy}", "--database=other")
    assert done.returncode == 2
    assert "is a dump of localhost/app/app.db" in done.stderr
    Path(f"{copy}.json.sig").unlink()
    refused(site, "its manifest is not signed", f"--file={copy}")
    flipped(copy)
    done = dbdump("restore", "--yes", f"--file={copy}", "--backend=sqlite", "--option=path=app.db", "--force", env=env)
    assert done.returncode == 4
    assert "changed since it was stored" in done.stdout
    copy.rename(copies / "renamed.sqlite.zst.gpg")
    refused(site, "no such file", f"--file={copy}")
    shutil.copy(f"{copy}.json", copies / "renamed.sqlite.zst.gpg.json")
    refused(site, "not the name of a dump", f"--file={copies}/renamed.sqlite.zst.gpg")


def test_to_stdout(site, dbdump):
    """The raw dump and nothing else, after all of it was verified; a bad one gives no byte."""
    site.wrap = SEALED
    file = site.dump()
    argv = [*COMMAND, "restore", f"--recipes={site.top}/recipes", "--to-stdout", "--database=app.db"]
    env = {**os.environ, "GNUPGHOME": str(site.home.home)}
    done = subprocess.run(argv, capture_output=True, check=False, env=env, cwd=site.top)
    assert done.returncode == 0, done.stderr
    (site.top / "raw.db").write_bytes(done.stdout)
    assert rows(site.top / "raw.db") == rows(site.top / "app.db")
    assert done.stderr.startswith(b"verified localhost/app/app.db")
    flipped(file)
    done = subprocess.run(argv, capture_output=True, check=False, env=env, cwd=site.top)
    assert (done.returncode, done.stdout) == (4, b"")


@pytest.mark.parametrize("reader", ["head -c 10 >/dev/null", "cat >/dev/full"])
def test_to_a_stdout_that_takes_no_more(site, reader):
    """A reader that went away, or a full disk, is an error in words."""
    site.dump()
    line = f'{sys.executable} -c "$1" restore --recipes={site.top}/recipes --to-stdout --database=app.db | {reader}'
    to_full = line.replace("| cat >/dev/full", ">/dev/full")
    script = f"set -o pipefail; {to_full}"
    done = subprocess.run(["bash", "-c", script, "bash", COMMAND[-1]], capture_output=True, check=False, text=True,
                          cwd=site.top, preexec_fn=default_signals)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "FAILED   localhost/app/app.db: write: stdout: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_it_asks_on_a_terminal(site, answer, code):
    """With all that is to be known; what is not y is no."""
    site.dump()
    (site.top / "app.db").rename(site.top / "gone.db")
    controller, terminal = pty.openpty()
    argv = [*COMMAND, "restore", f"--recipes={site.top}/recipes", "--database=app.db"]
    process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, cwd=site.top, close_fds=True)
    os.close(terminal)
    said = b""
    try:
        while b"[y/N]" not in said:
            said += os.read(controller, 4096)
        os.write(controller, answer.encode() + b"\n")
        with suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(controller, 4096):
                said += piece
        assert process.wait(30) == code, said
    finally:
        process.kill()
        os.close(controller)
    text = said.decode()
    assert "Restore app.db of localhost/app, 20" in text
    assert f"kB, on localhost as {site.top}/app.db? [y/N]" in text
    assert (site.top / "app.db").exists() == (code == 0)


@pytest.fixture
def remote_host(sshd, site):
    """Another host of the recipes, and a directory of its account."""
    path = sshd.accounts.directory_of("bash", site.top.name)
    site.more["before"] = f"""
@recipe(Host("far", ssh={sshd.remote("bash")!r}))
def other(host):
    return Dump(SQLite(path={str(path / "elsewhere.db")!r}), to=Directory({str(site.datadir)!r}))
"""
    yield path
    shutil.rmtree(path)


def test_on_another_host(site, remote_host, sshd):
    """--to restores on another host of the recipes, as that host's recipe says."""
    before = rows(site.top / "app.db")
    site.wrap = SEALED
    site.dump("--host=localhost")
    done = site("restore", "--yes", "--host=localhost", "--to=far", f"--as={remote_host}/app.db")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"as {remote_host}/app.db on far" in done.stdout
    assert rows(remote_host / "app.db") == before
    assert (remote_host / "app.db").stat().st_uid == sshd.accounts.uids["bash"]


@pytest.fixture
def guarded(postgres, site, sshd):
    """Recipes of a server that wants a password, on this host and on another one; and the password."""
    postgres.sql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'c4n4ry-s3cr3t'")
    site.wrap = "Zstd()"
    backend = f'PostgreSQL(host={postgres.host!r}, user="guarded", env={{"PGPASSWORD": "c4n4" + "ry-s3cr3t"}})'
    where = f"to=Directory({str(site.datadir)!r})"
    site.more["before"] = f"""
@recipe(localhost)
def near(host): return Dump({backend}, {where})
@recipe(Host("far", ssh={sshd.remote("bash")!r}))
def far(host): return Dump({backend}, {where})
"""
    postgres.create("kept_safe")
    postgres.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g", "kept_safe")
    yield "c4n4ry-s3cr3t"
    postgres.drop("kept_safe", "kept_safe2")
    postgres.sql("DROP ROLE guarded")


@pytest.mark.parametrize("to", ["localhost", "far"])
def test_a_password_is_for_the_command_that_restores_alone(site, guarded, postgres, to):
    """It reaches psql and pg_restore, here or there, and is in no argument and no line."""
    assert site("dump", "--host=localhost", "--recipe=near", "--database=kept_safe").returncode == 0
    seen: list[str] = []
    done = threading.Event()

    def sample() -> None:
        while not done.is_set():
            seen.extend(processes(guarded).values())

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        restored = site("restore", "--host=localhost", "--recipe=near", "--database=kept_safe", f"--to={to}", "--yes",
                        "--as=kept_safe2")  # fmt: skip
    finally:
        done.set()
        sampling.join()
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert postgres.sql("SELECT count(*) FROM t", "kept_safe2") == "1000"
    assert seen == []
    assert guarded not in restored.stdout + restored.stderr


@pytest.mark.parametrize("wrap", ["", "Zstd()"])
def test_changed_while_it_goes_to_another_host(site, remote_host, wrap):
    """There too what restores never sees the end of it."""
    site.wrap = wrap
    change = CHANGING.format(how="piece[:-1] + bytes([piece[-1] ^ 1])")
    site.more["before"] = change + site.more["before"]
    file = site.dump("--host=localhost")
    recipe = site.top / "recipes" / "site.py"
    flags = ["--host=localhost", "--to=far", f"--as={remote_host}/app.db", "--yes", f"--recipes={recipe.parent}"]
    recipe.write_text(recipe.read_text().replace("to=Directory", "to=Changing"))
    done = site.run("restore", *flags)
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"{file.name.split('.')[0]}: changed since it was verified" in done.stdout
    assert f"left: nothing of {remote_host}/app.db" in done.stdout
    wait_for(lambda: list(remote_host.iterdir()) == [], "the end of what was begun there")


@pytest.mark.parametrize("wrap", ["", SEALED])
@pytest.mark.parametrize("program", ['cat >"$1.got"', 'head -c 100000 >"$1.got"; exit 3'])
def test_the_other_host_may_have_busybox_and_nothing_else(sshd, site, wrap, program):
    """All of the dump arrives there; and one that fails there in the middle is told at once."""
    path = sshd.accounts.directory_of("busybox", site.top.name)
    site.wrap = wrap
    raw = os.urandom(12_345_678)
    (site.top / "raw").write_bytes(raw)
    site.more["before"] = f"""
@backend("bytes")
class Bytes(Backend):
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["cat", {str(site.top / "raw")!r}]
    def get_restoring_command(self, database, into, jobs): return ["sh", "-c", {program!r}, "sh", {str(path / "f")!r}]
    def contents(self, database): return None
@recipe(localhost)
def raw(host): return Dump(Bytes(), wrap=[{wrap}], to=Directory({str(site.datadir)!r}))
@recipe(Host("far", ssh={sshd.remote("busybox")!r}))
def far(host): return Dump(Bytes(), to=Directory({str(site.datadir)!r}))
"""
    try:
        assert site("dump", "--host=localhost", "--recipe=raw").returncode == 0
        done = site("restore", "--host=localhost", "--recipe=raw", "--to=far", "--yes")
        fails = "exit 3" in program
        assert done.returncode == fails, done.stdout + done.stderr
        assert (path / "f.got").read_bytes() == (raw[:100_000] if fails else raw)
        assert not fails or "exit status 3" in done.stdout
    finally:
        shutil.rmtree(path)


def test_a_prune_keeps_it_out(site):
    """Nothing is restored from where somebody is removing dumps: exit 75, and who is at it."""
    site.dump()
    place = os.open(site.datadir / "localhost" / "app", os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        refused(site, "a prune is at work there", code=75)
    finally:
        os.close(place)


def test_what_cannot_be_dropped_stays(postgres, mariadb, dbdump, datadir):
    """Nor is what a server cannot do without dropped: neither database is touched."""
    flags = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres", f"--datadir={datadir}",
             "--database=postgres"]  # fmt: skip
    postgres.sql("CREATE TABLE in_the_way (a int)")
    try:
        assert dbdump("dump", *flags).returncode == 0
        done = dbdump("restore", *flags, "--yes", "--force")
        assert done.returncode == 1
        assert "cannot drop the currently open database" in done.stdout
        assert "left: postgres, as it was before" in done.stdout
    finally:
        postgres.sql("DROP TABLE in_the_way")
    flags = ["--backend=mysql", f"--defaults={mariadb.defaults_file()}", f"--datadir={datadir}", "--database=mysql"]
    assert dbdump("dump", *flags).returncode == 0
    before = mariadb.sql("SHOW TABLES", "mysql")
    done = dbdump("restore", *flags, "--yes", "--force")
    assert done.returncode == 1
    assert "mysql is the server's own, and is not dropped" in done.stdout
    assert mariadb.sql("SHOW TABLES", "mysql") == before


SLOW = """
@backend("slow")
class Slow(Backend):
    suffix = ".bin"
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["head", "-c", "30000000", "/dev/urandom"]
    def get_restoring_command(self, database, into, jobs):
        return ["sh", "-c", {program!r}, "sh", {marker!r}]
    def contents(self, database): return {contents}

@recipe({host})
def slow(host):
    return Dump(Slow(), wrap=[], to=Directory({datadir!r}))
"""
# Notes that it saw the end of its input.
PROGRAM = 'cat >"$1.part"; echo seen >"$1.end"; sleep 60'
# Does not read.
STUCK = 'echo "$$" >"$1.part"; sleep 60'


@pytest.fixture
def slow(tmp_path, datadir, sshd):
    """Write a recipe whose restore takes its time; return the flags, and the path that it writes beside."""

    def write(program: str, *, far: bool = False, contents: str = "None") -> tuple[list[str], Path]:
        recipes = tmp_path / "recipes"
        recipes.mkdir(exist_ok=True)
        top = sshd.accounts.directory_of("bash", tmp_path.name) if far else tmp_path
        marker = top / "marker"
        host = f'Host("far", ssh={sshd.remote("bash")!r})' if far else "localhost"
        (recipes / "slow.py").write_text("from dbdump import *\n" + SLOW.format(
            program=program, marker=str(marker), host=host, datadir=str(datadir), contents=contents))  # fmt: skip
        return [f"--recipes={recipes}", "--database=one"], marker

    return write


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize(("program", "seen"), [(PROGRAM, True), (STUCK, False)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_is_ended_in_the_middle(dbdump, started, slow, number, program, seen, far):
    """By a signal, or killed: nothing goes on, here or there, and what is left is said."""
    flags, marker = slow(program, far=far, contents="getattr(type(self), 'n', None)")
    done = dbdump("dump", *flags)
    assert done.returncode == 0, done.stdout
    process = started("restore", *flags, "--yes")
    wait_for(marker.with_suffix(".part").exists, "it to begin")
    if seen:
        wait_for(marker.with_suffix(".end").exists, "the end of its input")
    process.send_signal(number)
    code, said = end_of(process)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 128 + number
        assert "interrupted" in said
        assert "left: nothing of one" in said
    gone(str(marker))


@pytest.mark.parametrize("far", [False, True])
def test_an_end_that_is_not_said_is_no_end(dbdump, started, slow, far):
    """The command that restores never sees the end of its input where dbdump was killed on the way."""
    program = 'echo "$$" >"$1.part"; head -c 5000000 >/dev/null; sleep 2; cat >/dev/null; echo seen >"$1.end"'
    flags, marker = slow(program, far=far)
    assert dbdump("dump", *flags).returncode == 0
    process = started("restore", *flags, "--yes")
    wait_for(marker.with_suffix(".part").exists, "it to begin")
    process.kill()
    gone(str(marker))
    assert not marker.with_suffix(".end").exists()


def test_a_backend_that_cannot_tell(dbdump, slow):
    """Whether something is in the way of a third party's backend nobody knows: --force says that it does not matter."""
    flags, _ = slow('cat >"$1.got"', contents="super().contents(database)")
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("restore", *flags, "--yes")
    assert done.returncode == 1
    assert "one on localhost is not empty (nobody can tell)" in done.stderr
    done = dbdump("restore", *flags, "--yes", "--force")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_that_stops_early_is_believed(dbdump, slow):
    """What exits 0 has restored it, though it left the end of the stream unread, as pg_restore does."""
    flags, _ = slow("head -c 1000 >/dev/null")
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("restore", *flags, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("program", "said"),
    [("head -c 1000 >/dev/null; echo 'error: no room' >&2; exit 3", "exit status 3: error: no room"),
     ("cat >/dev/null; kill -9 $$", "killed by SIGKILL"), ("exec nowhere-to-be-found", "not found")],
)  # fmt: skip
def test_a_command_that_fails_is_named(dbdump, slow, program, said):
    """At once, and not when all was read."""
    flags, _ = slow(program)
    assert dbdump("dump", *flags).returncode == 0
    done = dbdump("restore", *flags, "--yes")
    assert done.returncode == 1
    assert said in done.stdout
    assert "left: nothing of one" in done.stdout


def test_no_plaintext_is_left(postgres, dbdump, started, datadir, tmp_path, monkeypatch):
    """The file that a parallel pg_restore reads has no name, so that nothing is left of it when all is killed."""
    (spool := tmp_path / "spool").mkdir(mode=0o777)
    spool.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(spool))
    postgres.create("spooled")
    try:
        postgres.sql("CREATE TABLE t AS SELECT g, md5(g::text) AS x FROM generate_series(1, 1000) g", "spooled")
        flags = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres",
                 f"--datadir={datadir}", "--database=spooled"]  # fmt: skip
        postgres.sql("CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
                     "PERFORM CASE WHEN current_setting('application_name') = 'pg_restore' THEN pg_sleep(60) END; "
                     "RETURN 1; END $$; CREATE INDEX ON t (slow(g))", "spooled")  # fmt: skip
        assert dbdump("dump", *flags).returncode == 0
        postgres.drop("spooled")
        process = started("restore", *flags, "--yes", "--jobs=2")
        wait_for(lambda: "pg_restore" in postgres.clients(), "pg_restore to be at it")
        wait_for(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "the index")
        assert list(spool.iterdir()) == []
        process.kill()
        gone("dbname=spooled")
        wait_for(lambda: not postgres.clients(), "the server to hear of it")
        assert list(spool.iterdir()) == []
    finally:
        postgres.drop("spooled")
