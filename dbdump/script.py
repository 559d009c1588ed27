"""One dump as one POSIX sh script, and what the script says of itself on stderr.

Here pipelines become shell text, and `quote` is the only function that quotes for it; programs in sh elsewhere are
constant, and get values as arguments alone. The same text runs locally and through SSH, is printed by `--dry-run`, and
can be pasted into a terminal.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .user import User

quote = shlex.quote

SIGPIPE_STATUS = 141  # 128 + 13: the stage wrote to one that had ended; POSIX 2.8.2


@dataclass(frozen=True)
class Stage:
    """One command of a pipeline.

    `environment` is written into the script, and no variable of `without` is there; `secrets` are names of variables
    whose values the script reads from its stdin, in that order, so that no argv ever holds one. `user` runs it as
    somebody else, and `starter` begins the command that runs it there. `proof` are the words that GnuPG says on its
    status lines where all was done, of which none may be missing. `detail` is a pattern: it matches what belongs to a
    message of the command, in the line after it.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    user: User | None = None
    starter: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    detail: str = ""


# The controller holds stdin open for as long as it lives. When it closes, this ends the process group:
# TERM first, so that a server hears of it, then KILL for what does not listen or is stopped.
_WATCHDOG = "( trap '' TERM; read -r _ <&3; kill -TERM 0; sleep 5; kill -KILL 0 ) >/dev/null 2>&1 &"

# The first bytes, the last bytes and the size of the raw stream. perl copies it once and keeps only those; where there
# is none, tee copies it for tail, and again for wc. 1031 is Linux's F_SETPIPE_SZ, fcntl(2), and no request elsewhere.
# `dd bs=1` because head may read more than it prints (busybox does).
_CHECK = """\
if perl=$(command -v perl) && env -i "$perl" -e 'exit($] < 5.010)' 2>/dev/null; then
  env -i "$perl" -e '
    my ($first, $last, $rest) = ("", "", 0);
    fcntl $_, 1031, 1 << 20 for *STDIN, *STDOUT;
    while (my $size = sysread(STDIN, my $piece, 1 << 18) // die "check: $!\\n") {
      for (my $sent = 0; $sent < $size; ) {
        $sent += syswrite(STDOUT, $piece, $size - $sent, $sent) // die "check: $!\\n";
      }
      $first .= substr($piece, 0, 64 - length $first, "") if length $first < 64;
      $rest += length $piece;
      $last = length $piece < 512 ? substr($last . $piece, -512) : substr($piece, -512);
    }
    print STDERR map { "\\nTOKEN $_\\n" } "first " . unpack("H*", $first), "rest $rest", "last " . unpack("H*", $last);
  ' 3<&-; printf '\\n%s check %d\\n' TOKEN $? >&2
else
  hex() { od -An -v -tx1 | tr -d ' \\n'; }
  { { tee /dev/fd/4; printf '\\n%s check %d\\n' TOKEN $? >&2; } | {
    printf '\\n%s first %s\\n' TOKEN "$(dd bs=1 count=64 2>/dev/null | hex)" >&2
    printf '\\n%s rest %s\\n' TOKEN "$({ tee /dev/fd/5 | {
      printf '\\n%s last %s\\n' TOKEN "$(tail -c 512 | hex)" >&2
    }; } 5>&1 | wc -c)" >&2
  }; } 3<&- 4>&1
fi"""


def render(stages: Sequence[Stage], token: str, *, check_stream: bool = False, fed: bool = False) -> str:
    """Return the sh script that runs `stages` as one pipeline and writes the last one's stdout to its own.

    Each stage's exit status comes back on stderr as a line `TOKEN INDEX STATUS`. With `check_stream` the
    first stage's output is looked at on its way: `TOKEN first HEX`, `TOKEN last HEX`, `TOKEN rest BYTES`.
    The script ends by itself when its stdin is closed. With `fed` its stdin is what the first stage reads.
    """
    first = stages[0]
    relayed = first.user is not None and first.user.relays_stdin
    lines = ["(", "umask 077", "exec 3<&0 </dev/null"]
    watched = not (relayed or fed)
    if not relayed:
        # Read before the watchdog reads, which would take the line for the end; unset, or a variable that is
        # exported already would be so in every stage.
        lines += [f"unset {name}; IFS= read -r {name} <&3" for name in first.secrets]
    if watched:
        lines += [_WATCHDOG, "watchdog=$!"]
    pieces = [_piece(index, stage, token, reads=fed and index == 0) for index, stage in enumerate(stages)]
    if check_stream:
        pieces.insert(1, "{ " + _CHECK.replace("TOKEN", token) + "; }")
    lines.append(" |\n".join(pieces))
    if watched:
        lines.append("{ kill -KILL $watchdog; wait $watchdog; } 2>/dev/null")
    return "\n".join([*lines, "exit 0", ")"])


def _piece(index: int, stage: Stage, token: str, *, reads: bool) -> str:
    relayed = stage.user is not None and stage.user.relays_stdin
    export = "" if relayed else "".join(f"export {name}; " for name in stage.secrets)
    unset = f"unset {' '.join(stage.without)}; " if stage.without else ""
    stdin = "<&3 3<&-" if reads else "<&3" if relayed else "3<&-"
    command = command_line(stage, reads=reads)
    return f"{{ {unset}{export}{command} {stdin}; printf '\\n%s {index} %d\\n' {token} $? >&2; }}"


