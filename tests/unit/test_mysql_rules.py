"""What the MySQL backend reads, refuses and decides, without a server; texts of MySQL are from its manuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dbdump.backends.mysql import MySQL
from dbdump.backends.mysql_check import other_version
from dbdump.backends.mysql_grants import Grant, Grants, read_grants
from dbdump.backends.mysql_loss import missing, told
from dbdump.backends.mysql_options import connection, dump_words, file_fault, incomplete, omitted
from dbdump.backends.mysql_probe import Version, flavour_flags, read_tools, read_version
from dbdump.backends.mysql_server import read_server
from dbdump.backends.words import spelled_out
from dbdump.errors import ListError, RecipeError, Skip, StageError

MARIADB = """\
mariadb-dump
mariadb
mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64) using  EditLine wrapper
  -y, --no-tablespaces
                      Do not dump any --tablespace-like information.
  -H, --dump-history  Dump system-versioned tables with history (only for
  --system=name       Dump system tables as portable SQL. Any combination of: all,
"""
MYSQL_8 = """\
mysqldump
mysql
mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)
mysql  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)
  -y, --no-tablespaces
                      Do not dump any tablespace information.
  --column-statistics Add an ANALYZE TABLE statement to regenerate any existing
  --set-gtid-purged[=name]
"""
MYSQL_8_4 = MYSQL_8.replace("8.0.36", "8.4.3")
MYSQL_5_6 = (
    "mysqldump\nmysql\n"
    + 2 * "mysqldump  Ver 10.13 Distrib 5.6.51, for Linux (x86_64)\n"
    + ("  --set-gtid-purged[=name]\n  -y, --no-tablespaces\n")
)


@pytest.mark.parametrize(
    ("line", "version", "number", "mariadb"),
    [
        (
            "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu",
            "10.11.19-MariaDB",
            (10, 11, 19),
            True,
        ),
        (
            "mysqldump from 11.1.2-MariaDB, client 10.19 for osx10.18 (arm64)",
            "11.1.2-MariaDB",
            (11, 1, 2),
            True,
        ),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", "5.7.44", (5, 7, 44), False),
        (
            "mysqldump  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)",
            "8.4.3",
            (8, 4, 3),
            False,
        ),
        (
            "mysqldump  Ver 8.0.35-27 for Linux on x86_64 (Percona Server (GPL))",
            "8.0.35-27",
            (8, 0, 35),
            False,
        ),
        ("mysql  Ver 26.7.0 for Linux on x86_64 (MySQL Community Server - GPL)", "26.7.0", (26, 7, 0), False),
    ],
)
def test_a_program_says_its_version(line, version, number, mariadb):
    """Every spelling of --version is understood, and the make does not follow from the number."""
    read = read_version(line)
    assert (read.text, read.number, read.is_mariadb) == (version, number, mariadb)


@pytest.mark.parametrize(
    ("answer", "server", "flags"),
    [
        (MARIADB, "10.11.19-MariaDB-0+deb12u1", ["--no-tablespaces"]),
        (MYSQL_8, "8.0.36", ["--no-tablespaces", "--set-gtid-purged=OFF"]),
        (MYSQL_8_4, "8.4.3", ["--no-tablespaces", "--set-gtid-purged=OFF"]),
        (MYSQL_8, "5.7.44-log", ["--no-tablespaces", "--set-gtid-purged=OFF", "--column-statistics=0"]),
        (MYSQL_8, "10.11.2-MariaDB", ["--no-tablespaces", "--set-gtid-purged=OFF", "--column-statistics=0"]),
        (MYSQL_5_6, "5.6.51", ["--no-tablespaces", "--set-gtid-purged=OFF"]),
    ],
)
def test_flags_follow_from_the_program_and_the_server(answer, server, flags):
    """A flag is given where the program knows it and the server makes it necessary."""
    assert flavour_flags(read_tools(answer), Version(server)) == flags


@pytest.mark.parametrize(
    ("answer", "server", "told"),
    [
        (MARIADB, "10.11.19-MariaDB-0+deb12u1", ""),
        (MARIADB, "10.11.2-MariaDB-1:10.11.2+maria~ubu2204-log", ""),
        (MARIADB, "10.6.18-MariaDB-log", ""),
        (MARIADB, "5.5.5-10.6.18-MariaDB-log", ""),
        (MARIADB, "11.4.2-MariaDB-ubu2404",
         "mariadb-dump is 10.11.19-MariaDB, and the server is 11.4.2-MariaDB-ubu2404: "),
        (MARIADB, "5.5.5-11.4.2-MariaDB", "mariadb-dump is 10.11.19-MariaDB, and the server is 5.5.5-11.4.2-MariaDB: "),
        (MARIADB, "8.0.36-0ubuntu0.22.04.1",
         "mariadb-dump is 10.11.19-MariaDB, and the server is 8.0.36-0ubuntu0.22.04.1, of another make: "),
        (MYSQL_8, "8.0.45-36", ""),
        (MYSQL_8, "5.7.44-log", ""),
        (MYSQL_8, "8.4.3", "mysqldump is 8.0.36, and the server is 8.4.3: "),
        (MYSQL_8_4, "26.7.0", "mysqldump is 8.4.3, and the server is 26.7.0: "),
        (MYSQL_8, "10.11.19-MariaDB", "mysqldump is 8.0.36, and the server is 10.11.19-MariaDB, of another make: "),
        (MYSQL_5_6, "5.7.44", "mysqldump is 5.6.51, and the server is 5.7.44: "),
    ],
)  # fmt: skip
def test_a_program_that_does_not_go_with_the_server_is_a_warning(answer, server, told):
    """An older major.minor, or another make; a newer one and another patch level are none."""
    found = list(other_version(read_tools(answer), Version(server)))
    assert [(each.severity, each.stage) for each in found] == ([("warning", told.split()[0])] if told else [])
    assert all(each.message.startswith(told) and each.hint.startswith("Install ") for each in found)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("\nmariadb\n", "the host's PATH has neither mariadb-dump nor mysqldump"),
        ("mysqldump\n\n", "the host's PATH has neither mariadb nor mysql"),
        (MARIADB.replace("mariadb  Ver 15.1 Distrib 10.11.19-MariaDB", "mysql  Ver 8.0.36"),
         "mariadb-dump and mariadb are not of one make: "),
    ],
)  # fmt: skip
def test_programs_that_do_not_do_are_refused(answer, message):
    """A missing program, or two of different makes, is an error before anything is dumped."""
    with pytest.raises(StageError) as caught:
        read_tools(answer)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_grants_are_read_as_they_are_written():
    """Privileges, names with quotes and keywords in them, tables, roles: each is what it is."""
    lines = [
        "GRANT `r2`@`%` TO `app`@`%`",
        "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*2B60 ON `x`.* TO'",
        "GRANT SELECT, SHOW VIEW ON `a`` ON *.* TO ``b`.* TO `app`@`%`",
        "GRANT SELECT (`x`, `y ON z`), INSERT ON `shop`.`orders` TO `app`@`%`",
        "GRANT BACKUP_ADMIN,SHOW_ROUTINE ON *.* TO 'app'@'%' WITH GRANT OPTION",
        "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `app`@`%`",
        "GRANT PROXY ON ``@`%` TO `app`@`%` WITH GRANT OPTION",
        "REVOKE SELECT ON `secret`.* FROM `app`@`%`",
        "SET DEFAULT ROLE `r2` FOR `app`@`%`",
    ]
    assert read_grants(lines) == (
        Grant("app@%", "", "", frozenset({"USAGE"})),
        Grant("app@%", "a` ON *.* TO `b", "", frozenset({"SELECT", "SHOW VIEW"})),
        Grant("app@%", "shop", "orders", frozenset({"INSERT"})),
        Grant("app@%", "", "", frozenset({"BACKUP_ADMIN", "SHOW_ROUTINE"})),
        Grant("app@%", "secret", "", frozenset({"SELECT"}), revoked=True),
    )


@pytest.mark.parametrize(
    ("lines", "database", "has"),
    [
        (["GRANT SELECT ON *.* TO `u`@`h`"], "shop", True),
        (["GRANT ALL PRIVILEGES ON *.* TO `u`@`h`"], "shop", True),
        (["GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`h`"], "shop", True),
        (["GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`h`"], "other", False),
        (["GRANT SELECT ON `shop`.`t` TO `u`@`h`"], "shop", False),
        (["GRANT SELECT ON `shop\\_%`.* TO `u`@`h`"], "shop_a", True),
        (["GRANT SELECT ON `shop\\_%`.* TO `u`@`h`"], "shopxa", False),
        (["GRANT SELECT ON `shop_a`.* TO `u`@`h`"], "shopxa", True),
        (["GRANT SELECT ON `nl\nx`.* TO `u`@`h`"], "nl\nx", True),
        # The closest pattern alone counts, seen on a real server:
        (["GRANT TRIGGER ON `shop\\_a`.* TO `u`@`h`", "GRANT SELECT ON `shop%`.* TO `u`@`h`"], "shop_a", False),
        (["GRANT SELECT ON `shop\\_a`.* TO `u`@`h`", "GRANT TRIGGER ON `shop%`.* TO `u`@`h`"], "shop_a", True),
        (["GRANT SELECT ON `sh%`.* TO `u`@`h`", "GRANT TRIGGER ON `shop%`.* TO `u`@`h`"], "shop_a", False),
        # What a role, or PUBLIC, has is added:
        (["GRANT TRIGGER ON `shop`.* TO `u`@`h`", "GRANT SELECT ON `shop`.* TO `r`"], "shop", True),
        (["GRANT TRIGGER ON `shop`.* TO `u`@`h`", "GRANT SELECT ON `shop`.* TO PUBLIC"], "shop", True),
        (["GRANT SELECT ON *.* TO `u`@`h`", "REVOKE SELECT ON `secret`.* FROM `u`@`h`"], "secret", False),
        (["GRANT SELECT ON *.* TO `u`@`h`", "REVOKE SELECT ON `secret`.* FROM `u`@`h`"], "shop", True),
    ],
)  # fmt: skip
def test_whether_a_user_has_a_privilege_on_a_database(lines, database, has):
    """Levels, patterns, roles and partial revokes add up as they do in the server."""
    assert Grants("u@h", read_grants(lines)).has("SELECT", database) is has


@pytest.mark.parametrize(("database", "has"), [("shop_a", True), ("shopxa", False)])
def test_with_partial_revokes_a_pattern_is_a_name(database, has):
    """Where MySQL has partial_revokes on, `_` and `%` stand for themselves."""
    rows = read_grants(["GRANT SELECT ON `shop_a`.* TO `u`@`h`"])
    assert Grants("u@h", rows, wildcards=False).has("SELECT", database) is has


FULL = "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `shop`.* TO `dump`@`localhost`"
ALL = frozenset({"triggers", "events", "routines"})


def server_of(version: str, *grants: str):
    """Return a server of one database, `shop`, with these grants."""
    lines = [f"server\t{version}\tdump@localhost", f"database\t{b'shop'.hex()}", *grants]
    return read_server("\n".join(lines))


@pytest.mark.parametrize(
    ("version", "grants", "lacks"),
    [
        ("10.11.19-MariaDB", [FULL], [("SELECT", "mysql.proc")]),
        ("10.11.19-MariaDB", [FULL, "GRANT SELECT ON `mysql`.`proc` TO `dump`@`localhost`"], []),
        ("10.11.19-MariaDB", [FULL, "GRANT SELECT ON `mysql`.* TO `dump`@`localhost`"], []),
        ("10.11.19-MariaDB", [FULL, "GRANT SHOW CREATE ROUTINE ON *.* TO `dump`@`localhost`"],
         [("SELECT", "mysql.proc")]),
        ("11.4.2-MariaDB", [FULL], [("SHOW CREATE ROUTINE", "`shop`.*")]),
        ("11.4.2-MariaDB", [FULL, "GRANT SHOW CREATE ROUTINE ON `shop`.* TO `dump`@`localhost`"], []),
        ("5.7.44", [FULL], [("SELECT", "mysql.proc")]),
        ("8.0.36", [FULL], [("SHOW_ROUTINE", "*.*")]),
        ("8.0.19", [FULL], [("SELECT", "*.*")]),
        ("8.0.36", [FULL, "GRANT SHOW_ROUTINE ON *.* TO `dump`@`localhost`"], []),
        ("8.4.3", [FULL.replace("`shop`", "*").replace("*.*", "*.*")], []),
        ("8.4.3", ["GRANT USAGE ON *.* TO `dump`@`localhost`", "GRANT SELECT ON `shop`.`t` TO `dump`@`localhost`"],
         [("SELECT", "`shop`.*"), ("SHOW VIEW", "`shop`.*"), ("TRIGGER", "`shop`.*"), ("EVENT", "`shop`.*"),
          ("SHOW_ROUTINE", "*.*")]),
    ],
)  # fmt: skip
def test_what_a_user_lacks_depends_on_the_server(version, grants, lacks):
    """Tables, views, triggers and events need their privilege; routines one that differs by version."""
    found = missing(server_of(version, *grants), "shop", ALL, locks=False)
    assert [(lack.privilege, lack.on) for lack in found] == lacks


def test_locks_and_what_is_left_out_change_what_is_needed():
    """LOCK TABLES is needed where there are locks; TRIGGER and others not for what is not dumped."""
    server = server_of("8.4.3", "GRANT SELECT, SHOW VIEW ON `shop`.* TO `dump`@`localhost`")
    assert [lack.privilege for lack in missing(server, "shop", frozenset(), locks=True)] == ["LOCK TABLES"]
    assert missing(server, "shop", frozenset(), locks=False) == []


def test_what_is_missing_is_told_with_the_statements_that_mend_it():
    """The message names user, privileges, database and what would be lost; the hint can be pasted."""
    lacks = missing(server_of("10.11.19-MariaDB", FULL), "o`d_d", ALL, locks=True)
    message, hint = told("dump@localhost", "o`d_d", lacks)
    assert message == (
        "user dump@localhost has no SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, SELECT ON mysql.proc privilege "
        "on o`d_d: its tables, views, triggers, events, routines would be silently left out"
    )
    assert hint == (
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `o``d\\_d`.* TO `dump`@`localhost`; "
        "GRANT SELECT ON mysql.proc TO `dump`@`localhost`;"
    )


def test_what_a_closer_grant_would_hide_is_granted_with_it():
    """The server takes the closest pattern alone: what the user has by a looser one would be lost by the hint."""
    server = server_of("10.11.19-MariaDB", "GRANT SELECT, LOCK TABLES ON `d_d`.* TO `dump`@`localhost`",
                       "GRANT EVENT ON *.* TO `dump`@`localhost`", "GRANT TRIGGER ON `d_d`.* TO `role`")  # fmt: skip
    message, hint = told("dump@localhost", "d_d", missing(server, "d_d", ALL - {"routines"}, locks=True))
    assert message.startswith("user dump@localhost has no SHOW VIEW privilege on d_d: its views would")
    assert hint == "GRANT SELECT, LOCK TABLES, SHOW VIEW ON `d\\_d`.* TO `dump`@`localhost`;"


def test_the_server_s_answer_is_read():
    """Names come in hex, grants escaped by the client, and log tables need no lock."""
    answer = "\n".join([
        "server\t10.11.19-MariaDB\todd\\tuser@%", "system_versioning_insert_history\tOFF", "partial_revokes\tON",
        *(f"database\t{name.encode().hex()}" for name in ("shop", "nl\nx", "é")),
        f"unsafe\t{b'shop'.hex()}\t{b'm'.hex()}", f"unsafe\t{b'mysql'.hex()}\t{b'general_log'.hex()}",
        f"history\t{b'shop'.hex()}", f"events\t{b'nl'.hex()}", "GRANT SELECT ON `shop\\\\_a`.* TO `odd\\tuser`@`%`",
    ])  # fmt: skip
    server = read_server(answer + "\n")
    assert server.databases == ("shop", "nl\nx", "é")
    assert (server.unsafe, server.history, server.events) == ({"shop": ["m"]}, {"shop"}, {"nl"})
    assert (server.version.text, server.grants.user, server.keeps_history) == (
        "10.11.19-MariaDB",
        "odd\tuser@%",
        True,
    )
    assert server.grants.has("SELECT", "shop_a")
    assert not server.grants.wildcards


@pytest.mark.parametrize("answer", ["", "+----+\n| 1 |\n", "server\t1\n", "server\t1\tu@h\ndatabase\tnot hex\n"])
def test_an_answer_that_is_none_is_an_error(answer):
    """An option file that makes the client print tables is noticed, not misread."""
    with pytest.raises(ListError, match="cannot read what the client answered"):
        read_server(answer)


@pytest.mark.parametrize(
    "given",
    ["--force", "-f", "-vf", "--forc", "--loose-force", "--Force=1", "-r x", "-r/x", "--result-file=x",
     "--result_file=x", "--tab=/x", "-T/x", "--all-databases", "-A", "-B", "-vB", "--databases", "--tables", "--xml",
     "-X", "--system=all", "--dir=/x",
     "--compact", "--skip-comments", "--log-error=/x", "--defaults-file=/x", "--defaults-extra-file=/x",
     "--no-defaults", "--print-defaults", "--help", "-V", "other", "-q other", "-h db1 other", "--"],
)  # fmt: skip
def test_options_that_divert_a_dump_or_hide_errors_are_refused(given):
    """However it is spelled, a recipe cannot say where the dump goes, of what it is, or that errors do not count."""
    with pytest.raises(RecipeError) as caught:
        MySQL(mysqldump_options=given)
    assert caught.value.message.startswith("mysqldump_options: ")
    assert caught.value.hint


@pytest.mark.parametrize("given", ["--password=canary", "-pcanary", "-vpcanary", "--pass=canary", "--passw canary",
                                   "-p", "--password", "--password1=canary"])  # fmt: skip
@pytest.mark.parametrize("option", ["mysql_options", "mysqldump_options"])
def test_a_password_in_an_option_string_is_refused_and_not_repeated(option, given):
    """Everybody can read a command line, and an error message."""
    with pytest.raises(RecipeError, match="password") as caught:
        MySQL(**{option: given})
    assert "canary" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("given", ["--execute=x", "-e x", "-H", "--xml", "-t", "--vertical", "-v", "--tee=x", "shop"])
def test_options_that_spoil_the_client_s_answers_are_refused(given):
    """What makes the client print otherwise, or run something else, is not the operator's to give."""
    with pytest.raises(RecipeError, match="mysql_options"):
        MySQL(mysql_options=given)


