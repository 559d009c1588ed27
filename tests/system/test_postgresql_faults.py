"""PostgreSQL dumps that are cut, refused or starved: nothing is stored, and the cause is named."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from faults.shell import shim
from resources import recipe_file
from servers.process import wait_for
from support import end_of, files, gone, manifests, pid_of, wait_for_bytes

BIG = "CREATE TABLE big AS SELECT g, md5(g::text) || md5((g * 7)::text) FROM generate_series(1, 200000) g"


@pytest.fixture(scope="module")
def big(postgres):
    """A database that takes a while, and a small one beside it."""
    for name, sql in {"big": BIG, "small": "CREATE TABLE t AS SELECT 1"}.items():
        postgres.create(name)
        postgres.sql(sql, name)
    yield
    postgres.drop("big", "small")


@pytest.fixture
def site(postgres, tmp_path, datadir, big):
    """Write a recipe that dumps both slowly, with `more` arguments of Dump, and return the flags to run it."""

    def write(more: str = "", wrap: str = "[Slow()]") -> list[str]:
        recipes = recipe_file(tmp_path, f"""
            @recipe(localhost)
            def site(host):
                server = PostgreSQL(host={postgres.host!r}, user="postgres", include=["big", "small"], globals=False)
                return Dump(server, wrap={wrap}, to=Directory({str(datadir)!r}){more})
            """)  # fmt: skip
        return ["dump", f"--recipes={recipes}", "--jobs=2"]

    return write


def nothing_of(database: str, datadir, old: dict[str, bytes]) -> None:
    """Assert that no file of `database` was left, and that what was there is what it was."""
    now = files(datadir)
    assert not [name for name in now if f"/{database}/" in name and name not in old]
    assert {name: now[name] for name in old} == old


def kill(name: int):
    """Return a fault that sends a signal to pg_dump."""
    return lambda postgres: os.kill(pid_of(f"{postgres.host} user=postgres dbname=big", "pg_dump"), name)


def terminate(postgres) -> None:
    """End the server's side of the connection."""
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump' "
                 "AND datname = 'big'")  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (kill(signal.SIGKILL), "pg_dump: killed by SIGKILL"),
        (kill(signal.SIGTERM), "pg_dump: exit status 1: pg_dump: terminated by user"),
        (
            terminate,
            'pg_dump: exit status 1: pg_dump: error: Dumping the contents of table "big" failed: '
            "PQgetCopyData() failed.; Error message from server: ",
        ),
    ],
    ids=["KILL", "TERM", "terminated backend"],
)
def test_a_dump_that_is_cut_is_not_stored(postgres, dbdump, site, started, datadir, fault, cause):
    """Whatever ends pg_dump in the middle: exit 1, the cause in one line, nothing stored, the other one is."""
    flags = site()
    assert dbdump(*flags, "--database=small").returncode == 0
    old = files(datadir)
    process = started(*flags)
    wait_for_bytes(datadir)
    fault(postgres)
    code, said = end_of(process)
    assert code == 1
    assert f"FAILED   localhost/site/big: {cause}" in said
    assert "1 stored, 3 skipped, 1 failed" in said
    nothing_of("big", datadir, old)
    assert not list(datadir.rglob("*.part"))
    gone(f"{postgres.host} user=postgres dbname=big")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_everything(postgres, site, started, datadir, number, code):
    """INT, TERM and HUP, sent twice, end every process, remove what is temporary, and exit 128 + n."""
    process = started(*site(), "--database=big")
    wait_for_bytes(datadir)
    process.send_signal(number)
    process.send_signal(number)
    status, said = end_of(process)
    assert status == code
    assert "FAILED   localhost/site/big: run: ended before it was complete" in said
    assert files(datadir) == {}
    gone(postgres.host + " user")


def test_kill_9_of_the_controller(postgres, dbdump, site, started, datadir):
    """After kill -9 nothing runs and no dump is there; the next run removes the rest, says so, and works."""
    process = started(*site(), "--database=big")
    wait_for_bytes(datadir)
    process.kill()
    process.wait()
    gone(postgres.host + " user")
    wait_for(lambda: "pg_dump" not in postgres.clients(), "the server to see it")
    assert not [name for name in files(datadir) if not name.endswith(".part")]
    done = dbdump(*site(wrap="None"))
    assert done.returncode == 0
    assert "notice   localhost/site/big: removed .2" in done.stdout
    assert set(manifests(datadir)) == {"big", "small"}
    assert not list(datadir.rglob("*.part"))


