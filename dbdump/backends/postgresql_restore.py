"""Make a PostgreSQL database of a raw dump on stdin: the programs that run where it is restored, and their arguments.

A name is code to the tools (row 89 of tests/FAULTS.md): here each is quoted for SQL and for libpq.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..errors import StageError, UsageError
from .names import double_quoted, to_hex
from .postgresql_edit import EDIT

MAINTENANCE = "postgres"  # the database that is there for tools to connect to, initdb(1)

# For the line of the manifest: a database's settings come into force before its tables and rows come.
UNHINDERED = ("env", "PGOPTIONS=-c array_nulls=on -c default_transaction_read_only=off")

_LONGEST = 63  # bytes of a name, NAMEDATALEN: longer ones are cut

# $1 asks whether it is there; $2 edits SQL, see postgresql_edit; $3 and $4 are the name in the dump, quoted, and bare
# where that will do; $5 is the new one, or empty; $6 the maintenance database, $7 the one to restore into; then more
# for each tool.
# All between two of the dump's \connect lines is one transaction, which the database's settings may have begin as
# read-only. Under another name it has changed no other database, or it fails.
_COMMON = r"""
exists=$1 program=$2 old=$3 bare=$4 new=$5 maintenance=$6 target=$7; shift 7; umask 077
check=
[ -z "$new" ] || check="SELECT CAST('this would change the database ' || datname AS pg_catalog.int4)
FROM pg_catalog.pg_database AS d WHERE datname <> pg_catalog.current_database() AND EXISTS (SELECT FROM (
SELECT d.xmin UNION ALL SELECT xmin FROM pg_catalog.pg_db_role_setting WHERE setdatabase = d.oid
UNION ALL SELECT xmin FROM pg_catalog.pg_shdescription WHERE objoid = d.oid AND classoid = d.tableoid
UNION ALL SELECT xmin FROM pg_catalog.pg_shseclabel WHERE objoid = d.oid AND classoid = d.tableoid
) AS r WHERE r.xmin::pg_catalog.text::pg_catalog.int8 = pg_catalog.txid_current() % 4294967296);"
sql() { psql "$@" -X -w -q -A -t -v ON_ERROR_STOP=1; }
edit() { LC_ALL=C old=$old bare=$bare new=$new check=$check awk "$program"; }
made() {
  header= connect=
  while IFS= read -r line; do
    case $line in '\connect '*) connect=yes; break;; esac
    header="$header$line
"
  done
  [ "$connect" ] || { echo 'no \connect line: was it dumped with --create?' >&2; return 1; }
  without='^DROP DATABASE '
  [ "$there" != t ] || without='^(CREATE|DROP) DATABASE '
  printf %s "$header" | LC_ALL=C grep -vE "$without" | edit | sql "$maintenance" "$@" >/dev/null
}
load() {
  said=$({ echo 'BEGIN READ WRITE; SET LOCAL array_nulls = on;'
    { cat || echo 'it could not be read;'; } | edit && printf "%s\nCOMMIT;\nSELECT 'to the end';\n" "$check" ||
      echo 'awk failed;'
  } | { sql "$target" "$@"; echo "status $?"; } | tail -n 2)
  case $said in
  'to the end
status 0') ;;
  *'status 0') echo 'error: psql has left it in the middle, as \q would have it do' >&2; return 1;;
  *) return "${said##*status }";;
  esac
}
look() { there=$(sql "$maintenance" "$@" -c "$exists" </dev/null); }
"""

# Large objects come in transactions of their own, which would end the one around all.
_PLAIN = _COMMON + 'look "$@" && made "$@" && load "$@"'

# $1 at once, $2 words for pg_restore alone.
# pg_restore can only be parallel over a file that it can read from any place: one without a name, which is gone with
# the last who has it open. Its workers open it anew, each with a place of its own. What belongs to the database itself
# pg_restore makes only under its own name, and only with the database: else its SQL is edited.
_CUSTOM = (
    r"""
jobs=$1 own=$2; shift 2
"""
    + _COMMON
    + r"""
