"""The prediction log read: where rows are, compacted, as tables."""
