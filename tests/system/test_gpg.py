"""Signing and encrypting with a real GnuPG."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from resources import recipe_file
from servers.gnupg import GnuPG
from servers.process import program, wait_for
from support import COMMAND, rows, sqlite_database


@pytest.fixture
def dump(dbdump, gnupg, database, datadir):
    """Dump the database with flags, and return what was said, as the home's owner would see it."""

    def run(*flags: str, home=gnupg, **more):
        return dbdump("dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}", *flags,
                      env={"GNUPGHOME": str(home.home)}, **more)  # fmt: skip

    return run


def only_files(directory: Path) -> list[str]:
    """Return the names of the files below a directory, without their stamps."""
    return sorted(path.name.split(".", 1)[1] for path in directory.rglob("*") if path.is_file())


def manifest_in(directory: Path) -> Path:
    """Return the only manifest below a directory."""
    (path,) = directory.rglob("*.json")
    return path


@pytest.mark.parametrize(
    ("flags", "signs", "encrypts"),
    [
        (["--sign=signer@example.org"], ["signer"], []),
        (["--encrypt=ops@example.org"], [], ["ops"]),
        (["--sign=signer", "--encrypt=ops@example.org", "--encrypt=second"], ["signer"], ["ops", "second"]),
        (["--sign=rsa", "--encrypt=rsa"], ["rsa"], ["rsa"]),
    ],
)
def test_a_dump_is_signed_and_encrypted_and_comes_back(dump, gnupg, database, datadir, flags, signs, encrypts):
    """The manifest has full fingerprints, and its own line, plain gpg --decrypt, gives the database back."""
    done = dump(*flags)
    assert done.returncode == 0, done.stdout
    suffix = "sqlite.zst.gpg"
    signature = [f"{suffix}.json.sig"] if signs else []
    assert only_files(datadir) == [suffix, f"{suffix}.json", *signature]
    manifest = json.loads(manifest_in(datadir).read_text())
    assert manifest["signer"] == (gnupg.keys[signs[0]] if signs else None)
    assert manifest["recipients"] == [gnupg.keys[name] for name in encrypts]
    assert [stage["name"] for stage in manifest["stages"]] == ["sqlite", "zstd", "gpg"]
    assert "gpg --decrypt" in manifest["restore"]
    before = rows(database)
    database.unlink()
    subprocess.run(["sh", "-c", manifest["restore"]], check=True, env=gnupg.environment, stdin=subprocess.DEVNULL)
    assert rows(database) == before


def test_the_stream_says_who_signed_it_and_for_whom(dump, gnupg, datadir):
    """It is what it is said to be: encrypted for both, signed by the key, and nothing but that."""
    dump("--sign=signer", "--encrypt=ops", "--encrypt=second")
    (file,) = datadir.rglob("*.gpg")
    said = gnupg.gpg("--status-fd", "1", "--output", "/dev/null", "--decrypt", str(file)).decode()
    assert re.findall(r"VALIDSIG (\w+)", said) == [gnupg.keys["signer"]]
    assert len(re.findall(r"ENC_TO", said)) == 2
    packets = gnupg.gpg("--list-packets", str(file)).decode()
    assert ":compressed packet:" not in packets


@pytest.mark.parametrize("which", [0, 1])
def test_one_subkey_and_no_other(dump, gnupg, datadir, which):
    """A fingerprint with ! means that one to gpg, of several; the manifest names the key that they are of."""
    signs, encrypts = (gnupg.subkeys("parts", can)[which] for can in "se")
    done = dump(f"--sign={signs}!", f"--encrypt=0x{encrypts.lower()}!")
    assert done.returncode == 0, done.stdout
    (file,) = datadir.rglob("*.gpg")
    said = gnupg.gpg("--status-fd", "1", "--output", "/dev/null", "--decrypt", str(file)).decode()
    assert re.findall(r"ENC_TO (\w+)", said) == [encrypts[-16:]]
    assert re.findall(r"VALIDSIG (\w+)", said) == [signs]
    manifest = json.loads(manifest_in(datadir).read_text())
    assert [manifest["signer"], *manifest["recipients"]] == [gnupg.keys["parts"]] * 2


