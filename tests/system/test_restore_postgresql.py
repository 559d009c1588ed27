"""Restoring PostgreSQL: both formats, any name, several at once, and what is left where it cannot be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from servers.postgres import identifier
from servers.process import program
from servers.terminal import on_terminal
from test_postgresql import AWKWARD, CONTENT, dump_text

FORMS = ("custom", "plain")


@pytest.fixture
def flags(postgres, datadir):
    """The flags of the test server and the datadir."""
    return ["--backend=postgresql", "--option", f"host={postgres.host}", "--option", "user=postgres",
            f"--datadir={datadir}"]  # fmt: skip


@pytest.fixture
def created(postgres):
    """Make databases, and drop them after the test, and others that are named."""
    made = []

    def create(name: str, sql: str = "CREATE TABLE t AS SELECT 1 AS one", *others: str) -> str:
        postgres.create(name)
        made.extend([name, *others])
        postgres.sql(sql, name)
        return name

    yield create
    postgres.drop(*made)


@pytest.fixture
def dumped(postgres, dbdump, flags, created):
    """Make a database, dump it, and return its text."""

    def dump(name: str, sql: str, *more: str, others: tuple[str, ...] = ()) -> str:
        created(name, sql, *others)
        done = dbdump("dump", *flags, f"--database={name}", *more)
        assert done.returncode == 0, done.stdout
        return dump_text(postgres, name)

    return dump


@pytest.fixture
def restore(dbdump, flags):
    """Restore, and see that it succeeds."""

    def run(name: str, *more: str) -> str:
        done = dbdump("restore", *flags, f"--database={name}", "--yes", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("into", ["several", "copied"])
def test_so_many_load_at_once(postgres, dumped, created, dbdump, flags, tmp_path, into):
    """pg_restore itself is told how many, under the dump's own name and under another."""
    dumped("several", "CREATE TABLE t AS SELECT 1 AS one", others=("copied",))
    postgres.drop("several")
    (programs := tmp_path / "bin").mkdir()
    log, real = tmp_path / "log", program("pg_restore", "postgresql-client")
    (programs / "pg_restore").write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {real} "$@"\n')
    (programs / "pg_restore").chmod(0o755)
    given = "restore", *flags, "--database=several", f"--as={into}", "--yes", "--jobs=3"
    done = dbdump(*given, env={"PATH": f"{programs}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    (loaded,) = [line for line in log.read_text().splitlines() if "--exit-on-error" in line]
    assert "--jobs=3" in loaded
    assert postgres.sql("SELECT one FROM t", into) == "1"


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_all_of_it_comes_back(postgres, dumped, restore, form, jobs):
    """Content of every kind, and what belongs to the database itself, in either format, one and several at once."""
    before = dumped("whole", CONTENT, "--option", f"format={form}")
    postgres.drop("whole")
    restore("whole", f"--jobs={jobs}")
    assert dump_text(postgres, "whole") == before


@pytest.mark.parametrize("form", FORMS)
def test_what_belongs_to_the_database_comes_back(postgres, dbdump, flags, created, restore, form):
    """Its comment, its settings and its grants too, though psql has to connect anew in the middle of them."""
    created("owned", CONTENT)
    postgres.sql("CREATE ROLE tenant")
    try:
        postgres.sql(
            "ALTER DATABASE owned SET work_mem = '7MB'; COMMENT ON DATABASE owned IS E'two\nlines';"
            "ALTER DATABASE owned SET array_nulls = off;"  # which makes a text of NULL
            "ALTER DATABASE owned OWNER TO tenant; REVOKE CONNECT ON DATABASE owned FROM PUBLIC"
        )
        query = (
            "SELECT (SELECT array_agg(a ORDER BY a::text) FROM unnest(datacl) a), "
            "pg_get_userbyid(datdba), shobj_description(d.oid, 'pg_database'), setconfig "
            "FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = 'owned'"
        )
        before = postgres.sql(query)
        done = dbdump("dump", *flags, "--database=owned", "--option", f"format={form}")
        assert done.returncode == 0, done.stdout
        postgres.drop("owned")
        restore("owned")
        assert postgres.sql(query) == before
        assert "work_mem=7MB" in before
        assert postgres.sql("SELECT count(*) FROM thing WHERE array_position(tags, NULL) = 2", "owned") == "500"
    finally:
        postgres.drop("owned")
        postgres.sql("DROP ROLE tenant")


@pytest.mark.parametrize("name", [name for name in AWKWARD if "\n" not in name])
@pytest.mark.parametrize("form", FORMS)
def test_an_awkward_name_is_restored(postgres, dumped, restore, name, form):
    """A database of any name is restored under its own name."""
    before = dumped(name, f"CREATE TABLE {identifier('t;' + name[:40])} AS SELECT 7", "--option", f"format={form}")
    postgres.drop(name)
    restore(name)
    assert dump_text(postgres, name) == before


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("form", FORMS)
def test_an_awkward_name_is_restored_to(postgres, dumped, restore, name, form):
    """A database is restored under any other name, and the one it is of stays as it is."""
    dumped("plainly", CONTENT, "--option", f"format={form}", others=(name,))
    before = dump_text(postgres, "plainly")
    restore("plainly", f"--as={name}")
    assert dump_text(postgres, name) == before
    assert dump_text(postgres, "plainly") == before


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_is_restored_from(postgres, dumped, restore, name):
    """A database of any name is restored under another one."""
    before = dumped(name, "CREATE TABLE t AS SELECT 7 AS seven", others=("elsewhere",))
    restore(name, "--as=elsewhere")
    assert dump_text(postgres, "elsewhere") == before


@pytest.mark.parametrize("name", [name for name in AWKWARD if "\n" not in name])
def test_plain_sql_of_an_awkward_name_is_restored_from(postgres, dumped, restore, name):
    """What plain SQL says of the database itself is said of the new one, and not of the old one."""
    quoted = identifier(name)
    setting = f"ALTER DATABASE {quoted} SET work_mem = "
    dumped(name, f"CREATE TABLE t AS SELECT 7 AS seven; {setting}'7MB'", "--option", "format=plain",
           others=("elsewhere",))  # fmt: skip
    postgres.sql(f"{setting}'8MB'")
    restore(name, "--as=elsewhere")
    kept = postgres.sql(
        "SELECT datname = 'elsewhere', setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase "
        "ORDER BY 1"
    )
    assert kept.splitlines() == ["f|{work_mem=8MB}", "t|{work_mem=7MB}"]
    assert postgres.sql("SELECT seven FROM t", "elsewhere") == "7"


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_no_statement(postgres, dumped, restore, form):
    """Rows that look like what is rewritten under another name stay what they are."""
    lines = ["ALTER DATABASE rows SET a TO b;", "COMMIT;", "BEGIN;", "-- Data for Name: BLOBS; Type: BLOBS; Schema: -",
             "\\connect rows", "COMMENT ON DATABASE rows IS 'x';", "\\.", "USE `rows`;"]  # fmt: skip
    values = ", ".join(f"('{line.replace(chr(39), chr(39) * 2)}')" for line in lines)
    dumped("rows", f"CREATE TABLE t (line text); INSERT INTO t VALUES {values}", "--option", f"format={form}",
           others=("rows2",))  # fmt: skip
    restore("rows", "--as=rows2")
    assert postgres.sql("SELECT line FROM t", "rows2").splitlines() == lines


@pytest.mark.parametrize("form", FORMS)
def test_encoding_and_locale_come_along(postgres, dbdump, flags, restore, form):
    """Under another name a database has the encoding and the locale that it had."""
    try:
        postgres.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        assert dbdump("dump", *flags, "--database=latin", "--option", f"format={form}").returncode == 0
        restore("latin", "--as=latin2")
        query = "SELECT DISTINCT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname LIKE 'latin%'"
        assert postgres.sql(query) == "LATIN1|C"
    finally:
        postgres.drop("latin", "latin2")


@pytest.mark.parametrize("form", ["custom", "plain"])
@pytest.mark.parametrize("into", ["owned", "owned_old"])
def test_what_belongs_to_the_database_comes_along(postgres, dumped, restore, form, into):
    """Under another name, or into an empty database, it has its owner, comment, settings and grants too."""
    postgres.sql("CREATE ROLE tenant; CREATE ROLE guest")
    said = ("SELECT (SELECT array_agg(a ORDER BY a::text) FROM unnest(datacl) a), pg_get_userbyid(datdba), "
            "shobj_description(d.oid, 'pg_database'), array_agg(setconfig::text ORDER BY setrole) FROM pg_database d "
            "LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = '{}' GROUP BY d.oid")  # fmt: skip
    own = ("ALTER DATABASE owned SET work_mem = '7MB'; ALTER ROLE tenant IN DATABASE owned SET work_mem = '8MB'; "
           "ALTER DATABASE owned SET default_transaction_read_only = on; COMMENT ON DATABASE owned IS E'two\nlines';"
           "ALTER DATABASE owned OWNER TO tenant; REVOKE CONNECT ON DATABASE owned FROM PUBLIC; "
           "GRANT CONNECT ON DATABASE owned TO guest")  # fmt: skip
    try:
        dumped(
            "owned", f"CREATE TABLE t AS SELECT 1 AS one; {own}", "--option", f"format={form}", others=("owned_old",)
        )
        before = postgres.sql(said.format("owned"))
        if into == "owned":
            postgres.drop("owned")
            postgres.create("owned")
        else:
            postgres.sql("SET default_transaction_read_only = off; ALTER DATABASE owned SET work_mem = '9MB'")
        there = postgres.sql(said.format("owned"))
        restore("owned", f"--as={into}", "--jobs=1")
        assert postgres.sql(said.format(into)) == before
        assert "work_mem=7MB" in before
        assert into == "owned" or postgres.sql(said.format("owned")) == there
    finally:
        postgres.drop("owned", "owned_old")
        postgres.sql("DROP ROLE tenant; DROP ROLE guest")


LOOKS_LIKE_IT = """
COPY a FROM stdin;
ALTER DATABASE texts SET work_mem = '1MB';
COMMENT ON DATABASE texts IS 'x'; -- Data for Name: x; Type: BLOBS; Schema: -
-- Data for Name: BLOBS; Type: BLOBS; Schema: -
BEGIN;
COMMIT;
\\connect texts
/* $$ " '' it's
"""


@pytest.mark.parametrize("rows", [[], ["--option=pg_dump_options=--rows-per-insert=2"]], ids=["copy", "insert"])
def test_a_text_is_no_statement(postgres, dumped, restore, rows):
    """Texts of any kind, over several lines, stay what they are, and what follows them is still of the new database."""
    text = LOOKS_LIKE_IT.replace("'", "''")
    dumped("texts", f"""CREATE TABLE t AS SELECT n, '{text}'::text AS line FROM generate_series(1, 3) n;
        CREATE INDEX i ON t (n); COMMENT ON INDEX i IS '{text}'; COMMENT ON TABLE t IS '{text}\\';
        CREATE TABLE "odd ' $a$ -- /* \nCOPY a FROM stdin;\n" AS SELECT 1 AS "it's";
        CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $f$ SELECT '{text}'::text $f$;
        CREATE FUNCTION g() RETURNS text BEGIN ATOMIC SELECT '{text}'::text; SELECT '{text}'::text; END;
        CREATE VIEW v AS SELECT E'\\\\''{text}'::text AS line; SELECT lo_from_bytea(1, 'x');
        REVOKE CONNECT ON DATABASE texts FROM PUBLIC; GRANT CONNECT ON DATABASE texts TO postgres""",
        "--option=format=plain", *rows, others=("texts2",))  # fmt: skip
    postgres.sql("GRANT ALL ON DATABASE texts TO PUBLIC")
    kept = "SELECT datacl FROM pg_database WHERE datname = '{}'"
    before, there = dump_text(postgres, "texts"), postgres.sql(kept.format("texts"))
    restore("texts", "--as=texts2")
    assert dump_text(postgres, "texts2") == before
    assert postgres.sql(kept.format("texts")) == there
    assert "=T/postgres" in postgres.sql(kept.format("texts2"))


@pytest.mark.parametrize(
    ("line", "message"),
    [("SELECT 1; REVOKE ALL ON DATABASE kept FROM PUBLIC;", "would change the database kept"),
     ("SELECT 1; COMMENT ON DATABASE kept IS 'x';", "would change the database kept"),
     ("SELECT 1; ALTER DATABASE kept SET work_mem = '1MB';", "would change the database kept"),
     ("ALTER DATABASE other SET work_mem = '1MB';", "names another database"),
     ("\\connect kept", "it connects once more"),
     ("SELECT 'a;", "syntax error")],
)  # fmt: skip
def test_a_copy_changes_no_other_database(postgres, drills, created, dbdump, line, message):
    """What the edit does not know fails, and all of it is rolled back."""
    created("kept", "CREATE TABLE t AS SELECT 1 AS one; ALTER DATABASE kept SET work_mem = '7MB'", "kept2")
    drills.of("postgresql", f"host={postgres.host}", "user=postgres", "format=plain").dump("kept")
    drills.change("kept", lambda sql: sql.replace(b"\nCOPY ", b"\n%s\nCOPY " % line.encode()))
    kept = ("SELECT datacl, setconfig, shobj_description(d.oid, 'pg_database') FROM pg_database d "
            "JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = 'kept'")  # fmt: skip
    before = postgres.sql(kept)
    done = dbdump("restore", *drills.flags, "--database=kept", "--as=kept2", "--yes")
    assert done.returncode == 1
    assert message in done.stdout
    assert "left: kept2, empty" in done.stdout
    assert postgres.sql(kept) == before


def test_a_copy_of_a_clean_dump_drops_nothing(postgres, dumped, restore):
    """With pg_dump's --clean the dump drops the database first: not the one that it is of, under another name."""
    before = dumped("cleaned", "CREATE TABLE t AS SELECT 1 AS one", "--option=format=plain",
                    "--option=pg_dump_options=--clean --if-exists", others=("cleaned2",))  # fmt: skip
    restore("cleaned", "--as=cleaned2")
    assert dump_text(postgres, "cleaned2") == before
    assert dump_text(postgres, "cleaned") == before


def test_the_encoding_of_a_dump_hides_nothing(postgres, dbdump, flags, restore):
    """Bytes that are no UTF-8 are read too, in any locale."""
    try:
        postgres.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        row = "ALTER DATABASE latin SET x"
        postgres.sql(
            f"CREATE TABLE \"t\u00e4\" AS SELECT '{row}'::text AS a; ALTER DATABASE latin SET work_mem = '7MB'", "latin"
        )
        assert dbdump("dump", *flags, "--database=latin", "--option=format=plain").returncode == 0
        done = dbdump("restore", *flags, "--database=latin", "--as=latin2", "--yes", env={"LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stdout
        assert postgres.sql('SELECT a FROM "t\u00e4"', "latin2") == row
    finally:
        postgres.drop("latin", "latin2")


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_database_is_no_hindrance(postgres, dumped, restore, form):
    """One that is there and has nothing in it is restored into."""
    before = dumped("vacant", CONTENT, "--option", f"format={form}")
    postgres.drop("vacant")
    postgres.create("vacant")
    restore("vacant")
    assert dump_text(postgres, "vacant") == before


@pytest.mark.parametrize(
    "sql",
    ["CREATE TABLE x (a int)", "CREATE VIEW x AS SELECT 1", "CREATE SCHEMA x", "CREATE SEQUENCE x",
     "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE x AS ENUM ('a')",
     "SELECT lo_from_bytea(1, 'x')", "CREATE TYPE x AS (a int)", "CREATE TYPE x AS RANGE (subtype = int4)",
     "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER x FOREIGN DATA WRAPPER w"],
)  # fmt: skip
def test_what_is_in_the_way_is_left_alone(postgres, dumped, dbdump, flags, sql):
    """Whatever is in a database keeps it from being restored into; --force drops it first."""
    before = dumped("taken", "CREATE TABLE t AS SELECT 1 AS one")
    postgres.drop("taken")
    postgres.create("taken")
    postgres.sql(sql, "taken")
    there = dump_text(postgres, "taken")
    done = dbdump("restore", *flags, "--database=taken", "--yes")
    assert done.returncode == 1
    assert "taken on localhost is not empty" in done.stderr
    assert "--force" in done.stderr
    assert dump_text(postgres, "taken") == there
    done = dbdump("restore", *flags, "--database=taken", "--yes", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dump_text(postgres, "taken") == before


def test_an_extension_of_the_template_is_not_in_the_way(postgres, dumped, restore):
    """What an extension brought into every new database is nobody's content."""
    dumped("extended", "CREATE TABLE t AS SELECT 1 AS one")
    postgres.drop("extended")
    postgres.create("extended")
    for each in ("pg_trgm", "pg_stat_statements", "hstore"):  # functions, views, types and operators
        postgres.sql(f"CREATE EXTENSION IF NOT EXISTS {each}", "extended")
    restore("extended")
    assert postgres.sql("SELECT one FROM t", "extended") == "1"


BREAKS = """
CREATE TABLE first AS SELECT generate_series(1, 1000) AS g;
SELECT lo_from_bytea(1, 'x');
CREATE FUNCTION later() RETURNS int IMMUTABLE LANGUAGE plpgsql
    AS $$ BEGIN IF current_setting('work_mem') = '7MB' THEN RETURN 1; END IF; RAISE 'not here'; END $$;
SET work_mem = '7MB';
CREATE TABLE last AS SELECT 1 AS one;
CREATE INDEX ON last ((one + later()));
"""


def test_plain_sql_leaves_nothing_half_done(dumped, postgres, dbdump, flags):
    """An error in the middle rolls all of it back, large objects too, and what is left is said."""
    dumped("broken", BREAKS, "--option", "format=plain")
    postgres.drop("broken")
    done = dbdump("restore", *flags, "--database=broken", "--yes")
    assert done.returncode == 1
    assert "FAILED   localhost/postgresql/broken: " in done.stdout
    assert "not here" in done.stdout
    assert "left: broken, empty" in done.stdout
    assert postgres.sql("SELECT count(*) FROM pg_class WHERE relname IN ('first', 'last')", "broken") == "0"
    assert postgres.sql("SELECT count(*) FROM pg_largeobject_metadata", "broken") == "0"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_custom_dump_leaves_is_said(dumped, postgres, dbdump, flags, jobs):
    """An archive is restored piece by piece: what is left is said, and --force begins anew."""
    dumped("broken", BREAKS)
    postgres.drop("broken")
    done = dbdump("restore", *flags, "--database=broken", "--yes", f"--jobs={jobs}")
    assert done.returncode == 1
    assert "not here" in done.stdout
    assert "left: broken, as far as it came: drop it, or restore again with --force" in done.stdout
    done = dbdump("restore", *flags, "--database=broken", "--yes", "--force")
    assert "; what was there before was dropped" in done.stdout


def test_what_to_do_is_said(postgres, dbdump, flags, created, monkeypatch, tmp_path):
    """Where a role is missing, or TMPDIR is of no use."""
    created("hinted", "CREATE TABLE t AS SELECT 1 AS one")
    postgres.sql("CREATE ROLE gone")
    postgres.sql("ALTER TABLE t OWNER TO gone", "hinted")
    assert dbdump("dump", *flags, "--database=hinted").returncode == 0
    postgres.drop("hinted")
    postgres.sql("DROP ROLE gone")
    done = dbdump("restore", *flags, "--database=hinted", "--yes")
    assert done.returncode == 1
    assert 'role "gone" does not exist' in done.stdout
    assert "--globals" in done.stdout
    done = dbdump("restore", *flags, "--database=hinted", "--yes", "--force", "--jobs=2", env={"TMPDIR": "/nowhere"})
    assert done.returncode == 1
    assert "mktemp: " in done.stdout
    assert "--jobs=1" in done.stdout


def test_a_name_that_would_be_cut_is_refused(postgres, dumped, dbdump, flags):
    """PostgreSQL has 63 bytes of it, and would say so in a notice only."""
    dumped("named", "SELECT 1")
    done = dbdump("restore", *flags, "--database=named", "--yes", f"--as={'é' * 32}")
    assert done.returncode == 2, done.stdout
    assert "a name of 64 bytes, and PostgreSQL has 63" in done.stderr
    assert "hint: Give a shorter one: --as." in done.stderr


def test_the_maintenance_database_is_not_replaced(postgres, dbdump, flags):
    """Nobody can drop what he is connected to: that is said, with what to do, and it stays."""
    try:
        postgres.sql("CREATE TABLE kept AS SELECT 1 AS one")
        assert dbdump("dump", *flags, "--database=postgres").returncode == 0
        done = dbdump("restore", *flags, "--database=postgres", "--yes", "--force")
        assert done.returncode == 1
        assert "cannot drop the currently open database" in done.stdout
        assert "another name with --as" in done.stdout
        assert "left: postgres, as it was before" in done.stdout
    finally:
        postgres.sql("DROP TABLE kept")


def test_what_edits_plain_sql_has_to_be_there_before_anything_is_dropped(postgres, dumped, dbdump, flags, tmp_path):
    """Without awk nothing is dropped."""
    before = dumped("edited", "CREATE TABLE t AS SELECT 1 AS one", "--option=format=plain")
    (programs := tmp_path / "bin").mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name != "awk":
            (programs / path.name).symlink_to(path)
    done = dbdump("restore", *flags, "--database=edited", "--yes", "--force", env={"PATH": str(programs)})
    assert done.returncode == 1
    assert "awk: not found" in done.stdout
    assert "hint: Install awk" in done.stdout
    assert dump_text(postgres, "edited") == before


def test_globals_come_first(postgres, dbdump, flags, created):
    """Roles are restored before the database that belongs to them; those that are there already are no error."""
    created("rented", "CREATE TABLE t AS SELECT 1 AS one")
    postgres.sql("CREATE ROLE landlord LOGIN CONNECTION LIMIT 7; CREATE ROLE still_here")
    try:
        postgres.sql("ALTER TABLE t OWNER TO landlord", "rented")
        assert dbdump("dump", *flags).returncode == 0
        postgres.drop("rented")
        postgres.sql("DROP ROLE landlord")
        done = dbdump("restore", *flags, "--database=rented", "--yes", "--globals")
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["verified", "verified", "restored", "restored"], lines
        assert "/@globals" in lines[2]
        assert postgres.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'landlord'") == "7"
        assert postgres.sql("SELECT tableowner FROM pg_tables WHERE tablename = 't'", "rented") == "landlord"
    finally:
        postgres.drop("rented")
        postgres.sql("DROP ROLE landlord; DROP ROLE still_here")


def test_globals_alone(postgres, dbdump, flags, created):
    """They are restored by their name, and an error that is none of "it is there" is told."""
    created("some")
    postgres.sql("CREATE ROLE lonely; CREATE ROLE other; GRANT other TO lonely")
    try:
        assert dbdump("dump", *flags, "--database=@globals").returncode == 0
        postgres.sql("DROP ROLE lonely")
        done = dbdump("restore", *flags, "--database=@globals", "--yes")
        assert done.returncode == 0, done.stdout
        assert "restored localhost/postgresql/@globals" in done.stdout
        assert postgres.sql("SELECT pg_has_role('lonely', 'other', 'member')") == "t"
        postgres.sql("DROP ROLE lonely")
        done = dbdump("restore", *flags, "--database=@globals", "--yes", env={"PGOPTIONS": "-c role=other"})
        assert done.returncode == 1
        assert "permission denied to create role" in done.stdout
    finally:
        postgres.sql("DROP ROLE IF EXISTS lonely; DROP ROLE other")


def test_it_says_that_roles_become_what_they_were(dumped, dbdump, flags, tmp_path):
    """Passwords that were changed since are those of then: who agrees has to know."""
    dumped("asked_for", "CREATE TABLE t AS SELECT 1 AS one", "--database=@globals")
    given = ("--database=asked_for", "--as=asked_for2", "--globals")
    code, said = on_terminal("restore", *flags, *given, cwd=tmp_path, answer=lambda: "n")
    assert code == 2
    assert "with its roles or users as they were then, their passwords too? [y/N]" in said
