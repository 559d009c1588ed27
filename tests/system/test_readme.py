"""Every block of the README runs, and says what is so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from readme import (
    AD_HOC,
    BACKEND,
    CONTRACT,
    FIRST_RESTORE,
    LAYOUT,
    README,
    RECIPE,
    RESTORE,
    ROOT,
    SET_UP,
    TASKS,
    TEST,
    database,
    sh,
)
from resources import recipe_file
from servers.process import program, stop, wait_for
from servers.sshd import free_port
from support import files, manifests, needs_root

from dbdump.testing import BackendContract


def test_the_first_commands_dump_and_restore_on_a_fresh_machine(tmp_path):
    """In a copy of what git has, without anything installed, the first blocks store a dump, and get it back."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    said = sh(SET_UP, tmp_path / "clone")
    assert "1 stored, 0 skipped, 0 failed" in said
    assert set(manifests(tmp_path / "clone" / "dumps")) == {"sample.sqlite"}
    assert (tmp_path / "clone" / ".venv/bin/dbdump").exists()
    assert "restored localhost/sample/sample.sqlite" in sh(FIRST_RESTORE, tmp_path / "clone")
    assert (tmp_path / "clone" / "restored.sqlite").read_bytes()[:15] == b"SQLite format 3"


def test_ci_runs_the_second_command():
    """The test command of the README is what .ci/run runs, line for line."""
    assert TEST in (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def here(postgres, tmp_path) -> Path:
    """A directory with the README's recipe, moved from /srv to where a test may write."""
    text = RECIPE.replace("/srv", str(tmp_path / "srv"))
    recipe_file(tmp_path, "", "empty.py").joinpath("empty.py").unlink()
    path = tmp_path / "recipes" / "shop.py"
    path.write_text(text)
    path.chmod(0o600)
    (tmp_path / "srv" / "dumps").mkdir(parents=True, mode=0o700)
    (tmp_path / "mnt").mkdir(mode=0o700)
    database(tmp_path / "srv" / "shop" / "carts.db")
    postgres.create("shop_orders")
    (tmp_path / "tasks.py").write_text("from dbdump.tasks import backends, dump, recipes\n")
    yield tmp_path
    postgres.drop("shop_orders")


@needs_root
def test_the_first_recipe(here, postgres):
    """Each command of the block works with the recipe above it."""
    lines = TASKS.replace("/mnt", str(here / "mnt")).splitlines()
    commands = [line.partition("#")[0].strip() for line in lines]
    listed, dry, everything, some, elsewhere = commands
    assert "localhost/carts" in sh(listed, here)
    assert "exit 0" in sh(dry, here)
    assert files(here / "srv" / "dumps") == {}
    assert "0 failed" in sh(everything, here, PGHOST=postgres.host)
    assert {"carts.db", "shop_orders", "@globals"} <= set(manifests(here / "srv" / "dumps"))
    assert "1 stored" in sh(some, here, PGHOST=postgres.host)
    sh(elsewhere, here)
    assert set(manifests(here / "mnt")) == {"carts.db"}


@needs_root
def test_on_disk_is_as_drawn(here, postgres):
    """The layout in the README is that of its recipe's dumps."""
    sh("invoke dump", here, PGHOST=postgres.host)
    shown = [line.split()[0] for line in LAYOUT.replace("orders", "shop_orders").splitlines()]
    stored = "\n".join(f"/srv/dumps/{name}" for name in files(here / "srv" / "dumps"))
    for path in shown:
        assert re.sub(r"\d{8}T\d{6}Z", "STAMP", path) in re.sub(r"\d{8}T\d{6}Z", "STAMP", stored)


@needs_root
def test_without_a_recipe(postgres, mariadb, tmp_path):
    """Each ad hoc line stores dumps of a real server."""
    datadir = tmp_path / "srv" / "dumps"
    datadir.mkdir(parents=True, mode=0o700)
    database(tmp_path / "srv" / "shop" / "carts.db")
    text = AD_HOC.replace("/srv", str(tmp_path / "srv")).replace("-h db -U dump", f"-h {postgres.host} -U postgres")
    text = text.replace("/root/dump.cnf", str(mariadb.defaults_file("root", "")))
    sqlite, su, options, mysql = text.splitlines()
    for line, expected in ((sqlite, "carts.db"), (su, "postgres"), (mysql, "mysql")):
        more = "" if "--datadir" in line else f" --datadir={datadir}"
        assert " 0 failed" in sh(line + more, tmp_path, PGHOST=postgres.host)
        assert expected in manifests(datadir)
    assert "pg_dump -" in sh(f"{options} --dry-run", tmp_path)


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[int]:
    """A Redis server; its port."""
    port = free_port()
    process = subprocess.Popen(
        [program("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--dir", str(tmp_path_factory.mktemp("redis"))], stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ping = ["redis-cli", "-p", str(port), "ping"]
    wait_for(lambda: b"PONG" in subprocess.run(ping, capture_output=True, check=False).stdout, "Redis")
    subprocess.run(["redis-cli", "-p", str(port), "set", "key", "value"], check=True, stdout=subprocess.DEVNULL)
    yield port
    stop(process)


def test_the_backend_of_ten_lines(redis, tmp_path, datadir):
    """The README's backend, in a recipe file, dumps a real server by name and flag."""
    assert len([line for line in BACKEND.partition("@backend")[2].splitlines() if line.strip()]) <= 10
    recipes = recipe_file(tmp_path, "")
    (recipes / "site.py").write_text(BACKEND)
    text = f"dbdump --recipes={recipes} --backend=redis --option port={redis} --datadir={datadir}"
    assert "1 stored" in sh(text, tmp_path)
    stored = subprocess.run(["zstd", "-dc", *datadir.rglob("*.zst")], capture_output=True, check=True).stdout
    assert stored.startswith(b"REDIS")
    assert "key" in stored.decode(errors="replace")


_MODULE = ModuleType("redis_dumps")
sys.modules["redis_dumps"] = _MODULE
exec(compile(BACKEND, "README.md", "exec"), vars(_MODULE))  # noqa: S102  that very text
_SPACE: dict[str, object] = {}
exec(compile(CONTRACT, "README.md", "exec"), _SPACE)  # noqa: S102  as above
_README_TEST: type[BackendContract] = _SPACE["TestRedis"]


class TestReadmeBackend(_README_TEST):
    """The README's own test of its backend."""

    @pytest.fixture(autouse=True)
    def _server(self, redis):
        self.port = redis

    def make(self):
        """Return the backend that the README's test makes, for the port that the server got."""
        made = super().make()
        made.port = self.port
        return made


def test_restoring_by_hand(tmp_path, datadir, dbdump):
    """The lines of the block check and restore a real dump."""
    path = database(tmp_path / "app.db")
    assert dbdump("--backend=sqlite", f"--option=path={path}", f"--datadir={datadir}").returncode == 0
    path.unlink()
    stored = next(datadir.rglob("*.zst"))
    lines = [line.partition("#")[0].replace("FILE", str(stored)) for line in RESTORE.splitlines()]
    checked, shown, done = (sh(line, tmp_path) for line in lines)
    assert checked.split()[0] == json.loads(Path(f"{stored}.json").read_text())["sha256"]
    assert shown.strip() == manifests(datadir)["app.db"]["restore"]
    assert done == ""
    assert path.exists()


def test_the_exit_statuses_are_those_of_the_help(dbdump):
    """The table and `dbdump dump --help` name the same statuses."""
    table = re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE)
    helped = " ".join((dbdump("dump", "--help").stdout + dbdump("verify", "--help").stdout).split())
    assert [status for status, _ in table] == ["0", "1", "2", "3", "4", "75", "130"]
    for status, meaning in table:
        assert f"{status} {re.split('[;:,]', meaning)[0]}" in helped


def test_the_examples_are_recipes(dbdump):
    """What stands in recipes/ and recipes/examples/ can be listed as it is."""
    for directory in ("recipes", "recipes/examples"):
        done = dbdump("recipes", f"--recipes={ROOT / directory}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(line.split("  ")[-1] for line in done.stdout.splitlines())
