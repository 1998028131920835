"""What a transfer has done so far, and what it could not carry, each with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from trimtab.interop.transfer.source import Skipped

_KEPT: Final = 1_000


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """What a transfer did, or would do (`dry_run`).

    `runs` are new ones, `grown` those that were there and went on, `same` those with nothing new.
    `skipped` names what is not carried, the first 1,000 of `skipped_count`.
    """

    source: str
    target: str
    dry_run: bool
    experiments: int
    runs: int
    grown: int
    same: int
    points: int
    files: int
    bytes: int
    models: int
    registered: int
    versions: int
    skipped_count: int
    skipped: list[Skipped]


@dataclass
class Tally:
    """The same while it grows. `tell` hears a line whenever something is done."""

    source: str = ""
    target: str = ""
    dry_run: bool = False
    tell: Callable[[str], None] = lambda _: None
    experiments: int = 0
    runs: int = 0
    grown: int = 0
    same: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    models: int = 0
    registered: int = 0
    versions: int = 0
    skipped_count: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, what: str, name: str, reason: str) -> None:
        """Note what is not carried."""
        one = Skipped(what=what, name=name, reason=reason)
        if one in self.skipped:
            return
        self.skipped_count += 1
        if len(self.skipped) < _KEPT:
            self.skipped.append(one)

    def done(self) -> Transferred:
        """What it came to."""
        return Transferred(**{one: getattr(self, one) for one in Transferred.__struct_fields__})

    def progress(self, where: str) -> None:
        """Say how far it is."""
        runs = self.runs + self.grown + self.same
        self.tell(f"{where}: {runs:,} runs, {self.points:,} points, {self.files:,} files")
