"""Pruning: what goes is said before it goes, and nothing else does; nobody else is at work there meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from resources import recipe_file
from servers.history import days, left, put
from servers.process import wait_for
from servers.pruning import stamp, stamps
from support import COMMAND, by_clock, end_of, files, needs_root, processes, wait_for_bytes

from dbdump import Directory


def test_what_is_kept_and_what_goes(pruning, datadir):
    """A line for each dump, the newest first, with what keeps it or its size; what was said to go is gone."""
    pruning.recipe("Keep(last=2, yearly=1)")
    dumps = days(datadir, count=5, size=2000)
    said = pruning()
    lines = said.splitlines()
    assert lines[0] == f"keep     {stamp(dumps[0])}  localhost/shop/orders  newest, last, yearly"
    assert lines[2] == f"prune    {stamp(dumps[2])}  localhost/shop/orders  2.0 kB"
    assert stamps(said, "prune") == [stamp(each) for each in dumps[2:]]
    assert lines[-1] == "3 pruned, 2 kept; 6.0 kB"
    assert left(dumps) == [0, 1]
    assert len(files(datadir)) == 4
    assert "0 pruned, 2 kept; 0 bytes" in pruning()


def test_a_dry_run_deletes_nothing(pruning, datadir):
    """It says what would go, in the same lines."""
    pruning.recipe()
    dumps = days(datadir, count=5)
    before = files(datadir)
    said = pruning("--dry-run")
    assert stamps(said, "prune") == [stamp(each) for each in dumps[2:]]
    assert said.splitlines()[-1] == "3 would be pruned, 2 kept; 3.0 kB"
    assert files(datadir) == before
    assert stamps(pruning(), "prune") == stamps(said, "prune")


@contextmanager
def unread(kind: str):
    """A file that takes nothing: of a full disk, or of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone, Path("/dev/full").open("wb") as full:
        yield full if kind == "full" else gone


