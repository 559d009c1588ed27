"""Make a PostgreSQL database of a raw dump on stdin: the programs that run where it is restored, and their arguments.

A name is code to the tools (FAULTS E6): here each is quoted for SQL, for libpq and for sed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

MAINTENANCE = "postgres"  # the database that is there for tools to connect to, initdb(1)

# $1 at once; $2 asks whether it is there; $3 makes it under another name, or is empty: then pg_restore makes it;
# $4 is CREATED, $5 the maintenance database, $6 the one to restore into, $7 words
# for pg_restore alone; then more for both.
# pg_restore can only be parallel over a file that it can read from any place: one without a name, which is gone with
# the last who has it open. Its workers open it anew, each with a place of its own.
_CUSTOM = r"""
jobs=$1 exists=$2 make=$3 created=$4 maintenance=$5 target=$6 own=$7; shift 7; umask 077
sql() { database=$1 command=$2; shift 2
  psql "$database" "$@" -X -w -q -A -t -v ON_ERROR_STOP=1 -c "$command" </dev/null; }
there=$(sql "$maintenance" "$exists" "$@") || exit 1
archive=
if [ "$jobs" -gt 1 ] || [ "$make" ]; then
  file=$(mktemp "${TMPDIR:-/tmp}/dbdump.XXXXXXXX") || exit 1
  exec 8>"$file" 9<"$file" && rm -f -- "$file" || exit 1
  cat >&8 && exec 8>&- || exit 1
  archive=/proc/self/fd/9
  [ -r "$archive" ] || { jobs=1 archive=; exec <&9; }
fi
create=--create
if [ "$make" ] && [ "$there" != t ]; then
  how=$(pg_restore --create --schema-only --file=- ${archive:+"$archive"} 2>/dev/null | sed -nE "$created" | head -n 1)
  [ "$archive" ] || how=
  sql "$maintenance" "$make $how" "$@" || exit 1
  there=t
fi
[ "$there" = t ] && create= && maintenance=$target
# Between CREATE DATABASE and the tables, its own settings come into force.
[ -z "$create" ] || export PGOPTIONS="${PGOPTIONS-} -c default_transaction_read_only=off -c statement_timeout=0"
exec pg_restore "$maintenance" "$@" --no-password --exit-on-error $create $own --jobs="$jobs" ${archive:+"$archive"}
"""

# What pg_dump says of encoding and locale where it makes the database.
_CREATED = (
    r"/^CREATE DATABASE .* WITH TEMPLATE = template0/"
    r"s/^.* WITH TEMPLATE = template0(( [A-Z_]+ = ('[^']*'|[a-z]+))*);$/\1/p"
)

# $1 asks whether it is there; $2 edits what is read, $3 says whether it keeps its name; $4 and $5 are $5 and $6 above.
# The first \connect ends what makes the database. Another one may follow, after its settings, where they are to be in
# force; none after the first object. All between two of them is one transaction, which those settings may have begin
# as read-only.
_PLAIN = r"""
exists=$1 edit=$2 own=$3 maintenance=$4 target=$5; shift 5
sql() { psql "$@" -X -w -q -A -t -v ON_ERROR_STOP=1; }
there=$(sql "$maintenance" "$@" -c "$exists" </dev/null) || exit 1
header= connect=
while IFS= read -r line; do
  case $line in '\connect '*) connect=yes; break;; esac
  header="$header$line
