"""The block that compares on MariaDB: the rows of the large database of PostgreSQL, copied."""

from __future__ import annotations

from dataclasses import replace

from . import mysql_contenders, peer_contenders
from .compare import Bench
from .mysql_workload import copied, server


def mariadb(bench: Bench) -> None:
    """Compare on one large database of MariaDB, beside other tools."""
    with server(bench.top) as mysql:
        copied(bench.postgres, mysql, bench.scale)
        # An option file that every client reads, dbdump's too: Debian's own says where Debian's server is.
        defaults = mysql.defaults_file(name="my")
        its = replace(bench, environment={**bench.environment, "MYSQL_HOME": str(mysql.directory)})
        these = (*mysql_contenders.large(bench.out, defaults), *peer_contenders.on_mariadb(its, defaults))
        medians = its.compare("the same rows in MariaDB", these, "by hand")
    ratio = medians["dbdump, no check"] / medians["by hand"]
    bench.at_most(1.05, "of the line written by hand, which looks at no stream either", ratio)
