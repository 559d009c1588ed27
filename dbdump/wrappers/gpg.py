"""GnuPG: sign and encrypt the stream on the host, for keys that are looked up before anything is dumped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from ..errors import RecipeError, StageError
from ..shell import Asker
from .gpg_keys import ANYWAY, FINGERPRINT, Key, chosen, lookup, read_keys

# No gpg.conf: an option there could add a recipient, or armour. No question is asked, and no network (row 116 of
# tests/FAULTS.md).
_QUIETLY = ("--batch", "--no-tty", "--quiet", "--no-options", "--pinentry-mode", "error",
            "--no-auto-key-locate", "--disable-dirmngr")  # fmt: skip

# Wraps nothing: how many bytes that makes, what is said, and how the agent holds the keys. $1 is the homedir.
_TRY = """\
[ -z "$1" ] || export GNUPGHOME="$1"; shift
said=$({ "$@" </dev/null | wc -c >&3; } 2>&1) 3>&1
printf '%s\\n' "$said"
gpg-connect-agent 'KEYINFO --list' /bye 2>/dev/null
exit 0"""


@dataclass(frozen=True)
class GPG:
    """GnuPG: sign with the key `sign`, encrypt for all of `encrypt`, or both.

    Each is a fingerprint, an address or another text by which GnuPG finds one key of the user that runs the
    dump, in `homedir` where that is not its own. With `sign` the manifest gets a signature of its own. `accept`
    are the fingerprints of further keys whose signature is as good, such as one that `sign` has replaced.
    """

    sign: str | None = None
    encrypt: Sequence[str] = ()
    homedir: str | None = None
    accept: Sequence[str] = ()

    suffix = ".gpg"
    program = "gpg"

    def __post_init__(self) -> None:
        if isinstance(self.encrypt, str):
            raise RecipeError(f"GPG(encrypt={self.encrypt!r}): not a list", f"Write encrypt=[{self.encrypt!r}].")
        if isinstance(self.accept, str) or not all(FINGERPRINT.fullmatch(each) for each in self.accept):
            raise RecipeError(f"GPG(accept={self.accept!r}): not a list of fingerprints", "Give all 40 digits of each.")
        for option, value in (("sign", self.sign), ("homedir", self.homedir)):
            if not isinstance(value, str | None):
                raise RecipeError(f"GPG({option}={value!r}): not text", "One key signs, in one home.")
        if self.sign is None and not self.encrypt:
            raise RecipeError("GPG() neither signs nor encrypts", 'Write GPG(sign="KEY", encrypt=["a@example.org"]).')
        names = [*self.encrypt, *([] if self.sign is None else [self.sign])]
        if bad := [name for name in names if not name or name.startswith("-") or not name.isprintable()]:
            raise RecipeError(f"GPG: {bad[0]!r} names no key", "Give a fingerprint or an address.")

    def on(self, programs: AbstractSet[str], ask: Asker) -> PinnedGPG:  # noqa: ARG002  gpg is gpg
        """Return it with its keys as fingerprints. Raises StageError for a key that cannot be used unattended."""
        recipients = [self.key(ask, name, secret=False) for name in self.encrypt]
        signer = None if self.sign is None else self.key(ask, self.sign, secret=True)
        return self.pinned(signer, recipients).tried(ask, signer)

    def command(self) -> list[str]:
        """Refuse: without fingerprints there is no command."""
        raise RuntimeError("GPG is used before its keys were looked up")

    def inverse(self) -> list[str]:
        """Return the argv that decrypts, where the secret key is, and says whose signature it is."""
        return ["gpg", "--decrypt"]

    def most_bytes(self, size: int) -> int:
        """Refuse: it is known when its keys are."""
        raise RuntimeError(f"GPG is asked for a bound of {size} bytes before its keys were looked up")

    def pinned(self, signer: Key | None, recipients: Sequence[Key]) -> PinnedGPG:
        """Return it with these keys."""
        return PinnedGPG(
            signer.fingerprint if signer else None,
            tuple(dict.fromkeys(each.fingerprint for each in recipients)),
            self.homedir,
            signer.told if signer else "",
            tuple(dict.fromkeys(each.told for each in recipients)),
        )

    def key(self, ask: Asker, name: str, *, secret: bool) -> Key:
        """Return the key that `name` means: one to sign with, or to encrypt for. Raises StageError."""
        listing = "--list-secret-keys" if secret else "--list-keys"
        argv = [*_gpg(self.homedir), "--with-colons", "--with-keygrip", listing, "--", lookup(name)]
        answer = ask(["sh", "-c", ANYWAY, "sh", *argv]).decode("utf-8", "backslashreplace")
        said, _, status = answer.rstrip("\n").rpartition("\nexit ")
        keys = read_keys(said)
        trouble = [line for line in said.splitlines() if line.startswith("gpg: ") and "error reading key" not in line]
        if not keys and status != "0" and trouble:
            hint = "Look at HOME, or at homedir, of that user, or import the key there as that user: gpg --import"
            raise StageError("gpg", trouble[0].removeprefix("gpg: "), hint)
        return chosen(keys, name, "sign" if secret else "encrypt")


@dataclass(frozen=True)
class PinnedGPG:
    """GPG with full fingerprints, what it is told in their place, and the bytes that it makes of nothing.

    That is the fingerprint of a subkey, with !, where the recipe means that one alone.
    """

    signer: str | None
    recipients: tuple[str, ...]
    homedir: str | None
    sign_with: str
    encrypt_for: tuple[str, ...]
    empty_bytes: int = 0

    suffix = GPG.suffix
    program = GPG.program

    @property
    def proof(self) -> tuple[str, ...]:
        """What it says on its status lines when all was done; its exit status alone is no proof."""
        return (*(["SIG_CREATED"] if self.signer else []), *(["END_ENCRYPTION"] if self.recipients else []))

    def on(self, programs: AbstractSet[str], ask: Asker) -> PinnedGPG:  # noqa: ARG002  it has been
        """Return itself."""
        return self

    def command(self) -> list[str]:
        """Return the argv that signs and encrypts; compressed data is not compressed again."""
        who = [word for each in self.encrypt_for for word in ("--recipient", each)]
        # Trust is ours: each fingerprint was looked up, and is in the manifest.
        how = ["--trust-model", "always", "--compress-algo", "none"]
        # CPUs have instructions for SHA-256: a third less time than with SHA-512. A key that needs more gets more.
        how += ["--personal-digest-preferences", "SHA256"] if self.signer else []
        return [*self._told, *how, *who, *(["--sign"] if self.signer else []), *(["--encrypt"] if who else [])]

    def signing(self) -> list[str]:
        """Return the argv that signs stdin with a detached signature."""
        return [*self._told, "--detach-sign"]

    def inverse(self) -> list[str]:
        """Return the argv that decrypts; see GPG."""
        return ["gpg", "--decrypt"]

    def most_bytes(self, size: int) -> int:
        """Return the bound: what it made of nothing, and as much more for headers and numbers of other length.

        The data is in pieces of 512 bytes or more, twice, each with a length; RFC 4880, section 4.2.2.4.
        """
        return self.empty_bytes + size + size // 256 + 16

    def tried(self, ask: Asker, signer: Key | None) -> PinnedGPG:
        """Return it after it has wrapped nothing. Raises StageError where that fails, or would need a passphrase."""
        said = ask(["sh", "-c", _TRY, "sh", self.homedir or "", *self.command()]).decode("utf-8", "backslashreplace")
        protected = set(re.findall(r"^S KEYINFO (\w+) \S+ \S+ \S+ \S+ P\b", said, re.MULTILINE))
        parts = signer.parts if signer else []
        done = all(re.search(rf"^\[GNUPG:\] {word}\b", said, re.MULTILINE) for word in self.proof)
        used = re.search(r"^\[GNUPG:\] SIG_CREATED (?:\S+ ){5}(\w+)", said, re.MULTILINE)
        asks = [part for part in parts if part.grip in protected and (used is None or part.fingerprint == used[1])]
        if asks:
            raise StageError(
                "gpg",
                f"the key {asks[0].fingerprint} has a passphrase, and would ask for it",
                "Nobody answers at night: take the passphrase off, or sign with a subkey that has none.",
            )
        if not done:
            told = [line.removeprefix("gpg: ") for line in said.splitlines() if line.startswith("gpg: ")]
            raise StageError("gpg", f"cannot sign or encrypt: {'; '.join(told[:2])}", "Try by hand: gpg -se -r KEY")
        size = re.search(r"^ *(\d+)$", said, re.MULTILINE)
        return replace(self, empty_bytes=int(size[1]) if size else 0)

    @property
    def _told(self) -> list[str]:
        user = ["--local-user", self.sign_with] if self.signer else []
        return [*_gpg(self.homedir), "--status-fd", "2", *user]


def _gpg(homedir: str | None) -> list[str]:
    return ["gpg", *(["--homedir", homedir] if homedir else []), *_QUIETLY]
