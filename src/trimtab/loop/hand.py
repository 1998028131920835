"""What people do by hand: a row and an entry in the ledger for each, with who and why.

Whoever moves a rollout, person or controller, holds the same lock while it looks and moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.loop.turn import turn
from trimtab.store import ledger, operations
from trimtab.store.records import Action
from trimtab.store.workspace import Workspace


class Hand(NamedTuple):
    """Who acts, why, and whether what speaks against it is overruled."""

    by: str = ""
    reason: str = ""
    force: bool = False

    def check(self) -> None:
        """Raises UsageError where something is overruled without a reason."""
        if self.force and not self.reason.strip():
            raise UsageError("--force needs a --reason: it is kept in the ledger")


NOBODY: Final = Hand()


@contextmanager
def moving(ws: Workspace) -> Iterator[None]:
    """One at a time: nobody moves a rollout that somebody else has looked at."""
    with turn(ws, "rollouts"):
        yield


def note(ws: Workspace, kind: str, key: str, said: str, hand: Hand, **about: Any) -> Action:
    """Write down what a person does; call it in the transaction that does it."""
    now, reason = ids.now(), hand.reason
    who = hand.by or "a person"
    action = Action(
        id=ids.new_id(),
        kind=kind,
        key=f"hand:{key}",
        state="done",
        cause={"kind": "manual", "by": who, "reason": reason, **about},
        result={"said": f"{said}, by {who}" + (f": {reason}" if reason else "")},
        created_at=now,
        updated_at=now,
    )
    operations.plan_action(ws, action)
    ledger.append(ws, "hand", {"act": kind, "by": who, "reason": reason, "said": said, **about})
    return action
