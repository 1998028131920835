"""Files that are held against a model, with no endpoint."""