@pytest.mark.parametrize(
    "given", ["-h db1 -P 3307 -u dump", "--host=db1 --port 3307", "--where 'a b'", "-hdb1", "--skip-force", "--no-data",
              "--compress", "--verbose -v", "--ssl-ca=/x --tls-version=TLSv1.3", "--skip-lock-tables"],
)  # fmt: skip
def test_other_options_pass(given):
    """Where to connect, and how to dump, an operator may say."""
    assert dump_words(given) == MySQL(mysqldump_options=given).mysqldump_options


def test_flags_are_spelled_out():
    """One letter after another, up to one that takes the rest as its value; underscores are dashes."""
    assert list(spelled_out(["-vhfoo", "--Loose-Skip_Events", "--where=A_B", "value"], "hw")) == [
        "-v", "-h", "--skip-events", "--where=A_B",
    ]  # fmt: skip
    assert omitted(["--skip_triggers", "--disable-routines", "--no-data"]) == {"triggers", "routines"}


def test_options_may_be_normalised_again():
    """A backend that is copied with another option keeps the rest, and refuses a list that is none."""
    first = MySQL(mysql_options="-h 'a b'", ignore_tables="shop.t", defaults="/x/my.cnf")
    again = replace(first, su="mysql")
    assert (again.mysql_options, again.ignore_tables, again.defaults) == (
        ("-h", "a b"),
        ("shop.t",),
        "/x/my.cnf",
    )
    with pytest.raises(RecipeError, match="ignore_tables: 'orders' names no database"):
        MySQL(ignore_tables=["orders"])


