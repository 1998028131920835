"""What a pass of the controller saw, did and waits for, as it goes."""

from __future__ import annotations

from trimtab.store.records import Action


class Notes:
    """What a pass saw, did and waits for, as it goes."""

    def __init__(self) -> None:
        self.observed: list[str] = []
        self.acted: list[Action] = []
        self.waiting: list[str] = []
