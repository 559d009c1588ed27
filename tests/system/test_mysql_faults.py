"""MySQL dumps that are cut, refused or starved: nothing is stored, and the cause is named."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from resources import recipe_file
from servers.process import wait_for
from support import end_of, files, gone, manifests, pid_of, wait_for_bytes

BIG = "CREATE TABLE z (a int); CREATE TABLE big AS SELECT seq, CONCAT(MD5(seq), MD5(seq * 7)) AS f FROM seq_1_to_80000"
OBJECTS = """
CREATE TABLE orders (id int); CREATE VIEW seen AS SELECT * FROM orders;
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET @a = 1; CREATE PROCEDURE p() SELECT 1;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET @a = 1; CREATE TABLE m (a int) ENGINE=MyISAM;
"""


@pytest.fixture(scope="module")
def databases(mariadb):
    """A database that takes a while, a small one, and one with objects of every kind."""
    for name, sql in {"big": BIG, "small": "CREATE TABLE t AS SELECT 1 AS one", "shop_a": OBJECTS}.items():
        mariadb.create(name)
        mariadb.sql(sql, name)
    yield
    mariadb.drop("big", "small", "shop_a")


@pytest.fixture
def defaults(mariadb):
    """An option file by whose name the processes of this test are known."""
    return mariadb.defaults_file(name="faults")


@pytest.fixture
def site(defaults, tmp_path, datadir, databases):
    """Write a recipe that dumps the big and the small one slowly, and return the flags to run it."""

    def write(more: str = "", wrap: str = "[Slow()]") -> list[str]:
        recipes = recipe_file(tmp_path, f"""
            from dbdump.backends.mysql import MySQL

            @recipe(localhost)
            def site(host):
                server = MySQL(defaults={defaults!r}, include=["big", "small"], globals=False)
                return Dump(server, wrap={wrap}, to=Directory({str(datadir)!r}){more})
            """)  # fmt: skip
        return ["dump", f"--recipes={recipes}", "--jobs=2"]

    return write


@pytest.fixture
def limited(mariadb, databases):
    """A user who has all that a dump of a database needs, but for what a test takes away."""
    mariadb.sql("CREATE OR REPLACE USER limited@localhost; GRANT SELECT ON mysql.proc TO limited@localhost; "
                "GRANT ALL ON small.* TO limited@localhost")  # fmt: skip
    yield mariadb.defaults_file("limited")
    mariadb.sql("DROP USER limited@localhost")


def nothing_of(database: str, datadir: Path, old: dict[str, bytes]) -> None:
    """Assert that no file of `database` was left, and that what was there is what it was."""
    now = files(datadir)
    assert not [name for name in now if f"/{database}/" in name and name not in old]
    assert not [name for name in now if name.endswith(".part")]
    assert {name: now[name] for name in old} == old


def kill(number: int):
    """Return a fault that sends a signal to mariadb-dump."""
    return lambda _, marker: os.kill(pid_of(f"={marker} --default-character-set", "mariadb-dump"), number)


def kill_connection(mariadb, _: str) -> None:
    """End the server's side of the connection."""
    (number,) = mariadb.sql("SELECT id FROM information_schema.processlist WHERE db = 'big'").split()
    mariadb.sql(f"KILL CONNECTION {number}")


