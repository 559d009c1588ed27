"""Recipes, options, redaction, plans and reports: values and the rules for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

import dbdump
from dbdump import (
    GPG,
    Backend,
    Directory,
    Dump,
    Gzip,
    Host,
    Keep,
    ListError,
    PostgreSQL,
    RecipeError,
    Remote,
    Site,
    SQLite,
    StreamShape,
    Zstd,
    backend,
    localhost,
    recipe,
)
from dbdump.backends.postgresql_restore import whole_name
from dbdump.backends.postgresql_server import major, major_of_number
from dbdump.backends.words import refuse_words, spelled_out, words
from dbdump.errors import DbdumpError, StageError, UsageError
from dbdump.flags import as_invoke_spells
from dbdump.overrides import Overrides, ad_hoc, jobs_of, positive, refuse_empty, split_options
from dbdump.plan import (
    checked_argv,
    checked_backend,
    checked_secrets,
    chosen_wrappers,
    empty_bytes,
    matches,
    retries_of,
    selected,
)
from dbdump.recipes import taken
from dbdump.redact import looks_secret, redact
from dbdump.report import Result, exit_code, summary
from dbdump.user import User
from dbdump.wrappers.compress import Compress

DB = SQLite(path="/srv/app.db")


def test_the_public_names():
    """What a recipe may import is pinned: a name less is a change for everybody."""
    assert sorted(dbdump.__all__) == [
        "Backend", "DbdumpError", "Directory", "Dump", "DumpError", "GPG", "Gzip", "Host", "Keep", "ListError",
        "MySQL", "PostgreSQL", "RecipeError", "Remote", "SQLite", "Sink", "Site", "Skip", "StreamShape", "Wrapper",
        "Writer", "Zstd", "backend", "localhost", "option", "recipe",
    ]  # fmt: skip
    assert all(getattr(dbdump, name).__doc__ for name in dbdump.__all__)
    assert {*dbdump.__all__, "__version__"} <= {*dir(dbdump)}


def test_no_other_name_is_public():
    """Who misspells one is told of the module that was asked, as of any other."""
    with pytest.raises(AttributeError, match="module 'dbdump' has no attribute 'Postgres'"):
        dbdump.Postgres  # noqa: B018  it raises


def test_a_recipe_is_a_value_with_a_title():
    """Declaring one runs nothing; its id, tags and title are for the listing."""

    @recipe(Host("db1"), tags=["prod"])
    def shop(host: Host) -> Dump:
        """All of the shop.

        More.
        """
        raise AssertionError(host)

    (declared,) = taken()
    assert (declared.id, declared.tags, declared.title) == ("db1/shop", ("prod",), "All of the shop.")
    assert shop.__name__ == "shop"
    assert not taken()


def test_a_site_gives_its_hosts_defaults():
    """Field by field the recipe wins over the site; lists replace, and only= chooses hosts."""
    web = [Host(f"web{number}") for number in (1, 2, 3)]
    site = Site(hosts=web, wrap=[Gzip()], to=Directory("/site"), stall_timeout=5, keep=Keep(last=9))

    @site.recipe
    def every(_: Host) -> Dump:
        return Dump(DB, wrap=[Zstd(9)])

    @site.recipe(only=["web3"], tags=["x"])
    def one(_: Host) -> Dump:
        return Dump(DB, to=Directory("/own"), keep=Keep(daily=3))

    declared = {each.id: each for each in taken()}
    assert list(declared) == ["web1/every", "web2/every", "web3/every", "web3/one"]
    assert declared["web1/every"].dump() == Dump(DB, [Zstd(9)], Directory("/site"), 5, keep=Keep(last=9))
    assert declared["web3/one"].dump() == Dump(DB, [Gzip()], Directory("/own"), 5, keep=Keep(daily=3))
    with pytest.raises(RecipeError, match="not a host of this site"):
        site.recipe(only=["web4"])(every)


@pytest.mark.parametrize(
    ("make", "cause"),
    [(lambda _: None, "returned NoneType, not a Dump"), (lambda _: 1 // 0, "ZeroDivisionError"),
     (lambda _: sys.exit(), "SystemExit"), (lambda _: Dump(DB, keep=7), "keep=7: not a Keep"),
     (lambda _: Dump(DB, keep=Keep()), "keeps nothing"),
     (lambda _: Dump(SQLite()), "sqlite needs a path"), (lambda _: Dump(PostgreSQL(format="tar")), "no format")],
)  # fmt: skip
def test_a_recipe_that_goes_wrong_is_named(make, cause):
    """The error has its file, its id and its cause."""
    recipe(localhost)(make)
    (declared,) = taken()
    with pytest.raises(RecipeError, match=cause) as caught:
        declared.dump()
    assert __file__ in caught.value.message
    assert caught.value.hint


def test_what_is_no_host_is_refused():
    """A string in place of a Host, or a host without a name, is an error at once."""
    with pytest.raises(RecipeError, match="not a host"):
        recipe("db1")
    with pytest.raises(UsageError, match="needs a name"):
        Host("")


@pytest.mark.parametrize(
    "options", [{"retries": "2"}, {"retries": -1}, {"retries": 1.5}, {"retries": True}, {"per_host": "2"},
                {"per_host": 0}, {"transport": "ssh"}, {"ssh": ""}, {"ssh": 5}],
)  # fmt: skip
def test_what_a_host_cannot_be_told(options):
    """It is refused where it is written, by its name."""
    with pytest.raises(UsageError, match=next(iter(options))) as caught:
        Host("db1", **options)
    assert caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"retries": "2"}, {"retries": -1}, {"retries": True}, {"transport": "telnet"}, {"path": ""}]
)
def test_what_a_remote_cannot_be_told(wrong):
    """The same, far away."""
    with pytest.raises(RecipeError, match=rf"Remote\({next(iter(wrong))}="):
        Remote("vault", **{"path": "dumps", **wrong})


def test_keys_of_other_signers_are_fingerprints():
    """An address could become somebody else's."""
    with pytest.raises(RecipeError, match="not a list of fingerprints"):
        GPG(sign="a", accept=["a@example.org"])