@pytest.mark.parametrize(
    ("listing", "fault"),
    [
        ("-rw------- 1 root root 9 Nov 22 12:00 /x", None),
        ("-r--r-----+ 1 root dump 9 Nov 22 12:00 /x", None),
        ("-rw-r--r-- 1 root root 9 Nov 22 12:00 /x", "can be read by everybody"),
        ("-rw-rw---- 1 root root 9 Nov 22 12:00 /x", "can be changed by others than its owner"),
        ("-rw-----w- 1 root root 9 Nov 22 12:00 /x", "can be changed by others than its owner"),
        ("drwx------ 1 root root 9 Nov 22 12:00 /x", "is no plain file"),
        ("", "is no plain file"),
    ],
)
def test_who_may_read_and_write_an_option_file(listing, fault):
    """The mode that ls shows decides: it may hold a password, and says where a dump comes from."""
    assert file_fault(listing) == fault


def test_a_client_says_how_it_would_connect():
    """Long and short words of --print-defaults are understood, and the last one of a kind wins."""
    printed = """mysql would have been started with the following arguments:
--user=root --password=***** --socket=/s --user=other -hdb1 -P 33 --port 34 --quick """
    assert connection(printed) == {"user": "other", "socket": "/s", "host": "db1", "port": "34"}


