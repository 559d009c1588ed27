"""The commands as users type them, and as cron runs them."""

from __future__ import annotations

import os
import pty
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import pytest
from resources import recipe_file
from servers.terminal import on_terminal
from support import COMMAND, end_of, files, manifests, processes

ROOT = Path(__file__).parents[2]
INVOKE = [sys.executable, "-m", "invoke"]


@pytest.fixture
def app(tmp_path):
    """A SQLite database."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a)")
    return path


@pytest.fixture
def site(tmp_path, datadir, app):
    """Two hosts' recipes, for the same database, one of them broken on demand."""
    return recipe_file(tmp_path, f"""
        store = Directory({str(datadir)!r})

        @recipe(localhost, tags=["prod", "small"])
        def good(host):
            '''What works.

            And more about it.'''
            return Dump(SQLite(path={str(app)!r}), to=store)

        @recipe(localhost, tags=["prod"])
        def bad(host):
            '''What fails.'''
            return Dump(SQLite(path="/nowhere/missing.db"), to=store)

        @recipe(Host("db1"))
        def remote(host):
            return Dump(SQLite(path={str(app)!r}), to=store)
        """)  # fmt: skip


def invoke(*arguments: object, cwd: Path = ROOT, **more) -> subprocess.CompletedProcess[str]:
    """Run invoke as a user does, in the project's root."""
    return subprocess.run([*INVOKE, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **more)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["dump", "--recipe=good"], 0),
        (["dump", "--host=localhost"], 1),
        (["dump", "--recipe=good", "--datadir=/nowhere"], 1),
        (["dump", "--no-such-flag"], 2),
        (["dump", "--recipe=good", "--option", "nonsense"], 2),
        (["dump", "--recipe=good", "--option", "no_such=1"], 2),
        (["dump", "--recipe=good", "--jobs=none"], 2),
        (["dump", "--recipe=good", "--jobs=0"], 2),
        (["dump", "--host="], 2),
        (["dump", "--host=,"], 2),
        (["dump", "--backend=no-such"], 2),
        (["dump", "--backend=sqlite"], 2),
        (["dump", "--backend=sqlite", "--tag=prod"], 2),
        (["dump", "--recipe=none"], 3),
        (["dump", "--host=none"], 3),
        (["dump", "--host=localhost,none"], 3),
        (["dump", "--tag=none"], 3),
        (["dump", "--recipe=good", "--database=none"], 3),
        (["dump", "--recipe=good", "--database=none", "--dry-run"], 3),
        (["dump", "--recipe=bad", "--dry-run"], 0),
        (["dump", "--host=db1"], 1),
        (["dump", "--host=db1", "--dry-run"], 1),
        (["dump", "--host=db1", "--here"], 0),
        (["recipes"], 0),
        (["backends"], 0),
    ],
)
def test_exit_statuses(dbdump, site, arguments, status):
    """Each way to end has its exit status, under dbdump and under invoke, and every error has a hint."""
    done = dbdump(*arguments, env={"DBDUMP_RECIPES": str(site)})
    assert done.returncode == status, done.stdout + done.stderr
    if status and "--no-such-flag" not in arguments:
        assert "hint: " in done.stdout + done.stderr
    if "--no-such-flag" not in arguments:  # to which invoke itself says 1
        shutil.rmtree(site.parent / "datadir")
        (site.parent / "datadir").mkdir(mode=0o700)
        again = invoke(*arguments, env={**os.environ, "DBDUMP_RECIPES": str(site)})
        assert "Traceback" not in again.stderr
        assert again.returncode == status


def test_failures_are_named_last(dbdump, site):
    """One line for each database, then the sum, then what failed, with host, recipe, database and cause."""
    done = dbdump("dump", f"--recipes={site}", "--host=localhost")
    assert done.stdout.splitlines()[-3:] == [
        done.stdout.splitlines()[-3],
        "FAILED   localhost/bad/missing.db: sqlite: exit status 1: error: no such file: /nowhere/missing.db",
        "         hint: Look at the recipe's path.",
    ]
    assert re.fullmatch(r"1 stored, 0 skipped, 1 failed; \d+ bytes in \d+\.\d s", done.stdout.splitlines()[-3])
    assert "stored   localhost/good/app.db  " in done.stdout