def alter(mariadb, _: str) -> None:
    """Alter a table that the dump has still to come to."""
    mariadb.sql("ALTER TABLE z ADD COLUMN b int, ALGORITHM=COPY; TRUNCATE z", "big")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (kill(signal.SIGKILL), "mariadb-dump: killed by SIGKILL"),
        (kill(signal.SIGTERM), "mariadb-dump: killed by SIGTERM"),
        (kill_connection, "mariadb-dump: exit status 3: mariadb-dump: Error 2013: Lost connection"),
        (alter, "mariadb-dump: exit status 3: mariadb-dump: Error 1412: Table definition has changed"),
    ],
    ids=["KILL", "TERM", "killed connection", "altered table"],
)
def test_a_dump_that_is_cut_is_not_stored(mariadb, dbdump, site, defaults, started, datadir, fault, cause):
    """Whatever ends mariadb-dump in the middle: exit 1, the cause in one line, nothing stored, the other one is."""
    assert dbdump(*site(wrap="None")).returncode == 0
    old = files(datadir)
    process = started(*site())
    wait_for_bytes(datadir)
    fault(mariadb, defaults)
    code, said = end_of(process)
    assert code == 1
    assert f"FAILED   localhost/site/big: {cause}" in said
    assert "1 stored, " in said
    nothing_of("big", datadir, old)
    gone(defaults)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_dbdump_ends_the_dump(mariadb, site, defaults, started, datadir, number):
    """49, 51: a signal, even KILL, leaves no program, no connection and no dump behind."""
    process = started(*site(), "--database=big")
    wait_for_bytes(datadir)
    process.send_signal(number)
    code, said = end_of(process)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    assert ("big: run: ended before it was complete" in said) == (number != signal.SIGKILL)
    gone(defaults)
    wait_for(lambda: not mariadb.clients(), "the server to see it")
    assert not [name for name in files(datadir) if not name.endswith(".part")]


def test_a_stopped_server_is_a_stall(mariadb, site, started, datadir):
    """A server that is frozen ends the dump after stall_timeout, and nothing waits for ever."""
    process = started(*site(", stall_timeout=2.0"), "--database=big")
    wait_for_bytes(datadir)
    mariadb.process.send_signal(signal.SIGSTOP)
    try:
        code, said = end_of(process)
    finally:
        mariadb.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert "FAILED   localhost/site/big: mariadb-dump: no byte for 2 s, ended as stalled" in said
    assert files(datadir) == {}


MISSING = {
    "TRIGGER": ("SELECT, SHOW VIEW, EVENT, LOCK TABLES", "no TRIGGER privilege on shop_a: its triggers would"),
    "EVENT": ("SELECT, SHOW VIEW, TRIGGER, LOCK TABLES", "no EVENT privilege on shop_a: its events would"),
    "SHOW VIEW": ("SELECT, TRIGGER, EVENT, LOCK TABLES", "no SHOW VIEW privilege on shop_a: its views would"),
    "LOCK TABLES": ("SELECT, SHOW VIEW, TRIGGER, EVENT", "no LOCK TABLES privilege on shop_a"),
    "both": ("SELECT, SHOW VIEW, LOCK TABLES", "no TRIGGER, EVENT privilege on shop_a: its triggers, events would"),
}


@pytest.mark.parametrize(("granted", "message"), MISSING.values(), ids=MISSING)
def test_a_missing_privilege_fails_before_the_dump(mariadb, dbdump, datadir, limited, granted, message):
    """What would be left out fails that database, by name; another one is dumped; and the hint mends it."""
    mariadb.sql(rf"GRANT {granted} ON `shop\_a`.* TO limited@localhost")
    flags = ["dump", "--backend=mysql", f"--defaults={limited}", f"--datadir={datadir}", "--database=shop_a"]
    done = dbdump(*flags, "--database=small")
    assert done.returncode == 1
    assert f"FAILED   localhost/mysql/shop_a: grants: user limited@localhost has {message}" in done.stdout
    assert set(manifests(datadir)) == {"small"}
    assert not list((datadir / "localhost/mysql/shop_a").iterdir())
    assert "MISSING   localhost/mysql/shop_a: no dump at all" in dbdump("status", *flags[1:4]).stdout
    hint = done.stdout.partition("hint: ")[2].splitlines()[0]
    mariadb.sql(hint)
    assert dbdump(*flags).returncode == 0
    assert set(manifests(datadir)) == {"small", "shop_a"}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("GRANT SELECT, TRIGGER ON shop_a.orders TO limited@localhost",
         "no SELECT, SHOW VIEW, TRIGGER, EVENT privilege on shop_a: its tables, views, "),
        ("GRANT ALL ON shop_a.* TO limited@localhost; REVOKE SELECT ON mysql.proc FROM limited@localhost",
         "no SELECT ON mysql.proc privilege on shop_a: its routines would be silently left out"),
        ("GRANT ALL ON `shop%`.* TO limited@localhost; GRANT EVENT ON `shop\\_a`.* TO limited@localhost",
         "no SELECT, SHOW VIEW, TRIGGER privilege on shop_a"),
    ],
    ids=["one table", "routines", "a closer pattern"],
)  # fmt: skip
def test_what_the_user_cannot_see_fails_too(mariadb, dbdump, datadir, limited, statement, message):
    """Tables that are invisible, routines without a body, grants that a closer one hides: no dump at all."""
    mariadb.sql(statement)
    done = dbdump("dump", "--backend=mysql", f"--defaults={limited}", f"--datadir={datadir}", "--database=shop_a")
    assert done.returncode == 1
    assert f"FAILED   localhost/mysql/shop_a: grants: user limited@localhost has {message}" in done.stdout
    assert files(datadir) == {}
    every = r"GRANT ALL ON `shop\_a`.* TO limited@localhost; GRANT SELECT ON mysql.proc TO limited@localhost"
    mariadb.sql(every)  # with which the next run works


