"""The preflight on databases and keys: what it says will fail does, all in one run, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import COMMAND, end_of, needs_root, processes, sqlite_database, state


def failed(done, word: str) -> set[str]:
    """Return the databases that lines beginning with `word` are about, without their host and recipe."""
    return {match[1] for match in re.finditer(rf"(?m)^{word} +[^/ ]+/[^/ ]+/([^: ]+?)(?=:|  )", done.stdout)}


def line_of(done, *words: str) -> str:
    """Return the only line that has all of `words`."""
    (line,) = [line for line in done.stdout.splitlines() if all(word in line for word in words)]
    return line


def test_all_is_well_on_a_fresh_machine(dbdump, database, datadir):
    """Each thing that was looked at is a line, the last one counts, and nothing was written anywhere."""
    before = state(datadir, database.parent)
    done = dbdump("check", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}")
    assert done.returncode == 0, done.stdout
    for word in ("host: it is this machine", "versions: sqlite 3.", "databases: 1 to dump", "zstd: ", "target: ",
                 "space: ", "clock: "):  # fmt: skip
        assert line_of(done, word).startswith("ok       localhost/sqlite  "), word
    assert done.stdout.splitlines()[-1] == "0 errors, 0 warnings"
    assert state(datadir, database.parent) == before


def test_it_works_from_an_empty_environment(dbdump, database, datadir, tmp_path):
    """As cron runs it: no PATH, no HOME, no terminal."""
    argv = [*COMMAND, "check", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}"]
    done = subprocess.run(
        argv, env={}, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "0 errors, 0 warnings"


def test_a_host_without_id_or_date_is_looked_at(dbdump, database, datadir, tmp_path):
    """A dump needs neither: what is not known is said, and nothing fails by it."""
    env = only(tmp_path / "few", "sh", "gzip")
    done = dbdump("check", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}", env=env)
    assert done.returncode == 0, done.stdout
    assert line_of(done, "host: ").endswith("host: it is this machine")
    assert "databases: 1 to dump" in done.stdout


def test_a_bug_in_one_look_hides_no_other(database, datadir, tmp_path):
    """What a backend of others raises is told as its error, with the traceback; all else is looked at."""
    recipes = recipe_file(tmp_path, f"""
        @backend("odd")
        class Odd(Backend):
            suffix = ".bin"
            secret: str = "hush"
            def get_db_list(self): return ["one"]
            def get_command(self, database): return ["true"]
            def environment(self): return {{"SECRET": self.secret}}
            def check(self, wanted): raise ValueError("of hush")

        @recipe(localhost)
        def shop(host): return Dump(Odd(), to=Directory({str(datadir / "missing")!r}))
        """)  # fmt: skip
    argv = [*COMMAND, "check", f"--recipes={recipes}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert line_of(done, "ERROR", "bug: ").endswith("backend: bug: ValueError: of ***")
    assert "in check" in done.stdout
    assert "hush" not in done.stdout + done.stderr
    for word in ("host: ", "databases: 1 to dump", "target: "):
        assert word in done.stdout
    assert done.stdout.splitlines()[-1] == "2 errors, 0 warnings"


# -- PostgreSQL ------------------------------------------------------------------------------------------------------

CHECKED = {
    "chk_closed": "REVOKE CONNECT ON DATABASE chk_closed FROM PUBLIC",
    "chk_rows": "CREATE TABLE secret (a int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; "
                "GRANT SELECT ON secret TO limited_check",
    "chk_objects": "SELECT lo_create(4711); SELECT lo_create(4712); "
                   "GRANT SELECT ON LARGE OBJECT 4712 TO limited_check",
    "chk_tables": "CREATE TABLE t1 (a int); CREATE TABLE t2 (a serial); CREATE SCHEMA hidden; "
                  "CREATE TABLE hidden.t3 (a int); GRANT SELECT ON hidden.t3 TO limited_check; "
                  'CREATE TABLE "it\'s" (a int); CREATE TABLE mine (a int); GRANT SELECT ON mine TO limited_check',
    "chk_good": "CREATE TABLE t (a int); ALTER TABLE t OWNER TO limited_check; SET ROLE limited_check; "
                "ALTER TABLE t ENABLE ROW LEVEL SECURITY; SELECT lo_create(5); RESET ROLE; "
                "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
                "CREATE FOREIGN TABLE f (a int) SERVER s; CREATE VIEW v AS SELECT 1; "
                "CREATE MATERIALIZED VIEW m AS SELECT 1",
    "chk_off": "SELECT 1",
}  # fmt: skip


@pytest.fixture(scope="module")
def limited(postgres):
    """The flags for databases of which the role `limited_check` may read too little, each for a reason of its own."""
    postgres.sql("CREATE ROLE limited_check LOGIN")
    for name, sql in CHECKED.items():
        postgres.create(name)
        postgres.sql(sql, name)
    postgres.sql("UPDATE pg_database SET datallowconn = false WHERE datname = 'chk_off'")
    yield ["--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=limited_check",
           "--option", "include=chk_*"]  # fmt: skip
    postgres.sql("UPDATE pg_database SET datallowconn = true WHERE datname = 'chk_off'")
    postgres.drop(*CHECKED)
    postgres.sql("DROP ROLE limited_check")


def test_what_a_postgresql_role_may_not_read_is_told_all_at_once(dbdump, limited, datadir):
    """No connection, rows behind policies, a large object of somebody else, tables without SELECT, and pg_authid."""
    done = dbdump("check", *limited, f"--datadir={datadir}")
    assert done.returncode == 1, done.stdout
    assert 'permission denied for database "chk_closed"' in line_of(done, "chk_closed  connect: ")
    assert line_of(done, "/chk_rows ").endswith(
        "rights: row-level security hides rows from limited_check in 1 of its tables: public.secret"
    )
    assert line_of(done, "/chk_objects ").endswith("limited_check may not read 1 of its large objects: 4711")
    assert line_of(done, "/chk_tables ").endswith(
        'limited_check may not read 5 of its tables and sequences: hidden.t3, public."it\'s", public.t1, and 2 more'
    )
    assert "may not read pg_authid" in line_of(done, "/@globals ")
    for hint in ('GRANT CONNECT ON DATABASE "chk_closed"', 'ALTER ROLE "limited_check" BYPASSRLS;',
                 "GRANT SELECT ON LARGE OBJECT", 'GRANT pg_read_all_data TO "limited_check"'):  # fmt: skip
        assert f"hint: {hint}" in done.stdout
    assert line_of(done, "versions:").startswith("ok       localhost/postgresql  versions: server 15.")
    assert done.stdout.splitlines()[-1] == "5 errors, 0 warnings"


def test_what_pg_dump_takes_for_the_server_s_own_is_a_warning(dbdump, postgres, datadir):
    """What somebody put beside the server's own things is in no dump; what an extension did is made by that."""
    postgres.create("odd")
    try:
        postgres.sql(
            "CREATE FUNCTION pg_catalog.odd() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
            "CREATE EXTENSION pageinspect WITH SCHEMA pg_catalog; "
            "CREATE TABLE information_schema.odd (a int); CREATE TABLE t (a int)",
            "odd",
        )
        postgres.sql("ALTER ROLE ALL SET work_mem = '5MB'")
        done = dbdump("check", "--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres",
                      "--database=odd", "--database=@globals", f"--datadir={datadir}")  # fmt: skip
    finally:
        postgres.sql("ALTER ROLE ALL RESET work_mem")
        postgres.drop("odd")
    assert done.returncode == 0, done.stdout
    assert line_of(done, "warning  localhost/postgresql/odd ").endswith(
        "leaves out 2 things in pg_catalog or information_schema: information_schema.odd, odd()"
    )
    assert line_of(done, "/@globals ", "warning").endswith("pg_dumpall leaves out what ALTER ROLE ALL has set")