def test_the_manifest_has_a_signature_of_its_own(dump, gnupg, datadir):
    """Plain gpg --verify accepts it, and not when the manifest was changed."""
    dump("--sign=signer")
    manifest = manifest_in(datadir)
    verify = ["gpg", "--batch", "--verify", f"{manifest}.sig", str(manifest)]
    assert subprocess.run(verify, env=gnupg.environment, check=False, capture_output=True).returncode == 0
    manifest.write_text(manifest.read_text().replace("localhost", "elsewhere"))
    assert subprocess.run(verify, env=gnupg.environment, check=False, capture_output=True).returncode == 1


@pytest.mark.no_next_run("the home is everybody's, and its keys stay what they are; the next test mends some")
@pytest.mark.parametrize(
    ("flags", "said", "hint"),
    [
        (["--encrypt=nobody@example.org"], "no public key to encrypt for: 'nobody@example.org'", "Import it"),
        (["--sign=nobody@example.org"], "no secret key to sign with: 'nobody@example.org'", "Import it"),
        (["--encrypt=expired@example.org"], "of 'expired@example.org' is expired", "extended it"),
        (["--sign=expired@example.org"], "of 'expired@example.org' is expired", "extended it"),
        (["--encrypt=revoked@example.org"], "of 'revoked@example.org' is revoked", "import the new key"),
        (["--sign=revoked@example.org"], "of 'revoked@example.org' is revoked", "import the new key"),
        (["--encrypt=twins@example.org"], "'twins@example.org' is ambiguous: ", "fingerprint"),
        (["--encrypt=signonly@example.org"], "is not able to encrypt", "Add a subkey"),
        (["--sign=guarded@example.org"], "has a passphrase, and would ask for it", "Nobody answers at night"),
        (["--encrypt=ops", "--encrypt=expired@example.org"], "is expired", "extended it"),
        (["--encrypt=xample.org"], "'xample.org' is ambiguous", "fingerprint"),
        (["--encrypt=ps@example.org"], "no public key to encrypt for", "Import it"),
    ],
)
def test_a_key_that_cannot_be_used_ends_it_before_anything_is_dumped(dump, datadir, flags, said, hint):
    """Each in its own words, also in a dry run; no file is made, and none in plain."""
    for more in ([], ["--dry-run"]):
        done = dump(*flags, *more)
        assert done.returncode == 1
        (line,) = {line for line in done.stdout.splitlines() if "FAILED" in line}
        assert "localhost/sqlite: gpg: " in line
        assert said in line
        assert hint in done.stdout
    assert not list(datadir.iterdir())


def extended(home: GnuPG) -> None:
    """Extend the key that is expired, and its subkeys."""
    for what in ([], ["*"]):
        home.gpg("--quick-set-expire", home.keys["expired"], "1y", *what)


def replaced(home: GnuPG) -> None:
    """Make a key of the same address as the one that is revoked, which is no longer there."""
    home.gpg("--yes", "--delete-secret-and-public-key", home.keys["revoked"])
    home.make("revoked", "future-default")


@pytest.mark.parametrize(
    ("flags", "said", "mend"),
    [
        (["--sign=expired"], "is expired", extended),
        (["--encrypt=ops", "--encrypt=expired"], "is expired", extended),
        (["--encrypt=revoked@example.org"], "is revoked", replaced),
        (["--sign=late@example.org"], "no secret key", lambda home: home.make("late", "future-default")),
    ],
)
def test_a_key_that_was_mended_can_be_used_again(dump, private_home, datadir, flags, said, mend):
    """107, 108, 111: as the hint says, and by the same line."""
    done = dump(*flags, home=private_home)
    assert done.returncode == 1
    assert said in done.stdout
    assert not list(datadir.iterdir())
    mend(private_home)
    done = dump(*flags, home=private_home)
    assert done.returncode == 0, done.stdout
    manifest = json.loads(manifest_in(datadir).read_text())
    name = flags[-1].partition("=")[2].partition("@")[0]
    assert private_home.keys[name] in [manifest["signer"], *manifest["recipients"]]