def test_a_stopped_server_process_is_a_stall(postgres, site, started, datadir):
    """A backend that is frozen ends the dump after stall_timeout, and nothing waits for ever."""
    process = started(*site(", stall_timeout=2.0"), "--database=big")
    wait_for_bytes(datadir)
    where = "application_name = 'pg_dump' AND datname = 'big'"
    frozen = int(postgres.sql(f"SELECT pid FROM pg_stat_activity WHERE {where}"))
    os.kill(frozen, signal.SIGSTOP)
    try:
        code, said = end_of(process)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert code == 1
    assert "FAILED   localhost/site/big: pg_dump: no byte for 2 s, ended as stalled" in said
    assert files(datadir) == {}


def test_a_locked_table_fails_by_name(postgres, dbdump, site, datadir):
    """A table that somebody holds is waited for, then named."""
    holder = subprocess.Popen(
        ["psql", "-XAtqw", "-d", "small"], env=postgres.environment, stdin=subprocess.PIPE, text=True
    )
    try:
        holder.stdin.write("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;\n")
        holder.stdin.flush()
        wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock'"), "the lock")
        done = dbdump(*site(), "--database=small", "--option", "lock_wait_timeout=0.5")
    finally:
        holder.communicate("ROLLBACK;\n")
    assert done.returncode == 1
    assert "localhost/site/small: pg_dump: exit status 1" in done.stdout
    assert "Query was: LOCK TABLE public.t IN ACCESS SHARE MODE" in done.stdout
    assert files(datadir) == {}


