"""A producer that waits, and nobody is left for whom (FAULTS, row 48)."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from servers.far import cut
from servers.process import wait_for
from support import end_of, needs_root

from faults.shell import NOISY, ShellSite, shim

KIND = "dash"  # of the account that `far` is of


@pytest.fixture
def shell(tmp_path, datadir):
    """Write recipes whose databases hold what a line of sh prints, and return the flags that dump them."""
    return ShellSite(tmp_path, datadir)


def test_who_waits_for_a_lock_in_vain_is_ended_at_once(postgres, shell, unharmed, said, started, tmp_path):
    """48: pg_dump waits for a lock, and what reads it is dead: nobody waits for either of them."""
    server = (f'PostgreSQL(host={postgres.host!r}, user="postgres", include=["held"], globals=False, '
              'pg_dump_options="--lock-wait-timeout=60000")')  # fmt: skip
    dies = f"until [ -e {tmp_path}/go ]; do sleep .05; done; kill -9 $$"
    postgres.create("held")
    psql = ["psql", "-XAtqw", "-d", "held"]
    with subprocess.Popen(psql, env=postgres.environment, stdin=subprocess.PIPE, text=True) as holder:
        try:
            holder.stdin.write("CREATE TABLE t (); BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;\n")
            holder.stdin.flush()
            wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock'"), "the lock")
            process = started(*shell("", backend=server, wrap=f"[Wrap({dies!r})]"))
            waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
            wait_for(lambda: postgres.sql(waits), "pg_dump to wait")
            began = time.monotonic()
            (tmp_path / "go").touch()
            code, out = end_of(process)
            said.append(out)
            assert code == 1
            assert "FAILED   localhost/app/held: sh: killed by SIGKILL" in out
            assert time.monotonic() - began < 30
            holder.communicate("ROLLBACK;\n")
            unharmed.check()
            unharmed.again(*shell("", backend=server))
        finally:
            holder.kill()
    postgres.drop("held")


@needs_root
@pytest.mark.parametrize("way", ["setpriv", "su", "fabric", "openssh"])
def test_who_is_ended_in_vain_may_run_as_anybody_anywhere(shell, dbdump, sshd, unharmed, tmp_path, way):
    """48: as another user, and on another host, whose processes we may not signal."""
    env = {}
    for each in ("setpriv", "runuser") if way == "su" else ():
        env = shim(tmp_path / "bin", each, NOISY)
    far = (
        f"Host('far', ssh={sshd.remote('bash')!r}, transport={way!r})" if way in ("fabric", "openssh") else "localhost"
    )
    su = "mysql" if far == "localhost" else None
    began = time.monotonic()
    flags = shell("sleep 100", backend=f"Shell(su={su!r})", wrap="[Wrap('exit 3')]", host=far)
    done = dbdump(*flags, env=env)
    assert done.returncode == 1
    assert "/app/one: sh: exit status 3" in done.stdout
    assert time.monotonic() - began < 60
    unharmed.check()
    unharmed.again(*shell("echo fine", backend=f"Shell(su={su!r})", host=far), env=env)


def test_the_way_of_a_producer_that_waits_is_gone(far, relay, unharmed):
    """48: where the connection to a Remote dies meanwhile, nothing comes that would be sent: it ends as stalled."""
    between, sshd = relay
    process = far.start(sshd.remote(KIND), pause=90 + os.getpid() / 1e8, stall=5.0)
    far.in_the_middle(2 << 20)  # the whole blocks of what comes before it waits
    cut(process, between, signal.SIGKILL)
    far.failed(process, "ended as stalled")
    unharmed.check()
    far.works(sshd.remote(KIND))
    unharmed.no_next_run = "the far one has just worked"