def test_recipes_are_listed(dbdump, site):
    """Hosts, recipes, tags and the first line of the docstring."""
    lines = dbdump("recipes", f"--recipes={site}").stdout.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["localhost/good", "localhost/bad", "db1/remote"]
    assert lines[0].endswith("[prod, small]  What works.")


def test_backends_are_listed_with_their_options(dbdump, site):
    """Built in and of recipe files, each with what it takes."""
    recipe_file(site.parent, """
        @backend("mine")
        class Mine(SQLite):
            '''My own.'''
            colour: str = option(default="red", help="which one")
        """, "mine.py")  # fmt: skip
    text = dbdump("backends", f"--recipes={site}").stdout
    assert {"mine: My own.", "postgresql: A PostgreSQL server."} <= set(text.splitlines())
    assert re.search(r"^    colour +which one \(red\)$", text, re.MULTILINE)
    assert re.search(r"^    lock_wait_timeout +.*300", text, re.MULTILINE)


def test_a_broken_file_is_reported_and_the_others_run(dbdump, site, datadir):
    """A syntax error names file and line; what can be dumped is, and the exit status is 2."""
    broken = site / "broken.py"
    broken.write_text("import os\nthis is no Python\n")
    broken.chmod(0o600)
    done = dbdump("dump", f"--recipes={site}", "--recipe=good")
    assert done.returncode == 2
    assert f"{broken}:2: SyntaxError: invalid syntax" in done.stdout
    assert set(manifests(datadir)) == {"app.db"}
    broken.write_text("def f():\n    return 1 / 0\n\n\nf()\n")
    done = dbdump("recipes", f"--recipes={site}")
    assert done.returncode == 2
    assert f"{broken}:2: ZeroDivisionError" in done.stdout
    assert "localhost/good" in done.stdout