def test_a_role_that_is_active_counts(mariadb, dbdump, datadir, limited):
    """What the user may do by its default role, and by a role of that role, it may do."""
    mariadb.sql("CREATE ROLE reader; CREATE ROLE keeper; GRANT ALL ON shop_a.* TO reader; GRANT reader TO keeper; "
                "GRANT keeper TO limited@localhost")  # fmt: skip
    flags = ["dump", "--backend=mysql", f"--defaults={limited}", f"--datadir={datadir}", "--option", "globals=no"]
    try:
        assert "shop_a" not in dbdump(*flags).stdout
        mariadb.sql("SET DEFAULT ROLE keeper FOR limited@localhost")
        assert dbdump(*flags, "--database=shop_a").returncode == 0
    finally:
        mariadb.sql("DROP ROLE reader, keeper")
    assert set(manifests(datadir)) == {"small", "shop_a"}


def test_accounts_that_may_not_be_read_say_so(dbdump, datadir, limited):
    """Only the globals fail, with what to grant."""
    done = dbdump("dump", "--backend=mysql", f"--defaults={limited}", f"--datadir={datadir}",
                  "--database=small", "--database=@globals")  # fmt: skip
    assert done.returncode == 1
    assert "FAILED   localhost/mysql/@globals: mariadb-dump: exit status 2: " in done.stdout
    assert "hint: GRANT SELECT ON mysql.*, or give globals=False." in done.stdout
    assert set(manifests(datadir)) == {"small"}


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
def test_a_broken_view_is_named(mariadb, dbdump, datadir, defaults, databases, engine):
    """A view whose table is gone fails that database, whether it is locked or not, and can be ignored."""
    mariadb.create("broken")
    mariadb.sql(f"CREATE TABLE t (a int); CREATE VIEW seen AS SELECT * FROM t; DROP TABLE t; "
                f"CREATE TABLE u (a int) ENGINE={engine}", "broken")  # fmt: skip
    flags = ["dump", "--backend=mysql", f"--defaults={defaults}", f"--datadir={datadir}", "--database=broken"]
    try:
        done = dbdump(*flags, "--database=small")
        assert dbdump(*flags, "--option", "ignore_tables=broken.seen").returncode == 0
    finally:
        mariadb.drop("broken")
    assert done.returncode == 1
    assert "FAILED   localhost/mysql/broken: mariadb-dump: exit status 2: " in done.stdout
    assert "View 'broken.seen' references invalid table(s)" in done.stdout
    assert "hint: Mend the view" in done.stdout
    assert set(manifests(datadir)) == {"small", "broken"}


def test_a_wrong_password_names_stage_and_cause(mariadb, dbdump, datadir):
    """No prompt, no wait: the client's own words, and a hint."""
    mariadb.sql("CREATE OR REPLACE USER guarded@localhost IDENTIFIED BY 'right'")
    path = mariadb.defaults_file("guarded", "canary-wrong")
    flags = ["dump", "--backend=mysql", f"--defaults={path}", f"--datadir={datadir}"]
    done = dbdump(*flags)
    assert done.returncode == 1
    assert "FAILED   localhost/mysql: mariadb: exit status 1: ERROR 1045 (28000): Access denied" in done.stdout
    assert "hint: Look at user and password in the file that --defaults names" in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert files(datadir) == {}
    mariadb.sql("GRANT ALL ON *.* TO guarded@localhost")
    mariadb.defaults_file("guarded", "right")
    assert dbdump(*flags, "--database=mysql").returncode == 0
    mariadb.sql("DROP USER guarded@localhost")