@pytest.mark.parametrize(("kind", "reason"), [("full", "no space left on device"), ("gone", "broken pipe")])
def test_where_the_plan_cannot_be_printed_nothing_goes(pruning, datadir, tmp_path, kind, reason):
    """Not of the first recipe, nor of those after it; stderr says why."""
    pruning.recipe()
    pruning.recipe(name="crm")
    dumps = [days(datadir, count=5, recipe=recipe) for recipe in ("shop", "crm")]
    with unread(kind) as full:
        argv = [*COMMAND, "prune"]
        done = subprocess.run(argv, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    for recipe, paths in zip(("shop", "crm"), dumps, strict=True):
        assert left(paths) == [0, 1, 2, 3, 4]
        assert f"FAILED   localhost/{recipe}: prune: stdout: {reason}\n" in done.stderr
    assert done.stderr.count("hint: Who reads it has ended, or its disk is full.") == 2


@pytest.mark.parametrize("kind", ["full", "gone"])
def test_after_a_dump_the_plan_is_on_stderr_where_stdout_takes_nothing(pruning, datadir, tmp_path, kind):
    """The dump is stored; where stderr takes nothing either, nothing goes, and it is no success."""
    pruning.recipe()
    dumps = days(datadir, count=5, size=900)
    with unread(kind) as full:
        both = subprocess.run([*COMMAND, "dump"], cwd=tmp_path, stdout=full, stderr=full, check=False)
        assert both.returncode == 1
        assert len(files(datadir)) == 12
        assert left(dumps) == [0, 1, 2, 3, 4]
        argv = [*COMMAND, "dump"]
        done = subprocess.run(argv, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stamps(done.stderr, "prune") == [stamp(each) for each in dumps]
    assert left(dumps) == []


def test_without_keep_nothing_goes(pruning, datadir):
    """It is said in a line, and is no failure; a dump prunes nothing either."""
    pruning.recipe("None")
    dumps = days(datadir, count=9)
    assert pruning() == "notice   localhost/shop: the recipe has no keep: nothing is pruned\n"
    assert "prune" not in pruning.dump()
    assert left(dumps) == list(range(9))


def test_of_flags_alone_nothing_goes(pruning, datadir):
    """What is asked for by --backend has no keep."""
    dumps = days(datadir, recipe="sqlite", count=9)
    said = pruning("--backend=sqlite", "--option=path=x", f"--datadir={datadir}")
    assert "localhost/sqlite: the recipe has no keep" in said
    assert left(dumps) == list(range(9))


def test_only_what_is_asked_for(pruning, datadir):
    """--recipe and --database choose; what is chosen and not there is 3."""
    for name in ("shop", "crm"):
        pruning.recipe(name=name)
    all_of_them = {(recipe, name): days(datadir, name, count=3, recipe=recipe)
                   for recipe in ("shop", "crm") for name in ("orders", "old orders", "people")}  # fmt: skip
    pruning("--recipe=shop", "--database=*orders")
    for (recipe, name), paths in all_of_them.items():
        assert left(paths) == ([0, 1] if recipe == "shop" and "orders" in name else [0, 1, 2])
    assert "dbdump: no dump matches" in pruning("--database=none", code=3)
    pruning("--host=db9", code=3)


def test_nothing_is_stored_yet(pruning, datadir):
    """Before the first dump there is nothing to prune, and no directory is made."""
    pruning.recipe()
    pruning(code=3)
    assert not list(datadir.iterdir())


def test_a_broken_recipe_file_beside_it(pruning, datadir, tmp_path):
    """It is told, and the exit status is 2; the others are pruned."""
    pruning.recipe()
    dumps = days(datadir, count=3)
    (tmp_path / "recipes" / "broken.py").write_text("1/0")
    assert "broken.py" in pruning(code=2)
    assert left(dumps) == [0, 1]


def test_each_database_by_itself(pruning, datadir):
    """One that is dumped seldom, one of another name that only looks alike, and the globals keep their own."""
    pruning.recipe()
    names = ("orders", "ORDERS", "a/b", "@globals", "orders%2f")
    dumps = {name: days(datadir, name, count=count) for count, name in enumerate(names, 1)}
    pruning()
    assert {name: left(paths) for name, paths in dumps.items()} == {
        name: list(range(min(2, count))) for count, name in enumerate(names, 1)
    }


def test_after_each_dump(pruning, datadir):
    """The databases that were stored are pruned, and only what goes is said; those that failed are not."""
    pruning.recipe(backend='Some(databases=("orders", "bad", "people"))')
    dumps = {name: days(datadir, name, count=4, size=900) for name in ("orders", "bad", "people", "gone")}
    said = pruning.dump(code=1)
    assert {name: left(paths) for name, paths in dumps.items()} == {
        "orders": [0], "people": [0], "bad": [0, 1, 2, 3], "gone": [0, 1, 2, 3],
    }  # fmt: skip
    assert stamps(said, "prune") == [stamp(each) for name in ("orders", "people") for each in dumps[name][1:]]
    assert not stamps(said, "keep")
    assert "2 stored, 0 skipped, 1 failed" in said
    pruning.dump("--database=orders")
    assert left(dumps["bad"]) == [0, 1, 2, 3]


def test_a_database_that_is_gone_from_its_server(pruning, datadir):
    """101: after a dump of the others it keeps all it has, also with prune alone; by its name it keeps its newest."""
    pruning.recipe("Keep(last=1)", backend='Some(databases=("orders", "people"))')
    pruning.dump()
    gone = days(datadir, "people", count=3)
    pruning.recipes.clear()
    pruning.recipe("Keep(last=1)")
    pruning.dump()
    assert left(gone) == [0, 1, 2]
    said = pruning()
    assert "held     localhost/shop/people: the newest run has not stored it: gone from its server, or failed" in said
    assert left(gone) == [0, 1, 2]
    pruning("--database=people")
    assert left(gone) == []
    assert len(list((datadir / "localhost" / "shop" / "people").glob("*.bin"))) == 1


def test_after_a_dump_of_one_database(pruning, datadir):
    """dump --database prunes that one, and no other."""
    pruning.recipe(backend='Some(databases=("orders", "people"))')
    dumps = {name: days(datadir, name, count=4, size=900) for name in ("orders", "people")}
    pruning.dump("--database=people")
    assert {name: left(paths) for name, paths in dumps.items()} == {"orders": [0, 1, 2, 3], "people": [0]}


def test_a_dry_run_of_a_dump_prunes_nothing(pruning, datadir):
    """It dumps nothing, so nothing goes."""
    pruning.recipe()
    dumps = days(datadir, count=4)
    pruning.dump("--dry-run")
    assert left(dumps) == [0, 1, 2, 3]


def test_with_json_its_lines_are_not_in_the_document(pruning, datadir):
    """dump --json has one document on stdout; what is pruned is said on stderr."""
    pruning.recipe()
    days(datadir, count=4, size=900)
    done = pruning.dbdump("dump", "--json")
    assert done.stdout.startswith("{")
    assert "\nprune    2" in done.stderr


def test_a_shrunken_dump_holds_the_others(pruning, datadir):
    """A dump that lost most of its size prunes nothing, at once and later; the dump itself is stored."""
    pruning.recipe()
    dumps = days(datadir, count=4, size=9_000_000)
    said = pruning.dump()
    assert "1 stored, 0 skipped, 0 failed" in said
    assert "\nheld     localhost/shop/orders: the newest has 1092 bytes, 100% less than is usual\n" in said
    said = pruning()
    assert "held     localhost/shop/orders: " in said
    assert len(stamps(said, "keep")) == 5
    assert left(dumps) == [0, 1, 2, 3]


def test_the_newest_verified_stays_and_bad_ones_do_not_count(pruning, datadir):
    """What verify found good is kept though it is old; what it found bad, or what was cut short, pushes nothing out."""
    pruning.recipe()
    old = put(datadir, "orders", timedelta(days=30), fault="")
    dumps = days(datadir, count=6)
    for index in (0, 1):
        dumps[index].write_bytes(b"short")
    bad = put(datadir, "orders", timedelta(hours=1), fault="the end is missing")
    said = pruning()
    assert left(dumps) == [0, 1, 2, 3]
    assert left([old, bad]) == [0, 1]
    assert f"keep     {stamp(old)}  localhost/shop/orders  newest verified\n" in said
    assert f"keep     {stamp(bad)}  localhost/shop/orders  bad\n" in said


def test_dumps_of_the_future_are_left_alone(pruning, datadir):
    """98: they neither count nor go."""
    pruning.recipe()
    dumps = days(datadir, count=4)
    ahead = put(datadir, "orders", -timedelta(days=365))
    assert f"keep     {stamp(ahead)}  localhost/shop/orders  from the future\n" in pruning()
    assert (left(dumps), left([ahead])) == ([0, 1], [0])


def test_a_run_while_the_clock_was_ahead(pruning, dbdump, datadir):
    """97, 98: what it stored neither counts nor goes when the clock is right again, and takes no other's place."""
    pruning.recipe()
    old = days(datadir, count=1)
    done = by_clock("+365d", "dump", cwd=pruning.directory)
    assert done.returncode == 0, done.stdout + done.stderr
    (ahead,) = set(datadir.rglob("*.bin")) - set(old)
    assert stamp(ahead) > stamp(old[0])
    pruning.dump()
    assert left([*old, ahead]) == [0, 1]
    pruning.dump()
    assert left([*old, ahead]) == [1]  # there are two newer ones
    assert f"keep     {stamp(ahead)}  localhost/shop/orders  from the future\n" in pruning()
    assert stamp(ahead) not in dbdump("restore", "--yes").stdout
    assert len(list(datadir.rglob("*.bin"))) == 3


def planted(datadir: Path, dumps: list[Path]) -> None:
    """Put beside dumps what is none of them, and of another place what looks like one."""
    here = dumps[0].parent
    precious = datadir / "precious"
    precious.write_text("precious")
    for name in ("notes.txt", "20200101T000000Z.bin", ".20200101T000000Z.bin.0123abcd.part", "20200101.bin.json",
                 "20200102T000000Z.bin.json", "20200103T000000Z.bin.verified", "-rf", "a\nb"):  # fmt: skip
        (here / name).write_text("foreign")
    (here / "20200104T000000Z.bin").mkdir()
    (here / "20200104T000000Z.bin" / "inner").write_text("foreign")
    (here / "20200105T000000Z.bin").symlink_to(precious)
    (here / "20200105T000000Z.bin.json").symlink_to(dumps[-1].with_name(dumps[-1].name + ".json"))
    (here.parent / "elsewhere").symlink_to(datadir)
    other = put(datadir, "people", timedelta(days=900))
    for source in (other, other.with_name(other.name + ".json")):  # moved there by hand: of another database
        (here / source.name).write_bytes(source.read_bytes())
    renamed = here / "20200106T000000Z.bin"  # a swap: an old dump under another name
    renamed.write_bytes(dumps[-1].read_bytes())
    renamed.with_name(renamed.name + ".json").write_bytes(dumps[-1].with_name(dumps[-1].name + ".json").read_bytes())


def test_what_is_not_of_the_recipe_is_not_touched(pruning, datadir):
    """103: foreign files, directories, symbolic links, what was moved, renamed or never finished stay as they are."""
    pruning.recipe()
    dumps = days(datadir, count=5)
    planted(datadir, dumps)
    days(datadir, count=3, recipe="crm")
    days(datadir, count=3, host="db1")
    before = {path: path.lstat().st_ino for path in datadir.rglob("*")}
    pruning()
    gone_now = before.keys() - set(datadir.rglob("*"))
    assert gone_now == {each.with_name(each.name + more) for each in dumps[2:] for more in ("", ".json")}
    assert (datadir / "precious").read_text() == "precious"


def test_a_link_in_place_of_a_dump_is_not_removed(pruning, datadir, tmp_path):
    """Somebody moved a dump away, and left a link to it: it is not followed, and stays with its manifest."""
    pruning.recipe()
    dumps = days(datadir, count=5)
    moved = tmp_path / "moved"
    dumps[3].rename(moved)
    dumps[3].symlink_to(moved)
    said = pruning(code=1)
    assert f"FAILED   localhost/shop/orders: prune: {dumps[3]}: too many levels of symbolic links" in said
    assert "hint: Somebody put a symbolic link there" in said
    assert moved.exists()
    assert dumps[3].is_symlink()
    assert dumps[3].with_name(dumps[3].name + ".json").exists()


@pytest.fixture
def under_way(pruning, tmp_path):
    """A prune of many dumps, of which some are gone by now; and the dumps."""
    pruning.recipe()
    dumps = [put(pruning.datadir, "orders", timedelta(minutes=minute), size=1) for minute in range(60)]
    slow = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "--trace=unlinkat"]
    slow.append("--inject=unlinkat:delay_exit=50000")  # µs: it is not done before it is struck
    with (tmp_path / "said").open("wb") as said:
        running = subprocess.Popen([*slow, *COMMAND, "prune"], cwd=tmp_path, stdout=said)
    wait_for(lambda: not dumps[-1].exists(), "the first to go")
    yield running, dumps
    running.kill()
    running.wait()


def test_what_a_killed_prune_left_is_finished(pruning, datadir, under_way):
    """After kill -9 each dump is whole or gone but for its manifest; the next prune takes that as well."""
    running, dumps = under_way
    running.kill()
    running.wait()
    there = [index for index, each in enumerate(dumps) if each.exists()]
    assert 2 < len(there) < 60
    assert there == list(range(len(there)))  # the oldest went first
    half = dumps[len(there) - 1]
    half.unlink()  # as if it had been killed between a dump and its manifest
    assert f"prune    {stamp(half)}  localhost/shop/orders  its manifest, which a prune has left\n" in pruning()
    assert left(dumps) == [0, 1]
    assert len(files(datadir)) == 4


def test_a_lost_dump_is_no_leftover_of_a_prune(pruning, datadir):
    """The manifest of a dump that would have been kept tells of a loss: it stays, and takes no other's place."""
    pruning.recipe()
    dumps = days(datadir, count=5)
    dumps[1].unlink()
    pruning()
    assert [index for index, each in enumerate(dumps) if each.exists()] == [0, 2]
    assert dumps[1].with_name(dumps[1].name + ".json").exists()


def test_a_prune_that_is_ended(under_way, tmp_path):
    """After TERM it stops between two dumps, with 143; nothing is half."""
    running, dumps = under_way
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143
    assert "FAILED   localhost/shop/orders: run: ended before all was pruned" in (tmp_path / "said").read_text()
    assert 2 < len(left(dumps)) < 60


@contextmanager
def pinned(path: Path):
    """A file that cannot be unlinked: something is mounted on it."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@needs_root
def test_what_cannot_be_deleted_is_a_failure_of_its_own(pruning, datadir):
    """It is said with the database, and the others are pruned; after a dump, which is stored all the same."""
    pruning.recipe(backend='Some(databases=("orders", "people"))')
    dumps = {name: days(datadir, name, count=4) for name in ("orders", "people")}
    cause = f"FAILED   localhost/shop/orders: prune: {dumps['orders'][3]}: device or resource busy"
    with pinned(dumps["orders"][3]):
        said = pruning(code=1)
        assert cause in said
        assert (left(dumps["orders"]), left(dumps["people"])) == ([0, 1, 2, 3], [0, 1])
        said = pruning.dump(code=1)
    assert said.count(cause) == 2  # when it happened, and at the end
    assert "2 stored, 0 skipped, 1 failed" in said
    assert left(dumps["people"]) == [0]
    pruning()
    assert left(dumps["orders"]) == [0]


def test_a_database_that_is_dropped(postgres, dbdump, datadir, tmp_path):
    """101: a real one: it keeps all it has, or by its name its newest, and that brings it back."""
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def shop(host):
            server = PostgreSQL(host={postgres.host!r}, user="postgres", include=["gone_*"], globals=False)
            return Dump(server, to=Directory({str(datadir)!r}), keep=Keep(last=1))
    """)  # fmt: skip
    try:
        for name in ("gone_one", "gone_two"):
            postgres.create(name)
            postgres.sql("CREATE TABLE t AS SELECT 1 AS one", name)
        assert "2 stored" in dbdump("dump", f"--recipes={recipes}").stdout
        older = days(datadir, "gone_one", count=3, size=900)
        kept = files(datadir / "localhost/shop/gone_one")
        postgres.drop("gone_one")
        assert "1 stored" in dbdump("dump", f"--recipes={recipes}").stdout
        assert files(datadir / "localhost/shop/gone_one") == kept
        assert dbdump("prune", f"--recipes={recipes}").returncode == 0
        assert left(older) == [0, 1, 2]
        assert dbdump("prune", f"--recipes={recipes}", "--database=gone_one").returncode == 0
        assert left(older) == []
        done = dbdump("restore", f"--recipes={recipes}", "--database=gone_one", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert postgres.sql("SELECT one FROM t", "gone_one") == "1"
    finally:
        postgres.drop("gone_one", "gone_two")


def test_against_a_running_dump(pruning, datadir, started, tmp_path):
    """While a dump runs, prune ends with 75 and says who is at it, though that were another user's."""
    pruning.recipe(backend='Some(databases=("slow", "orders"))')
    dumps = days(datadir, count=4, size=900)
    running = started("dump", "--database=slow")
    wait_for_bytes(datadir, "slow")
    said = pruning(code=75)
    assert f"LOCKED   localhost/shop: another run is at it: pid {running.pid} of " in said
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "another user's")}
    said = pruning(code=75, env=elsewhere)
    busy = f"{datadir}/localhost/shop: a dump, verify, restore or prune is at work there: pid {running.pid} of "
    assert re.search(rf"(?m)^LOCKED   localhost/shop: {busy}\S+, dump$", said)
    assert stamps(pruning("--dry-run"), "prune")
    said = pruning.dump("--database=orders", env=elsewhere)
    assert f"notice   localhost/shop: not pruned: {busy}" in said
    assert left(dumps) == [0, 1, 2, 3]
    (tmp_path / "go").touch()
    assert end_of(running)[0] == 0
    pruning()
    assert left(dumps) == [0]


