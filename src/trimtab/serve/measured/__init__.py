"""An endpoint measured: latency, capacity, and whether it sees what training saw."""