@pytest.fixture
def mended(postgres, limited):
    """Return what does as the hints say, for one test."""
    yield lambda: (
        postgres.sql("GRANT CONNECT ON DATABASE chk_closed TO limited_check; ALTER ROLE limited_check BYPASSRLS; "
                     "GRANT pg_read_all_data TO limited_check"),
        postgres.sql("GRANT SELECT ON LARGE OBJECT 4711 TO limited_check", "chk_objects"),
    )  # fmt: skip
    postgres.sql("REVOKE pg_read_all_data FROM limited_check; ALTER ROLE limited_check NOBYPASSRLS; "
                 "REVOKE CONNECT ON DATABASE chk_closed FROM limited_check")  # fmt: skip
    postgres.sql("REVOKE SELECT ON LARGE OBJECT 4711 FROM limited_check", "chk_objects")


def test_what_check_says_will_fail_fails_and_nothing_else(dbdump, limited, mended, datadir):
    """15, 16, 17: what has an error cannot be dumped, and nothing is made; the hints mend it, for the next run too."""
    before = state(datadir)
    checked = dbdump("check", *limited, f"--datadir={datadir}")
    assert state(datadir) == before
    dumped = dbdump("dump", *limited, f"--datadir={datadir}")
    assert failed(checked, "ERROR") == failed(dumped, "FAILED") == {*CHECKED, "@globals"} - {"chk_good", "chk_off"}
    assert dumped.stdout.count("hint: GRANT CONNECT ON DATABASE") == 1
    mended()
    done = dbdump("check", *limited, f"--datadir={datadir}")
    assert done.returncode == 0, done.stdout
    assert line_of(done, "rights:").endswith("rights: all of 5 can be connected to, and read")