def bound(tools: str, version: str, *more: str, grants: Sequence[str] = (), **options: object) -> MySQL:
    """Return a backend on a host with such programs and such a server, which has `shop` and `mysql`."""
    granted = grants or ["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"]
    databases = [f"database\t{name.encode().hex()}" for name in ("shop", "mysql", "SYS")]
    server = "\n".join([f"server\t{version}\troot@localhost", *databases, *more, *granted])

    def answer(argv: Sequence[str]) -> bytes:
        if argv[0] == "ls":
            return b"-rw------- 1 root root 9 Nov 22 12:00 /x"
        if "--print-defaults" in argv or any("generation_expression" in word for word in argv):
            return b""
        return (tools if argv[0] == "sh" else server).encode()

    return MySQL(**options).on(answer)


FLAGS = ["--quick", "--routines", "--events", "--triggers", "--hex-blob", "--max-allowed-packet=1G",
         "--create-options", "--quote-names", "--set-charset", "--tz-utc", "--skip-add-locks"]  # fmt: skip
OURS = ["--default-character-set=utf8mb4", "--skip-force"]
HISTORY = "system_versioning_insert_history\tOFF"


@pytest.mark.parametrize(
    ("make", "argv"),
    [
        (lambda: bound(MYSQL_8, "8.0.36", defaults="/x/my.cnf", mysqldump_options="-h db1"),
         ["mysqldump", "--defaults-file=/x/my.cnf", *OURS, "--single-transaction", *FLAGS, "--no-tablespaces",
          "--set-gtid-purged=OFF", "-h", "db1", "--databases", "--", "shop"]),
        (lambda: bound(MYSQL_8, "10.6.1-MariaDB", ignore_tables=["shop.a b", "other.t"]),
         ["mysqldump", *OURS, "--single-transaction", *FLAGS, "--no-tablespaces", "--set-gtid-purged=OFF",
          "--column-statistics=0", "--ignore-table=shop.a b", "--databases", "--", "shop"]),
        (lambda: bound(MARIADB, "10.11.19-MariaDB", HISTORY, "history\t73686f70", "unsafe\t73686f70\t6d"),
         ["mariadb-dump", *OURS, *FLAGS, "--no-tablespaces", "--dump-history",
          "--skip-single-transaction", "--lock-tables", "--databases", "--", "shop"]),
        (lambda: bound(MARIADB, "10.6.1-MariaDB", "history\t73686f70", "unsafe\t73686f70\t6d",
                       ignore_tables=["shop.m"], mysqldump_options="--skip-dump-history"),
         ["mariadb-dump", *OURS, "--single-transaction", *FLAGS, "--no-tablespaces", "--ignore-table=shop.m",
          "--databases", "--", "shop"]),
    ],
    ids=["MySQL 8", "MySQL's client, MariaDB's server", "locks and history", "ignored, without history"],
)  # fmt: skip
def test_the_command_of_a_database(make: Callable[[], MySQL], argv):
    """The option file is first, ours come before the operator's words, and the name is last, after `--`."""
    backend = make()
    assert backend.get_db_list() == ["shop", "mysql", "SYS"]
    assert backend.get_command("shop") == argv


