"""Search with cross-validation."""
