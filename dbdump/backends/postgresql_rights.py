"""What a role may not read, and pg_dump would fail by: asked of each database before anything is dumped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import StageError
from ..findings import Finding, Severity, guarded
from .names import double_quoted, from_hex
from .words import spelled_out

AskDatabase = Callable[[str, Sequence[str]], str]

# Whoever owns a database can have it begin with a search_path whose functions are his (CVE-2018-1058).
_PREPARE = ("SET search_path = pg_catalog",)
_AUTHID = "SELECT has_table_privilege('pg_authid', 'SELECT')"
_FOR_ALL = "SELECT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = 0)"
_ROLE = "SELECT encode(textsend(current_user::text), 'hex')"

# Tables and sequences as pg_dump takes them: locked, read, and none of an extension's but those that hold settings of
# its user. And what pg_dump would not take, as it takes it for the server's own. What is missing, how often, and the
# first three in hex.
_RIGHTS = """\
WITH thing AS (
  SELECT c.oid, c.relkind, n.oid AS schema, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (c.oid IN (SELECT unnest(extconfig) FROM pg_extension) OR NOT EXISTS (
      SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'))
), lack AS (
  SELECT 'read' AS kind, name FROM thing
    WHERE NOT (has_schema_privilege(schema, 'USAGE') AND has_table_privilege(oid, 'SELECT'))
  UNION ALL SELECT 'rows', name FROM thing WHERE relkind = 'r' AND {active}
  UNION ALL SELECT 'object', oid::text FROM pg_largeobject_metadata WHERE NOT (
    {all_objects} OR current_setting('lo_compat_privileges')::boolean OR pg_has_role(lomowner, 'USAGE') OR EXISTS (
      SELECT 1 FROM aclexplode(lomacl) a
      WHERE privilege_type = 'SELECT' AND (grantee = 0 OR pg_has_role(grantee, 'USAGE'))))
  UNION ALL SELECT 'beyond', name FROM (
    SELECT tableoid, oid, relnamespace, oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL SELECT tableoid, oid, pronamespace, oid::regprocedure::text FROM pg_proc
  ) AS t (class, oid, schema, name)
    WHERE oid >= 16384 AND schema IN (
      SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema'))
    AND NOT EXISTS (SELECT FROM pg_depend WHERE (classid, objid) = (t.class, t.oid) AND deptype = 'e')
)
SELECT kind, count(*), encode(textsend(array_to_string((array_agg(name ORDER BY name))[1:3], ', ')), 'hex')
FROM lack GROUP BY kind ORDER BY kind DESC"""

# Flags of pg_dump that choose what is dumped, and those that leave large objects out, or rows.
_CHOOSING = ("-n", "-N", "-t", "-T", "-e", "-s", "--schema", "--exclude-", "--table", "--extension", "--section",
             "--filter")  # fmt: skip
_NO_OBJECTS = ("-B", "--no-blobs", "--no-large-objects")


@dataclass(frozen=True)
class Asked:
    """What pg_dump is asked for: as which role, for which part only, without large objects, with rows left out."""

    role: str = ""
    part: bool = False
    objects: bool = True
    all_rows: bool = True


def asked_of(words: Sequence[str], with_value: str) -> Asked:
    """Return what the `words` of pg_dump_options ask for; `with_value` are the short flags that take one."""
    names = [flag.partition("=")[0] for flag in spelled_out(words, with_value)]
    role = ""
    for word, following in pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        if flag == "--role":
            role = value if equals else following
    return Asked(
        role,
        part=any(name.startswith(_CHOOSING) for name in names),
        objects=not any(name in _NO_OBJECTS for name in names),
        all_rows="--row-security" not in names,  # as --enable-row-security is spelled out
    )


class Rights:
    """What the role that dumps may read; `ask` runs SQL in a database as that role. `number` is the server's version.

    The names of roles and databases in hints are as SQL takes them.
    """

    def __init__(self, ask: AskDatabase, number: int, asked: Asked) -> None:
        self._ask = ask
        self._asked = asked
        active = "row_security_active(oid)" if number >= 90500 else "false"  # noqa: PLR2004  there was none before
        reads_all = "pg_has_role('pg_read_all_data', 'USAGE')" if number >= 190000 else "false"  # noqa: PLR2004
        self._question = _RIGHTS.format(active=active, all_objects=reads_all)
        self._prepare = [*_PREPARE, *([f"SET ROLE {double_quoted(asked.role)}"] if asked.role else [])]

    def of_all(self, databases: Iterable[str], hint: Callable[[str], str]) -> Iterator[Finding]:
        """Yield what is missing in each of `databases`; `hint` makes one for what psql says."""
        names = list(databases)
        found = [each for name in names for each in guarded(self.of(name), "connect", name, hint)]
        yield from found or [Finding("ok", "rights", f"all of {len(names)} can be connected to, and read")]

    def of(self, database: str) -> Iterator[Finding]:
        """Yield what is missing in one database. Raises StageError where it cannot even be connected to."""
        try:
            role, *lines = self._ask(database, [*self._prepare, _ROLE, self._question]).splitlines()
        except StageError as error:
            if "permission denied for database" not in error.message:
                raise
            role = double_quoted(self._asked.role) if self._asked.role else "the role"
            hint = f"GRANT CONNECT ON DATABASE {double_quoted(database)} TO {role};"
            raise StageError("connect", error.message, hint) from error
        for line in lines:
            kind, count, names = line.split()
            yield from self._lack(database, from_hex(role), kind, int(count), from_hex(names))

    def of_globals(self, database: str) -> Iterator[Finding]:
        """Yield what is missing for pg_dumpall, or left out by it; `database` is that which it connects to."""
        readable, for_all = self._ask(database, [*_PREPARE, _AUTHID, _FOR_ALL]).split()
        if for_all == "t":
            yield Finding(
                "warning", "rights", "pg_dumpall leaves out what ALTER ROLE ALL has set",
                "Write it down, or set it in postgresql.conf: see \\drds in psql.", "@globals",
            )  # fmt: skip
        if readable != "t":
            yield Finding(
                "error", "rights", "the role may not read pg_authid, which has the roles with their passwords",
                "GRANT pg_read_all_data TO the role (before PostgreSQL 14: a superuser), or give globals=False.",
                "@globals",
            )  # fmt: skip

    def _lack(self, database: str, role: str, kind: str, count: int, names: str) -> Iterator[Finding]:
        which = f"{names}, and {count - 3} more" if count > 3 else names  # noqa: PLR2004  as _RIGHTS has it
        severity: Severity = "warning" if self._asked.part else "error"
        unless = "; pg_dump_options may leave that out" if self._asked.part else ""
        match kind:
            case "read":
                told = f"{role} may not read {count} of its tables and sequences: {which}"
                hint = f"GRANT pg_read_all_data TO {double_quoted(role)}; or SELECT on each, and USAGE on its schema."
            case "rows":
                told = f"row-level security hides rows from {role} in {count} of its tables: {which}"
                hint = f"ALTER ROLE {double_quoted(role)} BYPASSRLS;"
                severity = severity if self._asked.all_rows else "warning"
            case "beyond":
                told = f"pg_dump leaves out {count} things in pg_catalog or information_schema: {which}"
                hint, severity = "Make them in a schema of their own.", "warning"
            case _ if self._asked.objects:
                told = f"{role} may not read {count} of its large objects: {which}"
                hint = "GRANT SELECT ON LARGE OBJECT …, dump as a superuser, or leave them out: --no-blobs."
            case _:
                return
        yield Finding(severity, "rights", told + unless, hint, database)
