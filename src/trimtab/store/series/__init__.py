"""Metric series at scale: columns of points, chunks with summaries, compaction and charts."""