def test_against_verify_and_restore(pruning, datadir):
    """While somebody reads there, nothing is pruned; while it is pruned, nobody begins to."""
    pruning.recipe()
    dumps = days(datadir, count=4, size=900)
    to = Directory(str(datadir))
    with to.held("localhost", "shop", alone=False), to.held("localhost", "shop", alone=False):
        assert pruning(code=75).count(f"pid {os.getpid()} of ") == 1
        assert "1 stored" in pruning.dump()
    assert left(dumps) == [0, 1, 2, 3]
    with to.held("localhost", "shop", alone=True):
        assert f"a prune is at work there: pid {os.getpid()} of " in pruning.dump(code=75)


@pytest.mark.parametrize("task", ["verify", "restore --database=orders --to-stdout"])
def test_against_a_verify_or_a_restore_that_runs(pruning, datadir, started, tmp_path, task):
    """104: a real one, in the middle of what it reads: prune ends with 75, and takes nothing until it has ended."""
    pruning.recipe("Keep(last=1)", wrap="[Waits()]")
    pruning.dump()
    dumps = days(datadir, count=3)
    running = started(*task.split())
    wait_for(lambda: processes(f"{tmp_path}/go"), "it to read")
    before = files(datadir)
    assert f" is at work there: pid {running.pid} of " in pruning(code=75)
    assert files(datadir) == before
    (tmp_path / "go").touch()
    code, said = end_of(running)
    assert code == 0, said
    pruning()
    assert not left(dumps)


