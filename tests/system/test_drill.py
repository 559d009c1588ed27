"""The drill: dumps are restored into scratch databases, counted, and nothing of that is left."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from resources import recipe_file
from servers.mariadb import identifier as quoted
from servers.process import give
from support import files
from test_mysql import CONTENT as MYSQL_CONTENT
from test_postgresql import CONTENT as POSTGRESQL_CONTENT

ODD = "an 'odd\" \\name; --$(id)"

OWNED = """
CREATE TABLE owned AS SELECT g FROM generate_series(1, 7) g; ALTER TABLE owned OWNER TO drill_owner;
GRANT SELECT ON owned TO drill_reader;
"""

# What else needs its roles: a policy, an owner who has to be a superuser; and a tablespace.
MORE = """
CREATE POLICY seen ON owned TO drill_reader USING (g < 5);
ALTER DEFAULT PRIVILEGES FOR ROLE drill_owner GRANT SELECT ON TABLES TO drill_reader;
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION noted();
ALTER EVENT TRIGGER noting OWNER TO drill_owner;
CREATE TABLE spaced TABLESPACE "drill space" AS SELECT 1 AS one;
"""


@pytest.fixture
def of_postgres(drills, postgres):
    """Drills of the PostgreSQL server."""
    return drills.of("postgresql", f"host={postgres.host}", "user=postgres")


@pytest.fixture
def of_mariadb(drills, mariadb):
    """Drills of the MariaDB server."""
    return drills.of("mysql", f"defaults={mariadb.defaults_file()}")


@pytest.fixture
def created(postgres):
    """Make databases of PostgreSQL, and drop them after the test."""
    made = []

    def create(name: str, sql: str = "CREATE TABLE t AS SELECT 1 AS one") -> str:
        postgres.create(name)
        made.append(name)
        postgres.sql(sql, name)
        return name

    yield create
    postgres.drop(*made)


@pytest.fixture
def created_too(mariadb):
    """Make databases of MariaDB, and drop them after the test."""
    made = []

    def create(name: str, sql: str = "CREATE TABLE t AS SELECT 1 AS one") -> str:
        mariadb.create(name)
        made.append(name)
        mariadb.sql(sql, name)
        return name

    yield create
    mariadb.drop(*made)


@pytest.fixture
def roles(postgres, drills):
    """Roles of the server, and a tablespace, whose directory it returns; gone after the databases that use them."""
    with_space = give(Path(postgres.host).parent / "drill space", "postgres")
    postgres.sql(
        "CREATE ROLE drill_owner SUPERUSER; CREATE ROLE drill_reader; GRANT drill_reader TO drill_owner; "
        f"CREATE TABLESPACE \"drill space\" OWNER drill_owner LOCATION '{with_space}'"
    )
    yield with_space
    postgres.sql('DROP TABLESPACE "drill space"; DROP ROLE drill_reader; DROP ROLE drill_owner')


def scratch_databases(postgres) -> str:
    """Return the names of the scratch databases on the test server."""
    return postgres.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbdump%'")


def counted_there(drills, database: str, *more: str) -> str:
    """Return what a drill says of a database where its own server takes it, and see that it is something."""
    said = drills.drill("--to=localhost", f"--database={database}", *more)
    found = drills.record(database)["drill"]
    assert found["tables"] > 3, said
    assert found["rows"] > 500, said
    return f"{found['tables']} tables, {found['rows']} rows"


@pytest.mark.parametrize("form", ["binary", "sql"])
def test_sqlite_is_drilled_in_a_file(drills, tmp_path, form):
    """Its tables and rows are counted, and the time is told; the record beside the dump says the same."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1), (2), (3);")
    began = datetime.now(UTC).replace(microsecond=0)
    drills.of("sqlite", f"path={tmp_path / 'app.db'}", f"format={form}").dump()
    said = drills.drill()
    assert "2 tables, 3 rows" in said
    record = drills.record("app.db")
    drill = record["drill"]
    assert (record["level"], record["fault"], drill["fault"]) == ("restored", "", "")
    assert (drill["tables"], drill["rows"]) == (2, 3)
    assert f"restored in {drill['seconds']:.1f} s: " in said
    assert began <= datetime.fromisoformat(drill["at"]) <= datetime.now(UTC)


