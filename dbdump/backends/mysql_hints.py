"""What to do about what the programs of MySQL and MariaDB say: a pattern of a message, and a sentence."""

HINTS = (
    ("Access denied for user .* to database|LOCK TABLES command denied",
     "GRANT LOCK TABLES, or what the message names, ON that database TO that user."),
    (r"1045|Access denied for user|1698",
     "Look at user and password in the file that --defaults names, or in ~/.my.cnf."),
    ("mysql[`'.]+(user|global_priv|db|roles_mapping)", "GRANT SELECT ON mysql.*, or give globals=False."),
    ("SHOW CREATE USER .*1133", "Drop the accounts whose host names skip_name_resolve makes useless."),
    (r"\b1356\b", "Mend the view, drop it, or name it in ignore_tables."),
    ("SHOW PACKAGE STATUS", "This mariadb-dump takes that server for MariaDB: install MySQL's client."),
    ("transaction-precise history", "Leave the history out: --skip-dump-history in mysqldump_options."),
    (r"\b(1412|1146)\b|Couldn't read status information",
     "A table was altered or dropped during the dump; run it again. In a restore: its database has to come first."),
    (r"\b1049\b|Unknown database", "It was dropped or renamed since it was listed; run it again."),
    (r"\b(2002|2003|2005)\b", "Is the server there? See host, port and socket."),
    (r"\b(2006|2013|1927)\b",
     "The server ended it: see its log, and its net_write_timeout and max_allowed_packet."),
    (r"\b2008\b|DYNAMIC_STRING|Couldn't allocate",
     "The host has too little memory for the largest row, or a limit of it."),
    ("Could not open required defaults file", "The user that su names has to own that file."),
    ("unknown (variable|option)", "This client does not know that option; look at the option file too."),
    ("command denied", "GRANT that privilege to that user."),
)  # fmt: skip
