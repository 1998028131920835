"""The champions before, newest first: what `trimtab rollback` goes back to, one after the other.

The newest of them has the alias `previous`. Who goes back leaves a model for good: it is not among
them any more, and only a deployment or a rollout brings it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trimtab.store import refs, states, versions
from trimtab.store.workspace import Workspace

PREVIOUS: Final = "previous"
_KEPT: Final = 50


def chain(ws: Workspace, model: str) -> list[str]:
    """Digests of the champions of a name before the one that is, newest first."""
    newest = versions.aliases(ws, "model", model).get(PREVIOUS)
    return [newest, *(states.get(ws, _name(model)) or [])] if newest else []


def put(ws: Workspace, model: str, digests: Sequence[str]) -> None:
    """Replace them; raises NotFoundError where the newest is no version of that name."""
    newest = digests[0] if digests else refs.ABSENT
    with ws.transaction():
        versions.set_alias(ws, "model", model, PREVIOUS, newest)
        states.put(ws, _name(model), [*digests[1:_KEPT]])


def _name(model: str) -> str:
    return f"earlier:{model}"