@pytest.mark.parametrize(
    ("host", "to", "expected"),
    [(None, None, 0), (Host("a"), None, 1), (Host("a", retries=0), None, 0), (None, "", 1), (None, 0, 0), (None, 3, 3),
     (Host("a"), 0, 0), (Host("a"), 3, 3), (Host("a", retries=0), "", 0), (Host("a", retries=2), 0, 2),
     (Host("a"), "", 1)],
)  # fmt: skip
def test_how_often_a_lost_connection_is_tried_again(host, to, expected):
    """As the host and where it goes say; who says nothing overrules nobody."""
    where = Directory("/x") if to is None else Remote("vault", "dumps", **({} if to == "" else {"retries": to}))
    assert retries_of(host, where) == expected


class Whole:
    """A wrapper that has all it has to."""

    suffix, program = ".whole", "cat"

    def on(self, *_):
        """Return it."""
        return self

    def command(self):
        """Return what wraps."""
        return ["cat"]

    def inverse(self):
        """Return what unwraps."""
        return ["cat"]

    def most_bytes(self, size):
        """Return the bound."""
        return size


@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [("suffix", None, "its suffix is None"), ("suffix", "whole", "'whole' is not a dot and one word"),
     ("suffix", ".tar.x", "'.tar.x' is not a dot and one word"), ("suffix", ".json", "beside a dump"),
     ("program", None, "its program is None"), ("program", "", "its program is ''"), ("on", None, "no on()"),
     ("command", None, "no command()"), ("inverse", None, "no inverse()"), ("most_bytes", 3, "no most_bytes()")],
)  # fmt: skip
def test_a_wrapper_that_lacks_something_is_refused_when_it_is_read(attribute, value, told):
    """Of whoever made it, before anything is dumped: later it would be a bug, or a dump that verify cannot read."""
    assert Dump(DB, wrap=[Whole()])
    broken = type("Broken", (Whole,), {attribute: value})
    with pytest.raises(RecipeError, match=re.escape(told)) as caught:
        Dump(DB, wrap=[Zstd(), broken()])
    assert "wrap" in caught.value.hint


