"""Edit plain SQL of pg_dump on its way to psql: an awk program, which knows what is a statement and what is only text.

A row, a comment or a function may hold whatever looks like a statement. So strings, names, dollar quotes and COPY data
are read as psql reads them; quotes are doubled in what pg_dump writes, never escaped.

Statements of the database itself are said of the new one, if there is one. Transactions are left out, which come with
large objects; where psql connects anew, one ends and another begins. What is of any other database becomes an error
of SQL.
"""

# `check`, `old`, `bare` and `new` are variables of the environment, where no escapes are obeyed.
EDIT = r"""
BEGIN {
  old = ENVIRON["old"]; bare = ENVIRON["bare"]; new = ENVIRON["new"]; fresh = 1
  name = "(\"([^\"]|\"\")*\"|[^ \"]+)"
  itself = "^((CREATE|ALTER|DROP|COMMENT ON) DATABASE|(GRANT|REVOKE) [A-Z, ]+ ON DATABASE|" \
    "SECURITY LABEL FOR " name " ON DATABASE|ALTER ROLE " name " IN DATABASE) "
}
copying { print; if (/^\\\.$/) copying = 0; next }
fresh && state == "" {
  if (/^\\connect /) { connect(); next }
  if (/^\\/) { print; next }
  if (/^(BEGIN|COMMIT);$/) next
  copy = /^COPY /
  if (new != "" && match($0, itself)) {
    print renamed(substr($0, 1, RLENGTH), substr($0, RLENGTH + 1))
    read($0)
    next
  }
}
{ print; read($0); copying = copy && fresh && / FROM stdin;$/ }
END { if (new != "" && (copying || state != "")) print "\n" refusal("it ends in the middle of a statement") }

function connect() {
  if (connects++) print refusal("it connects once more")
  print ENVIRON["check"] "\nCOMMIT;"
  if (new == "") print
  print "BEGIN READ WRITE; SET LOCAL array_nulls = on;"
}

function renamed(verb, rest) {
  if (index(rest, old " ") == 1) return verb new substr(rest, length(old) + 1)
  if (bare != "" && index(rest, bare " ") == 1) return verb new substr(rest, length(bare) + 1)
  return refusal("it names another database than the one it is of")
}

function refusal(why) { return "SELECT CAST('" why "' AS pg_catalog.int4);" }

# Read a line from `state`, which is the end of what it is within, and whether a statement is to begin: `fresh`.
function read(text,   at, token) {
  gsub(/''|""/, "  ", text)
  while (text != "") {
    if (state != "") {
      if (!(at = index(text, state))) return
      text = substr(text, at + length(state)); state = ""
    } else {
      if (!match(text, /['";]|--|\/\*|\$([A-Za-z_][A-Za-z_0-9]*)?\$/)) { if (text ~ /[^ \t]/) fresh = 0; return }
      token = substr(text, RSTART, RLENGTH)
      if (token == "--") { if (substr(text, 1, RSTART - 1) ~ /[^ \t]/) fresh = 0; return }
      text = substr(text, RSTART + RLENGTH)
      fresh = token == ";"
      if (!fresh) state = token == "/*" ? "*/" : token
    }
  }
}
"""
