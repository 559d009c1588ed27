"""Restoring MySQL and MariaDB: any name, all content, what is in the way and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers.mariadb import identifier
from test_mysql import AWKWARD, CONTENT, HISTORY, dump_text


@pytest.fixture
def flags(mariadb, datadir):
    """The flags of the test server and the datadir."""
    return ["--backend=mysql", f"--defaults={mariadb.defaults_file()}", f"--datadir={datadir}"]


@pytest.fixture
def dumped(mariadb, dbdump, flags):
    """Make a database, dump it, and return its text; drop it after the test, and others that are named."""
    made = []

    def dump(name: str, sql: str, *others: str) -> str:
        mariadb.create(name)
        made.extend([name, *others])
        mariadb.sql(sql, name)
        done = dbdump("dump", *flags, f"--database={name}")
        assert done.returncode == 0, done.stdout
        return dump_text(mariadb, name)

    yield dump
    mariadb.drop(*made)


@pytest.fixture
def restore(dbdump, flags):
    """Restore, and see that it succeeds."""

    def run(name: str, *more: str) -> str:
        done = dbdump("restore", *flags, f"--database={name}", "--yes", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def statements(server, name: str, called: str) -> str:
    """Return the dump of a database without comments, and as if it were called otherwise."""
    text = "\n".join(line for line in dump_text(server, name).splitlines() if not line.startswith("--"))
    for statement in ("CREATE DATABASE /*!32312 IF NOT EXISTS*/ {}", "USE {};", "ALTER DATABASE {} ", "nextval({}."):
        text = text.replace(statement.format(identifier(name)), statement.format(identifier(called)))
    return text


def test_all_of_it_comes_back(mariadb, dumped, restore):
    """Content of every kind, rows with a history too."""
    before = dumped("whole", HISTORY + CONTENT)
    mariadb.drop("whole")
    restore("whole")
    assert dump_text(mariadb, "whole") == before


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_is_restored(mariadb, dumped, restore, name):
    """A database of any name is restored under its own name."""
    before = dumped(name, "CREATE TABLE t AS SELECT 7 AS seven")
    mariadb.drop(name)
    restore(name)
    assert dump_text(mariadb, name) == before


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_is_restored_to(mariadb, dumped, restore, name):
    """A database is restored under any other name, with all that is in it, and the one it is of stays as it is."""
    # Of a database with a sequence and such a name mariadb-dump itself makes no dump, to compare with.
    dumped("plainly", "CREATE TABLE thing AS SELECT 7 AS seven" if "'" in name else CONTENT, name)
    before = statements(mariadb, "plainly", "same")
    mariadb.sql("CREATE TABLE only_here (a int)", "plainly")
    there = dump_text(mariadb, "plainly")
    restore("plainly", f"--as={name}")
    assert dump_text(mariadb, "plainly") == there
    if "\n" not in name:
        assert statements(mariadb, name, "same") == before
    assert mariadb.sql("SELECT COUNT(*) FROM thing", name) == mariadb.sql("SELECT COUNT(*) FROM thing", "plainly")


@pytest.mark.parametrize("name", [name for name in AWKWARD if "\n" not in name])
def test_an_awkward_name_is_restored_from(mariadb, dumped, restore, name):
    """A database of any name is restored under another one."""
    dumped(name, "CREATE TABLE t AS SELECT 7 AS seven; CREATE VIEW v AS SELECT * FROM t", "elsewhere")
    before = statements(mariadb, name, "same")
    mariadb.drop(name)
    restore(name, "--as=elsewhere")
    assert statements(mariadb, "elsewhere", "same") == before
    assert name not in mariadb.sql("SHOW DATABASES").splitlines()


def test_a_name_of_two_lines_keeps_its_name(mariadb, dumped, dbdump, flags):
    """It cannot be rewritten line by line: that is said, and nothing is touched."""
    dumped("new\nline", "CREATE TABLE t AS SELECT 7 AS seven")
    done = dbdump("restore", *flags, "--database=new\nline", "--yes", "--as=elsewhere")
    assert done.returncode == 1
    assert "no command that restores" in done.stdout
    assert "elsewhere" not in mariadb.sql("SHOW DATABASES")


def test_a_row_is_no_statement(mariadb, dumped, restore):
    """Rows and routines that look like what is rewritten stay what they are."""
    line = "\\nUSE `rows`;\\nALTER DATABASE `rows` CHARACTER SET utf8 ;\\n"
    dumped("rows", f"CREATE TABLE t (line text); INSERT INTO t VALUES ('{line}')", "rows2")
    before = mariadb.sql("SELECT HEX(line) FROM t", "rows")
    restore("rows", "--as=rows2")
    assert mariadb.sql("SELECT HEX(line) FROM t", "rows2") == before


def test_the_events_of_a_copy_are_off(mariadb, dumped, restore):
    """An event may name the database that it is of: under another name it does nothing until somebody wants it."""
    dumped(
        "ticking",
        "CREATE TABLE t (a int); CREATE EVENT `e 'v ENABLE x` ON SCHEDULE EVERY 1 DAY COMMENT 'a\nENABLE DO' "
        "DO DELETE FROM ticking.t; CREATE EVENT off ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM ticking.t; "
        "CREATE EVENT kept ON SCHEDULE AT '2036-01-01' ON COMPLETION PRESERVE DO DELETE FROM ticking.t",
        "copied",
    )
    restore("ticking", "--as=copied")
    query = ("SELECT event_name, status, event_comment, event_definition, on_completion "
             "FROM information_schema.events WHERE event_schema = '{}' ORDER BY 1")  # fmt: skip
    there, copied = (mariadb.sql(query.format(name)) for name in ("ticking", "copied"))
    assert there.count("ENABLED") == 2
    assert copied == there.replace("ENABLED", "DISABLED")
    mariadb.drop("ticking")
    restore("ticking")
    assert mariadb.sql(query.format("ticking")) == there


@pytest.mark.parametrize("into", ["copied", "a`from"])
def test_a_copy_counts_by_itself(mariadb, dumped, restore, into):
    """A column takes its numbers from the sequence of the copy, and what only reads like that is left alone."""
    note = "DEFAULT (nextval(`from`.`counter`))"
    made = ("CREATE SEQUENCE counter START 42; CREATE TABLE t (x int DEFAULT (NEXTVAL(counter) + LASTVAL(counter)), "
            f"note varchar(99) DEFAULT '{note}' COMMENT '  {note}'); INSERT INTO t (x) VALUES (1)")  # fmt: skip
    dumped("from", made, into)
    restore("from", f"--as={into}")
    mariadb.drop("from")
    assert mariadb.sql("INSERT INTO t VALUES (); SELECT * FROM t", into) == f"1\t{note}\n84\t{note}"
    assert f"COMMENT '  {note}'" in mariadb.sql("SHOW CREATE TABLE t", into)


def test_an_empty_database_is_no_hindrance(mariadb, dumped, restore):
    """One that is there and has nothing in it is restored into."""
    before = dumped("vacant", CONTENT)
    mariadb.drop("vacant")
    mariadb.create("vacant")
    restore("vacant")
    assert dump_text(mariadb, "vacant") == before


@pytest.mark.parametrize(
    "sql",
    ["CREATE TABLE x (a int)", "CREATE VIEW x AS SELECT 1", "CREATE PROCEDURE x() SELECT 1",
     "CREATE EVENT x ON SCHEDULE EVERY 1 DAY DISABLE DO DO 1"],
)  # fmt: skip
def test_what_is_in_the_way_is_left_alone(mariadb, dumped, dbdump, flags, sql):
    """Whatever is in a database keeps it from being restored into; --force drops it first."""
    before = dumped("taken", "CREATE TABLE t AS SELECT 1 AS one")
    mariadb.drop("taken")
    mariadb.create("taken")
    mariadb.sql(sql, "taken")
    there = dump_text(mariadb, "taken")
    done = dbdump("restore", *flags, "--database=taken", "--yes")
    assert done.returncode == 1
    assert "taken on localhost is not empty" in done.stderr
    assert dump_text(mariadb, "taken") == there
    done = dbdump("restore", *flags, "--database=taken", "--yes", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dump_text(mariadb, "taken") == before


def test_a_name_that_is_too_long_is_refused(mariadb, dumped, dbdump, flags):
    """Before anything is read."""
    dumped("named", "SELECT 1")
    done = dbdump("restore", *flags, "--database=named", "--yes", f"--as={'x' * 65}")
    assert done.returncode == 2, done.stdout
    assert "a name of 65 letters, and the server takes 64" in done.stderr


def test_what_is_left_is_said(mariadb, dumped, dbdump, flags):
    """No transaction holds tables of MySQL together: a failure leaves a part, and says so."""
    dumped("broken", "CREATE TABLE a AS SELECT 1 AS one; CREATE TABLE z (a int)")
    mariadb.drop("broken")
    mariadb.sql("CREATE DATABASE broken")
    mariadb.sql("CREATE USER half@localhost; GRANT ALL ON broken.a TO half@localhost; "
                "GRANT CREATE, DROP ON broken.* TO half@localhost")  # fmt: skip
    try:
        own = [f"--defaults={mariadb.defaults_file('half')}" if each.startswith("--defaults") else each
               for each in flags]  # fmt: skip
        done = dbdump("restore", *own, "--database=broken", "--yes")
        assert done.returncode == 1
        assert "denied" in done.stdout
        assert "left: broken, as far as it came" in done.stdout
    finally:
        mariadb.sql("DROP USER half@localhost")


def test_an_option_file_hides_no_error(mariadb, dumped, dbdump, flags):
    """`force` in the operator's own file does not make a success of what went wrong."""
    dumped("forced", "CREATE TABLE a AS SELECT 1 AS one")
    mariadb.sql("CREATE USER half@localhost; GRANT CREATE, DROP ON forced.* TO half@localhost")
    mariadb.drop("forced")
    try:
        path = Path(mariadb.defaults_file("half"))
        path.write_text(f"{path.read_text()}[mysql]\nforce\n")
        done = dbdump("restore", flags[0], f"--defaults={path}", flags[2], "--database=forced", "--yes")
        assert done.returncode == 1
        assert "denied" in done.stdout
    finally:
        mariadb.sql("DROP USER half@localhost")


def test_users_come_last(mariadb, dbdump, flags):
    """A grant on a table needs the table, so globals are restored after the database."""
    mariadb.sql("CREATE USER tenant@localhost")
    try:
        mariadb.create("rented")
        mariadb.sql("CREATE TABLE t AS SELECT 1 AS one; GRANT SELECT ON rented.t TO tenant@localhost", "rented")
        done = dbdump("dump", *flags, "--database=rented", "--database=@globals")
        assert done.returncode == 0, done.stdout
        before = mariadb.sql("SHOW GRANTS FOR tenant@localhost")
        mariadb.drop("rented")
        mariadb.sql("DROP USER tenant@localhost")
        done = dbdump("restore", *flags, "--database=rented", "--yes", "--globals")
        assert done.returncode == 0, done.stdout
        assert "/@globals" in done.stdout.splitlines()[-1]
        assert mariadb.sql("SHOW GRANTS FOR tenant@localhost") == before
    finally:
        mariadb.drop("rented")
        mariadb.sql("DROP USER IF EXISTS tenant@localhost")
