"""How many tables a PostgreSQL database has, and how many rows: the SQL that counts, and its answer."""

from __future__ import annotations

# Every table by itself, and each in a transaction of its own: so many locks as there are tables, none has. What is
# said of each keeps the one who waits from taking it for stalled. Of a table that others inherit from, ONLY counts
# what is in it; the parts of one that is partitioned are tables themselves, and it has no rows.
_COUNT = """\
DO $$
DECLARE
    each record;
    found bigint;
    tables bigint := 0;
    rows bigint := 0;
BEGIN
    FOR each IN
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence <> 't'
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %I.%I', each.nspname, each.relname) INTO found;
        tables := tables + 1;
        rows := rows + found;
        COMMIT;
        RAISE NOTICE '% tables counted', tables;
    END LOOP;
    PERFORM set_config('dbdump.counted', tables || ' ' || rows, false);
END $$"""
_ANSWER = "SELECT current_setting('dbdump.counted')"

# As psql takes them; the last says what the one before has found.
COUNT_WORDS = ("--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
               "--command=SET statement_timeout = 0", f"--command={_COUNT}", f"--command={_ANSWER}")  # fmt: skip


def counted(answer: bytes) -> tuple[int, int]:
    """Return the tables and the rows that psql answers with COUNT_WORDS."""
    tables, rows = answer.split()
    return int(tables), int(rows)
