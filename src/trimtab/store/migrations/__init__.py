"""The migrations of the records, run by `database.migrate`."""
