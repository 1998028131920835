"""Signature, packaging and registry."""
