# The far end of dbdump's Remote writer, sent there as text: any POSIX sh with coreutils or busybox runs it.
#
# It reads requests from stdin, a word and then its arguments, a line each, and answers each with a line that
# begins with a token: "ok …", or "no" and the cause. What comes as an argument is text and never code.
# A dump is a `.part` until its own bytes, as they were synced, are known to be those that were sent. When stdin
# ends, or a signal comes, the part goes too; a part whose holder was killed goes when the next run looks.

umask 077
set -f
unset CDPATH
unset TIME_STYLE QUOTING_STYLE BLOCK_SIZE BLOCKSIZE LS_BLOCK_SIZE # of ls
export LC_ALL=C
part=
checked=
kept=
IFS= read -r token || exit 1

say() { printf '%s %s\n' "$token" "$*"; }

# Say why not, on one line, whatever a program said on many.
no() { say no "$(printf '%s' "$*" | tr -s '\n' ' ')"; return 1; }

# Run a command, and say what it said where it fails.
try() { told=$("$@" 2>&1) || no "${told:-$1 failed}"; }

# Read an argument.
argument() { IFS= read -r "$1" || exit 1; }

forget() {
  [ -z "$part" ] || rm -f -- "$part" 2>/dev/null
  part=
  exec 4>&-
}

trap 'forget; exit 1' HUP INT TERM PIPE

# sync with a file writes back that file, and says where it cannot; where it takes none it writes back all.
command -v sync >/dev/null || { no "it has no sync program"; exit 1; }
if sync . 2>/dev/null; then flush() { try sync "$1"; }
else flush() { try sync; }
fi

# The SHA-256 of stdin in hex, or nothing where there is no program for it: the bytes are read back then. openssl
# uses the CPU's SHA instructions, which Debian's sha256sum does not, and takes 5 ms to start: for large files.
if command -v sha256sum >/dev/null; then digest() { sha256sum; }
elif command -v shasum >/dev/null; then digest() { shasum -a 256; }
elif command -v openssl >/dev/null; then digest() { openssl dgst -sha256 -r; }
else digest() { :; }
fi
if command -v openssl >/dev/null; then digest_large() { openssl dgst -sha256 -r; }
else digest_large() { digest; }
fi
sum_of() {
  size=$(wc -c <"$1") || return 1
  if [ "$size" -lt 4194304 ]; then sum=$(digest <"$1")
  else sum=$(digest_large <"$1" 2>/dev/null) || sum=$(digest <"$1")
  fi && sum=${sum%% *}
}
is() { [ -f "$1" ] && [ ! -L "$1" ] && sum_of "$1" && [ "$sum" = "$2" ]; }

# Go to a directory that nobody else can play with; for the root, being sticky or somebody's is enough.
into() {
  before=$PWD
  if ! cd -P -- "$1" 2>/dev/null; then
    told=$(ls -d -- "$1/." 2>&1 >/dev/null) || { no "$told"; return 1; }
    no "$1: permission denied"
    return 1
  fi
  # shellcheck disable=SC2046  # the words of one line
  set -- "$1" "$2" $(ls -ldn .)
  if [ "$2" = below ]; then
    # Physically below where we were: no symbolic link led away.
    [ "$PWD" = "${before%/}/${1#./}" ] || { no "${before%/}/${1#./}: is a symbolic link"; return 1; }
    case $5 in 0 | "$me") ;; *) no "$PWD: belongs to somebody else, user $5"; return 1 ;; esac
  fi
  case $2$3 in
    root?????????[tT]*) ;;
    root?????w* | root????????w* | below?????w* | below????????w*) no "$PWD: others can write there" ;;
  esac
}