@pytest.mark.parametrize(
    ("words", "given", "word"),
    [
        ("--no-data", "", "--no-data"), ("--no_data", "", "--no_data"), ("--no-dat", "", "--no-dat"),
        ("--loose-no-data=1", "", "--loose-no-data=1"), ("--no-data=0", "", ""), ("--user=no-data", "", ""),
        ("--quick --ignore-table=shop.t", "", "--ignore-table=shop.t"), ("--where=a > 1", "", "--where=a"),
        ("", "--no-data", ""), ("--quick", "--where a", ""), ("--no-data", "--no-data", "--no-data"),
        ("--single-transaction --skip-opt", "", ""), ("--as-of=2026-01-01", "", "--as-of=2026-01-01"),
        ("--no-data --no-data=0", "", ""), ("--skip-no-data", "", ""), ("--skip-no-data --no-data", "", "--no-data"),
        ("--ignore-error=1146", "", "--ignore-error=1146"), ("--no-create-info", "", "--no-create-info"),
    ],
)  # fmt: skip
def test_what_an_option_file_leaves_out(words, given, word):
    """Not what the operator's own words do, which the manifest shows."""
    printed = f"mysqldump would have been started with the following arguments:\n{words} {given}\n"
    assert incomplete(printed, given.split()) == word


