"""The migrations of the records, run by `schema.migrate`."""
