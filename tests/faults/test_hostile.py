"""Local users who plant things, and dumps whose content is an attack (FAULTS, part F)."""

from __future__ import annotations

import hashlib
import json
import os
import py_compile
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import end_of, needs_root, pid_of, rows, sqlite_database

ATTACK = "from pathlib import Path\nPath({ran!r}).touch()\nraise SystemExit(3)\n"


@pytest.fixture
def ran(tmp_path):
    """The file that is there when an attack has worked: none is at the end."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "what was planted ran"


@pytest.fixture
def site(database, datadir, tmp_path):
    """The directory of a recipe that imports a module beside it, and one below it."""
    recipes = recipe_file(tmp_path, "beside = 1", "_beside.py")
    (recipes / "below").mkdir(mode=0o755)
    (recipes / "below" / "module.py").write_text("below = 2\n")
    return recipe_file(tmp_path, f"""
        from recipes._beside import beside
        from recipes.below.module import below
        @recipe(localhost)
        def app(host): return Dump(SQLite(path={str(database)!r}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip


@needs_root
@pytest.mark.parametrize("where", [".", "site.py", "_beside.py", "below", "below/module.py", "__pycache__",
                                   "__pycache__/_beside.pyc"])  # fmt: skip
def test_code_that_others_can_write_is_not_run(site, dbdump, datadir, unharmed, ran, where):
    """124: a recipe file, what it imports, what Python keeps of it, and the directory of each: refused by its name."""
    path = site / where
    (site / "__pycache__").mkdir()
    kept = site / "__pycache__" / f"_beside.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(site / "_beside.py"), cfile=str(kept), doraise=True)
    path = kept if where.endswith(".pyc") else path
    before, text = path.stat().st_mode, path.read_text() if path.suffix == ".py" else None
    if path.suffix == ".py":
        path.write_text(ATTACK.format(ran=str(ran)))
    path.chmod(0o777)
    done = dbdump("dump", f"--recipes={site}")
    assert done.returncode == 2
    assert f"{path.resolve()}: others can write it" in done.stdout + done.stderr
    assert "hint: Look at it, then: chmod go-w " in done.stdout + done.stderr
    assert not list(datadir.iterdir())
    path.chmod(before)
    if text is not None:
        path.write_text(text)
    unharmed.check()
    unharmed.again("dump", f"--recipes={site}")


def test_modules_of_where_it_is_run_are_not_imported(site, database, datadir, unharmed, said, ran, tmp_path):
    """125: the command, as it is installed, in a directory full of modules that are called as those it needs."""
    (here := tmp_path / "here").mkdir()
    for name in ("dbdump", "recipes", "tasks", "invoke", "rich", "gpg", "fabric", "platformdirs", "sqlite3", "json",
                 "subprocess", "usercustomize"):  # fmt: skip
        (here / f"{name}.py").write_text(ATTACK.format(ran=str(ran)))
    command = [Path(sys.executable).with_name("dbdump"), "dump", f"--recipes={site}"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    said.append(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    unharmed.check()
    unharmed.again("dump", f"--recipes={site}", cwd=here.parent)


def test_nothing_that_it_starts_has_its_pythonpath(site, dbdump, unharmed, tmp_path):
    """125: whoever runs it may have one; a Python that dumps a database does not import from there."""
    (there := tmp_path / "there").mkdir()
    text = f"import os, sys; open({str(tmp_path / 'began')!r}, 'a').write(f'{{os.getpid()}} {{sys.argv[:1]}}\\n')"
    (there / "sitecustomize.py").write_text(text)
    unharmed.again("dump", f"--recipes={site}", env={"PYTHONPATH": str(there)})
    assert len((tmp_path / "began").read_text().splitlines()) == 1


def forge(datadir: Path, database: str, attack: str, before: str) -> None:
    """Put lines of `attack` into the one dump of a database that is there, which is SQL, and mend its manifest."""
    (path,) = datadir.rglob(f"{database}/*.sql")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, f"\n{attack}{before}", 1))
    told, content = json.loads(Path(f"{path}.json").read_text()), path.read_bytes()
    told |= {"stored_bytes": len(content), "raw_bytes": None, "sha256": hashlib.sha256(content).hexdigest()}
    Path(f"{path}.json").write_text(json.dumps(told))


@pytest.fixture
def plain(tmp_path, datadir):
    """Write a recipe whose dumps are plain SQL, not wrapped, and return its flag."""

    def write(backend: str) -> str:
        text = f"@recipe(localhost)\ndef app(host): return Dump({backend}, wrap=[], to=Directory({str(datadir)!r}))"
        return f"--recipes={recipe_file(tmp_path, text)}"

    return write


@pytest.mark.parametrize("attack", ["\\! touch {ran}", "\\copy t to program 'touch {ran}'", "\\o | touch {ran}"])
def test_commands_of_psql_in_a_dump(postgres, plain, dbdump, datadir, unharmed, ran, tmp_path, attack):
    """128: pg_dump has them forbidden until its end; nor is the operator's own psqlrc looked at, which prints."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".psqlrc").write_text(f"\\! touch {ran}\n\\timing\n")
    postgres.create("hostile")
    try:
        postgres.sql("CREATE TABLE t AS SELECT 1 AS one", "hostile")
        flag = plain(f"PostgreSQL(host={postgres.host!r}, user='postgres', format='plain', globals=False)")
        unharmed.again("dump", flag, "--database=hostile", env={"HOME": str(home)})
        postgres.drop("hostile")
        forge(datadir, "hostile", attack.format(ran=ran), "\nCREATE TABLE")
        done = dbdump("restore", flag, "--database=hostile", "--yes", env={"HOME": str(home)})
        assert done.returncode == 1
        assert "backslash commands are restricted" in done.stdout
        assert "left: hostile, empty" in done.stdout
        assert postgres.sql("SELECT count(*) FROM pg_class WHERE relname = 't'", "hostile") == "0"
    finally:
        postgres.drop("hostile")


@pytest.mark.parametrize(
    ("attack", "stripped"),
    [("\\! touch {ran}", False), ("\\! touch {ran}", True), ("system touch {ran}", True), ("tee {ran}", True)],
)
def test_commands_of_the_mariadb_client_in_a_dump(mariadb, plain, dbdump, datadir, unharmed, ran, attack, stripped):
    """128: the dump tells the client that it is in a sandbox, and --binary-mode does where that line was taken out."""
    mariadb.create("hostile")
    try:
        mariadb.sql("CREATE TABLE t AS SELECT 1 AS one", "hostile")
        flag = plain(f"MySQL(defaults={mariadb.defaults_file()!r})")
        unharmed.again("dump", flag, "--database=hostile")
        mariadb.drop("hostile")
        if stripped:
            (path,) = datadir.rglob("hostile/*.sql")
            first, _, rest = path.read_text().partition("\n")
            assert "sandbox" in first
            path.write_text(rest)
        forge(datadir, "hostile", attack.format(ran=ran) + "\n", "\nDROP TABLE")
        done = dbdump("restore", flag, "--database=hostile", "--yes")
        assert done.returncode == 1, done.stdout
        assert "left: hostile" in done.stdout
    finally:
        mariadb.drop("hostile")


@pytest.mark.parametrize(
    "attack", [".shell touch {ran}", ".system touch {ran}", "ATTACH '{ran}' AS x; CREATE TABLE x.y (z);"]
)
def test_commands_of_the_sqlite_shell_in_a_dump(database, plain, dbdump, datadir, unharmed, ran, attack):
    """128: no shell of SQLite reads it; and what is there stays."""
    before = rows(database)
    flag = plain(f"SQLite(path={str(database)!r}, format='sql')")
    unharmed.again("dump", flag)
    forge(datadir, "app.db", attack.format(ran=ran) + "\n", "\nCREATE TABLE")
    done = dbdump("restore", flag, "--database=app.db", "--yes", "--force")
    assert done.returncode == 1, done.stdout
    assert rows(database) == before


def test_psql_is_killed_in_the_middle(postgres, plain, dbdump, datadir, unharmed, started, monkeypatch):
    """132: all of it was one transaction, so nothing is there; it is said what is left, and --force begins anew."""
    postgres.create("halved")
    try:
        postgres.sql("CREATE TABLE t AS SELECT 1 AS one", "halved")
        flag = plain(f"PostgreSQL(host={postgres.host!r}, user='postgres', format='plain', globals=False)")
        unharmed.again("dump", flag, "--database=halved")
        forge(datadir, "halved", "SELECT CASE WHEN current_setting('work_mem') = '7MB' THEN pg_sleep(4) END;", "\nCOPY")
        postgres.drop("halved")
        monkeypatch.setenv("PGOPTIONS", "-c work_mem=7MB")
        process = started("restore", flag, "--database=halved", "--yes")
        wait_for(
            lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "psql to be at it"
        )
        os.kill(pid_of(f"host={postgres.host} ", "psql"), signal.SIGKILL)
        code, out = end_of(process)
        assert code == 1
        assert "killed by SIGKILL" in out
        assert "left: halved, empty" in out
        unharmed.check()
        monkeypatch.delenv("PGOPTIONS")
        done = dbdump("restore", flag, "--database=halved", "--yes", "--force")
        assert done.returncode == 0, done.stdout
        assert postgres.sql("SELECT one FROM t", "halved") == "1"
    finally:
        postgres.drop("halved")


def test_psql_is_killed_while_the_server_makes_the_database(postgres, plain, dbdump, datadir, unharmed, started):
    """132: the server hears nothing of that, and makes it: nobody says before that there is none."""
    postgres.create("late")
    try:
        postgres.sql("CREATE TABLE t AS SELECT 1 AS one", "late")
        flag = plain(f"PostgreSQL(host={postgres.host!r}, user='postgres', format='plain', globals=False)")
        unharmed.again("dump", flag, "--database=late")
        postgres.drop("late")
        active = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active' AND "
        with subprocess.Popen(["psql", "-XqAt"], env=postgres.environment, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
            print("BEGIN; LOCK TABLE pg_database IN SHARE MODE; SELECT 'held';", file=holder.stdin, flush=True)
            assert holder.stdout.readline() == "held\n"
            process = started("restore", flag, "--database=late", "--yes")
            wait_for(lambda: postgres.sql(f"{active} wait_event_type = 'Lock'"), "CREATE DATABASE to wait")
            os.kill(pid_of(f"host={postgres.host} ", "psql"), signal.SIGKILL)
            wait_for(lambda: postgres.sql(f"{active} query ~ 'pg_sleep'"), "dbdump to wait for it")
            holder.stdin.close()
        code, out = end_of(process)
        assert code == 1, out
        assert "left: late, empty" in out
        unharmed.check()
        done = dbdump("restore", flag, "--database=late", "--yes")
        assert done.returncode == 0, done.stdout
        assert postgres.sql("SELECT one FROM t", "late") == "1"
    finally:
        postgres.drop("late")


def test_a_bomb_has_no_room(dbdump, plain, datadir, unharmed, small_disk, tmp_path):
    """133: some kilobytes that unwrap to more than there is room for: told, and the room is free again."""
    sqlite_database(tmp_path / "bomb.db", 1000)
    flags = ["--backend=sqlite", f"--option=path={tmp_path}/bomb.db", f"--datadir={datadir}"]
    unharmed.again("dump", *flags)
    (path,) = datadir.rglob("*.zst")
    bomb = subprocess.run(
        ["zstd", "-cq"], input=b"SQLite format 3\0" + bytes(200_000_000), capture_output=True, check=True
    )
    path.write_bytes(bomb.stdout)
    manifest = Path(f"{path}.json")
    told = json.loads(manifest.read_text())
    told |= {"stored_bytes": len(bomb.stdout), "sha256": hashlib.sha256(bomb.stdout).hexdigest()}
    manifest.write_text(json.dumps(told))
    done = dbdump("verify", *flags, env={"TMPDIR": str(small_disk)})
    assert done.returncode == 1, done.stdout
    assert "No space left on device" in done.stdout, done.stdout
    assert not list(small_disk.iterdir())


def test_what_a_dump_does_in_a_drill_it_does_to_a_server_to_throw_away(drills, postgres, unharmed):
    """129: its code runs as that server's superuser, and the server that it came from, and its roles, are untouched."""
    postgres.create("hostile")
    try:
        postgres.sql("CREATE TABLE t AS SELECT 1 AS one", "hostile")
        drills.of("postgresql", f"host={postgres.host}", "user=postgres", "format=plain", "globals=false")
        drills.dump("hostile")
        attack = b"\nCREATE ROLE planted SUPERUSER; CREATE TABLE public.proof AS SELECT 1;\nCREATE TABLE"
        drills.change("hostile", lambda sql: sql.replace(b"\nCREATE TABLE", attack, 1))
        said = drills.drill("--database=hostile")
        assert "2 tables, 2 rows" in said, said
        assert postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'planted'") == "0"
        unharmed.check()
        unharmed.again("list", *drills.flags)
    finally:
        postgres.drop("hostile")
