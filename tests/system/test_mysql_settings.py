"""A MariaDB server that folds names, and that others replicate from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from servers.mariadb import start
from servers.process import stop

FOLDS = ["--lower-case-table-names=1", "--log-bin", "--server-id=7"]


@pytest.fixture(scope="module")
def folding():
    """The server."""
    with tempfile.TemporaryDirectory(prefix="dbdump-fold-", dir="/tmp") as top:
        Path(top).chmod(0o755)
        server = start(Path(top) / "m", FOLDS)
        try:
            yield server
        finally:
            stop(server.process)


@pytest.fixture
def flags(folding, datadir):
    """The flags of that server, which has a database `shop`."""
    folding.create("shop")
    folding.sql("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)", "shop")
    yield [f"--defaults={folding.defaults_file()}", "--backend=mysql", f"--datadir={datadir}"]
    folding.drop("shop", "other")


def test_a_name_that_the_server_folds_is_in_the_way(folding, flags, dbdump):
    """`SHOP` is `shop` there: what is in it is not overwritten without --force."""
    assert dbdump("dump", *flags, "--database=shop").returncode == 0
    folding.sql("INSERT INTO t VALUES (2)", "shop")
    for name in ("SHOP", "Shop", "shop"):
        done = dbdump("restore", *flags, "--database=shop", "--yes", f"--as={name}")
        assert done.returncode == 1, done.stdout
        assert f"{name} on localhost is not empty (1 tables and the like)" in done.stdout + done.stderr
    assert folding.sql("SELECT a FROM t ORDER BY a", "shop").split() == ["1", "2"]
    assert dbdump("restore", *flags, "--database=shop", "--yes", "--as=Other").returncode == 0
    assert folding.sql("SELECT a FROM t", "other") == "1"


def test_a_copy_says_nothing_of_replication(folding, flags, dbdump):
    """A dump with its place in the binary log sets that of a server that is restored, and not of one with a copy."""
    folding.sql("DELIMITER ;;\nCREATE PROCEDURE p() BEGIN\nSTART SLAVE;\nEND;;", "shop")
    folding.sql("SET GLOBAL gtid_slave_pos = '9-9-9'")
    replicating = "--option=mysqldump_options=--master-data=1 --gtid --apply-slave-statements"
    assert dbdump("dump", *flags, "--database=shop", replicating).returncode == 0
    done = dbdump("verify", *flags, "--restore", "--to=localhost")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dbdump("restore", *flags, "--database=shop", "--yes", "--as=other").returncode == 0
    assert folding.sql("SELECT @@global.gtid_slave_pos") == "9-9-9"
    assert folding.sql("SHOW SLAVE STATUS") == ""
    body = "SELECT routine_definition FROM information_schema.routines WHERE routine_schema = 'other'"
    assert "START SLAVE" in folding.sql(body)