def jobs(*dumps: Dump, overrides: Overrides | None = None):
    """Return the jobs of recipes that return `dumps`."""
    for index, dump in enumerate(dumps):
        function = eval(f"lambda _: dump_{index}", {f"dump_{index}": dump})  # noqa: S307
        function.__name__ = f"r{index}"
        recipe(localhost)(function)
    return jobs_of(taken(), overrides or Overrides())[0]


def test_defaults_are_the_last_to_speak():
    """What nobody says is /var/backups and ten minutes; wrap waits for the host."""
    (job,) = jobs(Dump(DB))
    assert job.dump == Dump(DB, None, Directory("/var/backups"), 600.0)


def test_flags_are_the_first_to_speak():
    """Flags win over the recipe, each option where the backend has it."""
    overrides = Overrides("/flag", {"su": ["joe"], "psql_options": ["-v 'a b'"], "port": ["5433"]})
    first, second = jobs(Dump(PostgreSQL(su="x"), to=Directory("/own")), Dump(replace(DB, format="sql")),
                         overrides=overrides)  # fmt: skip
    assert first.dump.to == second.dump.to == Directory("/flag")
    assert (first.dump.backend.su, second.dump.backend.su) == ("joe", "joe")
    assert (first.dump.backend.psql_options, first.dump.backend.port) == (("-v", "a b"), 5433)


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"no_such": ["1"]}, "no option 'no_such'"), ({"port": ["x"]}, "'x' is no int"), ({"port": ["1", "2"]}, "2 times"),
     ({"globals": ["maybe"]}, "'maybe' is no bool"), ({"env": ["A=b"]}, "not on a command line"),
     ({"psql_options": ["'open"]}, "cannot split"), ({"format": ["tar"]}, "no format")],
)  # fmt: skip
def test_options_that_make_no_sense(options, cause):
    """A wrong option is a usage error with a hint."""
    with pytest.raises(UsageError, match=cause) as caught:
        ad_hoc("postgresql", [], Overrides(None, options))
    assert caught.value.hint


def test_ad_hoc_jobs():
    """Flags alone make a job of the backend's name, for localhost or the hosts that are named."""
    options = split_options(["globals=no", "exclude=a", "exclude=b", "lock-wait-timeout=1.5"])
    (job,) = ad_hoc("postgresql", [], Overrides("/d", options))
    assert job.id == "localhost/postgresql"
    assert job.dump.backend == PostgreSQL(globals=False, exclude=["a", "b"], lock_wait_timeout=1.5)
    assert [job.id for job in ad_hoc("postgresql", ["a", "b"], Overrides())] == [
        "a/postgresql",
        "b/postgresql",
    ]


def test_an_option_that_nobody_has():
    """An override that fits no selected recipe is a usage error, not silence."""
    with pytest.raises(UsageError, match="no selected recipe's backend has the option 'port'"):
        jobs(Dump(DB), overrides=Overrides(None, {"port": ["1"]}))


def test_places_that_overlap():
    """Equal or nested places are refused; neighbours are not."""
    assert len(jobs(Dump(DB, to=Directory("/a")), Dump(DB, to=Directory("/a")))) == 2
    with pytest.raises(RecipeError, match="would write to one place"):
        jobs(Dump(DB, to=Directory("/a")), Dump(DB, to=Directory("/a/localhost/r0/x")))


def test_pairs_and_numbers_of_flags():
    """--option takes key=value, --jobs a number."""
    assert split_options(["a-b=1", "c==", "a-b=2"]) == {"a_b": ["1", "2"], "c": ["="]}
    assert (positive("--jobs", None), positive("--jobs", "3")) == (None, 3)
    for bad in ("", "0", "-1", "x", "1.5"):
        with pytest.raises(UsageError, match="--jobs="):
            positive("--jobs", bad)
    with pytest.raises(UsageError, match="no key=value"):
        split_options(["=1"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [([], []), (["--backend=x"], ["dump", "--backend=x"]), (["dump", "--su=x"], ["dump", "--su=x"]),
     (["--pg_dump-options=-x -y"], ["dump", "--pg-dump-options=-x -y"]), (["--list"], ["--list"]),
     (["dump", "--pg_dump-options", "-x"], ["dump", "--pg-dump-options", "-x"]),
     (["--su", "x"], ["dump", "--su", "x"])],
)  # fmt: skip
def test_the_original_s_spelling(argv, expected):
    """Flags without a task mean dump, and the original's spelling of one is known."""
    assert as_invoke_spells(argv) == expected


def test_words():
    """An option string is split as a shell splits; a list is left alone."""
    assert words("-h 'a b' \"c\"") == ("-h", "a b", "c")
    assert words(["a b"]) == ("a b",)


@pytest.mark.parametrize("text", ["--password=x", "postgres://u:secret@h/d", "'password=x y'", "PGPASSWORD=x"])
def test_passwords_in_options_are_refused(text):
    """An argument is there for everybody to see."""
    with pytest.raises(RecipeError, match="password"):
        words(text)


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"psql_options": "-h a"}, "psql would ask host a, but pg_dump would dump host default"),
     ({"psql_options": "-p 1", "pg_dump_options": "--port=2"}, "psql would ask port 1, but pg_dump would dump port 2"),
     ({"psql_options": "-Ua", "user": "b"}, "the user is given twice")],
)  # fmt: skip
def test_one_server_is_listed_and_dumped(options, cause):
    """Option strings that lead to two servers are refused; what they agree on is for the other tools too."""
    with pytest.raises(RecipeError, match=cause):
        PostgreSQL(**options)
    agreed = PostgreSQL(host="old", psql_options="-h a -p1", pg_dump_options="--host=a --port 1 -U joe")
    assert (agreed.host, agreed.port) == ("a", 1)
    globals_, restore = agreed.get_globals_command(), agreed.get_restore_command("x")
    assert {"--username=joe", "--dbname=host=a port=1 dbname=postgres"} <= set(globals_) & set(restore)


def test_flags_that_are_empty():
    """A variable that is not set is not the default."""
    refuse_empty({"--host": ["a"], "--su": None, "--tag": ()})
    for value in ("", ["a", ""]):
        with pytest.raises(UsageError, match="--host is empty"):
            refuse_empty({"--host": value})


@pytest.mark.parametrize(
    ("change", "cause"),
    [({"include": "shop_*"}, "include='shop_.' is not a list"), ({"exclude": "x"}, "is not a list")],
)
def test_globs_that_are_no_list(change, cause):
    """A string where a list belongs would choose by letters; it is refused."""
    with pytest.raises(RecipeError, match=cause):
        checked_backend(replace(DB, **change))


def test_a_backend_that_could_not_be_found_again():
    """One without a name, or whose suffix would not be read back, is refused before it dumps."""

    class Nameless(SQLite):
        name = ""

    class Dotless(SQLite):
        suffix = "x-y"

    for made, cause in ((Nameless(path="/x"), "has no name"), (Dotless(path="/x"), "suffix 'x-y'")):
        with pytest.raises(RecipeError, match=cause):
            checked_backend(made)


def test_tags_that_are_no_list():
    """A string is no list of tags."""
    with pytest.raises(RecipeError, match="tags='prod': not a list"):
        recipe(localhost, tags="prod")(lambda _: Dump(DB))


def test_a_database_s_name_is_no_secret():
    """A name that looks like a password, or is one, does not stop the dump; a secret beside it does."""
    assert checked_argv(["x", "--dbname=password=x"], {}, "password=x")
    assert checked_argv(["x", "--dbname=dbname=postgres"], {"PGPASSWORD": "postgres"}, "postgres")
    with pytest.raises(RecipeError, match="a secret"):
        checked_argv(["x", "--key=s3cr3t", "shop"], {"KEY": "s3cr3t"}, "shop")


@pytest.mark.parametrize("word", ["--file=x", "--fil", "-fx", "-f", "-vOf", "--form=p", "--dbname", "-dx", "-j4"])
def test_options_that_divert_the_dump_are_refused(word):
    """pg_dump may not be told to write elsewhere, or another database."""
    with pytest.raises(RecipeError, match="not yours to give"):
        PostgreSQL(pg_dump_options=[word])


def test_other_options_are_not():
    """What only begins alike is passed on."""
    given = ["--no-owner", "-nf", "f", "--filter=y", "--exclude-table=fd", "--"]
    refuse_words("x", spelled_out(given, "n"), {"-f": "", "--file": ""})


def test_redaction():
    """Known values and what looks like a password are hidden, longest first; the rest stays."""
    assert redact("a s3cr3t-long and s3cr3t", ["s3cr3t", "s3cr3t-long"]) == "a *** and ***"
    assert redact("password='a b' x PGPASSWORD=y mysql://u:p@h", []) == "password=*** x PGPASSWORD=*** mysql://u:***@h"
    assert redact("--dbname=dbname=shop a:b@c", ["b"]) == "--dbname=dbname=shop a:b@c"
    assert not looks_secret("--no-password")


@pytest.mark.parametrize(
    ("first", "end", "fault"),
    [(b"--x", b"x done\n", None), (b"", b"", "empty"), (b"WELCOME", b"x done\n", "begins with b'WELCOME'"),
     (b"--x", b"x", "does not end")],
)  # fmt: skip
def test_the_shape_of_a_stream(first, end, fault):
    """A stream is whole when it begins and ends as it should."""
    found = StreamShape(first=(b"--", b"/*"), last=b"done").fault(first, end)
    assert found is None if fault is None else fault in found


def test_wrappers_for_a_host():
    """zstd by default, gzip where there is none, pigz for gzip; what is asked for is not replaced."""

    def on(programs, *wanted):
        return chosen_wrappers(wanted, programs, lambda argv: pytest.fail(f"asked {argv}"))

    assert on({"zstd", "gzip"}, Compress()) == [Zstd()]
    assert on({"gzip"}, Compress()) == [Gzip()]
    assert on({"gzip", "pigz"}, Gzip(9)) == [Gzip(9, "pigz")]
    for missing in (Zstd(), GPG(encrypt=["ops"])):
        with pytest.raises(StageError, match="not found"):
            on({"gzip"}, missing)
    assert empty_bytes([Zstd(), Gzip()]) == 36
    assert empty_bytes([]) == 0


@pytest.mark.parametrize("make", [lambda: Zstd(0), lambda: Zstd(20), lambda: Gzip(0), lambda: Gzip(10)])
def test_levels_that_there_are_not(make):
    """A level out of range is an error when the recipe is read."""
    with pytest.raises(RecipeError, match="not a level"):
        make()


def test_globs():
    """A database is chosen by name or glob; a name that looks like a glob is a name too."""
    assert matches("a[1]", ["a[1]"])
    assert matches("a1", ["a[1]"])
    assert not matches("A1", ["a*"])
    chosen = PostgreSQL(include=["a*"], exclude=["*z"])
    assert [name for name in ("ab", "az", "b") if selected(name, chosen)] == ["ab"]


@pytest.mark.parametrize("argv", ["a b", [], [1], None])
def test_commands_that_are_none(argv):
    """A command that is no list of words is refused, with the way to write one."""
    with pytest.raises(RecipeError, match="list of words") as caught:
        checked_argv(argv, {})
    assert "[" in caught.value.hint


def test_secrets_that_cannot_be_kept():
    """A secret in an argv, or one that cannot be sent as a line, is refused without being shown."""
    with pytest.raises(RecipeError, match="a secret stands in the arguments of x") as caught:
        checked_argv(["x", "--key=s3cr3t"], {"KEY": "s3cr3t"})
    assert "s3cr3t" not in caught.value.message
    for name, value in {"A B": "x", "A": "x\ny", "B": 5432}.items():
        with pytest.raises(RecipeError, match="environment: "):
            checked_secrets(SQLite(path="/x", env={name: value}))
    assert "s3cr3t" not in repr(SQLite(path="/x", env={"KEY": "s3cr3t"}))


def test_a_backend_that_is_not_bound_asks_nobody():
    """Forgetting to bind a backend to its host is a bug that says so."""
    with pytest.raises(RuntimeError, match="postgresql is not bound"):
        PostgreSQL().output(["psql"])


def test_two_backends_of_one_name():
    """The second class of a name is an error; the same class again is not."""

    def declare(title: str) -> type[Backend]:
        class One(Backend):
            def get_db_list(self):
                return []

            def get_command(self, database):
                return [database]

        One.__qualname__ = title
        return backend("only-one")(One)

    declare("One")
    declare("One")
    with pytest.raises(RecipeError, match="two backends are called 'only-one'"):
        declare("Other")


@pytest.mark.parametrize("name", ["-x", "a b", "", "x;y", "~root"])
def test_names_that_no_user_has(name):
    """What could be an option or shell text is no user."""
    with pytest.raises(UsageError, match="no user name"):
        User(name, "g", "sudo")


def test_the_summary_names_failures_last():
    """What it came to, then each failure with its hint."""
    results = [
        Result("h/r/a", "failed", "pg_dump: bad", "Mend it."),
        Result("h/r/b", "stored", "/d/b", stored_bytes=1500, seconds=1.0),
        Result("h/r/c", "skipped", "template database"),
    ]
    assert summary(results, 2.0) == [
        "1 stored, 1 skipped, 1 failed; 1.5 kB in 2.0 s",
        "FAILED   h/r/a: pg_dump: bad",
        "         hint: Mend it.",
    ]
    assert [result.line for result in results][1:] == ["stored   h/r/b  1.5 kB  1.0 s  /d/b",
                                                      "skipped  h/r/c  template database"]  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "broken", "signal", "expected"),
    [(["stored"], False, None, 0), (["skipped"], False, None, 0), (["stored", "failed"], False, None, 1),
     (["failed"], True, None, 1), (["stored"], True, None, 2), (["failed"], False, 2, 130), ([], False, 15, 143)],
)  # fmt: skip
def test_exit_codes(statuses, broken, signal, expected):
    """A signal outweighs a failure, a failure a broken file."""
    assert exit_code([Result("x", each, "") for each in statuses], broken_files=broken, signal=signal) == expected


def test_errors_have_their_exit_status():
    """Each kind of error that ends a run before it begins has a status of its own."""
    assert {kind.__name__: kind.exit_code for kind in (DbdumpError, UsageError, RecipeError, ListError)} == {
        "DbdumpError": 1, "UsageError": 2, "RecipeError": 2, "ListError": 1,
    }  # fmt: skip


def test_versions_of_postgresql():
    """One number since 10, two before."""
    assert [major(text) for text in ("15.18", "16beta1", "9.6.24")] == [(15,), (16,), (9, 6)]
    assert [major_of_number(number) for number in (150018, 90624)] == [(15,), (9, 6)]


def test_a_name_has_as_many_bytes_as_it_has_in_the_database():
    """PostgreSQL cuts what is longer than 63 bytes of UTF-8, whatever the encoding of names of files is here."""
    said = "from dbdump.backends.postgresql_restore import whole_name; print(len(whole_name('\\xe9' * 31)))"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", said], env=env, capture_output=True, check=False, text=True)
    assert done.stdout == "31\n", done.stderr
    with pytest.raises(UsageError, match="a name of 64 bytes"):
        whole_name("\xe9" * 32)
