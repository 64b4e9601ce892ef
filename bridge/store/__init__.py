"""What survives a kill: the log, the inventory and every cursor, in one SQLite file."""