def test_a_host_that_only_the_client_heeds_is_refused():
    """MariaDB's client takes MYSQL_HOST, its dump program does not."""
    with pytest.raises(RecipeError, match="MYSQL_HOST"):
        MySQL(env={"MYSQL_HOST": "db2", "MYSQL_PWD": "x"})
    assert "MYSQL_HOST" in MySQL().hidden_variables


def test_users_are_dumped_as_each_make_can():
    """MariaDB's program knows how; for MySQL it is the tables of accounts, and a FLUSH after they are loaded."""
    maria, mysql = bound(MARIADB, "10.11.19-MariaDB"), bound(MYSQL_8, "8.0.36")
    assert maria.get_globals_command() == ["mariadb-dump", *OURS, "--insert-ignore", "--system=users"]
    assert maria.get_restore_command("@globals") == ["mariadb", *OURS, "--binary-mode"]
    command = mysql.get_globals_command()
    assert command[-11:-9] == ["mysql", "user"]
    assert command[-12] == "--"
    assert {"--replace", "--no-create-info", "--set-gtid-purged=OFF"} < set(command)
    assert mysql.get_restore_command("@globals")[2:] == [
        '"$@" && exec "$@" --execute="FLUSH PRIVILEGES"', "sh", "mysql", *OURS, "--binary-mode", "--database=mysql",
    ]  # fmt: skip
    assert bound(MYSQL_8, "8.0.36", globals=False).get_globals_command() is None
    assert bound(MYSQL_5_6, "5.6.51").get_globals_command() is None


