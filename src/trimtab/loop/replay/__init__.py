"""History run again under never, scheduled, on-drift and continuous training."""