@pytest.mark.parametrize(
    ("options", "database", "errors", "warnings"),
    [
        ("-t mine", "chk_tables", 0, 1),
        ("--no-blobs", "chk_objects", 0, 0),
        ("--enable-row-security", "chk_rows", 0, 1),
        ("--role=postgres", "chk_good", 1, 0),
    ],
)
def test_what_pg_dump_is_told_counts(dbdump, limited, datadir, options, database, errors, warnings):
    """A part of a database is perhaps readable, what is left out need not be; a role that one is not is an error."""
    how = ["--pg-dump-options", options, f"--database={database}", f"--datadir={datadir}"]
    checked = dbdump("check", *limited, *how)
    assert (
        checked.stdout.splitlines()[-1]
        == f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (not warnings)}"
    )
    assert checked.returncode == (1 if errors else 0)
    assert dbdump("dump", *limited, *how).returncode == checked.returncode


def test_a_search_path_of_a_databases_owner_runs_nothing(dbdump, postgres, limited, datadir):
    """Whoever may set it for his database does not get the check to call his functions as the role that dumps."""
    postgres.create("chk_trap")
    try:
        postgres.sql(
            "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE TABLE evil.log (a int); "
            "GRANT ALL ON evil.log TO PUBLIC; CREATE FUNCTION evil.quote_ident(name) RETURNS text LANGUAGE sql AS "
            "'INSERT INTO evil.log VALUES (1); SELECT $1::text'; "
            "ALTER DATABASE chk_trap SET search_path = evil, pg_catalog", "chk_trap",
        )  # fmt: skip
        done = dbdump("check", *limited, f"--datadir={datadir}", "--database=chk_trap")
        assert done.returncode == 0, done.stdout
        assert postgres.sql("SELECT count(*) FROM evil.log", "chk_trap") == "0"
    finally:
        postgres.drop("chk_trap")


def fake(directory: Path, **programs: str) -> dict[str, str]:
    """Return a PATH on which `programs` come first, each a text for sh."""
    directory.mkdir()
    for name, text in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def only(directory: Path, *programs: str) -> dict[str, str]:
    """Return a PATH that has nothing but `programs`."""
    directory.mkdir()
    for name in programs:
        path = subprocess.run(["sh", "-c", 'command -v "$1"', "sh", name], check=True, capture_output=True, text=True)
        (directory / name).symlink_to(path.stdout.strip())
    return {"PATH": str(directory)}


def test_a_pg_dump_that_is_too_old_hides_no_missing_right(dbdump, limited, datadir, tmp_path):
    """Both are found in one run."""
    env = fake(tmp_path / "old", pg_dump="echo 'pg_dump (PostgreSQL) 9.6.1'")
    done = dbdump("check", *limited, f"--datadir={datadir}", env=env)
    assert done.returncode == 1
    assert "pg_dump is 9.6.1, older than the server" in line_of(done, "pg_dump:")
    assert failed(done, "ERROR") == {*CHECKED, "@globals"} - {"chk_good", "chk_off"}