def test_a_server_that_is_not_there_is_said_once(dbdump, datadir):
    """Nothing listens: one failure for the recipe."""
    where = "--option=mysql_options=-S /nowhere", "--option=mysqldump_options=-S /nowhere"
    done = dbdump("dump", "--backend=mysql", *where, f"--datadir={datadir}")
    assert done.returncode == 1
    assert "mariadb: exit status 1: ERROR 2002 (HY000): Can't connect to local server" in done.stdout
    assert "hint: Is the server there?" in done.stdout


@pytest.mark.parametrize(
    ("mode", "message"),
    [(0o644, "can be read by everybody"), (0o660, "can be changed by others than its owner")],
)
def test_an_option_file_that_others_can_use_is_refused(mariadb, dbdump, datadir, mode, message):
    """MariaDB itself takes a file that everybody can read, without a word; nothing is asked of it here."""
    path = mariadb.defaults_file(name="open", mode=mode)
    done = dbdump("dump", "--backend=mysql", f"--defaults={path}", f"--datadir={datadir}")
    assert done.returncode == 1
    assert f"FAILED   localhost/mysql: defaults: {path} {message}" in done.stdout
    assert f"chmod 600 {path}" in done.stdout
    assert files(datadir) == {}
    Path(path).chmod(0o600)


def test_an_option_file_that_is_missing_is_said(dbdump, datadir, tmp_path):
    """A path that leads nowhere is not the same as no option file."""
    done = dbdump("dump", "--backend=mysql", "--defaults=my.cnf", f"--datadir={datadir}")
    assert done.returncode == 1
    assert "FAILED   localhost/mysql: defaults: " in done.stdout
    assert f"{tmp_path}/my.cnf" in done.stdout
    assert "No such file or directory" in done.stdout


