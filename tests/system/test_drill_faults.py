"""Drills that find something, that cannot be done, and that are ended in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from servers.mariadb import MariaDB
from servers.postgres import Postgres
from servers.process import wait_for
from support import COMMAND, default_signals, end_of, needs_root

import dbdump as package
from dbdump.backends.sqlite import SQLite
from dbdump.drill import drill, end_drills
from dbdump.errors import StageError
from dbdump.examine import examine
from dbdump.host import LocalShell, localhost
from dbdump.machines import Machines
from dbdump.place import Place
from dbdump.plan import Job
from dbdump.recipes import Dump
from dbdump.scratch import servant
from dbdump.stored import read_listing
from dbdump.writers.directory import Directory

# Restored, each row of it is looked at for ten minutes.
SLOW = """
CREATE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE TABLE a (x int CHECK (fine(x))); INSERT INTO a VALUES (1);
CREATE OR REPLACE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN true; END';
"""
# Dumped without a word, and refused when it is loaded: what was checked once is not fine any more.
BAD = """
CREATE FUNCTION fine(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE TABLE a (x int CHECK (fine(x))); INSERT INTO a VALUES (1);
CREATE OR REPLACE FUNCTION fine(int) RETURNS bool LANGUAGE sql AS 'SELECT false';
"""
ONE = "CREATE TABLE t AS SELECT 1 AS one"


@pytest.fixture
def of_postgres(drills, postgres):
    """Drills of a database of PostgreSQL that is called drilled_faults; make it with some SQL, and dump it."""
    drills.of("postgresql", f"host={postgres.host}", "user=postgres")

    def dumped(sql: str, *more: str):
        postgres.create("drilled_faults")
        postgres.sql(sql, "drilled_faults")
        drills.dump("drilled_faults", "@globals", more=more)
        drills.flags += more
        return drills

    yield dumped
    scratch = "SELECT datname FROM pg_database WHERE datname LIKE 'dbdump_drill_%'"
    postgres.drop("drilled_faults", *postgres.sql(scratch).split())


@pytest.fixture
def of_mariadb(drills, mariadb):
    """Drills of a database of MariaDB that is called drilled_faults; make it with some SQL, and dump it."""
    drills.of("mysql", f"defaults={mariadb.defaults_file()}")

    def dumped(sql: str):
        mariadb.create("drilled_faults")
        mariadb.sql(sql, "drilled_faults")
        drills.dump("drilled_faults")
        return drills

    yield dumped
    mariadb.drop("drilled_faults")


def refuses(drills, fault: str, *more: str) -> None:
    """See that a drill fails, exit status 4, and that it is said and noted."""
    said = drills.drill(*more, code=4)
    record = drills.record("drilled_faults")
    assert fault in record["drill"]["fault"], said
    assert record["fault"] == f"drill: {record['drill']['fault']}"
    assert (record["level"], record["drill"]["tables"], record["drill"]["rows"]) == ("structure", 0, 0)
    assert "BAD" in said
    assert fault in said
    assert "\n" not in record["drill"]["fault"]


def cannot_tell(drills, why: str, *more: str) -> str:
    """See that a drill cannot be done, exit status 1, and that this is not noted as if the dump were bad."""
    said = drills.drill(*more, code=1)
    record = drills.record("drilled_faults")
    assert why in said
    assert "hint: " in said
    assert (record["level"], record["fault"], record["drill"]) == ("structure", "", None)
    return said


@pytest.mark.parametrize("to", [[], ["--to=localhost"]])
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_what_postgresql_does_not_take_is_bad(of_postgres, postgres, form, to):
    """A dump that is whole, and that restores with errors, fails; the scratch database is dropped all the same."""
    drills = of_postgres(BAD, f"--option=format={form}")
    refuses(drills, 'violates check constraint "a_x_check"', "--database=drilled_faults", *to)
    assert postgres.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dbdump_drill%'") == "0"


def test_what_a_function_says_is_no_message_of_a_tool(of_postgres):
    """A trigger that refuses a row in words that a shell has as well makes it a bad dump."""
    drills = of_postgres(ONE, "--option=format=plain")
    raising = b"\nDO $$ BEGIN RAISE 'account not found'; END $$;\nCREATE TABLE"
    drills.change("drilled_faults", lambda sql: sql.replace(b"\nCREATE TABLE", raising))
    refuses(drills, "ERROR:  account not found", "--database=drilled_faults")


def test_roles_that_cannot_be_loaded_are_the_fault_of_the_globals(of_postgres, postgres):
    """The database is restored without them then, as where there are no globals."""
    postgres.sql("CREATE ROLE drilled_owner")
    try:
        drills = of_postgres(f"{ONE}; ALTER TABLE t OWNER TO drilled_owner")
    finally:
        postgres.sql("DROP OWNED BY drilled_owner", "drilled_faults")
        postgres.sql("DROP ROLE drilled_owner")
    drills.change("@globals", lambda sql: sql.replace(b"CREATE ROLE drilled_owner;", b"CREATE ROLE drilled_owner (;"))
    said = drills.drill(code=4)
    assert "1 good, 1 bad" in said
    assert "syntax error" in drills.record("@globals")["drill"]["fault"]
    assert drills.record("drilled_faults")["level"] == "restored"


@pytest.mark.parametrize("to", [[], ["--to=localhost"]])
def test_an_extension_that_is_missing_is_bad(of_postgres, to):
    """What the server is not made for is told by its own words."""
    drills = of_postgres(ONE, "--option=format=plain")
    drills.change(
        "drilled_faults", lambda sql: sql.replace(b"\nCREATE TABLE", b"\nCREATE EXTENSION nosuch;\nCREATE TABLE")
    )
    refuses(drills, 'extension "nosuch" is not available', "--database=drilled_faults", *to)


@pytest.mark.parametrize(
    ("restricted", "fault"), [(True, "backslash commands are restricted"), (False, "psql has left it in the middle")]
)
def test_plain_sql_that_is_left_in_the_middle_is_bad(of_postgres, restricted, fault):
    """A dump that has psql stop, with exit status 0, is not restored: by pg_dump, or by us."""
    drills = of_postgres(ONE, "--option=format=plain")

    def leave(sql: bytes) -> bytes:
        lines = sql.replace(b"\nCREATE TABLE", b"\n\\q\nCREATE TABLE").splitlines(keepends=True)
        return b"".join(line for line in lines if restricted or b"restrict" not in line)

    drills.change("drilled_faults", leave)
    refuses(drills, fault, "--database=drilled_faults")


@pytest.mark.parametrize("to", [[], ["--to=localhost"]])
def test_what_mariadb_does_not_take_is_bad(of_mariadb, mariadb, to):
    """So with MariaDB, which has made half of it by then."""
    drills = of_mariadb(ONE)
    drills.change(
        "drilled_faults", lambda sql: sql.replace(b"\nINSERT INTO", b"\nINSERT INTO `gone` VALUES (1);\nINSERT INTO")
    )
    before = mariadb.sql("SHOW DATABASES")
    refuses(drills, "gone' doesn't exist", *to)
    assert mariadb.sql("SHOW DATABASES") == before


def test_an_option_file_hides_no_error(of_mariadb, mariadb):
    """What `force` in the operator's own file has the client go on after, counts."""
    drills = of_mariadb(ONE)
    drills.change("drilled_faults", lambda sql: sql.replace(b"\nCREATE TABLE `t`", b"\nCREATE TABLE nothing `t`"))
    forced = Path(mariadb.defaults_file(name="forced"))
    forced.write_text(f"{forced.read_text()}[mysql]\nforce\n")
    drills.of("mysql", f"defaults={forced}")
    refuses(drills, "error in your SQL syntax", "--to=localhost")


def test_what_sqlite_does_not_take_is_bad(drills, tmp_path):
    """So with SQLite."""
    with closing(sqlite3.connect(tmp_path / "drilled_faults")) as made:
        made.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    drills.of("sqlite", f"path={tmp_path / 'drilled_faults'}", "format=sql").dump()
    drills.change(
        "drilled_faults", lambda sql: sql.replace(b"INSERT INTO", b"INSERT INTO gone VALUES (1);\nINSERT INTO", 1)
    )
    refuses(drills, "no such table: gone")


def test_globals_that_restore_with_errors_are_bad(of_postgres):
    """They go into a server of their own; that a role is there already is no error, and all else is."""
    drills = of_postgres(ONE)
    drills.change("@globals", lambda sql: sql.replace(b"\nCREATE ROLE", b"\nALTER ROLE gone LOGIN;\nCREATE ROLE", 1))
    said = drills.drill(code=4)
    assert "1 good, 1 bad" in said
    assert 'role "gone" does not exist' in drills.record("@globals")["drill"]["fault"]
    assert drills.record("drilled_faults")["level"] == "restored"


def test_a_dump_that_changes_between_two_reads_is_bad(drills, tmp_path):
    """It is read a second time, and compared a second time."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    drills.of("sqlite", f"path={tmp_path / 'app.db'}").dump()
    job = Job(localhost, "sqlite", Dump(SQLite(path="x"), to=Directory(str(drills.datadir)), stall_timeout=60.0))
    with closing(Machines(here=True)) as machines:
        place = Place(job, job.dump.to.bound(machines.reach(job)), machines)
        (stored,) = read_listing("localhost", "sqlite", place.store.entries("localhost", "sqlite")).dumps
        marks = examine(place, stored, lambda _: None).marks
        assert drill(place, stored, marks, None, lambda _: None).fault == ""
        (path,) = drills.datadir.rglob("*.zst")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert "changed since it was verified" in drill(place, stored, marks, None, lambda _: None).fault
        end_drills(place)


@pytest.mark.parametrize(
    ("backend", "version", "why"),
    [
        ("postgresql", "99.1", "drill: this machine has no PostgreSQL server of version 99 or newer to throw away; "),
        (
            "mysql",
            "99.1.2-MariaDB",
            "drill: this machine has no MySQL or MariaDB server like 99.1.2-MariaDB, or newer, ",
        ),
        ("mysql", "5.7.1", "drill: this machine has no MySQL or MariaDB server like 5.7.1, or newer, to throw away; "),
    ],
)
def test_no_server_is_new_enough(request, backend, version, why):
    """An older one, or one of another make, would not take it: which is no fault of the dump."""
    drills = request.getfixturevalue(f"of_{backend.replace('mysql', 'mariadb').replace('postgresql', 'postgres')}")(ONE)
    versions = {"pg_dump": version, "server": version}
    drills.change("drilled_faults", lambda raw: raw, versions=versions)
    said = cannot_tell(drills, why, "--database=drilled_faults")
    assert "--to=HOST" in said
    assert "there is only 1" in said


@needs_root
@pytest.mark.parametrize(
    ("backend", "program", "why"),
    [
        ("postgres", "initdb", "drill: this machine has no PostgreSQL server of version 15 or newer to throw away"),
        ("mariadb", "mariadb-install-db", "drill: this machine has no MySQL or MariaDB server like 10."),
    ],
)
def test_no_server_is_here(request, backend, program, why):
    """Where its programs are missing, it is said what to install, and that a server may be named."""
    drills = request.getfixturevalue(f"of_{backend}")(ONE)
    run = drills.run
    path = os.path.realpath(shutil.which(program) or program)
    hidden = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', path]

    def without(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*hidden, *COMMAND, *arguments], env={**os.environ, **env}, capture_output=True, check=False, text=True
        )

    drills.run = without
    said = cannot_tell(drills, why, "--database=drilled_faults")
    assert (backend == "mariadb") == ("there is only one without mariadb-install-db" in said)
    assert "hint: Install one (Debian: " in said
    drills.run = run
    assert "1 good, 0 bad" in drills.drill("--database=drilled_faults")


@needs_root
@pytest.mark.parametrize("backend", ["postgres", "mariadb"])
def test_a_server_that_does_not_start_is_told(request, backend):
    """What its log says is told, and nothing is noted of the dump."""
    drills = request.getfixturevalue(f"of_{backend}")(ONE)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "none", drills.room], check=True)
    try:
        said = cannot_tell(drills, "no server to throw away: exit status 1: ", "--database=drilled_faults")
    finally:
        subprocess.run(["umount", drills.room], check=True)
    assert "Give TMPDIR a directory with room in it" in said


@needs_root
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_no_room_is_no_fault_of_the_dump(of_postgres, form):
    """A disk that is full on the way says nothing of it."""
    many = "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 1500000) g"
    drills = of_postgres(many, f"--option=format={form}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=1777", "none", drills.room], check=True)
    try:
        said = cannot_tell(drills, "drill: ", "--database=drilled_faults")
    finally:
        subprocess.run(["umount", drills.room], check=True)
    assert "No space left" in said or "server closed the connection" in said


def test_who_may_make_no_database_is_told(of_postgres, postgres):
    """With --to: what the server does not allow is no fault of the dump either."""
    drills = of_postgres(ONE)
    postgres.sql("CREATE ROLE drill_guest LOGIN; GRANT pg_read_all_data TO drill_guest")
    drills.flags[drills.flags.index("--option=user=postgres")] = "--option=user=drill_guest"
    try:
        cannot_tell(drills, "permission denied to create database", "--database=drilled_faults", "--to=localhost")
    finally:
        postgres.sql("DROP ROLE drill_guest")


def test_a_user_of_mariadb_who_may_make_no_database_is_told(of_mariadb, mariadb):
    """So with MariaDB."""
    drills = of_mariadb(ONE)
    mariadb.sql("CREATE USER drill_guest@localhost; GRANT SELECT ON *.* TO drill_guest@localhost")
    drills.flags = [each for each in drills.flags if "defaults" not in each]
    try:
        cannot_tell(drills, "Access denied for user 'drill_guest'", "--to=localhost",
                    f"--defaults={mariadb.defaults_file('drill_guest')}")  # fmt: skip
    finally:
        mariadb.sql("DROP USER drill_guest@localhost")


def under_way(drills, database: str = "") -> Postgres:
    """Wait until a row is looked at in a scratch database, and return the server that it is on."""
    server = Postgres(database or str(drills.server(".s.PGSQL.5432")))
    if not database:  # its socket is there before anybody may connect
        wait_for(lambda: "ready" in Path(server.host, "data", "postmaster.pid").read_text(), "the server to be ready")
    wait_for(lambda: server.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%a%' AND state = 'active' "
                                "AND datname LIKE 'd%'"), "the copy")  # fmt: skip
    return server


@pytest.fixture
def begun(tmp_path):
    """Begin a drill; whatever happens, it ends."""
    running = []

    def begin(drills, *more: str) -> subprocess.Popen[str]:
        running.append(subprocess.Popen(
            [*COMMAND, *drills.verify("--database=drilled_faults", *more)], cwd=tmp_path, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **drills.environment}, text=True,
            preexec_fn=default_signals,  # noqa: PLW1509
        ))  # fmt: skip
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("form", ["custom", "plain"])
@pytest.mark.parametrize("dies", ["INT", "TERM", "KILL"])
def test_a_server_to_throw_away_ends_with_the_drill(of_postgres, begun, dies, form):
    """Ended in the middle, by a signal or killed, it leaves no process, and no file; nothing is noted."""
    drills = of_postgres(SLOW, f"--option=format={form}")
    process = begun(drills)
    under_way(drills)
    process.send_signal(signal.Signals[f"SIG{dies}"])
    code, said = end_of(process)
    assert code == (-9 if dies == "KILL" else 128 + signal.Signals[f"SIG{dies}"]), said
    drills.nothing_is_left()
    assert drills.record("drilled_faults")["drill"] is None


@pytest.mark.parametrize("dies", ["INT", "KILL"])
def test_a_server_of_mariadb_ends_with_the_drill(of_mariadb, begun, dies):
    """So with MariaDB."""
    drills = of_mariadb(ONE)
    drills.change("drilled_faults", lambda sql: sql.replace(b"\nINSERT INTO", b"\nDO SLEEP(600);\nINSERT INTO", 1))
    process = begun(drills)
    server = MariaDB(drills.server("s"), process)
    wait_for(lambda: "SLEEP" in server.sql("SHOW PROCESSLIST"), "the sleep")
    process.send_signal(signal.Signals[f"SIG{dies}"])
    code, said = end_of(process)
    assert code == (-9 if dies == "KILL" else 130), said
    drills.nothing_is_left()


@pytest.mark.parametrize("dies", ["INT", "KILL"])
@pytest.mark.parametrize("backend", ["postgres", "mariadb"])
def test_ended_while_the_server_starts(request, begun, backend, dies):
    """A server that is not yet there ends too."""
    drills = request.getfixturevalue(f"of_{backend}")(ONE)
    process = begun(drills)
    wait_for(lambda: list(drills.room.glob("dbdump-drill-*/data")), "the beginning of the server")
    process.send_signal(signal.Signals[f"SIG{dies}"])
    code, said = end_of(process)
    assert code == (-9 if dies == "KILL" else 130), said
    drills.nothing_is_left()


def test_a_server_of_mariadb_leaves_the_files_of_others(of_mariadb):
    """As it starts, MariaDB removes what a crash left in its tmpdir; what a live server has there looks the same."""
    drills = of_mariadb(ONE)
    another = drills.room / "#sql-temptable-9c1-4-2.MAI"
    another.touch()
    if os.geteuid() == 0:
        shutil.chown(another, "mysql")
    done = drills.run(*drills.verify(), env=drills.environment)
    assert done.returncode == 0, done.stdout
    assert another.exists()
    another.unlink()
    drills.nothing_is_left()


@pytest.mark.parametrize("variable", [{"PGHOSTADDR": "127.66.66.66"}, {"PGSERVICE": "production"}])
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_no_variable_leads_away_from_a_server_to_throw_away(of_postgres, variable, form):
    """libpq heeds them beside a host that is given: what is drilled must not be restored in production."""
    drills = of_postgres(ONE, f"--option=format={form}")
    done = drills.run(*drills.verify(), env=drills.environment | variable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("restored in") == 2
    drills.nothing_is_left()


def test_what_keeps_a_database_from_being_dropped(of_postgres, postgres):
    """A template, and one with a subscription, whose slot is not the scratch database's: it is dropped all the same."""
    subscribing = "CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'live')"
    drills = of_postgres(f'{ONE}; CREATE SUBSCRIPTION "a sub" {subscribing}')
    postgres.sql("ALTER DATABASE drilled_faults IS_TEMPLATE true")
    try:
        drills.dump("drilled_faults", "@globals")
        said = drills.drill("--database=drilled_faults", "--to=localhost")
    finally:
        postgres.sql('ALTER SUBSCRIPTION "a sub" SET (slot_name = NONE); DROP SUBSCRIPTION "a sub"', "drilled_faults")
        postgres.sql("ALTER DATABASE drilled_faults IS_TEMPLATE false")
    assert "restored in" in said
    assert postgres.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dbdump_drill%'") == "0"


def test_a_scratch_database_is_not_dumped(of_postgres, postgres):
    """One that was left, by kill -9 perhaps, is named as what it is."""
    drills = of_postgres(ONE)
    postgres.create("dbdump_drill_0123abcd")
    done = drills.run("dump", *drills.flags, "--database=dr*", "--database=dbdump*")
    assert done.returncode == 0, done.stdout
    assert "skipped  localhost/postgresql/dbdump_drill_0123abcd  scratch database of a drill" in done.stdout


@pytest.mark.parametrize("dies", ["INT", "TERM"])
def test_a_scratch_database_is_dropped_by_a_signal(of_postgres, postgres, begun, dies):
    """With --to: ended in the middle, the scratch database of that server is dropped before dbdump ends."""
    drills = of_postgres(SLOW)
    process = begun(drills, "--to=localhost")
    under_way(drills, postgres.host)
    process.send_signal(signal.Signals[f"SIG{dies}"])
    code, said = end_of(process)
    assert code == 128 + signal.Signals[f"SIG{dies}"], said
    assert postgres.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dbdump_drill%'") == "0"
    drills.nothing_is_left()


def test_killed_with_a_server_that_is_named(of_postgres, postgres, begun):
    """With --to, and killed with -9: what restores ends by itself; its scratch database is left, and may be dropped."""
    drills = of_postgres(SLOW)
    process = begun(drills, "--to=localhost")
    under_way(drills, postgres.host)
    process.kill()
    end_of(process)
    drills.nothing_is_left()
    active = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'dbdump_drill_%'"
    wait_for(lambda: postgres.sql(active) == "0", "the end of its sessions", 20)
    (left,) = postgres.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbdump_drill_%'").split()
    postgres.drop(left)


@needs_root
def test_whom_a_server_runs_as():
    """Not as root: as the recipe's `su`, or as its own user where there is none such here; else it is told."""
    shell = LocalShell()
    assert servant(shell, "nobody", "postgres").name == "nobody"
    assert servant(shell, "no-such-user", "postgres").name == "postgres"
    assert servant(shell, None, "postgres").name == "postgres"
    assert servant(shell, "root", "postgres").name == "postgres"
    with pytest.raises(StageError, match=r"no throw-away server runs as root: .*no-such-user"):
        servant(shell, None, "no-such-user")


@needs_root
@pytest.mark.parametrize("backend", ["postgres", "mariadb"])
def test_who_is_not_root_needs_nobody_else(request, drills, backend, mariadb):
    """An operator who is not root has a server of his own to throw away."""
    request.getfixturevalue(f"of_{backend}")(ONE)
    with tempfile.TemporaryDirectory(prefix="dbdump-nobody-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        for each in (package, __import__("invoke"), __import__("rich")):
            source = Path(each.__file__).parent
            shutil.copytree(source, Path(place) / source.name)
        subprocess.run(["cp", "-r", drills.datadir, f"{place}/datadir"], check=True)
        subprocess.run(["chown", "-R", "nobody:", place], check=True)
        more = {"postgres": [], "mariadb": []}[backend]
        flags = [each.replace(str(drills.datadir), f"{place}/datadir") for each in drills.flags]
        done = subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--",
             "/usr/bin/python3", *COMMAND[1:], "verify", "--restore", "--database=drilled_faults", *flags, *more],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": place, "HOME": place, **drills.environment},
            cwd="/", capture_output=True, check=False, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 tables, 1 rows" in done.stdout
        (record,) = Path(place).rglob("*.verified")
        assert json.loads(record.read_text())["level"] == "restored"
    drills.nothing_is_left()
