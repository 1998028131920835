"""Runs, params, metric series and the artifacts of a run."""