def test_a_database_that_vanished_is_a_failure(mariadb, dbdump, tmp_path, datadir, defaults, databases):
    """Dropped between the list and its dump, it is reported, and the others are made."""
    mariadb.create("vanishing")
    drop = [*mariadb.client(), "--execute=DROP DATABASE vanishing"]
    recipes = recipe_file(tmp_path, f"""
        import os, subprocess
        from dbdump.backends.mysql import MySQL

        @backend("vanishing-mysql")
        class Vanishing(MySQL):
            def prepare_db(self, database):
                if database == "vanishing" and "QUICK" not in os.environ:
                    subprocess.run({drop!r}, check=True)

        @recipe(localhost)
        def site(host):
            server = Vanishing(defaults={defaults!r}, include=["vanishing", "small"], globals=False)
            return Dump(server, to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}", "--jobs=1")
    assert done.returncode == 1
    assert "localhost/site/vanishing: mariadb-dump: exit status 2: " in done.stdout
    assert "hint: It was dropped or renamed since it was listed" in done.stdout
    assert set(manifests(datadir)) == {"small"}
    mariadb.create("vanishing")
    assert dbdump("dump", f"--recipes={recipes}", env={"QUICK": "1"}).returncode == 0
    mariadb.drop("vanishing")


def fake(directory: Path, name: str, text: str) -> dict[str, str]:
    """Put a program of that name first on PATH."""
    path = directory / "bin"
    path.mkdir(exist_ok=True)
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)
    return {"PATH": f"{path}:{os.environ['PATH']}"}


FOR_QUESTIONS = 'case "$*" in *--version*|*--help*|*--print-defaults*) exec /usr/bin/mariadb-dump "$@";; esac; '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit 0", "exited 0, but the dump is empty"),
        ('echo WELCOME; exec /usr/bin/mariadb-dump "$@"', "exited 0, but the dump begins with"),
        ('/usr/bin/mariadb-dump "$@" | head -n -2', "exited 0, but the dump does not end with"),
        ('/usr/bin/mariadb-dump "$@" | sed "s/^-- Dump comp/-- Dump/"', "exited 0, but the dump does not end with"),
    ],
    ids=["empty", "polluted", "cut", "no marker"],
)
def test_what_looks_like_no_whole_dump_is_none(dbdump, tmp_path, datadir, site, text, message):
    """A dump program that exits 0 and writes nothing, something before, or not all, is a failure."""
    env = fake(tmp_path, "mariadb-dump", FOR_QUESTIONS + text)
    done = dbdump(*site(wrap="None"), "--database=small", env=env)
    assert done.returncode == 1
    assert f"FAILED   localhost/site/small: mariadb-dump: {message}" in done.stdout
    assert files(datadir) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ "$1" = --version ] && echo "mysql  Ver 8.0.36 for Linux on x86_64" && exit', "are not of one make: "),
        ('[ "$1" = --version ] || set -- "$@" --table; exec /usr/bin/mariadb "$@"', "cannot read what"),
    ],
    ids=["another make", "prints a table"],
)
def test_a_client_that_cannot_be_worked_with_fails_at_once(dbdump, tmp_path, datadir, site, text, message):
    """Two makes, or answers in another form, are said before anything is dumped."""
    env = fake(tmp_path, "mariadb", f'case "$*" in *--print-defaults*) exec /usr/bin/mariadb "$@";; esac\n{text}')
    done = dbdump(*site(), env=env)
    assert done.returncode == 1
    assert "FAILED   localhost/site: " in done.stdout
    assert message in done.stdout
    assert files(datadir) == {}


def test_missing_clients_are_said_with_what_to_install(dbdump, tmp_path, datadir, site):
    """A PATH without the programs, as cron's may be, is an error that names them."""
    path = tmp_path / "few"
    path.mkdir()
    for name in ("sh", "zstd", "python3", "ls", "id", "tr", "od", "dd"):
        (path / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
    done = dbdump(*site(), env={"PATH": str(path)})
    assert done.returncode == 1
    assert "mysqldump: the host's PATH has neither mariadb-dump nor mysqldump" in done.stdout
    assert "hint: Install the client programs there: mariadb-client, or mysql-client." in done.stdout


@pytest.mark.parametrize("words", ["no-data", "ignore-table=kept.t", "loose_where=1=0", "compatible=ansi"])
def test_an_option_file_that_leaves_something_out(mariadb, dbdump, datadir, words):
    """What the manifest would not show is refused, and says what to do."""
    file = Path(mariadb.defaults_file(name="incomplete"))
    file.write_text(f"{file.read_text()}[mysqldump]\n{words}\n")
    mariadb.create("kept")
    try:
        mariadb.sql("CREATE TABLE t AS SELECT 1 AS one", "kept")
        done = dbdump("dump", "--backend=mysql", f"--defaults={file}", f"--datadir={datadir}", "--database=kept")
    finally:
        mariadb.drop("kept")
    assert done.returncode == 1
    assert "would leave something out of every dump" in done.stdout
    assert "ignore_tables" in done.stdout
    assert list(datadir.rglob("*.json")) == []


def test_an_option_file_changes_no_table(mariadb, dbdump, datadir):
    """With skip-opt alone, mariadb-dump leaves out AUTO_INCREMENT, engine, character set and comment."""
    file = Path(mariadb.defaults_file(name="changing"))
    file.write_text(f"{file.read_text()}[mysqldump]\nskip-opt\nskip-quote-names\nskip-tz-utc\n")
    mariadb.create("kept")
    try:
        mariadb.sql(
            "CREATE TABLE t (`a b` int AUTO_INCREMENT PRIMARY KEY, made timestamp) AUTO_INCREMENT = 7 ENGINE = Aria "
            "COMMENT = 'c'; INSERT INTO t (made) VALUES ('2026-06-01 12:00:00')",
            "kept",
        )
        before = mariadb.sql(query := "SHOW CREATE TABLE t; SELECT UNIX_TIMESTAMP(made) FROM t", "kept")
        flags = ["--backend=mysql", f"--defaults={file}", f"--datadir={datadir}", "--database=kept"]
        assert dbdump("dump", *flags).returncode == 0
        mariadb.sql("SET GLOBAL time_zone = '+05:00'")
        assert dbdump("restore", *flags, "--force", "--yes").returncode == 0
        assert mariadb.sql(query, "kept") == before
    finally:
        mariadb.sql("SET GLOBAL time_zone = DEFAULT")
        mariadb.drop("kept")
