"""Named extensions: built-ins and entry points register through the same tables.

A lower layer that needs an upper one's skill owns a port (a name here); the upper registers an
implementation under that name. Packages outside trimtab use the entry-point groups
`trimtab.sources`, `.codecs`, `.metrics`, `.executors`, `.targets` and `.notifiers`.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from trimtab.errors import NotFoundError

GROUPS: Final = ("sources", "codecs", "metrics", "executors", "targets", "notifiers")
_registered: dict[tuple[str, str], Any] = {}


def register(group: str, name: str, extension: Any) -> None:
    """Make `extension` known as `name`; a string `module:attribute` is imported at first use."""
    if group not in GROUPS:
        raise ValueError(f"unknown extension group {group!r}; one of {', '.join(GROUPS)}")
    _registered[group, name] = extension


def get(group: str, name: str) -> Any:
    """The extension called `name`; raises NotFoundError with the nearest known name."""
    found = _registered.get((group, name))
    if found is None:
        found = next((one.load() for one in _outside(group) if one.name == name), None)
    if found is None:
        known = names(group)
        near = difflib.get_close_matches(name, known, n=1)
        raise NotFoundError(
            f"no {group[:-1]} called {name!r}" + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"known: {', '.join(known) or 'none'}",
        )
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(importlib.import_module(module), attribute)
    _registered[group, name] = found
    return found


def names(group: str) -> list[str]:
    """Every known name of a group, sorted."""
    outside = {point.name for point in _outside(group)}
    return sorted(outside | {name for kind, name in _registered if kind == group})


@cache
def _outside(group: str) -> tuple[EntryPoint, ...]:
    """What installed packages register; what is installed later is known to the next process.

    Kept, because finding it reads the list of every installed package, and a pass of the controller asks
    for names several times.
    """
    return tuple(entry_points(group=f"trimtab.{group}"))
