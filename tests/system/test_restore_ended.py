"""Restore: ended in the middle, and commands that fail, stop early, or cannot tell."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import end_of, gone

SLOW = """
@backend("slow")
class Slow(Backend):
    suffix = ".bin"
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["head", "-c", "30000000", "/dev/urandom"]
    def get_load_command(self, database, into, jobs):
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


@pytest.mark.parametrize(
    ("number", "program", "seen", "far"),
    [
        (signal.SIGINT, PROGRAM, True, False),
        (signal.SIGTERM, STUCK, False, False),
        (signal.SIGKILL, PROGRAM, True, False),
        (signal.SIGKILL, STUCK, False, False),
        (signal.SIGTERM, PROGRAM, True, True),
        (signal.SIGKILL, STUCK, False, True),
    ],
)
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


def test_it_is_ended_before_it_begins(dbdump, started, slow, tmp_path):
    """While the target is looked at nothing was touched, and that is said."""
    looking = tmp_path / "looking"
    flags, _ = slow(PROGRAM, contents=f'self.output(["sh", "-c", "touch {looking}; sleep 60"])')
    assert dbdump("dump", *flags).returncode == 0
    process = started("restore", *flags, "--yes")
    wait_for(looking.exists, "the target to be looked at")
    process.terminate()
    assert end_of(process) == (143, "dbdump: interrupted: nothing was touched\n")


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
        # Ended at the only moment that it has a name, as all are when the controller is gone: with TERM.
        (wrapper := tmp_path / "mktemp").write_text('#!/bin/sh\n/bin/mktemp "$@"\nkill -TERM 0\n')
        wrapper.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = dbdump("restore", *flags, "--yes", "--jobs=2", env={"PATH": path})
        assert done.returncode == 1, done.stdout
        assert list(spool.iterdir()) == []
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


@pytest.fixture
def restored(dbdump, sshd, tmp_path):
    """Restore a dump by a line of sh, while the program on the machine where it is stored stops in the middle of it."""

    def run(load: str, to: str, stall: float, kind: str = "dash") -> subprocess.CompletedProcess[str]:
        there = sshd.accounts.directory_of(kind, tmp_path.name)
        stops = f'[ ! -e {there}/stops ] || {{ head -c 6500000 "$2"; kill -STOP $$; }}; exec /bin/cat "$@"'
        recipes = recipe_file(tmp_path, f"""
            import os
            @backend("big")
            class Big(Backend):
                def get_db_list(self): return ["one"]
                def get_command(self, database): return ["head", "-c", "9000000", "/dev/urandom"]
                def get_load_command(self, database, into, jobs):
                    open({f"{there}/stops"!r}, "w").close()
                    return ["sh", "-c", {load!r}]
                def contents(self, database): return None
            hosts = [localhost, Host("far", ssh={sshd.remote("bash")!r})]
            to = Remote({sshd.remote(kind)!r}, {str(there)!r})
            site = Site(hosts, wrap=[Gzip()], to=to, stall_timeout=600 if "DUMPS" in os.environ else {stall})
            @site.recipe
            def big(host): return Dump(Big())
            """)  # fmt: skip
        flags = [f"--recipes={recipes}", "--host=localhost"]
        with sshd.accounts.with_programs("dash", cat=stops):
            assert dbdump("dump", *flags, env={"DUMPS": "1"}).returncode == 0  # on a disk that may be slow
            try:
                done = dbdump("restore", *flags, "--yes", f"--to={to}")
            finally:
                sshd.signal("sftp", signal.SIGCONT)
        wait_for(lambda: not sshd.accounts.processes(kind), "what is stopped there to be ended")
        assert done.returncode == 1, done.stdout
        return done

    return run


@pytest.mark.parametrize(("kind", "to"), [("dash", "localhost"), ("dash", "far"), ("sftp", "localhost")])
def test_a_command_that_fails_is_not_waited_for_while_no_byte_comes(restored, sshd, kind, to):
    """132: who loads it dies, and that is told at once, by its cause."""
    began = time.monotonic()
    takes = "head -c 4000000" if kind == "dash" else (  # all that was asked for, when sshd itself has stopped
        f"kill -STOP $(pgrep -f '^sshd: {sshd.accounts.user(kind)}'); timeout 1 cat"
    )  # fmt: skip
    done = restored(f"{takes} >/dev/null; echo 'error: no room' >&2; exit 3", to, 600, kind)
    assert "exit status 3: error: no room" in done.stdout
    assert time.monotonic() - began < 90


def test_no_byte_comes_for_too_long(restored):
    """69: the stall watchdog ends it."""
    done = restored("cat >/dev/null", "localhost", 3)
    assert "read: " in done.stdout
    assert "nothing taken or answered for 3 s, ended as stalled" in done.stdout
    assert "left: nothing of one" in done.stdout
