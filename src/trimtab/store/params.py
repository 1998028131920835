"""Parameters of a run are set once: which of them would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.errors import UsageError
from trimtab.hashing import canonical


def changed(known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The names that are known with another value; what is stored alike, as NaN is, is the same."""
    return [
        name
        for name, value in given.items()
        if name in known and known[name] != value and canonical(known[name]) != canonical(value)
    ]


def check(run: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise UsageError where a parameter of the run of that name would change."""
    for name in changed(known, given):
        raise UsageError(
            f"parameter {name!r} of run {run} was {known[name]!r}",
            hint="a parameter is set once; log what changes as a metric",
        )