def test_a_key_that_cannot_be_used_is_known_before_a_backend_prepares(dbdump, gnupg, datadir, tmp_path):
    """Its hooks may change something on the server; and nothing is cleaned up that was not prepared."""
    (tmp_path / "log").touch()
    recipes = recipe_file(tmp_path, f"""
        import pathlib
        @backend("hooked")
        class Hooked(Backend):
            def log(self, text): pathlib.Path({str(tmp_path / "log")!r}).write_text(text)
            def get_db_list(self): return ["one"]
            def get_command(self, database): return ["echo", database]
            def prepare(self): self.log("prepare")
            def cleanup(self): self.log("cleanup")

        @recipe(localhost)
        def hooked(host): return Dump(Hooked(), to=Directory({str(datadir)!r}))
        """)  # fmt: skip
    done = dbdump("dump", f"--recipes={recipes}", "--sign=nobody@example.org", env={"GNUPGHOME": str(gnupg.home)})
    assert done.returncode == 1
    assert "hooked: gpg: no secret key to sign with" in done.stdout
    assert (tmp_path / "log").read_text() == ""


def test_of_a_server_and_a_key_that_are_both_no_good_both_are_told(dbdump, gnupg, datadir, tmp_path):
    """They are asked at once: who mends the one is not told of the other only by the next night's run."""
    done = dbdump("dump", "--backend=postgresql", f"--option=host={tmp_path}", "--sign=nobody@example.org",
                  f"--datadir={datadir}", env={"GNUPGHOME": str(gnupg.home)})  # fmt: skip
    assert done.returncode == 1
    last, hint = done.stdout.splitlines()[-2:]
    assert re.search(r"FAILED .*: psql: .*; and gpg: no secret key to sign with: 'nobody@example.org'", last), last
    assert "Is the server there? See host and port. Import it there, " in hint


def test_a_key_that_nobody_has_certified_is_trusted_by_its_fingerprint(dump, gnupg, datadir, tmp_path):
    """107: the recipe says whose it is; gpg alone would not encrypt for it."""
    (home := tmp_path / "home").mkdir(mode=0o700)
    stranger = GnuPG(home)
    try:
        stranger.gpg("--import", data=gnupg.gpg("--export", "ops"))
        alone = subprocess.run(["gpg", "--batch", "-r", "ops", "-e"], env=stranger.environment, check=False,
                               input=b"x", capture_output=True)  # fmt: skip
        assert b"no assurance" in alone.stderr.lower(), alone.stderr
        assert alone.returncode == 2
        done = dump("--encrypt=ops", home=stranger)
        assert done.returncode == 0, done.stdout
        assert json.loads(manifest_in(datadir).read_text())["recipients"] == [gnupg.keys["ops"]]
    finally:
        stranger.stop()


def test_a_passphrase_that_the_agent_remembers_is_no_help(dump, private_home, datadir):
    """It would be forgotten some night, and the dump would fail at its end."""
    home = private_home
    home.gpg("--pinentry-mode", "loopback", "--passphrase", "a secret", "-u", "guarded", "--sign", data=b"x")
    home.gpg("--pinentry-mode", "error", "-u", "guarded", "--sign", data=b"it is remembered")
    done = dump("--sign=guarded", home=home)
    assert done.returncode == 1
    assert "has a passphrase" in done.stdout
    assert not list(datadir.iterdir())
    assert dump("--sign=signer", home=home).returncode == 0


def test_two_keys_of_one_address_of_which_one_is_left(dump, private_home, datadir):
    """After a key was replaced, its address means the new one."""
    home = private_home
    home.gpg("--pinentry-mode", "loopback", "--passphrase", "", "--yes", "--quick-generate-key",
             "expired <expired@example.org>", "future-default", "default", "never")  # fmt: skip
    assert dump("--encrypt=expired@example.org", home=home).returncode == 0
    assert json.loads(manifest_in(datadir).read_text())["recipients"] != [home.keys["expired"]]


def test_gpg_conf_adds_nobody(dump, private_home, gnupg, datadir):
    """An option file cannot add a recipient who is not in the manifest, nor armour."""
    (private_home.home / "gpg.conf").write_text("encrypt-to second@example.org\narmor\nthrow-keyids\n")
    assert dump("--encrypt=ops", home=private_home).returncode == 0
    (file,) = datadir.rglob("*.gpg")
    said = gnupg.gpg("--status-fd", "1", "--output", "/dev/null", "--decrypt", str(file)).decode()
    assert len(re.findall(r"ENC_TO", said)) == 1


