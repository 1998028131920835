"""Whether a step call is remembered, and remembering it.

A step that reads environment variables or files is remembered twice: under its own key with what
it read last (so that the next lookup knows where to look), and under the key joined with what it
read there (so that going back to an earlier value finds the earlier result).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from trimtab import hashing
from trimtab.pipeline import observe
from trimtab.pipeline.outputs import are_here
from trimtab.store import cache
from trimtab.store.records import CachedStep
from trimtab.store.workspace import Workspace


def find(ws: Workspace, key: str, base: Path) -> tuple[CachedStep | None, dict[str, str]]:
    """The remembered step that still holds, and else what it read that is different now.

    `base` is the project folder, to which observed files are relative.
    """
    known = cache.get(ws, key)
    if known is None:
        return None, {}
    now = observe.present(known.observed, base)
    if now == known.observed:
        return (known if are_here(ws, known) else None), {}
    earlier = cache.get(ws, _joined(key, now))
    if earlier is not None and earlier.observed == now and are_here(ws, earlier):
        return earlier, {}
    return None, {name: value for name, value in now.items() if known.observed[name] != value}


def rows(step: CachedStep) -> list[CachedStep]:
    """What is stored to remember a step in place of what its key gave before."""
    if not step.observed:
        return [step]
    return [step, msgspec.structs.replace(step, key=_joined(step.key, step.observed))]


def _joined(key: str, observed: dict[str, str]) -> str:
    return hashing.object_digest("key", [key, observed])
