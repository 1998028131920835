"""Foreign tongues at the edge: other tools' clients, unmodified."""
