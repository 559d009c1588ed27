"""Three web hosts that dump the same way: what they share is said once.

Copy it to your directory of recipes, and on each host run: dbdump dump --host=$(hostname) --here
"""

from dbdump import Directory, Dump, Gzip, Host, MySQL, Site, SQLite, recipe

web1, web2, web3 = (Host(f"web{number}") for number in (1, 2, 3))

farm = Site(hosts=[web1, web2, web3], wrap=[Gzip(level=9)], to=Directory("/srv/dumps"), stall_timeout=1800)


@farm.recipe(tags=["prod"])
def shop(_host: Host) -> Dump:
    """Every database of the host's MariaDB server."""
    return Dump(MySQL(defaults="/root/dump.cnf", exclude=["test*"]))


@farm.recipe(only=["web3"])
def stats(_host: Host) -> Dump:
    """The statistics that only web3 keeps."""
    return Dump(SQLite(path="/srv/stats/*.db"))


@recipe(web1)
def queue(_host: Host) -> Dump:
    """web1's job queue, which needs a site for nothing."""
    return Dump(SQLite(path="/var/spool/jobs/queue.db"), to=Directory("/srv/queue-dumps"))
