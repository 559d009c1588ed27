# The requests to store.sh that only look: it goes before it.

# Run find on the directories here and the files in them, with the arguments given. No symbolic link is one, or leads
# to one. A name with a line end or a colon is none of ours, and its lines could be mistaken for those of another.
below() {
  find . -mindepth 1 -maxdepth 2 '(' -type d ! -path './*/*' -o -type f -path './*/*' ')' ! -path '*:*' ! -path '*
*' "$@"
}

# All directories here and the files in them, as ls tells of them; then the manifests and records, each line behind its file's
# name; then which of these could not be read. What goes meanwhile is no fault.
entries() {
  for each in find grep; do
    command -v "$each" >/dev/null || { no "it has no $each program"; return 1; }
  done
  {
    told=$(below -exec ls -lnd {} + 2>&1 >&6 | grep -v 'No such file or directory$')
    [ -z "$told" ] || { no "$told"; return 1; }
    told=$(below -type f '(' -name '[0-9]*.json' -o -name '[0-9]*.verified' ')' -exec grep -aH '' {} + 2>&1 >&6)
  } 6>&1
  printf '%s\n' "$told"
  say ok
}

# fetch FILE: its size in bytes, and then its bytes.
fetch() {
  argument final
  { [ ! -L "$final" ] && told=$( (wc -c <"$final") 2>&1); } || { no "${told:-$final: is a symbolic link}"; return 1; }
  say ok "$told"
  cat -- "$final" || exit 1
}

# condition NAME…: each a line, until an empty one: by which faults a dump could not be stored in this directory, or
# in those of the names below it that are there, a line each; then the free KiB of its file system, the seconds on the
# clock, and where it is. Nothing is written.
condition() {
  { [ -w . ] && [ -x . ]; } || say fault "$PWD: cannot be written"
  while argument name && [ -n "$name" ]; do
    [ -e "./$name" ] || [ -L "./$name" ] || continue
    [ -d "./$name" ] || [ -L "./$name" ] || { say fault "$PWD/$name: not a directory"; continue; }
    (into "./$name" below && { { [ -w . ] && [ -x . ]; } || say fault "$PWD: cannot be written"; })
  done
  room=$(df -Pk . 2>/dev/null | sed -n '2s/.* \([0-9]\{1,\}\)  *[0-9]*%.*/\1/p')
  now=$(date -u +%s 2>/dev/null)
  say ok "${room:--}" "${now:--}" "$PWD"
}
