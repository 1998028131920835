"""An import under way, and what all of its parts ask of a name or a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trimtab.interop.mlflow import limits
from trimtab.interop.transfer.source import Source
from trimtab.interop.transfer.tally import Tally
from trimtab.store.workspace import Workspace

LARGEST: Final = 50 << 30
"""Bytes that a file has at most, where nothing else is said."""
OUTSIDE: Final = "it is dated outside of all time"


@dataclass
class Taking:
    """One import: where to, where from, how far. `places` are locations there -> here."""

    ws: Workspace
    source: Source
    tally: Tally
    largest: int = LARGEST
    again: bool = False
    places: dict[str, str] = field(default_factory=dict)


def is_dated(*moments: int) -> bool:
    """Whether all of these can be stored as times."""
    return all(abs(one) <= limits.GREATEST_MS for one in moments)


def named(tally: Tally, owner: str, values: dict[str, str], what: str) -> dict[str, str]:
    """What of these has names that are stored here: a name may become a path when it leaves again."""
    found = {}
    for key, value in values.items():
        if limits.is_name(key):
            found[key] = value
        else:
            tally.skip(what, f"{owner}/{key[:100]}", "it is no name that is stored here")
    return found
