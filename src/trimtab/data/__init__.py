"""Sources, snapshots, tables, schema, quarantine and labels."""
