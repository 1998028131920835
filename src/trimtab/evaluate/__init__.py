"""Metrics with intervals, slices, fairness, requirements and verdicts."""