def test_every_program_that_is_missing_is_named_once(dbdump, limited, datadir, tmp_path):
    """pg_dump, pg_dumpall, zstd and gpg are, and what can be asked without them is asked."""
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            server = PostgreSQL(host={limited[2].partition("=")[2]!r}, user="limited_check", include=["chk_*"])
            return Dump(server, wrap=[Zstd(), GPG(encrypt=["ops@example.org"])], to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    env = only(tmp_path / "few", "sh", "id", "date", "psql", "gzip")
    done = dbdump("check", f"--recipes={recipes}", env=env)
    assert done.returncode == 1
    for program in ("pg_dump", "pg_dumpall", "zstd", "gpg"):
        assert "not found on the" in line_of(done, f"localhost/shop  {program}: ")
    assert f"target: {datadir}" in done.stdout
    assert "/chk_tables  rights" in done.stdout


@pytest.mark.parametrize(("form", "archives"), [("custom", 1), ("plain", 0)])
def test_what_only_reads_a_dump_back_and_is_missing_is_a_warning(dbdump, limited, datadir, without, form, archives):
    """A dump needs neither pg_restore nor awk; where they are, nothing is said of them, and of neither twice."""
    flags = [*limited, "--database=chk_good", f"--option=format={form}", f"--datadir={datadir}"]
    assert "pg_restore: " not in dbdump("check", *flags).stdout
    done = dbdump("check", *flags, env=without("pg_restore", "awk"))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == f"0 errors, {1 + archives} warning{'s' * archives}"
    assert done.stdout.count("pg_restore: not found on the PATH of this machine: verify does not read") == archives
    assert done.stdout.count("hint: Install postgresql-client here; dumps are made without it.") == archives
    assert "awk: not found on the PATH of the user who runs it, who could not restore there" in done.stdout


@pytest.mark.parametrize(
    ("host", "user", "words", "hint"),
    [
        ("/nonexistent", "postgres", "connection to server", "Is the server there?"),
        ("", "nobody_of_ours", 'role "nobody_of_ours" does not exist', "Give another one: user, or --su"),
        ("", "guarded", "no password supplied", "Give ~/.pgpass the password"),
    ],
)
def test_a_login_that_fails_is_one_finding(dbdump, postgres, role, datadir, host, user, words, hint):
    """However many questions fail by it; the target is looked at all the same."""
    role("guarded", "LOGIN PASSWORD 'x'")
    done = dbdump("check", "--backend=postgresql", "--option", f"host={host or postgres.host}", f"--datadir={datadir}",
                  "--option", f"user={user}", env={"HOME": str(datadir)})  # fmt: skip
    assert done.returncode == 1
    assert words in line_of(done, "ERROR")
    assert hint in done.stdout
    assert "target: " in done.stdout
    assert done.stdout.splitlines()[-1] == "1 error, 0 warnings"


# -- MySQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mysql_databases(mariadb):
    """Databases of which the user `limited_check` can dump one."""
    for name in ("chk_whole", "chk_read", "chk_view"):
        mariadb.create(name)
        mariadb.sql("CREATE TABLE t (a int); CREATE VIEW good AS SELECT a FROM t", name)
    mariadb.sql("CREATE TABLE u (a int); CREATE VIEW broken AS SELECT * FROM u; DROP TABLE u", "chk_view")
    mariadb.sql("CREATE OR REPLACE USER limited_check@localhost; "
                "GRANT SELECT ON mysql.proc TO limited_check@localhost; "
                "GRANT SELECT ON chk_read.* TO limited_check@localhost; "
                "GRANT ALL ON chk_whole.* TO limited_check@localhost; "
                "GRANT ALL ON chk_view.* TO limited_check@localhost")  # fmt: skip
    yield ["--backend=mysql", f"--defaults={mariadb.defaults_file('limited_check')}", "--option", "include=chk_*"]
    mariadb.drop("chk_whole", "chk_read", "chk_view")
    mariadb.sql("DROP USER limited_check@localhost")


def test_what_a_mysql_user_may_not_dump_is_told_all_at_once(dbdump, mariadb, mysql_databases, datadir):
    """21: missing grants, a broken view, accounts that may not be read: what check names fails, and nothing else."""
    before = state(datadir)
    done = dbdump("check", *mysql_databases, f"--datadir={datadir}")
    assert done.returncode == 1, done.stdout
    assert state(datadir) == before
    assert "has no SHOW VIEW, TRIGGER, EVENT privilege on chk_read" in line_of(done, "/chk_read ", "ERROR")
    assert "the view broken refers to what is not there" in line_of(done, "/chk_view ", "ERROR")
    assert "has no SELECT privilege on mysql" in line_of(done, "/@globals ", "ERROR")
    assert "has no PROCESS privilege: a table that is emptied and filled" in line_of(done, "  grants: ", "warning")
    assert "databases: 3 to dump" in done.stdout
    dumped = dbdump("dump", *mysql_databases, f"--datadir={datadir}")
    assert failed(done, "ERROR") == failed(dumped, "FAILED") == {"chk_read", "chk_view", "@globals"}
    hint, process = re.findall(r"hint: (GRANT .*;)", done.stdout)
    assert process == "GRANT PROCESS ON *.* TO `limited_check`@`localhost`;"
    assert hint == "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `chk\\_read`.* TO `limited_check`@`localhost`;"
    mariadb.sql(
        f"{process} {hint} GRANT SELECT ON mysql.* TO limited_check@localhost; CREATE TABLE u (a int)", "chk_view"
    )
    done = dbdump("check", *mysql_databases, f"--datadir={datadir}")
    assert done.returncode == 0, done.stdout


def test_what_mariadb_dump_changes_without_a_word_is_a_warning(dbdump, mariadb, mysql_databases, datadir):
    """FLOAT beyond six digits, backslashes in sjis, what is granted to PUBLIC; a dump is made all the same."""
    mariadb.sql(
        "CREATE TABLE f (a float, b float(20, 3), c double, d text CHARACTER SET sjis); "
        "CREATE VIEW w AS SELECT a FROM f; INSERT INTO f (a, d) VALUES (16777215, X'5c'); "
        "GRANT SELECT ON chk_whole.* TO PUBLIC",
        "chk_whole",
    )
    how = ["--backend=mysql", f"--defaults={mariadb.defaults_file()}", f"--datadir={datadir}", "--database=chk_whole"]
    try:
        done = dbdump("check", *how, "--database=@globals")
        assert done.returncode == 0, done.stdout
        said = [line for line in done.stdout.splitlines() if line.startswith("warning ")]
        assert [line.rpartition("  ")[2] for line in said] == [
            "columns: FLOAT is dumped with six digits, and what has more is rounded: f.a",
            "columns: backslashes in sjis are dumped as wide ones: f.d",
            "grants: what is granted to PUBLIC is not dumped with the users",
        ]
        assert dbdump("dump", *how).returncode == 0
        assert dbdump("restore", *how, "--as=chk_read", "--force", "--yes").returncode == 0
        assert mariadb.sql("SELECT CAST(a AS double), HEX(d) FROM f", "chk_read") == "16777200\t815F"
    finally:
        mariadb.sql("REVOKE SELECT ON chk_whole.* FROM PUBLIC")


def test_a_view_that_is_left_out_may_be_broken(dbdump, mysql_databases, datadir):
    """ignore_tables is what the hint offers, and then check is content."""
    how = ["--option", "ignore_tables=chk_view.broken", "--database=chk_view", f"--datadir={datadir}"]
    assert dbdump("check", *mysql_databases, *how).returncode == 0
    assert dbdump("dump", *mysql_databases, *how).returncode == 0


def test_a_dump_program_older_than_the_server_is_a_warning(dbdump, mariadb, mysql_databases, datadir, tmp_path):
    """The server's version counts, not the client's; a dump is made all the same, and it may be left so."""
    old = 'case "$1" in --version) echo "mariadb-dump  Ver 10.19 Distrib 10.6.18-MariaDB, for Linux"; exit;; esac'
    env = fake(tmp_path / "old", **{"mariadb-dump": f'{old}; exec /usr/bin/mariadb-dump "$@"'})
    how = ["--database=chk_whole", f"--datadir={datadir}"]
    done = dbdump("check", *mysql_databases, *how, env=env)
    assert done.returncode == 0, done.stdout
    version = mariadb.sql("SELECT VERSION()")
    told = line_of(done, "mariadb-dump: ")
    assert told.startswith("warning  localhost/mysql  mariadb-dump: ")
    assert f"mariadb-dump is 10.6.18-MariaDB, and the server is {version}: what is new there" in told
    assert "hint: Install the client programs of the server's version" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 errors, 2 warnings"
    assert dbdump("dump", *mysql_databases, *how, env=env).returncode == 0


def test_mariadb_s_program_is_no_good_for_all_of_mysql(dbdump, mariadb, mysql_databases, datadir, tmp_path):
    """The server says that it is MySQL: a warning, and an error where MySQL could not load what would be dumped."""
    mariadb.sql("CREATE TABLE g (a int, b int AS (a + 1) STORED)", "chk_whole")
    env = fake(tmp_path / "other", mariadb='/usr/bin/mariadb "$@" | sed "s/^server\t[^\t]*/server\t8.4.3/"')
    mariadb.sql("GRANT SELECT ON *.* TO limited_check@localhost")  # SHOW_ROUTINE is not known here
    how = ["--database=chk_whole", f"--datadir={datadir}", "--option=globals=no"]
    done = dbdump("check", *mysql_databases, *how, env=env)
    assert done.returncode == 1, done.stdout
    assert "the server is 8.4.3, of another make: " in line_of(done, "warning  localhost/mysql  mariadb-dump: ")
    assert "with generated columns: g of chk_whole" in line_of(done, "ERROR    localhost/mysql/chk_whole  mariadb-dump")
    failing = dbdump("dump", *mysql_databases, *how, env=env)
    assert failed(failing, "FAILED") == failed(done, "ERROR") == {"chk_whole"}
    how.append("--option=ignore_tables=chk_whole.g")
    assert dbdump("dump", *mysql_databases, *how, env=env).returncode == 0


# -- SQLite ----------------------------------------------------------------------------------------------------------


def test_files_that_are_no_databases_are_found_and_nothing_is_made_beside_the_others(dbdump, datadir, tmp_path):
    """34: missing, empty, text, a directory, a FIFO; a database in WAL mode gets no files beside it."""
    (tmp_path / "d").mkdir()
    wal = tmp_path / "d" / "wal.db"
    with closing(sqlite3.connect(wal)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE t (a)")
    (tmp_path / "d" / "empty.db").touch()
    (tmp_path / "d" / "text.db").write_text("no database at all")
    (tmp_path / "d" / "directory.db").mkdir()
    os.mkfifo(tmp_path / "d" / "fifo.db")
    before = state(tmp_path / "d", datadir)
    names = ["wal", "empty", "text", "directory", "fifo", "missing"]
    paths = [word for name in names for word in ("--option", f"path={tmp_path}/d/{name}.db")]
    done = dbdump("check", "--backend=sqlite", *paths, f"--datadir={datadir}")
    assert state(tmp_path / "d", datadir) == before
    for name, words in {"empty": "file is empty", "text": "not a database", "directory": "not a file",
                        "fifo": "not a file", "missing": "no such file"}.items():  # fmt: skip
        assert words in line_of(done, f"/{name}.db ", "ERROR")
    assert failed(done, "ERROR") == {"empty.db", "text.db", "directory.db", "fifo.db", "missing.db"}
    assert failed(dbdump("dump", "--backend=sqlite", *paths, f"--datadir={datadir}"), "FAILED") == failed(done, "ERROR")
    (tmp_path / "d" / "directory.db").rmdir()
    for name in names[1:]:  # for the next run
        (tmp_path / "d" / f"{name}.db").unlink(missing_ok=True)
        sqlite_database(tmp_path / "d" / f"{name}.db", 10)


@needs_root
def test_a_database_in_wal_mode_needs_a_reader_who_may_write_beside_it(dbdump, datadir, tmp_path, small_disk):
    """SQLite cannot even read it else; and its copy needs room in TMPDIR."""
    top = tmp_path / "d"
    top.mkdir(mode=0o755)
    for parent in tmp_path.parents:
        if parent.owner() == "root" and parent != Path("/tmp") and parent != Path("/"):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    wal, large = top / "wal.db", sqlite_database(top / "large.db", 3_000_000)
    with closing(sqlite3.connect(wal)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE t (a)")
    small_disk.chmod(0o777)
    done = dbdump("check", "--backend=sqlite", "--option=python=/usr/bin/python3", "--su=nobody",
                  f"--option=path={wal}", f"--option=path={large}", f"--datadir={datadir}",
                  env={"TMPDIR": str(small_disk)})  # fmt: skip
    assert f"in WAL mode, and its reader may not make files in {top}" in line_of(done, "/wal.db ", "ERROR")
    assert "disk is full: a copy of " in line_of(done, "/large.db ", "ERROR")


# -- keys ------------------------------------------------------------------------------------------------------------


def gpg_recipe(tmp_path: Path, database: Path, datadir: Path, keys: str) -> str:
    """Write a recipe that wraps with GPG(`keys`), and return the flag for its directory."""
    return "--recipes=" + str(recipe_file(tmp_path, f"""
        @recipe(localhost)
        def keys(host):
            return Dump(SQLite(path={str(database)!r}), wrap=[GPG({keys})], to=Directory({str(datadir)!r}))
        """))  # fmt: skip


def test_each_key_is_looked_at_for_itself(dbdump, private_home, database, datadir, tmp_path):
    """One that expires soon is a warning; expired, revoked, missing and ambiguous ones are errors; all in one run."""
    private_home.make("soon", "future-default", expires="12d")
    private_home.make("later", "future-default", expires="90d")
    names = ["soon", "later", "ops@example.org", "expired", "revoked", "nobody@example.org", "twins@example.org"]
    flag = gpg_recipe(tmp_path, database, datadir, f"encrypt={names!r}, sign='guarded'")
    done = dbdump("check", flag, env={"GNUPGHOME": str(private_home.home)})
    assert done.returncode == 1, done.stdout
    soon = f"the key {private_home.keys['soon']} of 'soon', to encrypt for, expires in 1[12] days"
    assert re.search(f"^warning .*{soon}$", done.stdout, re.MULTILINE)
    assert re.search(r"^ok .* of 'later', to encrypt for, expires in (89|90) days$", done.stdout, re.MULTILINE)
    assert re.search(r"^ok .* of 'ops@example.org', to encrypt for, never expires$", done.stdout, re.MULTILINE)
    for name, fault in {"expired": "is expired", "revoked": "is revoked", "nobody@example.org": "no public key",
                        "twins@example.org": "is ambiguous"}.items():  # fmt: skip
        assert fault in line_of(done, "ERROR", f"'{name}'")
    assert "has a passphrase, and would ask for it" in line_of(done, "ERROR", private_home.keys["guarded"])
    assert done.stdout.splitlines()[-1] == "5 errors, 1 warning"


def test_a_warning_fails_nothing_and_the_secret_key_is_spoken_of(dbdump, private_home, database, datadir, tmp_path):
    """The exit status is 0, and it is said whether verify will be able to decrypt here."""
    private_home.make("soon", "future-default", expires="5d")
    flag = gpg_recipe(tmp_path, database, datadir, "encrypt=['soon'], sign='soon'")
    env = {"GNUPGHOME": str(private_home.home)}
    done = dbdump("check", flag, env=env)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "0 errors, 2 warnings"
    assert line_of(done, "gpg: signs and encrypts, and asks for nothing").startswith("ok ")
    assert "verify can decrypt here" in done.stdout
    private_home.gpg("--yes", "--delete-secret-keys", private_home.keys["soon"])
    flag = gpg_recipe(tmp_path, database, datadir, "encrypt=['soon']")
    done = dbdump("check", flag, env=env)
    assert done.returncode == 0, done.stdout
    assert line_of(done, "verify cannot decrypt here").startswith("ok ")


# -- what is asked for, and how it is told -----------------------------------------------------------------------------


def test_recipe_files_that_cannot_be_used_are_findings_too(dbdump, database, datadir, tmp_path):
    """One that others can write, one that is broken, one whose recipe fails: each is told, and the others looked at."""
    good = f"""
        @recipe(localhost)
        def good(host):
            return Dump(SQLite(path={str(database)!r}), to=Directory({str(datadir)!r}))
        """
    recipes = recipe_file(tmp_path, good)
    recipe_file(tmp_path, "1 +", "broken.py")
    recipe_file(tmp_path, "@recipe(localhost)\ndef fails(host): return 1 / 0", "fails.py")
    recipe_file(tmp_path, "x = 1", "shared.py").joinpath("shared.py").chmod(0o666)
    done = dbdump("check", f"--recipes={recipes}")
    assert done.returncode == 2
    assert "others can write it" in line_of(done, "ERROR    recipes  ", "shared.py")
    assert "SyntaxError" in line_of(done, "ERROR    recipes  ", "broken.py")
    assert "ZeroDivisionError" in line_of(done, "ERROR    recipes  ", "fails.py")
    assert line_of(done, "databases: 1 to dump").startswith("ok       localhost/good")
    assert done.stdout.splitlines()[-1] == "3 errors, 0 warnings"
    document = json.loads(dbdump("check", f"--recipes={recipes}", "--json").stdout)
    assert document["exit"] == 2
    assert len(document["errors"]) == 3
    database.unlink()
    assert dbdump("check", f"--recipes={recipes}").returncode == 1


def test_json_is_one_document_with_a_result_for_each_finding(dbdump, limited, datadir):
    """All else is on stderr."""
    done = dbdump("check", *limited, f"--datadir={datadir}", "--json")
    document = json.loads(done.stdout)
    assert (document["command"], document["exit"], done.returncode) == ("check", 1, 1)
    assert {each["status"] for each in document["results"]} == {"ok", "failed"}
    (rows,) = [each for each in document["results"] if each["database"] == "chk_rows"]
    assert rows == {
        "status": "failed", "host": "localhost", "recipe": "postgresql", "database": "chk_rows", "stage": "rights",
        "message": "row-level security hides rows from limited_check in 1 of its tables: public.secret",
        "hint": 'ALTER ROLE "limited_check" BYPASSRLS;',
    }  # fmt: skip
    assert "5 errors, 0 warnings" in done.stderr


def test_what_matches_nothing_is_exit_3(dbdump, database, datadir):
    """A host or a database that there is not."""
    flags = ["--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}"]
    assert dbdump("check", *flags, "--database=other").returncode == 3
    assert dbdump("check", *flags, "--database=app*").returncode == 0
    assert dbdump("check", "--host=nobody", f"--recipes={recipe_file(datadir.parent, '')}").returncode == 3


def test_a_signal_ends_it(started, tmp_path):
    """While it waits for a server that does not answer; the command on the host ends too."""
    recipes = recipe_file(tmp_path, """
        @backend("hangs")
        class Hangs(Backend):
            def get_db_list(self):
                self.output(["sleep", "97531"])
                return []
            def get_command(self, database):
                return ["true"]

        @recipe(localhost)
        def hangs(host):
            return Dump(Hangs(), wrap=[], to=Directory("."))
        """)  # fmt: skip
    process = started("check", f"--recipes={recipes}")
    wait_for(lambda: processes("sleep 97531"), "the question")
    process.send_signal(signal.SIGTERM)
    code, _ = end_of(process)
    assert code == 143
    wait_for(lambda: not processes("sleep 97531"), "its end")


def test_a_backend_of_ones_own_has_findings_of_its_own(dbdump, datadir, tmp_path):
    """What its `check` yields is told, and an error that it raises is one more; secrets are in neither."""
    recipes = recipe_file(tmp_path, f"""
        from dbdump.findings import Finding

        @backend("own")
        class Own(Backend):
            programs = ("sh", "no-such-program")
            def get_db_list(self): return ["one"]
            def get_command(self, database): return ["true"]
            def environment(self): return {{"PASS": "hunter22"}}
            def check(self, wanted):
                yield Finding("warning", "own", "it is old", "Renew it.", "one")
                raise ListError("hunter22 was refused")

        @recipe(localhost)
        def own(host):
            return Dump(Own(), wrap=[], to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("check", f"--recipes={recipes}")
    assert line_of(done, "own/one  own: it is old").startswith("warning  localhost/own/one")
    assert "list: *** was refused" in line_of(done, "ERROR", "refused")
    assert "no-such-program: not found" in line_of(done, "ERROR", "no-such-program")
    assert "hunter22" not in done.stdout


def test_a_directory_of_locks_that_others_can_write(dbdump, database, datadir, tmp_path):
    """A dump would fail by it."""
    (tmp_path / "state" / "dbdump").mkdir(parents=True)
    (tmp_path / "state" / "dbdump").chmod(0o775)
    given = ("--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}")
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = dbdump("check", *given, env=env)
    assert done.returncode == 1, done.stdout
    assert line_of(done, "lock: ", "others can write there").startswith("ERROR")
    assert dbdump("dump", *given, env=env).returncode == 1