def test_a_plugged_in_backend_of_files_is_drilled_in_a_file(drills, tmp_path, dbdump, sshd, accounts):
    """Whoever writes one says that its databases are files; --to=HOST then needs no recipe of that kind there."""
    (tmp_path / "notes").write_text("one\ntwo\n")
    recipes = recipe_file(tmp_path, f"""
        @backend("notes")
        class Notes(Backend):
            is_file = True
            def get_db_list(self): return ["notes"]
            def get_command(self, database): return ["cat", {str(tmp_path / "notes")!r}]
            def get_load_command(self, database, into, jobs): return ["sh", "-c", 'cat >"$1"', "sh", into]
            def contents(self, database): return None
            def count(self, database): return 1, len(self.output(["cat", database]).splitlines())

        @recipe(localhost)
        def notes(host): return Dump(Notes(), to=Directory({str(drills.datadir)!r}))

        @recipe(Host("db2", ssh={sshd.remote("dash")!r}))
        def other(host): return Dump(SQLite(path="/nowhere"), to=Directory({str(drills.datadir)!r}))
        """)  # fmt: skip
    drills.flags = [f"--recipes={recipes}", "--host=localhost"]
    drills.dump()
    assert "1 tables, 2 rows" in drills.drill()
    assert "1 tables, 2 rows" in drills.drill("--to=db2")
    back = accounts.home("dash") / f"{tmp_path.name}.notes"
    done = dbdump("restore", *drills.flags, "--database=notes", "--to=db2", f"--as={back}", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert back.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_postgresql_is_drilled_on_a_server_to_throw_away(of_postgres, created, form):
    """Content of every kind is restored there under the name that it has, however odd."""
    created(ODD, POSTGRESQL_CONTENT)
    of_postgres.dump(ODD, "@globals", more=(f"--option=format={form}",))
    expected = counted_there(of_postgres, ODD, f"--option=format={form}")
    assert expected in of_postgres.drill(f"--option=format={form}")
    assert of_postgres.record(ODD)["level"] == "restored"


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_roles_come_from_the_globals_of_the_run(of_postgres, postgres, roles, created, form):
    """With its owners, grants and tablespaces it is restored; the directory of such a one is left alone."""
    created("drilled_roles", OWNED + MORE)
    of_postgres.dump("drilled_roles", "@globals", more=(f"--option=format={form}",))
    before = files(roles)
    assert "2 tables, 8 rows" in of_postgres.drill(f"--option=format={form}")
    assert of_postgres.record("@globals")["level"] == "restored"
    assert files(roles) == before
    assert len(list(roles.iterdir())) == 1


def test_an_archive_without_globals_is_drilled_without_owners(of_postgres, roles, created):
    """Where no globals are dumped, missing roles are no fault of the dump."""
    created("drilled_bare", OWNED)
    of_postgres.dump("drilled_bare")
    assert "1 tables, 7 rows" in of_postgres.drill()


def test_nothing_is_said_of_plain_sql_without_its_roles(of_postgres, roles, created):
    """Plain SQL names its owners: without globals it cannot be looked at, which is not as if it were bad."""
    created("drilled_plain", OWNED)
    of_postgres.dump("drilled_plain", more=("--option=format=plain",))
    said = of_postgres.drill("--option=format=plain", code=1)
    assert 'role "drill_owner" does not exist; there are no good @globals of its run' in said
    assert "hint: Let the recipe dump globals, or name a host whose server has them: --to=HOST." in said
    record = of_postgres.record("drilled_plain")
    assert (record["level"], record["fault"], record["drill"]) == ("structure", "", None)


def test_one_database_many_times_at_once(of_postgres, created):
    """Two dumps of one database are drilled side by side on one server, each in a database of its own."""
    created("drilled_twice", "CREATE TABLE t AS SELECT generate_series(1, 11)")
    of_postgres.dump("drilled_twice", "postgres")
    of_postgres.dump("drilled_twice", "postgres")
    said = of_postgres.drill("--all", "--jobs=4")
    assert said.count("1 tables, 11 rows") == 2
    assert said.count("restored in") == 4


def test_mariadb_is_drilled_on_a_server_to_throw_away(of_mariadb, created_too, mariadb):
    """With all that a database may have; so are users, and the database that the server itself has."""
    name = "a --name; $(id)"  # mariadb-dump cannot dump the events of one that is odder
    created_too(name, MYSQL_CONTENT)
    mariadb.sql(
        f"CREATE USER drilled@localhost; GRANT SELECT ON {quoted(name)}.* TO drilled@localhost;"
        f"CREATE DEFINER = drilled@localhost VIEW {quoted(name)}.viewed AS SELECT 1 AS one"
    )
    try:
        of_mariadb.dump(name, "mysql", "@globals")
    finally:
        mariadb.sql("DROP USER drilled@localhost")
    expected = counted_there(of_mariadb, name)
    said = of_mariadb.drill()
    assert expected in said
    assert said.count("restored in") == 3


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_scratch_database_of_postgresql_is_dropped(of_postgres, postgres, created, form):
    """With --to the server takes it for a while; what has its name there stays, and globals are said to be left out."""
    created(ODD, "CREATE TABLE t AS SELECT generate_series(1, 4)")
    of_postgres.dump(ODD, "@globals", more=(f"--option=format={form}",))
    postgres.sql("INSERT INTO t VALUES (5)", ODD)
    said = of_postgres.drill("--to=localhost", f"--option=format={form}")
    assert "1 tables, 4 rows" in said
    assert "not restored: globals would stay on that server" in said
    assert scratch_databases(postgres) == ""
    assert postgres.sql("SELECT count(*) FROM t", ODD) == "5"


def test_a_scratch_database_of_mariadb_is_dropped(of_mariadb, mariadb, created_too):
    """So it is there."""
    created_too(ODD, "CREATE TABLE t AS SELECT 1 AS one UNION SELECT 2")
    of_mariadb.dump(ODD, "@globals")
    mariadb.sql("INSERT INTO t VALUES (3)", ODD)
    before = mariadb.sql("SHOW DATABASES")
    said = of_mariadb.drill("--to=localhost")
    assert "1 tables, 2 rows" in said
    assert mariadb.sql("SHOW DATABASES") == before
    assert mariadb.sql("SELECT COUNT(*) FROM t", ODD) == "3"


def test_on_another_host_of_the_recipes(drills, postgres, created, sshd, tmp_path):
    """--to names a host, which is reached as its own recipe says; a SQLite database needs none."""
    created("drilled_far", "CREATE TABLE t AS SELECT generate_series(1, 6)")
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "all.py").write_text(f"""
from dbdump import *
to = Directory({str(drills.datadir)!r})

@recipe(localhost)
def here(host):
    return Dump(PostgreSQL(host={postgres.host!r}, user="postgres", include=["drilled_far"], globals=False), to=to)

@recipe(localhost)
def files(host):
    return Dump(SQLite(path={str(tmp_path / "app.db")!r}), to=to)

@recipe(Host("db2", ssh={sshd.remote("bash")!r}))
def there(host):
    return Dump(PostgreSQL(host={postgres.host!r}, user="postgres"), to=to)
""")
    drills.flags = [f"--recipes={tmp_path / 'recipes'}", "--host=localhost"]
    drills.dump()
    said = drills.drill("--to=db2")
    assert "1 tables, 6 rows" in said
    assert "1 tables, 1 rows" in said
    assert scratch_databases(postgres) == ""
    said = drills.drill("--to=db3", code=3)
    assert "no recipe is for host 'db3'" in said