def command_line(stage: Stage, *, reads: bool = False) -> str:
    """Return the shell text of one stage: its environment and its argv, as its user, all quoted.

    With `reads` it is fed: what comes on stdin after its secrets is for it.
    """
    argv, environment = [*stage.starter, *stage.argv], dict(stage.environment)
    if stage.user is not None:
        argv, environment = stage.user.command(argv, environment, stage.secrets, reads=reads)
    assignments = "".join(f"{name}={quote(value)} " for name, value in environment.items())
    return _home(stage) + assignments + " ".join(map(quote, argv))


def quoted(argv: Sequence[str]) -> str:
    """Return the shell text of an argv."""
    return " ".join(map(quote, argv))


def reporting(stages: Sequence[Stage], word: str, *, without: Sequence[str]) -> str:
    """Return the shell text of a pipeline whose stages have no variable `without`, and tell how they end.

    A line `WORD INDEX STATUS` for each goes to descriptor 7; they get it not, nor 5 and 6.
    """
    unset = f"unset {' '.join(without)}; " if without else ""
    return " | ".join(
        f'{{ {unset}{command_line(stage)} 5>&- 6>&- 7>&-; echo "{word} {index} $?" >&7; }}'
        for index, stage in enumerate(stages)
    )


def _home(stage: Stage) -> str:
    # Tilde expansion is how POSIX sh knows a home; a quoted name would not be expanded.
    return f"HOME=~{stage.user.name} " if stage.user and stage.user.needs_home else ""


def restore_line(source: Sequence[str], unwrap: Sequence[Sequence[str]], restore: Stage | None) -> str:
    """Return the line that a person types to restore what `source` prints: unwrapped by each of `unwrap`, then loaded.

    A source of one word is a file.
    """
    commands = [" ".join(map(quote, argv)) for argv in unwrap]
    if restore is not None:
        argv = restore.user.switch(restore.argv) if restore.user else restore.argv
        commands.append(_home(restore) + " ".join(map(quote, argv)))
    if len(source) > 1:
        return " | ".join([" ".join(map(quote, source)), *commands])
    commands = commands or ["cat"]
    return " | ".join([f"{commands[0]} < {quote(source[0])}", *commands[1:]])


_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_LONGEST_LINE = 8192  # bytes; what has no line end by then is cut there
_MOST_STATUS_LINES = 1000  # one signature has five


class Said:
    """What a script says on stderr, fed as it comes: its own lines, by `token`, and what its tools say.

    Of the tools' messages the first and the last `keep` lines are kept, however many there are. Bytes that
    are not UTF-8 are kept escaped; terminal sequences and control characters are dropped. What was said before the
    line `hello`, where that is set, is forgotten.
    """

    def __init__(self, token: str, keep: int = 40) -> None:
        self.token = token.encode()
        self.hello: bytes | None = None
        self.heard = 0  # pieces
        self.statuses: dict[int, int] = {}
        self.first: bytes | None = None
        self.last = b""
        self.rest: int | None = None
        self.check: int | None = None
        self.status_words: set[str] = set()  # of GnuPG's --status-fd
        self.status_lines: list[str] = []  # the first thousand, without what all begin with
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=keep)
        self._keep = keep
        self._partial = b""

    def feed(self, piece: bytes) -> None:
        """Take the next `piece` of stderr; an empty one ends it."""
        self.heard += 1
        *lines, self._partial = (self._partial + piece).split(b"\n")
        if not piece or len(self._partial) > _LONGEST_LINE:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            if line == self.hello:
                self.forget()
            else:
                self._line(line)

    def _line(self, line: bytes) -> None:
        match line.split():
            case [self.token, b"first", *digits]:
                self.first = bytes.fromhex(b"".join(digits).decode())
            case [self.token, b"last", *digits]:
                self.last = bytes.fromhex(b"".join(digits).decode())
            case [self.token, b"rest", size]:
                self.rest = int(size)
            case [self.token, b"check", status]:
                self.check = int(status)
            case [b"[GNUPG:]", word, *_]:
                if len(self.status_words) < _MOST_STATUS_LINES:
                    self.status_words.add(word.decode("ascii", "replace"))
                if len(self.status_lines) < _MOST_STATUS_LINES:
                    self.status_lines.append(line.decode("utf-8", "backslashreplace").partition(" ")[2].strip())
            case [self.token, index, status]:
                self.statuses[int(index)] = int(status)
            case [_, *_]:
                message = _CONTROL.sub("", line.decode("utf-8", "backslashreplace")).strip()
                (self._head if len(self._head) < self._keep else self._tail).append(message)

    def forget(self) -> None:
        """Drop the messages so far."""
        self._head.clear()
        self._tail.clear()

    @property
    def messages(self) -> list[str]:
        """The tools' messages: the first ones and the last ones."""
        return [*self._head, *self._tail]

    @property
    def raw_bytes(self) -> int | None:
        """The size of the raw stream in bytes, or None where the script did not look at it."""
        return None if self.rest is None or self.first is None else len(self.first) + self.rest

    @property
    def end(self) -> bytes:
        """The last bytes of the raw stream, as far as the script looked."""
        return (self.first or b"") + self.last
