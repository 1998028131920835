"""Records, blobs and ledger: the only place that touches a database."""
