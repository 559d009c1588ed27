"""One PostgreSQL cluster in two recipes: the small databases in one, the large one apart, as plain SQL."""

from dbdump import Directory, Dump, Host, PostgreSQL, Zstd, localhost, recipe

LARGE = "warehouse"
STORE = Directory("/srv/dumps")


@recipe(localhost, tags=["prod"])
def cluster(_host: Host) -> Dump:
    """Every database but the warehouse, and the roles."""
    return Dump(PostgreSQL(su="postgres", exclude=[LARGE, "scratch_*"]), to=STORE)


@recipe(localhost, tags=["prod", "weekly"])
def warehouse(_host: Host) -> Dump:
    """The warehouse, without the tables that can be made again."""
    server = PostgreSQL(
        su="postgres", include=[LARGE], globals=False, format="plain", pg_dump_options="--exclude-table='cache_*'"
    )
    return Dump(server, wrap=[Zstd(level=9)], to=STORE, stall_timeout=1800)