"
done
[ "$connect" ] || { echo 'no \connect line: was it dumped with --create?' >&2; exit 1; }
[ "$there" = t ] || printf %s "$header" | sed -E "$edit" | sql "$maintenance" "$@" >/dev/null || exit 1
settings() {
  while IFS= read -r line; do
    case $line in
    '\connect '*) printf 'COMMIT;\n'; [ -z "$own" ] || printf '%s\n' "$line"; printf 'BEGIN READ WRITE;\n';;
    '-- Name: DATABASE '*|'-- Name: '*'; Type: DATABASE'*) printf '%s\n' "$line";;
    '-- Name: '*|'-- Data for Name: '*) printf '%s\n' "$line"; return;;
    *) printf '%s\n' "$line";;
    esac
  done
}
said=$({ echo 'BEGIN READ WRITE;'
  { settings; cat || echo 'it could not be read;'; } | sed -E "$edit" && printf "COMMIT;\nSELECT 'to the end';\n" ||
    echo 'sed failed;'
} | { sql "$target" "$@"; echo "status $?"; } | tail -n 2)
case $said in
'to the end
status 0') ;;
*'status 0') echo 'error: psql has left it in the middle, as \q would have it do' >&2; exit 1;;
*) exit "${said##*status }";;
esac
"""

# Large objects come in transactions of their own, which would end the one around all. Nothing in a row is touched.
_EDIT = r"""/^COPY .* FROM stdin;$/,/^\\\.$/b
/^-- Data for Name: .*; Type: BLOBS; /,/^COMMIT;$/{
/^(BEGIN|COMMIT);$/d
}
"""
_EDIT_NAME = r"""s/^((CREATE|ALTER|COMMENT ON) DATABASE|(GRANT|REVOKE) [A-Z, ]+ ON DATABASE) (OLD) /\1 NEW /
s/^(SECURITY LABEL FOR [^ ]+ ON DATABASE) (OLD) IS /\1 NEW IS /
s/^(ALTER ROLE .* IN DATABASE) (OLD) SET /\1 NEW SET /
"""

# psql goes on after an error: the roles that every server has are there already, which is SQLSTATE 42710. With
# --file its messages begin with where they come from.
_GLOBALS = r"""
said=$("$@" 2>&1 >/dev/null) || { printf '%s\n' "$said" >&2; exit 1; }
said=$(printf '%s\n' "$said" | sed -nE '/^psql:/{/^psql:[^ ]* [^ :]+: +(42710|0[012]...): /d;p;}')
[ -z "$said" ] || { printf '%s\n' "$said" >&2; exit 1; }
"""

# What was not there when the server was made, and is not of an extension.
_CONTENTS = """\
SELECT sum(count) FROM (
  SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
  UNION ALL SELECT count(*) FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
  UNION ALL SELECT count(*) FROM pg_largeobject_metadata
  UNION ALL SELECT count(*) FROM pg_type WHERE oid >= 16384 AND typtype IN ('d', 'e')
  UNION ALL SELECT count(*) FROM pg_proc WHERE oid >= 16384
    AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
) AS counts"""
_VERSION_OF_FORCE = 130000


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def exists(name: str) -> str:
    """Return the question whether there is such a database: t or f. In hex, because a name need not be text."""
    digits = name.encode("utf-8", "surrogateescape").hex()
    return f"SELECT EXISTS (SELECT FROM pg_database WHERE encode(textsend(datname::text), 'hex') = '{digits}')"  # noqa: S608  digits


def loading_custom(  # noqa: PLR0913  each is another thing
    connection: Callable[[str], str], more: Sequence[str], database: str, into: str, jobs: int, *, owners: bool
) -> list[str]:
    """Return the argv that makes `into` of a custom dump of `database` on stdin, with `owners` and grants, or not."""
    make = "" if into == database else f"CREATE DATABASE {identifier(into)} TEMPLATE template0"
    given = [str(jobs), exists(into), make, _CREATED, connection(MAINTENANCE), connection(into)]
    given.append("" if owners else "--no-owner --no-privileges --no-tablespaces")
    return ["sh", "-c", _CUSTOM, "sh", *given, *more]


def loading_plain(connection: Callable[[str], str], more: Sequence[str], database: str, into: str) -> list[str]:
    """Return the argv that makes `into` of plain SQL of `database` on stdin."""
    own = into == database
    edit = _EDIT if own else _EDIT + _renaming(database, into)
    given = [exists(into), edit, "yes" if own else "", connection(MAINTENANCE), connection(into)]
    return ["sh", "-c", _PLAIN, "sh", *given, *more]


def loading_globals(psql: Sequence[str]) -> list[str]:
    """Return the argv that runs `psql` on globals, and fails for any error but that something is there already."""
    return ["sh", "-c", _GLOBALS, "sh", *psql, "--set=VERBOSITY=verbose", "--file=-"]


def contents(ask: Callable[[str, str], str], database: str) -> int | None:
    """Return how many things `database` has, None where it is not there; `ask` asks one database a question."""
    if ask(MAINTENANCE, exists(database)) != "t":
        return None
    return int(ask(database, _CONTENTS))


def discard(ask: Callable[[str, str], str], database: str) -> None:
    """Drop `database`, with whoever is connected to it, as far as the server can do that."""
    force = int(ask(MAINTENANCE, "SHOW server_version_num")) >= _VERSION_OF_FORCE
    ask(MAINTENANCE, f"DROP DATABASE {identifier(database)}{' WITH (FORCE)' if force else ''}")


def _renaming(database: str, into: str) -> str:
    """Return the edit that gives what is said of the database itself to another one; pg_dump quotes where it has to."""
    old = "|".join(
        map(_pattern, [identifier(database), *([database] if re.fullmatch(r"[a-z_][a-z0-9_]*", database) else [])])
    )
    new = re.sub(r"([\\/&\n])", r"\\\1", identifier(into))
    return _EDIT_NAME.replace("OLD", old).replace("NEW", new)


def _pattern(text: str) -> str:
    return re.sub(r"([][\\.^$*+?(){}|/])", r"\\\1", text).replace("\n", "\\n")
