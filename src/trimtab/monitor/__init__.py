"""Judges profiles: drift, concept drift, quality from late labels."""