@pytest.mark.parametrize("home", ["/nonexistent", "/tmp/" + "x" * 120])
def test_a_home_that_cannot_be_used_is_named(dbdump, database, datadir, gnupg, home, tmp_path):
    """A homedir that is not there, or too deep for the agent's socket, is an error in words."""
    path = Path(home)
    if "x" in home[-1]:
        path.mkdir(mode=0o700)
        for file in gnupg.home.iterdir():
            if file.is_file() and not file.name.startswith("S."):
                (path / file.name).write_bytes(file.read_bytes())
    try:
        done = dbdump("dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}",
                      "--sign=signer", env={"GNUPGHOME": home})  # fmt: skip
    finally:
        subprocess.run(["rm", "-rf", "/tmp/" + "x" * 120], check=True)
    assert done.returncode == 1
    assert "localhost/sqlite: gpg: " in done.stdout
    assert "hint: " in done.stdout
    assert not list(datadir.iterdir())
    assert dbdump(*done.args[1:], env=gnupg.environment).returncode == 0


def test_from_cron_with_no_agent_running(gnupg, database, datadir):
    """With an empty environment but HOME and GNUPGHOME, no terminal, no agent, and stdin closed."""
    gnupg.stop()
    line = shlex.join([*COMMAND, "dump", "--backend=sqlite", f"--option=path={database}",
                       f"--datadir={datadir}", "--sign=signer", "--encrypt=ops"])  # fmt: skip
    argv = ["env", "-i", f"GNUPGHOME={gnupg.home}", "setsid", "-w", "sh", "-c", f"{line} <&-"]
    done = subprocess.run(argv, capture_output=True, check=False, cwd="/", text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_many_at_once_with_a_cold_agent(dbdump, gnupg, databases, datadir):
    """Eight gpgs start before there is an agent, and all of them sign."""
    gnupg.stop()
    done = dbdump("dump", "--backend=sqlite", f"--option=path={databases}/*.db", f"--datadir={datadir}",
                  "--sign=signer", "--encrypt=ops", "--jobs=8", env={"GNUPGHOME": str(gnupg.home)})  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "20 stored" in done.stdout


def shim(directory: Path, script: str) -> str:
    """Put a gpg on a PATH that does `script` for the dump, and is the real one for all else; return that PATH."""
    directory.mkdir()
    real = program("gpg", "gnupg")
    body = f'#!/bin/sh\ncase " $* " in *" --detach-sign "*|*" --list"*) exec {real} "$@" ;; esac\n{script}\n'
    (directory / "gpg").write_text(body.replace("REAL", real))
    (directory / "gpg").chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("""if [ -t 0 ] || [ "$(readlink /proc/self/fd/0)" = /dev/null ]; then exec REAL "$@"; fi
         REAL "$@" | head -c 100000; kill -9 $$""", "killed by SIGKILL"),
        ("""if [ "$(readlink /proc/self/fd/0)" = /dev/null ]; then exec REAL "$@"; fi
         exec strace -f -o /dev/null -e trace=write -e inject=write:error=ENOSPC:when=9+ REAL "$@" """, "gpg: "),
        ("""if [ "$(readlink /proc/self/fd/0)" = /dev/null ]; then exec REAL "$@"; fi
         cat; exit 0""", "exited 0 without END_ENCRYPTION, SIG_CREATED"),
    ],
)  # fmt: skip
def test_a_gpg_that_fails_in_the_middle(dump, gnupg, datadir, tmp_path, script, said):
    """Killed, out of space, or one that only passes the plain bytes on: no dump, and no plain file."""
    done = dbdump_with_path(dump, shim(tmp_path / "bin", script), gnupg)
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    assert not only_files(datadir)


def dbdump_with_path(dump, path, gnupg):
    """Dump with another PATH."""
    before = os.environ["PATH"]
    os.environ["PATH"] = path
    try:
        return dump("--sign=signer", "--encrypt=ops")
    finally:
        os.environ["PATH"] = before


def test_a_manifest_that_cannot_be_signed_is_no_dump(dump, gnupg, datadir, tmp_path):
    """Where the manifest's signature fails, nothing is named."""
    real = program("gpg", "gnupg")
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "gpg").write_text(
        f'#!/bin/sh\ncase " $* " in *" --detach-sign "*) echo "gpg: signing failed: no" >&2; exit 2 ;; esac\n'
        f'exec {real} "$@"\n'
    )
    (directory / "gpg").chmod(0o755)
    done = dbdump_with_path(dump, f"{directory}:{os.environ['PATH']}", gnupg)
    assert done.returncode == 1
    assert "gpg: exit status 2: gpg: signing failed: no" in done.stdout
    assert not only_files(datadir)