def test_what_is_signed_and_encrypted_is_unwrapped_here(drills, tmp_path, gnupg, private_home, dbdump):
    """Where its key is, it is drilled as any other; where it is not, nothing can be said of it."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (1), (2)")
    drills.of("sqlite", f"path={tmp_path / 'app.db'}")
    flags = ["--sign=signer@example.org", "--encrypt=ops@example.org"]
    env = {"GNUPGHOME": str(gnupg.home)}
    assert dbdump("dump", *drills.flags, *flags, env=env).returncode == 0
    drill = drills.verify(*flags)
    done = dbdump(*drill, env=env | drills.environment)
    assert done.returncode == 0, done.stdout
    assert "1 tables, 2 rows" in done.stdout
    shutil.rmtree(private_home.home / "private-keys-v1.d")
    done = dbdump(*drill, env={"GNUPGHOME": str(private_home.home), **drills.environment})
    assert done.returncode == 1, done.stdout
    assert "drill: cannot be restored here: not decrypted: no secret key here" in done.stdout
    drills.nothing_is_left()


def test_the_document_of_a_drill(drills, tmp_path, dbdump):
    """--json says what the record says."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as made:
        made.executescript("CREATE TABLE a (x)")
    drills.of("sqlite", f"path={tmp_path / 'app.db'}").dump()
    done = dbdump(*drills.verify("--json"), env=drills.environment)
    (result,) = json.loads(done.stdout)["results"]
    assert result["record"] == drills.record("app.db")
    assert result["record"]["drill"]["tables"] == 1
