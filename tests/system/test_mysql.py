"""MySQL and MariaDB, on a real MariaDB: dump, drop, restore by the manifest's line, compare."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.mariadb import identifier, start, text
from servers.process import stop, wait_for
from support import files, manifests, paste, processes

from dbdump.backends.mysql import MySQL
from dbdump.testing import BackendContract

AWKWARD = ["a b", "x;y", "-v", "--result-file=x", "dbname=postgres", "../x", ".", "é", "new\nline",
           "new\n\\! exit\n-- x", "back`tick", "x" * 64, "€" * 40, "UPPER", "upper", "q'\"\\$(id)*?", "%", "*/ x",
           "SYS", "tab\tx"]  # fmt: skip

CONTENT = """
CREATE TABLE thing (
    id int AUTO_INCREMENT PRIMARY KEY, body longblob, bits bit(9), note text CHARACTER SET utf8mb4,
    price decimal(12, 2) CHECK (price >= 0),
    gross decimal(12, 2) AS (price * 2) STORED, half int AS (id DIV 2) VIRTUAL, hidden int INVISIBLE DEFAULT 7,
    made timestamp(6) DEFAULT '2026-01-01 12:00:00.123456', tags set('a', 'b'), extra json, place geometry,
    latin varchar(20) CHARACTER SET latin1, KEY (note(10))) AUTO_INCREMENT = 4711;
INSERT INTO thing (body, bits, note, price, tags, extra, place, latin, hidden)
    SELECT CONCAT(UNHEX(MD5(seq)), '\\0\\r\\n\\Z\\\\'), seq, CONCAT('tab\\there ''q'' \\\\ \\r\\n 😀 €', seq), seq,
        'a,b', '{"k": [1, null]}', POINT(seq, 2), 'é', seq FROM seq_1_to_500;