def test_a_dry_run_shows_the_fingerprints(dump, gnupg, datadir):
    """Who will be able to read it is seen before it is made."""
    done = dump("--encrypt=ops", "--sign=signer", "--dry-run")
    assert done.returncode == 0
    assert f"--recipient {gnupg.keys['ops']}" in done.stdout
    assert f"--local-user {gnupg.keys['signer']}" in done.stdout
    assert not list(datadir.iterdir())


def test_a_recipe_with_keys_and_flags_over_it(dbdump, gnupg, database, datadir, tmp_path):
    """A recipe's GPG works, with a homedir of its own; a flag replaces its keys, one by one."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "site.py").write_text(f"""
from dbdump import *
@recipe(localhost)
def app(host):
    return Dump(SQLite(path={str(database)!r}), to=Directory({str(datadir)!r}),
                wrap=[Gzip(), GPG(sign="signer@example.org", encrypt=["ops@example.org"], homedir={str(gnupg.home)!r})])
""")
    done = dbdump("dump", f"--recipes={recipes}", "--encrypt=second")
    assert done.returncode == 0, done.stdout
    manifest = json.loads(manifest_in(datadir).read_text())
    assert manifest["signer"] == gnupg.keys["signer"]
    assert manifest["recipients"] == [gnupg.keys["second"]]
    assert [stage["name"] for stage in manifest["stages"]] == ["sqlite", "pigz", "gpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GPG()", "neither signs nor encrypts"),
        ("GPG(encrypt='ops')", "not a list"),
        ("GPG(encrypt=[''])", "names no key"),
        ("GPG(sign='-o/etc/x')", "names no key"),
        ("GPG(sign=['a', 'b'])", "GPG(sign=['a', 'b']): not text"),
        ("GPG(sign='a', homedir=5)", "GPG(homedir=5): not text"),
    ],
)
def test_a_gpg_that_says_nothing_is_refused(dbdump, tmp_path, text, said):
    """A recipe that would leave a dump in plain by mistake is an error before anything runs."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "site.py").write_text(
        f"from dbdump import *\n@recipe(localhost)\ndef app(host): return Dump(SQLite(path='x'), wrap=[{text}])\n"
    )
    done = dbdump("dump", f"--recipes={recipes}")
    assert done.returncode == 2
    assert said in done.stdout + done.stderr


def test_the_home_of_nobody_is_asked_over_the_network(dump, tmp_path, gnupg):
    """A recipient who is not here is not looked for elsewhere: no socket but the agent's is opened."""
    trace = tmp_path / "trace"
    real = program("gpg", "gnupg")
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "gpg").write_text(f'#!/bin/sh\nexec strace -f -qq -A -o {trace} -e trace=connect,socket {real} "$@"\n')
    (directory / "gpg").chmod(0o755)
    done = dbdump_with_path(lambda *_: dump("--encrypt=nobody@example.org"), f"{directory}:{os.environ['PATH']}", gnupg)
    assert "no public key" in done.stdout
    assert dbdump_with_path(dump, f"{directory}:{os.environ['PATH']}", gnupg).returncode == 0
    assert trace.read_text()
    assert "AF_INET" not in trace.read_text()


def test_kill_9_of_dbdump_while_gpg_works(started, gnupg, tmp_path, datadir, monkeypatch):
    """Nothing goes on, and nothing has a final name."""
    monkeypatch.setenv("GNUPGHOME", str(gnupg.home))
    database = sqlite_database(tmp_path / "big.db", 60_000_000)
    process = started("dump", "--backend=sqlite", f"--option=path={database}", f"--datadir={datadir}",
                      "--sign=signer", "--encrypt=ops")  # fmt: skip
    wait_for(lambda: list(datadir.rglob("*.part")), "the dump to begin")
    process.kill()
    process.wait()
    wait_for(lambda: not subprocess.run(["pgrep", "-f", f"recipient {gnupg.keys['ops']}"], check=False,
                                        capture_output=True).stdout, "gpg to end")  # fmt: skip
    assert all(name.endswith(".part") for name in only_files(datadir))
