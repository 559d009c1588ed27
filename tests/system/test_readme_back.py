"""The README's sections on getting dumps back, and on keeping and watching them, run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from readme import GET_BACK, KEPT, MONITOR, PRUNE, VERIFY, database, sh
from resources import recipe_file
from support import manifests


def _lines(block: str, *changes: tuple[str, str]) -> list[str]:
    for old, new in changes:
        block = block.replace(old, new)
    return [line.partition("#")[0].strip() for line in block.splitlines()]


@pytest.fixture
def here(postgres, tmp_path) -> Path:
    """A directory with a recipe of the database `orders`, and a dump of it."""
    (tmp_path / "dumps").mkdir(mode=0o700)
    recipe_file(
        tmp_path,
        f"""
        @recipe(localhost)
        def shop(host):
            return Dump(PostgreSQL(host={postgres.host!r}, user="postgres", include=["orders*"]),
                        to=Directory({str(tmp_path / "dumps")!r}))
        """,
    )
    (tmp_path / "tasks.py").write_text("from invoke import Collection; from dbdump.tasks import TASKS\n"
                                       "ns = Collection(*TASKS)\n")  # fmt: skip
    postgres.create("orders")
    postgres.sql("CREATE TABLE placed AS SELECT 1 AS one", database="orders")
    sh("invoke dump", tmp_path)
    yield tmp_path
    for name in ("orders", "orders_old"):
        postgres.drop(name)


def test_each_line_gets_it_back(here, postgres):
    """Beside it, in its place, an older one, and as a file."""
    stamp = manifests(here / "dumps")["orders"]["file"].partition(".")[0]
    changes = (("db1", "localhost"), ("--to=db2", "--to=localhost --force"), ("20261122T203000Z", stamp))
    listed, beside, instead, older, raw = _lines(GET_BACK, *changes)
    assert "localhost/shop/orders" in sh(listed, here)
    assert "restored localhost/shop/orders" in sh(f"{beside} --yes", here)
    assert postgres.sql("SELECT one FROM placed", database="orders_old") == "1"
    postgres.sql("DROP TABLE placed", database="orders")
    for line in (f"{instead} --yes", older):
        assert "restored localhost/shop/orders" in sh(line, here)
        assert postgres.sql("SELECT one FROM placed", database="orders") == "1"
    sh(raw, here)
    assert (here / "orders.pgdump").read_bytes().startswith(b"PGDMP")


def test_each_line_verifies(here):
    """The latest, all, and the drill."""
    for line, level in zip(_lines(VERIFY, ("db1", "localhost")), ("structure", "structure", "restored"), strict=True):
        said = sh(line, here)
        assert level in said, said
        assert "localhost/shop/orders" in said


def test_each_line_watches(here):
    """check, status in its three forms, and JSON."""
    checked, old, nagios, prometheus, listed = _lines(MONITOR, ("/var/lib/node_exporter", str(here)))
    assert "0 errors" in sh(checked, here)
    assert "localhost/shop/orders" in sh(old, here)
    assert sh(nagios, here).startswith("DBDUMP OK")
    sh(prometheus, here)
    assert "dbdump_last_success_timestamp_seconds" in (here / "dbdump.prom").read_text()
    assert json.loads(sh(listed, here).splitlines()[0]).startswith(str(here))


def test_the_recipe_that_keeps(tmp_path):
    """The plan, and what it comes to; five dumps in a row leave the three last, and the oldest for the months."""
    (tmp_path / "srv" / "dumps").mkdir(parents=True, mode=0o700)
    database(tmp_path / "srv" / "shop" / "carts.db")
    recipe_file(tmp_path, "", "empty.py").joinpath("empty.py").unlink()
    path = tmp_path / "recipes" / "kept.py"
    path.write_text(KEPT.replace("/srv", str(tmp_path / "srv")))
    path.chmod(0o600)
    made = set()
    for _ in range(5):
        sh("dbdump dump", tmp_path)
        made |= {path.name for path in tmp_path.rglob("*.zst")}
    first, _, *last = sorted(made)
    assert {path.name for path in tmp_path.rglob("*.zst")} == {first, *last}
    plan, done = (sh(f"dbdump {line.removeprefix('invoke ')}", tmp_path) for line in _lines(PRUNE))
    assert "keep" in plan
    assert "keep" in done