def test_flags_win_over_the_recipe(dbdump, site, tmp_path):
    """--datadir and --option replace what the recipe says."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    done = dbdump("dump", f"--recipes={site}", "--recipe=good", f"--datadir={other}", "--option", "format=sql")
    assert done.returncode == 0
    assert [path.suffixes for path in other.rglob("*.zst")] == [[".sql", ".zst"]]


def test_dry_run_writes_nothing_and_can_be_pasted(dbdump, site, datadir, tmp_path):
    """It prints the very script, which a person can paste into a terminal and get a dump from."""
    done = dbdump("dump", f"--recipes={site}", "--recipe=good", "--dry-run")
    assert done.returncode == 0
    assert files(datadir) == {}
    head, script = done.stdout.split("\n", 1)
    assert re.fullmatch(rf"# localhost/good/app.db -> {datadir}/localhost/good/app.db/\d+T\d+Z.sqlite.zst", head)
    primary, secondary = pty.openpty()
    try:
        with (tmp_path / "pasted.zst").open("wb") as out:
            subprocess.run(["sh", "-c", script], stdin=secondary, stdout=out, stderr=subprocess.PIPE, check=True)
    finally:
        os.close(primary)
        os.close(secondary)
    unpacked = subprocess.run(["zstd", "-dc", tmp_path / "pasted.zst"], capture_output=True, check=True).stdout
    assert unpacked.startswith(b"SQLite format 3\0")


def test_the_original_s_spelling(dbdump, app, datadir):
    """`dbdump --backend=…` is `dbdump dump --backend=…`."""
    assert dbdump("--backend=sqlite", "--option", f"path={app}", "--datadir", datadir).returncode == 0
    assert set(manifests(datadir)) == {"app.db"}


def test_help_explains_every_flag():
    """Every flag of every task has a sentence and, where it takes a value, an example."""
    for task in ("dump", "recipes", "backends"):
        text = invoke(task, "--help").stdout
        options = re.findall(r"^  (?:-\w, )?--([\w-]+)(?:=\w+)?(.*(?:\n {4,}.*)*)", text, re.MULTILINE)
        assert options
        for name, sentence in options:
            assert f"--{name}" in re.sub(r"\s", "", sentence), f"{task} --{name}: no example in {sentence!r}"
    assert "0 all stored; 1 at least one dump failed" in invoke("dump", "--help").stdout
    assert "130 interrupted" in invoke("dump", "--help").stdout


def test_a_listing_waits_for_no_import():
    """What `invoke --list` and completion import beside invoke: all else waits until a task is done."""
    program = "import sys, invoke; before = {*sys.modules}; import tasks; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__", "dbdump", "dbdump.flags", "dbdump.tasks", "tasks"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(dbdump, shell):
    """Completion works as invoke provides it: the script, and the words it asks for."""
    assert "dbdump" in dbdump(f"--print-completion-script={shell}").stdout
    words = dbdump("--complete", "--", "dbdump", "dump", "--data").stdout.split()
    assert "--datadir" in words


def test_it_works_from_cron(site, datadir, tmp_path):
    """With no environment, no terminal, and stdin, stdout and stderr closed, a dump is stored all the same."""
    line = (
        f"exec env -i {sys.executable} -c 'from dbdump.tasks import main; main()' dump --recipes={site} --recipe=good"
    )
    done = subprocess.run(["sh", "-c", f"{line} 0<&- 1>&- 2>&-"], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert set(manifests(datadir)) == {"app.db"}
    stored = next(datadir.rglob("*.zst")).read_bytes()
    assert len(stored) == manifests(datadir)["app.db"]["stored_bytes"]


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}]
)
def test_a_name_that_the_locale_cannot_show(dbdump, tmp_path, datadir, env):
    """A database whose name is no ASCII is dumped, and shown somehow, in any locale."""
    path = tmp_path / "é€.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a)")
    done = dbdump("--backend=sqlite", f"--option=path={tmp_path}/*.db", f"--datadir={datadir}", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.parent.name for path in datadir.rglob("*.zst")] == ["%c3%a9%e2%82%ac.db"]


def test_a_reader_that_goes_away_does_not_end_a_dump(site, datadir):
    """`dbdump dump | head -0` stores what it would have stored."""
    command = f"{sys.executable} -c 'from dbdump.tasks import main; main()'"
    subprocess.run(["bash", "-c", f"{command} dump --recipes={site} --recipe=good | true"], check=True, cwd=ROOT)
    assert set(manifests(datadir)) == {"app.db"}


def test_a_terminal_gets_a_live_display(site, tmp_path):
    """On a terminal there is a progress display, and the same last lines."""
    code, text = on_terminal("dump", f"--recipes={site}", "--host=localhost", cwd=tmp_path, columns=60)
    assert code == 1
    assert "\x1b[" in text
    assert (
        "FAILED   localhost/bad/missing.db: sqlite: exit status 1: error: no such file: /nowhere/missing.db\r\n" in text
    )


@pytest.mark.parametrize("umask", ["000", "077"])
def test_modes_do_not_depend_on_the_umask(site, datadir, umask):
    """Files are 0600 and directories 0700, whatever the umask is."""
    command = f"{sys.executable} -c 'from dbdump.tasks import main; main()'"
    subprocess.run(["sh", "-c", f"umask {umask}; {command} dump --recipes={site} --recipe=good"], check=True, cwd=ROOT)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in datadir.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in datadir.rglob("*") if path.is_dir()} == {0o700}


def test_a_dump_is_of_utc_whatever_the_time_zone(dbdump, site, datadir):
    """97: a run in one zone, and a look from another a day away: it is new, and from no future."""
    zones = "Pacific/Kiritimati", "<-12>12"
    for zone in zones:
        began = datetime.now(UTC).replace(microsecond=0)
        assert dbdump("dump", f"--recipes={site}", "--recipe=good", env={"TZ": zone}).returncode == 0
        newest = max(path.name.split(".")[0] for path in datadir.rglob("*.json"))
        stamp = datetime.strptime(newest, "%Y%m%dT%H%M%S%z")
        assert began <= stamp <= datetime.now(UTC) + timedelta(seconds=1)  # a second of its own
    assert len(list(datadir.rglob("*.json"))) == len(zones)
    for zone in zones:
        done = dbdump("status", f"--recipes={site}", "--recipe=good", "--max-age=1h", env={"TZ": zone})
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("jobs", [4, 1])
def test_jobs_run_at_once(dbdump, tmp_path, datadir, jobs):
    """With --jobs=4 four dumps run at the same time; with --jobs=1 each begins when the one before it has ended."""
    notes = tmp_path / "notes"
    recipes = recipe_file(tmp_path, f"""
        @backend("noting")
        class Noting(Backend):
            def get_db_list(self): return list("abcdef")
            def get_command(self, database):
                # So many that have begun are waited for, for half a minute, if they never do.
                wait = "n=0; until [ $(wc -l <$2) -ge {jobs} ] || [ $n -gt 600 ]; do n=$((n + 1)); sleep 0.05; done"
                return ["sh", "-c", f"echo +1 >>$2; {{wait}}; sleep 0.2; echo $1; echo -1 >>$2", "sh", database,
                        {str(notes)!r}]

        @recipe(localhost)
        def six(host): return Dump(Noting(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}", f"--jobs={jobs}")
    assert done.returncode == 0, done.stdout
    assert max(accumulate(map(int, notes.read_text().split()))) == jobs


CANARY = "c4n4ry-s3cr3t"


def test_a_secret_is_nowhere_to_be_seen(tmp_path, datadir):
    """The value of a secret variable reaches the command, and no argv, manifest, log, dry run or error."""
    recipes = recipe_file(tmp_path, f"""
        @backend("vault")
        class Vault(Backend):
            def get_db_list(self): return ["ok", "fails"]
            def get_command(self, database):
                return ["sh", "-c", 'test "$SECRET" = {CANARY[:3]}"4ry-s3cr3t" || exit 9; sleep 1; echo dump;'
                        ' test $1 = ok || {{ echo "error: $SECRET is bad" >&2; exit 1; }}', "sh", database]

        @recipe(localhost)
        def vault(host):
            import os
            return Dump(Vault(env={{"SECRET": "{CANARY[:3]}" + "4ry-s3cr3t"}}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    dry = subprocess.run([*COMMAND, "dump", f"--recipes={recipes}", "--dry-run"], cwd=tmp_path, capture_output=True,
                         text=True, check=True).stdout  # fmt: skip
    assert "IFS= read -r SECRET" in dry
    process = subprocess.Popen([*COMMAND, "dump", f"--recipes={recipes}"], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    samples = []
    while process.poll() is None:
        samples += processes("").values()
    _, said = end_of(process)
    assert process.returncode == 1
    assert "1 stored, 0 skipped, 1 failed" in said
    assert "vault/fails: sh: exit status 1: error: *** is bad" in said
    everything = [
        dry,
        said,
        *samples,
        *(content.decode(errors="replace") for content in files(datadir).values()),
    ]
    assert any("sleep 1" in sample for sample in samples)
    assert not [text for text in everything if CANARY in text]


def test_a_bug_shows_its_traceback_and_the_others_go_on(dbdump, tmp_path, datadir):
    """What no operator can cause is a bug: its traceback is shown, the other dumps are made, exit 1."""
    recipes = recipe_file(tmp_path, f"""
        @backend("buggy")
        class Buggy(Backend):
            def get_db_list(self): return ["a", "b"]
            def get_command(self, database): return ["echo", database]
            def prepare_db(self, database):
                if database == "a": raise ZeroDivisionError("by design")

        @recipe(localhost)
        def buggy(host): return Dump(Buggy(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = subprocess.run([*COMMAND, "dump", f"--recipes={recipes}"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    assert "FAILED   localhost/buggy/a: bug: ZeroDivisionError: by design" in done.stdout
    assert "Traceback (most recent call last)" in done.stdout
    assert set(manifests(datadir)) == {"b"}


def test_hooks_are_called_in_order(dbdump, tmp_path, datadir):
    """prepare, prepare_db, cleanup_db and cleanup come in that order, and clean-ups always."""
    recipes = recipe_file(tmp_path, f"""
        import pathlib
        LOG = pathlib.Path({str(tmp_path / "log")!r})

        @backend("hooked")
        class Hooked(Backend):
            def log(self, text):
                with LOG.open("a") as file: file.write(text + " ")
            def get_db_list(self): return ["good", "bad"]
            def get_command(self, database): return ["echo", database] if database == "good" else ["false"]
            def prepare(self): self.log("prepare")
            def prepare_db(self, database): self.log("+" + database)
            def cleanup_db(self, database): self.log("-" + database)
            def cleanup(self): self.log("cleanup")

        @recipe(localhost)
        def hooked(host): return Dump(Hooked(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    assert dbdump("dump", f"--recipes={recipes}", "--jobs=1").returncode == 1
    assert (tmp_path / "log").read_text() == "prepare +good -good +bad -bad cleanup "


def test_two_recipes_for_one_place_are_refused(dbdump, tmp_path, datadir, app):
    """Recipes whose dumps would lie among each other's are an error before anything runs."""
    recipes = recipe_file(tmp_path, f"""
        @recipe(localhost)
        def one(host): return Dump(SQLite(path={str(app)!r}), to=Directory({str(datadir)!r}))

        @recipe(localhost)
        def two(host): return Dump(SQLite(path={str(app)!r}), to=Directory({str(datadir)!r} + "/localhost/one"))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 2
    assert "localhost/one and localhost/two would write to one place" in done.stderr
    assert files(datadir) == {}


def test_without_zstd_the_default_is_gzip_and_says_so(dbdump, site, datadir, tmp_path):
    """The default falls back and is told once; an explicit Zstd() does not, and fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "gzip", "dd", "od", "tr", "tee", "tail", "wc", "id", "sleep"):
        (programs / name).symlink_to(shutil.which(name))
    done = dbdump("dump", f"--recipes={site}", "--recipe=good", env={"PATH": str(programs)})
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("notice   localhost has no zstd: compressing with gzip") == 1
    assert [path.suffixes for path in datadir.rglob("*.gz")] == [[".sqlite", ".gz"]]
    recipe_file(site.parent, """
        @recipe(localhost)
        def explicit(host): return Dump(SQLite(path="/x"), wrap=[Zstd()])
        """, "explicit.py")  # fmt: skip
    done = dbdump("dump", f"--recipes={site}", "--recipe=explicit", env={"PATH": str(programs)})
    assert done.returncode == 1
    assert "FAILED   localhost/explicit: zstd: not found on the host's PATH" in done.stdout


def plugin(directory: Path, text: str, target: str = "plug:Plug") -> dict[str, str]:
    """Lay out an installed package that plugs in a backend called plug, and return how to find it."""
    info = directory / "site" / "plug-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dbdump.backends]\nplug = {target}\n")
    (directory / "site" / "plug.py").write_text("from dbdump import Backend, backend\n" + text)
    return {"PYTHONPATH": f"{directory / 'site'}:{ROOT}"}


PLUG = """
@backend("plug")
class Plug(Backend):
    'From a package.'
    def get_db_list(self): return ["one"]
    def get_command(self, database): return ["echo", database]
"""


def test_a_backend_of_another_package(dbdump, tmp_path, datadir):
    """One that a package's entry point names is listed, and dumps."""
    env = plugin(tmp_path, PLUG)
    assert "plug: From a package." in dbdump("backends", env=env).stdout
    assert dbdump("--backend=plug", f"--datadir={datadir}", env=env).returncode == 0
    assert set(manifests(datadir)) == {"one"}


@pytest.mark.parametrize(
    ("text", "target", "cause"),
    [("1 / 0", "plug:Plug", "division by zero"), (PLUG, "plug:Nothing", "Nothing"),
     ("Plug = 1", "plug:Plug", "is no backend"),
     (PLUG.replace('"plug"', '"other"'), "plug:Plug", "is no backend of that name")],
)  # fmt: skip
def test_a_package_that_is_broken_is_named(dbdump, tmp_path, text, target, cause):
    """An entry point that cannot be used is an error that names it."""
    done = dbdump("backends", env=plugin(tmp_path, text, target))
    assert done.returncode == 2
    assert "entry point plug" in done.stderr
    assert cause in done.stderr


def test_a_database_called_as_the_globals_are(dbdump, tmp_path, datadir):
    """It fails by its name, in a dry run too, and the globals and the others are dumped."""
    recipes = recipe_file(tmp_path, f"""
        @backend("clash")
        class Clash(Backend):
            def get_db_list(self): return ["@globals", "other", "none"]
            def get_command(self, database): return ["echo", database] if database != "none" else None
            def get_globals_command(self): return ["echo", "globals"]

        @recipe(localhost)
        def clash(host): return Dump(Clash(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    dry = dbdump("dump", f"--recipes={recipes}", "--dry-run")
    assert dry.returncode == 1
    assert "# localhost/clash/@globals: list: the dump of the globals has that name" in dry.stdout
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 1
    assert "FAILED   localhost/clash/@globals: list: the dump of the globals has that name" in done.stdout
    assert "skipped  localhost/clash/none  the backend has no command for it" in done.stdout
    assert set(manifests(datadir)) == {"other", "@globals"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [("return 1 / 0", "ZeroDivisionError"), ("return Dump(SQLite())", "sqlite needs a path"),
     ("return Dump(PostgreSQL(psql_options='--password=x'))", "a password stands in an option string")],
)  # fmt: skip
def test_a_recipe_that_goes_wrong_does_not_stop_the_others(dbdump, site, datadir, text, cause):
    """It is named with its file, what works is dumped, and the exit status is 2."""
    recipe_file(site.parent, f"""
        @recipe(localhost)
        def wrong(host): {text}
        """, "wrong.py")  # fmt: skip
    for more, stored in (["--dry-run"], set()), ([], {"app.db"}):
        done = dbdump("dump", f"--recipes={site}", "--recipe=good", "--recipe=wrong", *more)
        assert done.returncode == 2
        assert f"{site}/wrong.py:" in done.stdout
        assert cause in done.stdout
        assert set(manifests(datadir)) == stored


@pytest.mark.parametrize(
    ("listed", "cause"),
    [("[]", "the server lists no databases"),
     ('self.output(["head", "-c", "70000000", "/dev/zero"])', "head: answered more than 67108864 bytes")],
)  # fmt: skip
def test_a_list_that_is_none(dbdump, tmp_path, datadir, listed, cause):
    """A server without a database is one that was asked wrongly; and no answer takes all memory."""
    recipes = recipe_file(tmp_path, f"""
        @backend("listing")
        class Listing(Backend):
            def get_db_list(self): return {listed}
            def get_command(self, database): return ["echo", database]

        @recipe(localhost)
        def app(host): return Dump(Listing(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 1
    assert cause in done.stdout


def test_only_broken_files(dbdump, tmp_path):
    """Where nothing else matches, a broken file is still what is told."""
    recipes = recipe_file(tmp_path, "1 / 0")
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stdout


def test_what_calls_exit_is_no_success(dbdump, site, datadir):
    """A recipe or a backend that calls sys.exit() is a failure, and the others are dumped."""
    recipe_file(site.parent, """
        import sys

        @backend("quits")
        class Quits(Backend):
            def get_db_list(self): sys.exit()
            def get_command(self, database): return ["true"]

        @recipe(localhost)
        def quits(host): return Dump(Quits(), to=Directory("/nowhere"))
        """, "quits.py")  # fmt: skip
    for more, stored in (["--dry-run"], set()), ([], {"app.db"}):
        done = subprocess.run([*COMMAND, "dump", f"--recipes={site}", "--recipe=good", "--recipe=quits", *more],
                              cwd=site.parent, capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 1
        assert "FAILED   localhost/quits: bug: SystemExit" in done.stdout
        assert set(manifests(datadir)) == stored


@pytest.mark.no_next_run("it refuses each time")
def test_a_secret_in_an_error_is_hidden(dbdump, tmp_path, datadir):
    """Where a backend refuses one database, or breaks in a dry run, its words hold no secret."""
    recipes = recipe_file(tmp_path, f"""
        @backend("talks")
        class Talks(Backend):
            def get_db_list(self): return ["one"]
            def get_command(self, database):
                raise DumpError("login failed for app:hunter2-hunter2")

        @recipe(localhost)
        def talks(host):
            return Dump(Talks(env={{"KEY": "hunter2-hunter2"}}), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    for more in ([], ["--dry-run"]):
        done = dbdump("dump", f"--recipes={recipes}", *more)
        assert done.returncode == 1
        assert "login failed for app:***" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr
