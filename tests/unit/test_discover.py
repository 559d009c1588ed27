"""Finding recipe files: which are read, which are refused, and what is said of them."""

from __future__ import annotations

import grp
import os
import pwd
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from resources import recipe_file

from dbdump.discover import discover, recipe_directory, select
from dbdump.errors import NothingMatched, RecipeError

ONE = """
@recipe(localhost, tags=["x"])
def one(host): return Dump(SQLite(path="/a"))
"""


def ids(directory) -> list[str]:
    """Return the ids of the recipes in a directory."""
    found = discover(directory)
    assert not found.errors
    return [recipe.id for recipe in found.recipes]


def test_the_directory_is_named_or_here(monkeypatch, tmp_path):
    """The flag, then the variable, then ./recipes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBDUMP_RECIPES", raising=False)
    assert recipe_directory(None) == tmp_path / "recipes"
    monkeypatch.setenv("DBDUMP_RECIPES", "/etc/dbdump")
    assert str(recipe_directory(None)) == "/etc/dbdump"
    assert str(recipe_directory("/flag")) == "/flag"


def test_files_in_order_but_helpers(tmp_path):
    """Files are read by name; one that begins with _ is only for others to import, by either spelling."""
    recipe_file(tmp_path, "shared = Directory('/d')", "_site.py")
    recipe_file(tmp_path, "from recipes._site import shared" + ONE, "b.py")
    recipe_file(tmp_path, "from ._site import shared" + ONE.replace("one", "two"), "a.py")
    assert ids(tmp_path / "recipes") == ["localhost/two", "localhost/one"]


def test_nothing_beside_the_directory_is_imported(tmp_path, monkeypatch):
    """A module in the current directory, or on sys.path, does not stand in for a recipe file."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipes").mkdir()
    (tmp_path / "other" / "recipes" / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.syspath_prepend(tmp_path / "other")
    recipe_file(tmp_path, ONE)
    found = discover(recipe_file(tmp_path, "import recipes.evil", "b.py"))
    assert [error.message for error in found.errors] == [
        f"{tmp_path}/recipes/b.py:{_line(tmp_path / 'recipes' / 'b.py', 'import recipes.evil')}: "
        "ModuleNotFoundError: No module named 'recipes.evil'"
    ]


def _line(path, text: str) -> int:
    return path.read_text().splitlines().index(text) + 1


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "1 / 0", "import no_such_module", "def ("])
def test_a_file_that_is_broken_is_reported_with_its_line(tmp_path, text):
    """Whatever a file does wrong, it is named with its line, and the others are read."""
    recipe_file(tmp_path, ONE, "good.py")
    found = discover(recipe_file(tmp_path, text, "broken.py"))
    assert [recipe.id for recipe in found.recipes] == ["localhost/one"]
    line = _line(tmp_path / "recipes" / "broken.py", text)
    assert found.errors[0].message.startswith(f"{tmp_path}/recipes/broken.py:{line}: ")


_CODE = st.lists(
    st.sampled_from([
        "from dbdump import *", "@recipe(localhost)", "def one(host): return 1", "def one(): pass", "recipe(1)",
        "raise SystemExit", "raise RecipeError('x\\ny')", "raise RecipeError('x')", "1 / 0", "\0", "\f", "(",
        "# coding: none", "import recipes.b", "from . import c", "Site(hosts=[1]).recipe(one)", "\ufeff",
    ])
).map(lambda lines: "\n".join(lines).encode())  # fmt: skip
_NAMES = st.sampled_from(["a", "b", "c", "", ".", "x.y", "é", "a b", "os", "recipes", "ü" * 100])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_NAMES, _CODE | st.binary(max_size=40), max_size=4))
@example({"a": b"# coding: none"})
@example({"": b"", "x.y": b"1"})
def test_whatever_is_in_the_files_the_good_one_is_found(files):
    """Each other file gives recipes, or is an error that names it."""
    with tempfile.TemporaryDirectory() as top:
        good = recipe_file(Path(top), ONE.replace("one", "good"), "good.py")
        for name, content in files.items():
            (good / f"{name}.py").write_bytes(content)
            (good / f"{name}.py").chmod(0o600)
        try:
            found = discover(good)
        except RecipeError as error:
            assert error.message.startswith("two recipes are called")  # noqa: PT017  it need not be raised
            return
    assert "localhost/good" in [recipe.id for recipe in found.recipes]
    assert len(found.errors) <= len(files)
    assert all(error.message.startswith(str(good)) for error in found.errors)


def test_what_a_broken_file_declared_before_it_broke_is_not_used(tmp_path):
    """A file is read whole, or not at all."""
    found = discover(recipe_file(tmp_path, ONE + "1 / 0"))
    assert not found.recipes
    assert len(found.errors) == 1


def test_an_unsafe_file_is_not_run_by_another_one(tmp_path):
    """What others can write is not imported either, by a file that is safe."""
    recipe_file(tmp_path, "from recipes.b import x" + ONE, "a.py")
    directory = recipe_file(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\nx = 1", "b.py")
    (directory / "b.py").chmod(0o666)
    found = discover(directory)
    assert len(found.errors) == 2
    assert not (tmp_path / "ran").exists()


def test_a_broken_file_takes_nothing_of_another_one_along(tmp_path):
    """What a broken file had imported is declared all the same."""
    recipe_file(tmp_path, "from recipes.b import one\n1 / 0", "a.py")
    found = discover(recipe_file(tmp_path, ONE, "b.py"))
    assert [recipe.id for recipe in found.recipes] == ["localhost/one"]
    assert len(found.errors) == 1


def test_a_file_is_no_directory_of_recipes(tmp_path):
    """Who names the file itself is told what to name."""
    recipe_file(tmp_path, ONE)
    (file,) = (tmp_path / "recipes").glob("*.py")
    with pytest.raises(RecipeError, match="not a directory") as raised:
        discover(file)
    assert str(file.parent) in raised.value.hint


def test_two_recipes_of_one_id_stop_everything(tmp_path):
    """Which of them is meant cannot be known; both places are named."""
    recipe_file(tmp_path, ONE, "a.py")
    with pytest.raises(RecipeError, match=r"two recipes are called localhost/one: .*a\.py:\d+ and .*b\.py:\d+"):
        discover(recipe_file(tmp_path, ONE, "b.py"))


@pytest.mark.parametrize("other", ['ssh="b"', ""])
def test_two_machines_of_one_name_stop_everything(tmp_path, other):
    """Their dumps would be stored in one place, and pruned as those of one; both files are named."""
    text = '@recipe(Host("db1", {}))\ndef {}(host): ...\n'
    recipe_file(tmp_path, text.format('ssh="a"', "one"), "a.py")
    directory = recipe_file(tmp_path, text.format('ssh="a", per_host=1, transport="openssh"', "two"), "b.py")
    assert ids(directory) == ["db1/one", "db1/two"]
    recipe_file(tmp_path, text.format(other, "three"), "c.py")
    with pytest.raises(RecipeError, match=r"host 'db1' .* ways: .*a\.py:\d+ and .*c\.py:\d+") as caught:
        discover(directory)
    assert "Give two machines two names" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [("Host('a', transport='ssh')", "Host(transport='ssh')", '"fabric" and "openssh"'),
     ("Directory('~nobody-is-called-so')", "~nobody-is-called-so", "")],
)  # fmt: skip
def test_the_hint_of_whatever_is_refused_is_told(tmp_path, text, said, hint):
    """A value that is refused in a file, and in no function, keeps its own words."""
    (error,) = discover(recipe_file(tmp_path, text)).errors
    assert said in error.message
    assert "Error" not in error.message
    assert hint in error.hint
    assert error.hint not in ("", "Mend the recipe file.")


def test_a_missing_directory(tmp_path):
    """It says where it looked and how to name another."""
    with pytest.raises(RecipeError, match="nowhere: no such file or directory") as caught:
        discover(tmp_path / "nowhere")
    assert "--recipes" in caught.value.hint


def test_what_others_can_write_is_refused(tmp_path):
    """A file or helper or directory that others can write could hold anybody's code."""
    recipe_file(tmp_path, "x = 1", "_helper.py")
    directory = recipe_file(tmp_path, ONE, "a.py")
    (package := directory / "shared").mkdir()
    (package / "__init__.py").touch()
    for path in (directory, directory / "_helper.py", package, package / "__init__.py"):
        before = path.stat().st_mode
        path.chmod(0o777)
        with pytest.raises(RecipeError, match=f"{path}: others can write it"):
            discover(directory)
        path.chmod(before)
    (directory / "a.py").chmod(0o602)
    assert "others can write it" in discover(directory).errors[0].message


def test_a_group_of_one_s_own_may_write(tmp_path):
    """umask 002 makes files that the owner's own group can write, and nobody else is in it."""
    directory = recipe_file(tmp_path, ONE)
    alone = _group_is_own()
    directory.chmod(0o770)
    if alone:
        assert ids(directory) == ["localhost/one"]
    else:
        with pytest.raises(RecipeError, match="others can write it"):
            discover(directory)


def _group_is_own() -> bool:
    me = pwd.getpwuid(os.geteuid())
    members = {
        *grp.getgrgid(me.pw_gid).gr_mem,
        *(each.pw_name for each in pwd.getpwall() if each.pw_gid == me.pw_gid),
    }
    return members == {me.pw_name}


@pytest.mark.skipif(os.geteuid() != 0, reason="chown is root's")
def test_what_somebody_else_owns_is_refused(tmp_path):
    """A recipe runs with our rights, so it has to be ours, or root's; and a shared group may not write it."""
    directory = recipe_file(tmp_path, ONE)
    os.chown(directory / "site.py", 65534, -1)
    assert "belongs to another user" in discover(directory).errors[0].message
    os.chown(directory / "site.py", 0, grp.getgrnam("users").gr_gid)
    (directory / "site.py").chmod(0o660)
    shared = grp.getgrnam("users").gr_mem or [e for e in pwd.getpwall() if e.pw_gid == grp.getgrnam("users").gr_gid]
    assert bool(discover(directory).errors) == bool(shared)


def test_selection(tmp_path):
    """Hosts and names are globs, tags are names; all of them have to fit."""
    recipes = discover(recipe_file(tmp_path, """
        for name in ("web1", "web2", "db1"):
            @recipe(Host(name), tags=["prod"] if name != "web2" else ["test"])
            def shop(host): ...
        """)).recipes  # fmt: skip

    def chosen(*arguments) -> list[str]:
        return [recipe.host.name for recipe in select(recipes, *arguments)]

    assert chosen([], [], []) == ["web1", "web2", "db1"]
    assert chosen(["web*", "db1"], [], []) == ["web1", "web2", "db1"]
    assert chosen(["web*"], ["sh*"], ["prod"]) == ["web1"]
    assert chosen(["web*"], ["sh*"], ["prod", "test"]) == ["web1", "web2"]
    for nothing in (
        (["nobody"], [], []),
        ([], ["x"], []),
        ([], [], ["x"]),
        (["web1", "nobody"], [], []),
        ([], ["shop", "x"], []),
        ([], [], ["prod", "x"]),
        (["web1"], [], ["test"]),
    ):
        with pytest.raises(NothingMatched) as caught:
            chosen(*nothing)
        assert "There are these" in caught.value.hint
    with pytest.raises(NothingMatched):
        select([], [], [], [])


def test_loading_again_reads_again(tmp_path):
    """A second discovery in one process sees what the files say now."""
    sys.dont_write_bytecode = True
    directory = recipe_file(tmp_path, ONE)
    assert ids(directory) == ["localhost/one"]
    recipe_file(tmp_path, ONE.replace("def one", "def other"))
    assert ids(directory) == ["localhost/other"]


def test_what_recipe_files_print_goes_to_stderr(tmp_path, capfd):
    """stdout is promised to others: what files, and the functions in them, or what they start, write goes elsewhere."""
    talks = "import os, sys\nprint('file')\nos.system('echo child')\nprint('real', file=sys.__stdout__)\n"
    directory = recipe_file(tmp_path, talks + ONE.replace("def one(host): ", "def one(host): print('function'); "))
    sys.stdout.write("before\n")
    (found,) = discover(directory).recipes
    found.dump()
    sys.stdout.write("after\n")
    said = capfd.readouterr()
    assert said.out == "before\nafter\n"
    assert sorted(said.err.split()) == ["child", "file", "function", "real"]
