"""Conformance classes for every port; nothing in trimtab imports it."""
