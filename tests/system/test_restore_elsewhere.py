"""Restore on another host, whatever it has; its secrets, and what no server can do without."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from support import processes, rows, sqlite_database
from test_restore_bad import CHANGING
from test_verify import SEALED, Site


@pytest.fixture
def site(dbdump, tmp_path, datadir, gnupg) -> Site:
    """A recipe of the one database app.db, compressed."""
    sqlite_database(tmp_path / "app.db", 300_000)
    return Site(dbdump, tmp_path, datadir, gnupg)


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
def guarded(postgres, role, site, sshd):
    """Recipes of a server that wants a password, on this host and on another one; and the password."""
    role("guarded", "SUPERUSER LOGIN PASSWORD 'c4n4ry-s3cr3t'")
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


def recipes_of(site, **recipes: str) -> None:
    """Have these recipes of this host beside that of the host db1, whose server a dump is of, and make the dump."""
    where = f"to=Directory({str(site.datadir)!r})"
    site.wrap = "Zstd()"
    site.more["before"] = f"""
@recipe(Host("db1", ssh="nobody@127.0.0.1"))
def shop(host): return Dump({recipes.pop("own")}, {where})
"""
    for name, backend in recipes.items():
        site.more["before"] += f"@recipe(localhost)\ndef {name}(host): return Dump({backend}, {where})\n"


@pytest.fixture
def shop(postgres, site):
    """A database of db1, of which there is a dump; and the recipe's backend."""
    backend = f'PostgreSQL(host={postgres.host!r}, user="postgres", include=["shop_to"])'
    postgres.create("shop_to")
    postgres.sql("CREATE TABLE t AS SELECT 1 AS a", "shop_to")
    recipes_of(site, own=backend)
    assert site("dump", "--host=db1", "--here").returncode == 0
    postgres.sql("CREATE TABLE newer AS SELECT 1 AS a", "shop_to")
    yield backend
    assert postgres.sql("SELECT count(*) FROM newer", "shop_to") == "1"
    postgres.drop("shop_to", "shop_too")


OTHER = 'PostgreSQL(host="/nowhere")'


@pytest.mark.parametrize(
    ("recipes", "to", "code", "said"),
    [
        ({"x": OTHER, "y": OTHER}, "localhost", 2, "localhost has more than one recipe of postgresql: x, y"),
        ({"x": OTHER, "y": OTHER}, "localhost/z", 3, "no recipe is for 'localhost/z'"),
        ({"x": OTHER}, "localhost", 1, "/nowhere"),
        ({"x": OTHER, "y": OTHER}, "localhost/y", 1, "/nowhere"),
        ({}, "localhost", 3, "localhost has no recipe of postgresql"),
        ({}, "localhost/app", 3, "localhost has no recipe of postgresql"),
    ],
)
def test_nobody_guesses_which_server_is_meant(site, shop, recipes, to, code, said):
    """Where not one recipe there is of that kind, the dump's own server is not what is restored to."""
    recipes_of(site, own=shop, **recipes)
    flags = ["--host=db1", "--here", "--database=shop_to", f"--to={to}"]
    for done in (site("restore", *flags, "--force", "--yes"), site("verify", *flags, "--restore")):
        assert done.returncode == code, done.stdout + done.stderr
        assert said in done.stdout + done.stderr
        assert code == 1 or "hint: " in done.stdout + done.stderr


def test_a_recipe_that_is_named_says_which_server_is_meant(site, shop, postgres):
    """--to=HOST/RECIPE is for a host that has several of that kind."""
    recipes_of(site, own=shop.replace("user=", "port=1, user="), x=OTHER, y=shop)
    done = site("restore", "--host=db1", "--here", "--database=shop_to", "--to=localhost/y", "--as=shop_too", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert postgres.sql("SELECT a FROM t", "shop_too") == "1"


@pytest.mark.parametrize("wrap", ["", "Zstd()"])
def test_changed_while_it_goes_to_another_host(site, remote_host, wrap):
    """There too nothing of it arrives."""
    site.wrap = wrap
    change = CHANGING.format(how="piece[:-1] + bytes([piece[-1] ^ 1])", first=0)
    site.more["before"] = change + site.more["before"]
    file = site.dump("--host=localhost")
    recipe = site.top / "recipes" / "site.py"
    flags = ["--host=localhost", "--to=far", f"--as={remote_host}/app.db", "--yes", f"--recipes={recipe.parent}"]
    recipe.write_text(recipe.read_text().replace("to=Directory", "to=Changing"))
    done = site.run("restore", *flags)
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"{file.name.split('.')[0]}: changed since it was verified" in done.stdout
    assert "nothing was touched" in done.stdout
    assert not list(remote_host.iterdir())


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
    def get_load_command(self, database, into, jobs): return ["sh", "-c", {program!r}, "sh", {str(path / "f")!r}]
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