@pytest.fixture
def filling(postgres):
    """Somebody who truncates the table `filled`, and fills it again when told to commit."""
    postgres.sql("DROP TABLE IF EXISTS filled; CREATE TABLE filled AS SELECT 1 AS one", "small")
    with subprocess.Popen(["psql", "-XqAt", "-d", "small"], env=postgres.environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
        print("BEGIN; TRUNCATE filled; INSERT INTO filled VALUES (2); SELECT 'held';", file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.stdin.close()


def waiting(run: subprocess.Popen[str]) -> bool:
    """Read what a run says until it waits for a lock; return whether it does."""
    return any("a table is locked: begins anew when it is not" in line for line in iter(run.stdout.readline, ""))


def test_a_table_that_is_filled_anew_is_not_empty_in_the_dump(started, site, datadir, filling):
    """pg_dump's snapshot is older than its locks: one that waited for a TRUNCATE would see none of the rows."""
    run = started(*site(wrap="[]"), "--database=small")
    assert waiting(run)
    print("COMMIT;", file=filling.stdin, flush=True)
    code, said = end_of(run)
    assert code == 0, said
    (dump,) = datadir.rglob("*.pgdump")
    rows = subprocess.run(["pg_restore", "-a", "-t", "filled", "-f", "-", dump], capture_output=True, check=True)
    assert b"\n2\n" in rows.stdout


@pytest.fixture
def french(postgres, big, tmp_path, monkeypatch):
    """The server speaks French to whoever asks for `small`, and so do the programs, as LANG would have them.

    A Debian that keeps no translations has them go on in English; it says whether there are some.
    """
    postgres.sql("ALTER DATABASE small SET lc_messages = 'C.UTF-8'")
    for name in ("psql", "pg_dump"):
        path = shim(tmp_path / "bin", name, '#!/bin/sh\nLC_ALL=C.UTF-8 LANGUAGE=fr exec {real} "$@"\n')
    monkeypatch.setenv("PATH", path["PATH"])
    yield bool(list(Path("/usr/share/locale/fr/LC_MESSAGES").glob("postgres-*.mo")))
    postgres.sql("ALTER DATABASE small RESET lc_messages")


def test_what_may_not_be_read_is_no_lock_in_any_language(dbdump, site, role, french, datadir):
    """It fails at once, and nobody is told to look for a lock."""
    role("limited_reader", "LOGIN")
    done = dbdump(*site(wrap="[]"), "--database=small", "--option=user=limited_reader")
    assert done.returncode == 1, done.stdout
    assert ("ERREUR:  droit refusé pour la table" if french else "ERROR:  permission denied for table") in done.stdout
    assert "begins anew" not in done.stdout + done.stderr
    assert f"hint: {'The role may not read that table, or' if french else 'GRANT pg_read_all_data'}" in done.stdout
    assert files(datadir) == {}


def test_a_run_that_waits_for_a_lock_can_be_ended(started, site, french, datadir, filling):
    """At once, however long the lock would be waited for; and it waits in any language."""
    run = started(*site(wrap="[]"), "--database=small")
    assert waiting(run)
    run.send_signal(signal.SIGTERM)
    code, said = end_of(run)
    assert code == 128 + signal.SIGTERM
    assert "small: run: ended before it was complete" in said
    assert files(datadir) == {}


# A pg_dump whose server needs more than half a second for all the locks, which nobody holds.
HASTY = """\
#!/bin/sh
case $* in *--lock-wait-timeout=500*)
  echo 'pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout' >&2
  echo 'pg_dump: detail: Query was: LOCK TABLE public.t IN ACCESS SHARE MODE' >&2
  exit 1
esac
exec {real} "$@"
"""


def test_a_server_with_many_tables_is_given_more_time(dbdump, site, datadir, tmp_path):
    """Where nobody holds a lock, the dump begins anew by another argv, which is in its manifest."""
    done = dbdump(*site(wrap="[]"), "--database=small", env=shim(tmp_path / "bin", "pg_dump", HASTY))
    assert done.returncode == 0, done.stdout
    assert "small: the locks took too long: begins anew, with 1 s for them" in done.stdout + done.stderr
    manifest = manifests(datadir)["small"]
    assert "--lock-wait-timeout=1000" in manifest["stages"][0]["argv"]


def test_a_timeout_before_pg_dump_lifts_it_says_what_to_do(postgres, role, dbdump, big, datadir):
    """What it asks first may take longer than the role's statement_timeout: here, since somebody holds a catalogue."""
    role("hasty", "LOGIN SUPERUSER; ALTER ROLE hasty SET statement_timeout = '1s'")
    flags = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=hasty",
             "--option=globals=no", "--database=small", f"--datadir={datadir}"]  # fmt: skip
    with subprocess.Popen(["psql", "-XqAt", "-d", "small"], env=postgres.environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
        print("BEGIN; LOCK TABLE pg_catalog.pg_proc; SELECT 'held';", file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "held\n"
        done = dbdump("dump", *flags)
        holder.stdin.close()
    assert done.returncode == 1, done.stdout
    assert "canceling statement due to statement timeout" in done.stdout
    assert "hint: pg_dump asks something before it lifts that: ALTER ROLE … SET statement_timeout = 0" in done.stdout


def test_a_full_disk_is_an_error_and_is_left_empty(postgres, dbdump, big, small_disk):
    """ENOSPC names the path and what to do; the temporary file goes, the small database still fits."""
    done = dbdump("dump", "--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=postgres",
                  "--option", "include=big", "--option", "include=small", "--jobs=1", f"--datadir={small_disk}",
                  )  # fmt: skip
    assert done.returncode == 1
    assert "FAILED   localhost/postgresql/big: write: " in done.stdout
    assert "no space left on device" in done.stdout
    assert "hint: The disk is full" in done.stdout
    assert set(manifests(small_disk)) == {"small", "@globals"}
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)  # for the next run


def test_a_wrong_password_names_stage_and_cause(postgres, role, dbdump, datadir):
    """No prompt, no wait: psql's own words, and a hint."""
    role("guarded", "LOGIN PASSWORD 'right'")
    flags = ["dump", "--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=guarded",
             f"--datadir={datadir}", "--database=postgres"]  # fmt: skip
    done = dbdump(*flags, env={"PGPASSWORD": "canary-wrong"})
    assert done.returncode == 1
    assert "FAILED   localhost/postgresql: psql: exit status 2: " in done.stdout
    assert "password authentication failed" in done.stdout
    assert "hint: Give ~/.pgpass the password." in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert files(datadir) == {}
    assert dbdump(*flags, env={"PGPASSWORD": "right"}).returncode == 0


def test_a_missing_grant_names_the_table(postgres, role, dbdump, datadir, big):
    """One table that may not be read fails that database, by its name."""
    role("limited", "LOGIN")
    postgres.sql("CREATE TABLE IF NOT EXISTS open (); GRANT SELECT ON open TO limited", "small")
    done = dbdump("dump", "--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=limited",
                  "--option", "globals=no", "--database=small", f"--datadir={datadir}")  # fmt: skip
    postgres.sql("REVOKE ALL ON open FROM limited", "small")
    assert done.returncode == 1
    assert "FAILED   localhost/postgresql/small: pg_dump: exit status 1" in done.stdout
    assert "permission denied for table t" in done.stdout
    assert "hint: GRANT pg_read_all_data" in done.stdout
    assert files(datadir) == {}
    postgres.sql("GRANT pg_read_all_data TO limited")  # the next run works with it


def test_a_database_that_vanished_is_a_failure(postgres, dbdump, tmp_path, datadir, big):
    """Dropped between the list and its dump, it is reported, and the others are made."""
    postgres.create("vanishing")
    recipes = recipe_file(tmp_path, f"""
        import os, subprocess

        @backend("vanishing")
        class Vanishing(PostgreSQL):
            def prepare_db(self, database):
                if database == "vanishing" and "QUICK" not in os.environ:
                    subprocess.run(["dropdb", "-h", self.host, "-U", "postgres", "vanishing"], check=True)

        @recipe(localhost)
        def site(host):
            server = Vanishing(host={postgres.host!r}, user="postgres", include=["vanishing", "small"])
            return Dump(server, to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}", "--jobs=1")
    assert done.returncode == 1
    assert "localhost/site/vanishing: pg_dump: exit status 1" in done.stdout
    assert 'database "vanishing" does not exist' in done.stdout
    assert "hint: It was dropped or renamed since it was listed; run it again." in done.stdout
    assert set(manifests(datadir)) == {"small", "@globals"}
    postgres.create("vanishing")
    assert dbdump("dump", f"--recipes={recipes}", env={"QUICK": "1"}).returncode == 0
    postgres.drop("vanishing")


def fake(directory, name: str, text: str) -> dict[str, str]:
    """Put a program of that name first on PATH."""
    path = directory / "bin"
    path.mkdir(exist_ok=True)
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)
    return {"PATH": f"{path}:{os.environ['PATH']}"}


def test_an_older_pg_dump_fails_before_any_dump(postgres, dbdump, datadir, tmp_path):
    """pg_dump older than the server is said once, with both versions."""
    env = fake(tmp_path, "pg_dump", 'echo "pg_dump (PostgreSQL) 9.6.24"')
    done = dbdump("dump", "--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=postgres",
                  f"--datadir={datadir}", env=env)  # fmt: skip
    assert done.returncode == 1
    assert "FAILED   localhost/postgresql: pg_dump: pg_dump is 9.6.24, older than the server, 15" in done.stdout
    assert files(datadir) == {}


@pytest.mark.parametrize("wrap", ["None", "[]", "[Gzip()]", "[Zstd()]"])
@pytest.mark.parametrize("text", ["exit 0", 'echo WELCOME; exec /usr/bin/pg_dump "$@"'], ids=["empty", "polluted"])
def test_what_looks_like_no_dump_is_none(postgres, dbdump, tmp_path, datadir, big, wrap, text):
    """A dump tool that exits 0 and writes nothing, or something before the dump, is a failure."""
    version = "case $1 in --version) exec /usr/bin/pg_dump --version;; esac; "
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def site(host):
            server = PostgreSQL(host={postgres.host!r}, user="postgres", include=["small"], globals=False,
                                check_stream={"WELCOME" in text})
            return Dump(server, wrap={wrap}, to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}", env=fake(tmp_path, "pg_dump", version + text))
    assert done.returncode == 1
    assert "FAILED   localhost/site/small: pg_dump: exited 0, but the dump" in done.stdout
    assert files(datadir) == {}


def test_what_pg_dump_warns_of_is_said(postgres, dbdump, datadir, role):
    """It leaves out subscriptions for who is no superuser, with a warning and exit status 0."""
    role("plain_dumper", "LOGIN BYPASSRLS IN ROLE pg_read_all_data")
    postgres.create("subscribed")
    flags = ["--backend=postgresql", f"--option=host={postgres.host}", f"--datadir={datadir}", "--database=subscribed"]
    subscription = "CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    try:
        postgres.sql(f"CREATE SUBSCRIPTION s {subscription}", "subscribed")
        done = dbdump("dump", *flags, "--option=user=plain_dumper")
    finally:
        postgres.sql("DROP SUBSCRIPTION s", "subscribed")
        postgres.drop("subscribed")
    assert done.returncode == 0, done.stdout
    assert "notice   localhost/postgresql/subscribed: pg_dump: warning: subscriptions not dumped" in done.stdout


@pytest.mark.parametrize("variable", [{"PGHOSTADDR": "127.66.66.66"}, {"PGSERVICE": "nowhere"}])
def test_what_the_recipe_names_wins_over_the_caller_s_variables(postgres, dbdump, datadir, big, variable):
    """They would lead to another server, and its dump be called this one's."""
    flags = ["--backend=postgresql", f"--option=host={postgres.host}", "--option=user=postgres"]
    done = dbdump("dump", *flags, f"--datadir={datadir}", "--database=small", "--database=@globals", env=variable)
    assert done.returncode == 0, done.stdout
    assert dbdump("restore", *flags, f"--datadir={datadir}", "--database=small", "--as=small2", "--yes",
                  env=variable).returncode == 0  # fmt: skip
    postgres.drop("small2")
