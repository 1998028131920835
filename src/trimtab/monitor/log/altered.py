"""Columns that `[serve] pii` keeps back: the log does not hold them as they were.

A window remembers which, so that what it shows of them is judged by nobody, though the rule is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trimtab.store.records import Window


def noted(old: Window | None, names: Sequence[str]) -> dict[str, list[str]]:
    """What a window remembers: `names`, and what was kept back of its rows before."""
    before = old.features.get("pii", []) if old else []
    found = sorted({*before, *names})
    return {"pii": found} if found else {}


def of(windows: Iterable[Window]) -> set[str]:
    """The columns that were kept back in any of these windows."""
    return {name for one in windows for name in one.features.get("pii", [])}