archive= create=--create ended=
spool() {
  trap 'ended=yes' TERM # it has to wait as long as the file has a name
  file=$(trap '' TERM; mktemp "${TMPDIR:-/tmp}/dbdump.XXXXXXXX") || exit 1
  exec 8>"$file" 9<"$file" && (trap '' TERM; exec rm -f -- "$file") || exit 1
  trap - TERM
  [ -z "$ended" ] || exit 1
  cat >&8 && exec 8>&- || exit 1
  archive=/proc/self/fd/9
}
# What is there may be dropped when all is in the file, so that it is looked at after that.
if [ "$new" ] || [ "$jobs" -gt 1 ]; then spool; fi
look "$@" || exit 1
if [ "$new" ] || [ "$there" = t ]; then create=; fi
if [ -z "$create" ] && [ -z "$archive" ]; then spool; fi
if [ "$archive" ] && [ ! -r "$archive" ]; then
  [ "$create" ] || { echo "error: it has to be read twice, and there is no $archive" >&2; exit 1; }
  jobs=1 archive=; exec <&9
fi
export PGOPTIONS="${PGOPTIONS-} -c array_nulls=on" # else a NULL in an array becomes a text
if [ "$create" ]; then
  # Between CREATE DATABASE and the tables, its own settings come into force.
  export PGOPTIONS="${PGOPTIONS-} -c default_transaction_read_only=off -c statement_timeout=0"
  exec pg_restore "$maintenance" "$@" --no-password --exit-on-error --create $own --jobs="$jobs" \
    ${archive:+"$archive"}
fi
case $old in *"
"*)
  # pg_restore writes no SQL of such a name: what belongs to the database itself is left out.
  [ "$there" = t ] || sql "$maintenance" "$@" -c "CREATE DATABASE $new TEMPLATE template0" </dev/null || exit 1
  exec pg_restore "$target" "$@" --no-password --exit-on-error $own --jobs="$jobs" "$archive"
esac
entries='^[0-9]+; [0-9]+ [0-9]+ (ACL|COMMENT|SECURITY LABEL) - DATABASE '
listing=$(pg_restore --list --create $own "$archive") || exit 1
itself=$(printf '%s\n' "$listing" | LC_ALL=C grep -E "$entries" |
  pg_restore --create --use-list=/dev/stdin $own --file=- "$archive") || exit 1
printf '%s\n' "$itself" | {
  made "$@" && rest=$(cat) || exit 1
  pg_restore "$target" "$@" --no-password --exit-on-error $own --jobs="$jobs" "$archive" </dev/null || exit 1
  printf '%s\n' "$rest" | load "$@"
}
"""
)

# psql goes on after an error: the roles that every server has are there already, which is SQLSTATE 42710. With
# --file its messages begin with where they come from.
_GLOBALS = r"""
said=$("$@" 2>&1 >/dev/null) || { printf '%s\n' "$said" >&2; exit 1; }
said=$(printf '%s\n' "$said" | sed -nE '/^psql:/{/^psql:[^ ]* [^ :]+: +(42710|0[012]...): /d;p;}')
[ -z "$said" ] || { printf '%s\n' "$said" >&2; exit 1; }
"""

# What was not there when the server was made, and is not of an extension.
_CONTENTS = """\
WITH extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'), things AS (
  SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
  UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_'
  UNION ALL SELECT 'pg_largeobject'::regclass, '16384'::oid FROM pg_largeobject_metadata -- whatever its number
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typtype IN ('d', 'e', 'r')
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
  UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
)
SELECT count(*) FROM things AS t (class, oid)
WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM extended AS e WHERE (e.classid, e.objid) = (t.class, t.oid))"""
_MAY_MAKE_IT = """\
DO $$ BEGIN
  IF NOT (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RAISE 'permission denied to create database, so it is not dropped either' USING ERRCODE = '42501';
  END IF;
END $$"""
_VERSION_OF_FORCE = 130000
_VERSION_OF_SUBSCRIPTIONS = 100000


def exists(name: str) -> str:
    """Return the question whether there is such a database: t or f. In hex, because a name need not be text."""
    digits = to_hex(name)
    return f"SELECT EXISTS (SELECT FROM pg_database WHERE encode(textsend(datname::text), 'hex') = '{digits}')"  # noqa: S608  digits


def not_being_made(name: str) -> str:
    """Return what waits until nobody makes such a database: whose client is killed goes on with it.

    As in `exists` a name is in hex; that is not waited for where it takes longer than half a minute.
    """
    return f"""\
DO $$ BEGIN
  FOR i IN 1..300 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'
      AND query ~ ('CREATE' || ' DATABASE') AND encode(textsend(query), 'hex') LIKE '%{to_hex(name)}%');
    PERFORM pg_stat_clear_snapshot(), pg_sleep(0.1);
  END LOOP;