def remote_of(sshd, kind: str, transport: str, path: Path) -> str:
    """Return a Remote in the words of a recipe."""
    return f"Remote({sshd.remote(kind)!r}, {str(path)!r}, transport={transport!r})"


@pytest.mark.parametrize("transport", ["fabric", "openssh"])
@pytest.mark.parametrize("kind", ["dash", "busybox", "sftp"])
def test_on_another_machine(pruning, sshd, tmp_path, kind, transport):
    """On every kind of account the same goes, nothing else is touched, and what was left is finished."""
    far = sshd.accounts.directory_of(kind, tmp_path.name[:40] + kind + transport)
    dumps = days(far, count=6)
    planted(far, dumps)
    dumps[4].unlink()
    sshd.accounts.own(kind, far)
    pruning.to = remote_of(sshd, kind, transport, far)
    pruning.recipe()
    before = set(far.rglob("*"))
    said = pruning()
    assert "its manifest, which a prune has left" in said
    away = {each.with_name(each.name + more) for each in dumps[2:] for more in ("", ".json")}
    assert before - set(far.rglob("*")) == away - {dumps[4]}
    dumps[1].unlink()
    dumps[1].symlink_to(far / "precious")
    sshd.accounts.own("root", far)
    put(far, "orders", timedelta(seconds=9))
    put(far, "orders", timedelta(seconds=5))
    sshd.accounts.own(kind, far)
    said = pruning(code=1)
    assert "FAILED   localhost/shop/orders: prune: " in said
    assert "symbolic link" in said
    assert dumps[1].is_symlink()


def test_after_a_dump_to_another_machine(pruning, sshd, tmp_path):
    """Through the same connection."""
    far = sshd.accounts.directory_of("dash", tmp_path.name[:40])
    dumps = days(far, count=4, size=900)
    sshd.accounts.own("dash", far)
    pruning.to = remote_of(sshd, "dash", "fabric", far)
    pruning.recipe()
    before = sshd.logins
    assert stamps(pruning.dump(), "prune") == [stamp(each) for each in dumps[1:]]
    assert sshd.logins == before + 1
    assert left(dumps) == [0]