# go MAKE ROOT NAME…: to the root, and to the directories below it, each a line, until an empty one.
go() {
  argument make
  argument root
  fault=
  # Of a path that is not absolute the home is the beginning.
  case $root in
    /*) cd / ;;
    *) cd 2>/dev/null || { no "its home $HOME cannot be entered; an absolute path needs none"; fault=yes; } ;;
  esac
  [ -n "$fault" ] || into "$root" root || fault=yes
  while argument name && [ -n "$name" ]; do
    [ -z "$fault" ] || continue
    if [ "$make" = make ] && ! [ -d "./$name" ] && ! [ -L "./$name" ]; then
      # Another session may make it at the same time.
      told=$(mkdir -m 700 -- "./$name" 2>&1) || [ -d "./$name" ] || { no "$told"; fault=yes; continue; }
      flush . || { fault=yes; continue; }
    fi
    into "./$name" below || fault=yes
  done
  [ -n "$fault" ] || say ok "$PWD"
}

# Remove the parts that nobody holds; where there is no flock, those that nobody has written for two days.
sweep() {
  set +f
  for each in .[0-9]*T[0-9]*Z.*.part; do
    [ -f "$each" ] && [ ! -L "$each" ] || continue
    if [ -n "$flock" ]; then flock -n "$each" rm -f -- "$each"
    else [ -n "$(find "$each" -prune -mtime +1)" ] && rm -f -- "$each"
    fi 2>/dev/null && say left "$each"
  done
  set -f
}

# Whether flock said that the file system has no locks: nothing is held there.
lockless() {
  case $told in
    *'not implemented' | *'not supported' | *'No locks available') ;;
    *) return 1 ;;
  esac
}

# Hold the directory $1 until `drop`, with others (-s) or alone (-x). Where there is no flock, nothing is held: who asked
# is told "held" or not.
keep() {
  [ -n "$flock" ] || return 0
  told=$( (: <"$1") 2>&1) || { no "$told"; return 1; }
  exec 5<"$1"
  if told=$(flock -n "$2" 5 2>&1); then kept=$1; return; fi
  exec 5<&-
  ! lockless || return 0
  if [ -z "$told" ]; then say locked "$1"; else no "$told"; fi
  return 1
}

# hold SHARED-OR-ALONE: keep this directory so.
hold() {
  argument way
  if [ "$way" = alone ]; then keep "$PWD" -x
  else keep "$PWD" -s
  fi && say ok ${kept:+held}
}

# open PART FOR: begin a file that is not there yet, and hold it. For a dump, which is added, the directory above is
# kept as well, with others, and what dead runs left goes.
open() {
  argument new
  argument for
  if [ "$for" = dump ]; then
    # Once kept, it is not let go of in between.
    [ "$kept" = "${PWD%/*}" ] || keep "${PWD%/*}" -s || return 1
    sweep
  fi
  told=$( (set -C && : >"$new") 2>&1) || { no "$told"; return 1; }
  part=$new checked=
  exec 4>>"$part"
  # Another run may hold it for a moment, because it takes it for dead: then it is gone.
  [ -z "$flock" ] || told=$(flock 4 2>&1) || lockless || { forget; no "$told"; return 1; }
  [ -f "$part" ] || { forget; say again; return; }
  say ok ${kept:+held}
}

# data SIZE: its next bytes. Where they cannot be stored, the rest of them must not be read as requests: the end.
data() {
  argument size
  blocks=$((size / 65536)) rest=$((size % 65536))
  # Alone in $(…), dd takes the place of the shell that would wait for it: half the processes.
  # shellcheck disable=SC2086  # a word, or none
  { [ "$blocks" = 0 ] || told=$(dd bs=65536 count="$blocks" iflag=fullblock $soon status=none 2>&1 >&4); } &&
    { [ "$rest" = 0 ] || told=$(dd bs="$rest" count=1 iflag=fullblock status=none 2>&1 >&4); } ||
    { forget; no "${told:-dd failed}"; exit 1; }
}

# What is stored, after it was synced: its size in bytes and its SHA-256.
received() {
  flush "$part" || return 1
  sum_of "$part" || { no "$part cannot be read back"; return 1; }
  checked="$part ${sum:--}"
  say ok "$size" "$sum"
}

# name PART FINAL SHA256: give it its final name, never one that there is; twice is as good as once.
name() {
  argument from; argument final; argument wanted
  if [ -e "$final" ] || [ -L "$final" ]; then
    is "$final" "$wanted" || { no "$final is there already, and differs"; return 1; }
    flush . && say ok old
    return
  fi
  if [ "$checked" != "$from $wanted" ]; then
    is "$from" "$wanted" || { say gone; return 1; }
    flush "$from" || return 1
  fi
  if told=$(ln -- "$from" "$final" 2>&1); then rm -f -- "$from"
  elif [ -e "$final" ] || [ -L "$final" ]; then no "$final is there already"; return 1
  else
    # No hard links there: claim the name, then replace the claim.
    told=$( (set -C && : >"$final") 2>&1) || { no "$told"; return 1; }
    try mv -f -- "$from" "$final" || { rm -f -- "$final"; return 1; }
  fi
  [ "$from" != "$part" ] || { part=; exec 4>&-; }
  flush . || { rm -f -- "$final"; return 1; }
  say ok new
}

# replace PART FINAL OF: give it a name, in place of what has it, if the file OF is there after that: who removes a dump
# takes its file first, and then the record that it finds.
replace() {
  argument from; argument final; argument of
  try mv -f -- "$from" "$final" || return 1
  [ "$from" != "$part" ] || { part=; exec 4>&-; }
  [ -e "$of" ] || { rm -f -- "$final"; no "$of is gone"; return 1; }
  flush . && say ok
}

# unname FINAL SHA256: take back a name that this run has given, where what comes after it failed; or, with a SHA-256,
# may have given: then only from a file that has it, and "unknown" is the answer where no program computes it. One with
# a manifest is another run's: our own is taken back before its dump.
unname() {
  argument final; argument wanted
  if [ -n "$wanted" ]; then
    { [ -f "$final" ] && [ ! -L "$final" ] && [ ! -e "$final.json" ]; } || { say ok; return; }
    sum_of "$final" || { no "$final cannot be read back"; return 1; }
    [ "$sum" = "$wanted" ] || { say ok "${sum:-unknown}"; return; }
  fi
  try rm -f -- "$final" || return 1
  flush . >/dev/null # the error that led here is the one to tell
  say ok
}

# delete NAME…: each a line, until an empty one, and in that order; what is gone already is no fault, a symbolic link,
# which is somebody's, is one.
delete() {
  fault=
  while argument name && [ -n "$name" ]; do
    if [ -n "$fault" ]; then continue
    elif [ -L "$name" ]; then no "$name: is a symbolic link"; fault=yes
    else try rm -f -- "$name" || fault=yes
    fi
  done
  [ -n "$fault" ] || { flush . && say ok; }
}

# clear GROUP PART: end another session of this run, which hangs, and remove what it left.
clear() {
  argument group; argument left
  # Where there is no /proc its group is not known, and -0 would be our own.
  [ "$group" = 0 ] || kill -KILL "-$group" 2>/dev/null
  rm -f -- "$left" 2>/dev/null
  say ok
}

# Let go of what was begun and kept.
drop() {
  forget
  exec 5<&-
  kept=
  say ok
}

me=$(id -u)
flock=$(command -v flock)
group=
read -r _ _ _ _ group _ 2>/dev/null </proc/self/stat
# What GNU's dd wrote is on its way to the disk at once, so that the sync at the end is short.
soon=oflag=nocache
[ "$(printf abc | dd bs=3 count=1 iflag=fullblock $soon status=none 2>/dev/null)" = abc ] || soon=
if [ "$(printf abc | dd bs=3 count=1 iflag=fullblock status=none 2>/dev/null)" != abc ]; then
  no "its dd does not know iflag=fullblock: it needs coreutils, or a newer busybox"
  exit 1
fi
say ok "${group:-0}"

while IFS= read -r request; do
  case $request in
    go | hold | open | data | received | name | replace | unname | entries | condition | fetch | delete | clear | drop) "$request" ;;
    *) no "not a request: $request"; exit 1 ;;
  esac
done
forget
