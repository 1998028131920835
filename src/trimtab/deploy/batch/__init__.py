"""A table scored by a packaged model: read in chunks, written whole or not at all."""