INSERT INTO thing (body, note) VALUES ('', ''), (NULL, NULL);
DELETE FROM thing WHERE price > 490;
CREATE TABLE nothing (id int);
CREATE TABLE `odd ``name; --` (`a b` int, `select` text);
CREATE TABLE child (id int, CONSTRAINT parent FOREIGN KEY (id) REFERENCES thing (id) ON DELETE CASCADE);
CREATE TABLE parted (k int PRIMARY KEY) PARTITION BY HASH (k) PARTITIONS 3;
INSERT INTO parted SELECT seq FROM seq_1_to_9;
CREATE SEQUENCE counter START 42 INCREMENT 3; DO NEXTVAL(counter);
CREATE TABLE numbered (id bigint DEFAULT (NEXTVAL(counter)), note text); INSERT INTO numbered (note) VALUES ('x');
CREATE TABLE log (what text);
CREATE VIEW seen AS SELECT id, gross FROM thing WHERE price > 10;
CREATE VIEW `a view of it` AS SELECT * FROM seen;
DELIMITER ;;
CREATE TRIGGER touch BEFORE UPDATE ON thing FOR EACH ROW BEGIN SET NEW.note = CONCAT(NEW.note, '!;'); END;;
CREATE TRIGGER after_it AFTER UPDATE ON thing FOR EACH ROW INSERT INTO log VALUES ('x');;
CREATE PROCEDURE work(IN a int)\r\nBEGIN\r\n  -- a 'comment';\r\n  SELECT a;\r\nEND;;
CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC RETURN a * 2;;
CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DISABLE COMMENT 'a; b' DO INSERT INTO log VALUES ('tick\\n');;
SET sql_mode = ORACLE;;
CREATE PACKAGE pack AS FUNCTION f RETURN int; END;;
CREATE PACKAGE BODY pack AS FUNCTION f RETURN int AS BEGIN RETURN 1; END; END;;
"""

HISTORY = """
CREATE TABLE kept (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING;
INSERT INTO kept VALUES (1, 1), (2, 2); UPDATE kept SET v = 3 WHERE id = 1; DELETE FROM kept WHERE id = 2;
"""


def dump_text(server, database: str) -> str:
    """Return a database as SQL, without dates; rows too, and the values that sequences are at."""
    argv = ["mariadb-dump", "--no-defaults", f"--socket={server.socket}", "--user=root", "--skip-dump-date",
            "--default-character-set=utf8mb4", "--routines", "--events", "--hex-blob", "--dump-history",
            "--max-allowed-packet=1G", "--databases", "--", database]  # fmt: skip
    return subprocess.run(argv, capture_output=True, check=True).stdout.decode(errors="surrogateescape")


@pytest.fixture
def flags(mariadb, datadir):
    """The flags that dump from the test server into the datadir."""
    return ["dump", "--backend=mysql", f"--defaults={mariadb.defaults_file()}", f"--datadir={datadir}"]


@pytest.fixture
def created(mariadb):
    """Make databases, and drop them after the test."""
    made = []

    def create(name: str, sql: str = "CREATE TABLE t AS SELECT 1 AS one", more: str = "") -> str:
        mariadb.create(name, more)
        made.append(name)
        mariadb.sql(sql, name)
        return name

    yield create
    mariadb.drop(*made)


@contextmanager
def until_done(action: Callable[[], object]) -> Iterator[None]:
    """Do `action` again and again while the block runs."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(0.001):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class TestMySQL(BackendContract):
    """MySQL, as every backend has to be."""

    @pytest.fixture(autouse=True)
    def _server(self, mariadb, created):
        self.server = mariadb
        created("contract")

    def make(self):
        return MySQL(defaults=self.server.defaults_file())


def test_twins_that_differ_in_case_are_two_dumps(mariadb, dbdump, datadir, flags, created):
    """95: in one run, in directories that are two on any file system."""
    for name in ("TWIN", "twin"):
        created(name, f"CREATE TABLE t AS SELECT '{name}' AS x")
    assert dbdump(*flags, "--database=twin", "--database=TWIN").returncode == 0
    found = {path.parent.name.lower() for path in datadir.rglob("*.json") if "globals" not in str(path)}
    assert len(found) == 2
    for name in ("TWIN", "twin"):
        mariadb.drop(name)
        paste(manifests(datadir)[name]["restore"])
        assert mariadb.sql("SELECT x FROM t", name) == name


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_goes_there_and_back(mariadb, dbdump, datadir, flags, created, name):
    """A database of any name, with objects of that name, is dumped, dropped, restored, and is what it was."""
    odd = identifier(name[:60].strip())
    created(name, f"CREATE TABLE {odd} (a int); INSERT INTO {odd} VALUES (7); "
                  f"CREATE VIEW {identifier('v' + name[:50])} AS SELECT * FROM {odd}; "
                  f"CREATE TRIGGER {identifier('t' + name[:50])} BEFORE INSERT ON {odd} FOR EACH ROW SET @a = 1; "
                  f"CREATE PROCEDURE {identifier('p' + name[:50])}() SELECT 1")  # fmt: skip
    before = dump_text(mariadb, name)
    done = dbdump(*flags, f"--database={name}")
    assert done.returncode == 0, done.stdout
    mariadb.drop(name)
    paste(manifests(datadir)[name]["restore"])
    assert dump_text(mariadb, name) == before


def test_events_in_a_database_of_such_a_name_are_refused_first(mariadb, dbdump, datadir, flags, created):
    """mariadb-dump would look for them in another database, so it is not even started."""
    created("q'q", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET @a = 1")
    done = dbdump(*flags, "--database=q'q")
    assert done.returncode == 1
    assert "FAILED   localhost/mysql/q'q: mariadb-dump: it cannot dump the events of q'q" in done.stdout
    assert files(datadir) == {}
    assert dbdump(*flags, "--database=q'q", "--option", "mysqldump_options=--skip-events").returncode == 0


@pytest.mark.parametrize("charset", ["utf8mb4 COLLATE utf8mb4_bin", "latin1", "utf16"])
def test_awkward_content_goes_there_and_back(mariadb, dbdump, datadir, flags, created, charset):
    """Blobs, bits, triggers, routines, packages, events, views, generated columns, sequences: all equal."""
    created("content", CONTENT, f"CHARACTER SET {charset}")
    query = "CHECKSUM TABLE thing, parted EXTENDED; SELECT * FROM `a view of it`; SELECT * FROM counter"
    before, sums = dump_text(mariadb, "content"), mariadb.sql(query, "content")
    next_id = mariadb.sql("SELECT auto_increment FROM information_schema.tables WHERE table_name = 'thing'")
    assert dbdump(*flags, "--database=content").returncode == 0
    mariadb.drop("content")
    paste(manifests(datadir)["content"]["restore"])
    assert dump_text(mariadb, "content") == before
    assert mariadb.sql(query, "content") == sums
    mariadb.sql("INSERT INTO thing (price) VALUES (1)", "content")
    assert mariadb.sql("SELECT MAX(id) FROM thing", "content") == next_id
    assert mariadb.sql("SELECT twice(2); SET sql_mode = ORACLE; SELECT pack.f()", "content") == "4\n1"


def test_the_history_of_rows_goes_there_and_back(mariadb, dbdump, datadir, flags, created):
    """What a system-versioned table keeps of rows that were changed or deleted is data, and dumped."""
    created("versions", HISTORY)
    query = "SELECT *, row_start, row_end FROM kept FOR SYSTEM_TIME ALL ORDER BY 1, 2"
    before = mariadb.sql(query, "versions")
    assert len(before.splitlines()) == 3
    assert dbdump(*flags, "--database=versions").returncode == 0
    mariadb.drop("versions")
    paste(manifests(datadir)["versions"]["restore"])
    assert mariadb.sql(query, "versions") == before


def test_a_history_that_cannot_be_dumped_is_left_out_by_request_only(dbdump, datadir, flags, created):
    """One that is kept by transaction makes the program fail, and the hint says how to do without."""
    created("precise", "CREATE TABLE t (s bigint unsigned GENERATED ALWAYS AS ROW START, e bigint unsigned GENERATED "
                       "ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e), a int) WITH SYSTEM VERSIONING")  # fmt: skip
    done = dbdump(*flags, "--database=precise")
    assert done.returncode == 1
    assert "hint: Leave the history out: --skip-dump-history" in done.stdout
    assert files(datadir) == {}
    done = dbdump(*flags, "--database=precise", "--option", "mysqldump_options=--skip-dump-history")
    assert done.returncode == 0


def test_a_row_larger_than_the_program_s_limit_is_dumped(mariadb, dbdump, datadir, flags, created):
    """mariadb-dump gives up at 24 MiB for a row unless told otherwise."""
    created("large", "CREATE TABLE t (a longblob); INSERT INTO t VALUES (REPEAT('x', 26 << 20))")
    assert dbdump(*flags, "--database=large").returncode == 0
    mariadb.drop("large")
    paste(manifests(datadir)["large"]["restore"])
    assert mariadb.sql("SELECT LENGTH(a) FROM t", "large") == str(26 << 20)


def test_virtual_databases_are_skipped_and_the_system_s_own_is_dumped(mariadb, dbdump, datadir, flags):
    """What the server makes itself is reported as skipped; `mysql` goes there and back."""
    done = dbdump(*flags)
    assert done.returncode == 0, done.stdout
    for name in ("information_schema", "performance_schema", "sys"):
        assert f"skipped  localhost/mysql/{name}  made by the server itself" in done.stdout
    assert {"mysql", "@globals"} <= set(manifests(datadir))
    assert "--lock-tables" in manifests(datadir)["mysql"]["stages"][0]["argv"]
    before = mariadb.sql("SELECT * FROM mysql.global_priv ORDER BY 1, 2; SELECT COUNT(*) FROM mysql.help_topic")
    mariadb.sql("DELETE FROM mysql.help_topic")
    paste(manifests(datadir)["mysql"]["restore"])
    assert before == mariadb.sql("SELECT * FROM mysql.global_priv ORDER BY 1, 2; SELECT COUNT(*) FROM mysql.help_topic")


ACCOUNTS = """
CREATE ROLE reader; CREATE ROLE `odd role;`; GRANT SELECT ON *.* TO reader; GRANT reader TO `odd role;`;
CREATE USER app@'%' IDENTIFIED BY 'pw' REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 5; GRANT `odd role;` TO app@'%';
SET DEFAULT ROLE `odd role;` FOR app@'%'; GRANT TRIGGER, EVENT ON `shop\\_%`.* TO app@'%' WITH GRANT OPTION;
CREATE USER `o'dd`@localhost IDENTIFIED VIA unix_socket; GRANT SELECT, INSERT (one) ON users.t TO `o'dd`@localhost;
CREATE USER locked@localhost ACCOUNT LOCK PASSWORD EXPIRE;
"""
GONE = "DROP USER app@'%', `o'dd`@localhost, locked@localhost; DROP ROLE reader, `odd role;`"
GRANTS = "; ".join(f"SHOW GRANTS FOR {name}" for name in ("app@'%'", "`o'dd`@localhost", "locked@localhost", "reader",
                                                          "`odd role;`")) + "; SHOW CREATE USER app@'%'"  # fmt: skip


@pytest.fixture
def accounts(mariadb, created):
    """Users and roles of all kinds, and the database that some of their grants are on."""
    created("users")
    mariadb.sql(ACCOUNTS)
    yield
    mariadb.sql(GONE)


def test_globals_come_back_to_where_they_were(mariadb, dbdump, datadir, flags, accounts):
    """Users, roles, passwords and grants come back by the manifest's line, twice, and root is as it was."""
    before, root = mariadb.sql(GRANTS), mariadb.sql("SHOW CREATE USER root@localhost")
    assert dbdump(*flags, "--database=@globals").returncode == 0
    mariadb.sql(GONE)
    paste(manifests(datadir)["@globals"]["restore"])
    assert mariadb.sql(GRANTS) == before
    paste(manifests(datadir)["@globals"]["restore"])
    assert mariadb.sql(GRANTS) == before
    assert mariadb.sql("SHOW CREATE USER root@localhost") == root
    assert manifests(datadir)["@globals"]["raw_bytes"] > 1000


def test_globals_come_back_on_a_new_server(mariadb, dbdump, datadir, flags, accounts):
    """On a server with root and nobody else, first the databases and then the globals make all of it again."""
    before = mariadb.sql(GRANTS)
    assert dbdump(*flags, "--database=@globals", "--database=users").returncode == 0
    other = start(mariadb.directory.parent / "other")
    try:
        for name in ("users", "@globals"):
            line = manifests(datadir)[name]["restore"]
            paste(line.replace(mariadb.defaults_file(), other.defaults_file()))
        assert other.sql(GRANTS) == before
        assert other.sql("SELECT one FROM users.t") == "1"
    finally:
        stop(other.process)


def test_globals_need_not_be_dumped(dbdump, datadir, flags, created):
    """A recipe for a user who may not read the accounts says so."""
    created("small")
    done = dbdump(*flags, "--option", "globals=no", "--option", "include=small")
    assert done.returncode == 0
    assert set(manifests(datadir)) == {"small"}


def test_the_manifest_says_what_was_done(mariadb, dbdump, datadir, flags, created):
    """Its stages, versions and size are those of the dump, and the dump ends as a whole one does."""
    created("small")
    assert dbdump(*flags, "--database=small").returncode == 0
    manifest = manifests(datadir)["small"]
    assert [(stage["name"], stage["status"]) for stage in manifest["stages"]] == [("mariadb-dump", 0), ("zstd", 0)]
    argv = manifest["stages"][0]["argv"]
    assert argv[1] == f"--defaults-file={mariadb.defaults_file()}"
    assert argv[-3:] == ["--databases", "--", "small"]
    assert "--single-transaction" in argv
    assert manifest["versions"]["server"] == mariadb.sql("SELECT VERSION()")
    assert manifest["versions"]["mariadb-dump"] in mariadb.sql("SELECT VERSION()")
    dumped = subprocess.run(["zstd", "-dc", *datadir.rglob("*.zst")], capture_output=True, check=True).stdout
    assert len(dumped) == manifest["raw_bytes"]
    assert b"\n-- Dump completed on " in dumped[-100:]


@pytest.mark.parametrize("given", [None, "file", "words"])
def test_a_table_without_transactions_is_dumped_as_of_one_moment(mariadb, dbdump, datadir, flags, created, given):
    """While somebody writes to two MyISAM tables in turn, the dump has as many rows of the one as of the other.

    Whatever is said elsewhere of transactions, which would take back the locks.
    """
    created("busy", "CREATE TABLE a (i int) ENGINE=MyISAM; CREATE TABLE b (i int) ENGINE=MyISAM; CREATE TABLE ab "
                    "(t text) ENGINE=MyISAM; INSERT INTO ab SELECT REPEAT('x', 1000) FROM seq_1_to_20000")  # fmt: skip
    more = ["--option=mysqldump_options=--single-transaction"] if given == "words" else []
    if given == "file":
        file = Path(mariadb.defaults_file(name="boilerplate"))
        file.write_text(f"{file.read_text()}[mysqldump]\nsingle-transaction\n")
        flags = [each if not each.startswith("--defaults=") else f"--defaults={file}" for each in flags]
    writer = subprocess.Popen([*mariadb.client(), "busy"], stdin=subprocess.PIPE)
    with until_done(lambda: writer.stdin.write(b"INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);\n")):
        wait_for(lambda: int(mariadb.sql("SELECT COUNT(*) FROM b", "busy")) > 100, "the writer")
        assert dbdump(*flags, "--database=busy", *more).returncode == 0
    writer.communicate()
    later = int(mariadb.sql("SELECT COUNT(*) FROM a", "busy"))
    mariadb.drop("busy")
    paste(manifests(datadir)["busy"]["restore"])
    counts = [int(mariadb.sql(f"SELECT COUNT(*) FROM {table}", "busy")) for table in ("a", "b")]
    assert counts[0] - counts[1] in (0, 1)
    assert 100 < counts[0] < later
    assert "--lock-tables" in manifests(datadir)["busy"]["stages"][0]["argv"]


def test_tables_can_be_ignored(mariadb, dbdump, datadir, flags, created):
    """A table that is ignored is not in the dump, and needs no lock either."""
    created("shop", "CREATE TABLE t (a int); CREATE TABLE `scratch one` (a int) ENGINE=MyISAM")
    assert dbdump(*flags, "--database=shop", "--option", "ignore_tables=shop.scratch one").returncode == 0
    assert "--single-transaction" in manifests(datadir)["shop"]["stages"][0]["argv"]
    mariadb.drop("shop")
    paste(manifests(datadir)["shop"]["restore"])
    assert mariadb.sql("SHOW TABLES", "shop") == "t"


def test_options_reach_the_clients_as_they_are(mariadb, dbdump, datadir, created):
    """The option strings are split as a shell splits words, and passed on."""
    created("small", "CREATE TABLE t AS SELECT 1 AS one UNION SELECT 2")
    connect = f"-S '{mariadb.socket}' -uroot"
    options = ["--option", f"mysql_options={connect}", "--option", f"mysqldump_options={connect} --where 'one > 1'"]
    done = dbdump("dump", "--backend=mysql", f"--datadir={datadir}", *options, "--database=small")
    assert done.returncode == 0, done.stdout
    mariadb.drop("small")
    paste(manifests(datadir)["small"]["restore"])
    assert mariadb.sql("SELECT one FROM t", "small") == "2"


@pytest.mark.parametrize("group", ["[mysqldump]\nuser=limited\n", "[client]\n[mysqldump]\nhost=other.example.org\n"])
def test_clients_that_would_connect_differently_are_refused(mariadb, dbdump, datadir, group):
    """Asking one server, or as one user, and dumping another would be a dump that nobody checked."""
    path = Path(mariadb.defaults_file(name="two"))
    path.write_text(path.read_text() + group)
    done = dbdump("dump", "--backend=mysql", f"--defaults={path}", f"--datadir={datadir}")
    assert done.returncode == 1
    assert "FAILED   localhost/mysql: mariadb-dump: mariadb would connect to user root, socket " in done.stdout
    assert "hint: Say it in the group [client] of the option file" in done.stdout
    assert files(datadir) == {}


def test_su_is_for_the_sql_commands(mariadb, dbdump, datadir, created):
    """With su, the clients run as that user, and zstd does not."""
    created("small")
    mariadb.sql("CREATE USER mysql@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON *.* TO mysql@localhost")
    options = [f"--option={name}=-S {mariadb.socket} -u mysql" for name in ("mysql_options", "mysqldump_options")]
    flags = ["dump", "--backend=mysql", "--su=mysql", *options, f"--datadir={datadir}", "--database=small"]
    done = dbdump(*flags)
    assert done.returncode == 0, done.stdout
    assert "--reuid=mysql" in dbdump(*flags, "--dry-run").stdout.partition("| ")[0]
    mariadb.drop("small")
    paste(manifests(datadir)["small"]["restore"])
    assert mariadb.sql("SELECT one FROM t", "small") == "1"
    mariadb.sql("DROP USER mysql@localhost")


def test_a_password_is_seen_nowhere(mariadb, dbdump, datadir, created):
    """No process has it in its arguments, and neither output, dry run nor manifest says it."""
    created("small", "CREATE TABLE t AS SELECT seq, MD5(seq) FROM seq_1_to_100000")
    secret = 'se"cret\\ca#nary with space'
    mariadb.sql(f"CREATE USER guarded@localhost IDENTIFIED BY {text(secret)}; GRANT ALL ON *.* TO guarded@localhost")
    flags = ["dump", "--backend=mysql", f"--defaults={mariadb.defaults_file('guarded', secret)}",
             f"--datadir={datadir}", "--database=small"]  # fmt: skip
    seen: dict[int, str] = {}
    with until_done(lambda: seen.update(processes(""))):
        done = dbdump(*flags)
    mariadb.sql("DROP USER guarded@localhost", user="root")
    assert done.returncode == 0, done.stdout
    assert any("mariadb-dump" in line for line in seen.values())
    told = [*seen.values(), done.stdout, done.stderr, dbdump(*flags, "--dry-run").stdout, str(manifests(datadir))]
    assert not [line for line in told if "ca#nary" in line]