END $$"""


def loading_custom(  # noqa: PLR0913  each is another thing
    connection: Callable[[str], str], more: Sequence[str], database: str, into: str, jobs: int, *, owners: bool
) -> list[str]:
    """Return the argv that makes `into` of a custom dump of `database` on stdin, with `owners` and grants, or not."""
    own = "" if owners else "--no-owner --no-privileges --no-tablespaces"
    return ["sh", "-c", _CUSTOM, "sh", str(jobs), own, *_given(connection, database, into), *more]


def loading_plain(connection: Callable[[str], str], more: Sequence[str], database: str, into: str) -> list[str]:
    """Return the argv that makes `into` of plain SQL of `database` on stdin."""
    return ["sh", "-c", _PLAIN, "sh", *_given(connection, database, into), *more]


def loading_globals(psql: Sequence[str]) -> list[str]:
    """Return the argv that runs `psql` on globals, and fails for any error but that something is there already."""
    return ["sh", "-c", _GLOBALS, "sh", *psql, "--set=VERBOSITY=verbose", "--file=-"]


def whole_name(name: str) -> str:
    """Return a database's name. Raises UsageError for one that the server would cut, with a notice only."""
    if (size := len(name.encode("utf-8", "surrogateescape"))) > _LONGEST:
        raise UsageError(f"{name}: a name of {size} bytes, and PostgreSQL has {_LONGEST}", "Give a shorter one: --as.")
    return name


def contents(ask: Callable[..., str], database: str) -> int | None:
    """Return how many things `database` has, None where it is not there; `ask` asks one database questions."""
    try:
        return int(ask(database, _CONTENTS))
    except StageError:
        if ask(MAINTENANCE, not_being_made(database), exists(database)) != "t":
            return None
    return int(ask(database, _CONTENTS))  # it was made meanwhile, or fails again


def discard(ask: Callable[..., str], database: str) -> None:
    """Drop `database`, with whoever is connected to it, as far as the server can do that."""
    drop = f"DROP DATABASE {double_quoted(database)}"
    try:
        ask(MAINTENANCE, _MAY_MAKE_IT, f"{drop} WITH (FORCE)")
    except StageError:
        if int(ask(MAINTENANCE, "SHOW server_version_num")) >= _VERSION_OF_FORCE:
            raise
        ask(MAINTENANCE, _MAY_MAKE_IT, drop)


# The slot of a restored subscription is that of the database that was dumped, or of its publisher: it is let go of.
_FORGET_SUBSCRIPTIONS = """\
DO $$ DECLARE name name; BEGIN
  FOR name IN SELECT subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  LOOP
    EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', name);
    EXECUTE format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', name);
    EXECUTE format('DROP SUBSCRIPTION %I', name);
  END LOOP;
END $$"""


def let_go(ask: Callable[[str, str], str], database: str) -> None:
    """Have nothing keep a scratch database from being dropped: neither that it is a template, nor a subscription."""
    ask(MAINTENANCE, f"ALTER DATABASE {double_quoted(database)} IS_TEMPLATE false")
    if int(ask(MAINTENANCE, "SHOW server_version_num")) >= _VERSION_OF_SUBSCRIPTIONS:
        ask(database, _FORGET_SUBSCRIPTIONS)


def _given(connection: Callable[[str], str], database: str, into: str) -> list[str]:
    """Return what both formats have to know; pg_dump quotes a name where it has to."""
    bare = database if re.fullmatch(r"[a-z_][a-z0-9_]*", database) else ""
    new = "" if into == database else double_quoted(into)
    return [exists(into), EDIT, double_quoted(database), bare, new, connection(MAINTENANCE), connection(into)]
