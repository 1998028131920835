"""Observe, compare, act: tick, gate, rollout, incidents."""
