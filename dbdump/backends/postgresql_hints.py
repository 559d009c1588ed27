"""What to do about what the tools of PostgreSQL say: a pattern of a message, and a sentence; the first one counts."""

# In another language, and before PostgreSQL 15 in English too, pg_dump has another word before the query that failed.
DETAIL = "LOCK TABLE .*"

HINTS = (
    ("no password supplied", "Give ~/.pgpass the password, and chmod 600 it: else it is not used."),
    ("password authentication failed|fe_sendauth", "Give ~/.pgpass the password."),
    ("Peer authentication failed", "Run it as that user: --su=postgres."),
    ("pg_authid", "Let the role read it: GRANT pg_read_all_data; or give globals=False."),
    ("row-level security", "Let the role see every row: ALTER ROLE … BYPASSRLS."),
    ("large object", "The role must own it or be superuser, or leave them out: --no-large-objects."),
    ("(psql|pg_restore): not found", "Install PostgreSQL's client programs there, or add their directory to PATH."),
    ("awk: not found", "Install awk there (Debian: mawk): it edits SQL of pg_dump where it is restored."),
    ("mktemp:|cat: .*No space", "Several at once read the dump from a file in TMPDIR: give it room, or --jobs=1."),
    ('FATAL: +role ".*" does not exist', "Give another one: user, or --su; or make it, with LOGIN."),
    ('(role|tablespace) ".*" does not exist', "Restore it too, with --globals."),
    ("cannot drop the currently open database",
     "dbdump connects to it to drop others: give it another name with --as, or empty it yourself."),
    ("permission denied to create database", "Restore as a role that may: ALTER ROLE … CREATEDB, or a superuser."),
    ("permission denied for database", "GRANT CONNECT ON DATABASE … TO the role."),
    ("permission denied", "GRANT pg_read_all_data TO the role, or dump as a superuser."),
    ("statement timeout.*LOCK TABLE",
     "Somebody holds that lock: see pg_locks and pg_stat_activity, or raise lock_wait_timeout."),
    ("LOCK TABLE",  # in another language
     "The role may not read that table, or somebody holds a lock of it: see pg_locks and pg_stat_activity."),
    ("due to statement timeout",
     "pg_dump asks something before it lifts that: ALTER ROLE … SET statement_timeout = 0, for the role that dumps."),
    ("server version mismatch", "Install the pg_dump of the server's version, or a newer one."),
    ("terminating connection|server closed the connection|connection to server was lost",
     "The server ended it; its log says why."),
    ('database ".*" does not exist', "It was dropped or renamed since it was listed; run it again."),
    ("too many connections|too many clients|remaining connection slots",
     "Raise that limit, or dump fewer at once: --jobs."),
    ("has no equivalent in encoding",
     "pg_dump would write it in the client's encoding, as is set: pg_dump_options=\"--encoding=UTF8\" keeps all."),
    ("contains a newline", 'The plain format cannot hold such a name; use format="custom".'),
    ("could not connect|connection to server .* failed", "Is the server there? See host and port."),
)  # fmt: skip