@pytest.mark.parametrize("name", ["information_schema", "INFORMATION_SCHEMA", "performance_schema", "sys"])
def test_what_the_server_makes_itself_is_skipped(name):
    """Virtual databases are left out by rule."""
    with pytest.raises(Skip, match="made by the server itself"):
        bound(MARIADB, "10.11.19-MariaDB").get_command(name)


def test_a_database_that_only_looks_like_one_of_those_is_dumped():
    """Linux tells `SYS` from `sys`, and a server there lets users make it."""
    assert bound(MARIADB, "10.11.19-MariaDB").get_command("SYS")[-1] == "SYS"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bound(MYSQL_8, "10.6.1-MariaDB", "packages\t73686f70"),
         "that of MySQL would silently leave out the packages of shop"),
        (lambda: bound(MARIADB.replace("10.11.19", "10.2.44"), "10.6.1-MariaDB", "packages\t73686f70"),
         "10.2.44-MariaDB would silently leave out the packages of shop"),
        (lambda: bound(MARIADB, "10.6.1-MariaDB", "history\t73686f70"),
         "10.11.19-MariaDB would silently leave out the history of the tables of shop"),
        (lambda: bound(MARIADB, "10.6.1-MariaDB", grants=["GRANT USAGE ON *.* TO `u`@`h`"]),
         "user root@localhost has no SELECT"),
    ],
    ids=["packages", "packages, older", "history", "grants"],
)  # fmt: skip
def test_a_silent_loss_is_refused(make: Callable[[], MySQL], message):
    """What the program would leave out without a word fails that database, with a way out."""
    with pytest.raises(StageError) as caught:
        make().get_command("shop")
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["nl\nx", "q'q", 'd"q', "b\\s"])
def test_events_of_a_database_whose_name_is_escaped_are_refused(name):
    """mysqldump would look for them in a database of another name."""
    backend = bound(MARIADB, "10.11.19-MariaDB", f"events\t{name.encode().hex()}")
    with pytest.raises(StageError, match="cannot dump the events"):
        backend.get_command(name)
    backend = bound(MARIADB, "10.11.19-MariaDB", f"events\t{name.encode().hex()}", mysqldump_options="--skip-events")
    assert backend.get_command(name)[-1] == name


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("ERROR 1045 (28000): Access denied for user 'u'@'h' (using password: YES)", "Look at user and password"),
        ("mariadb-dump: Got error: 1044: \"Access denied for user 'd'@'h' to database 'shop'\" when using LOCK TABLES",
         "GRANT LOCK TABLES"),
        ("mariadb-dump: Got error: 1049: \"Unknown database 'x'\" when selecting the database", "It was dropped"),
        ("ERROR 2002 (HY000): Can't connect to local server through socket '/s' (2)", "Is the server there?"),
        ("mariadb-dump: Couldn't execute 'SHOW FIELDS FROM `v`': View 's.v' references invalid (1356)", "Mend"),
        ("mysqldump: Error 1412: Table definition has changed, please retry transaction", "A table was altered"),
        ("mysqldump: Error 2013: Lost connection during query when dumping table `t` at row: 9", "The server"),
        ("mariadb-dump: Couldn't execute 'SHOW PACKAGE STATUS WHERE Db = 'x'': (1064)", "This mariadb"),
        ("mysqldump: SELECT command denied to user 'l'@'h' for table `mysql`.`user` (1142)", "GRANT SELECT ON mysql.*"),
        ("something else", ""),
    ],
)  # fmt: skip
def test_known_messages_have_a_hint(message, hint):
    """What an operator meets is told with what to do."""
    found = MySQL().hint(message)
    assert found.startswith(hint)
    assert bool(found) == bool(hint)
