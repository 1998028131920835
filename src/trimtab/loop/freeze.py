"""Freeze windows: the controller starts and moves nothing while one is open, as when it is paused.

What fails is rolled back all the same. Slots of triggers wait: those that `catch_up` still allows
come when the freeze ends. A person overrules one with a reason.
"""

from __future__ import annotations

import msgspec

from trimtab import freezing, ids
from trimtab.config import Config
from trimtab.errors import RefusedError
from trimtab.loop import pause
from trimtab.loop.project import Project


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Which window is open, until when (microseconds), and why it was written."""

    window: str
    until: int
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What is to be said of it."""
        why = f" ({self.reason})" if self.reason else ""
        return f"frozen until {ids.iso(self.until)} by [freeze] {self.window!r}{why}"


def frozen(config: Config, now: int) -> Frozen | None:
    """The freeze that a moment lies in, or None."""
    settings = config.freeze
    zone = settings.timezone or config.project.timezone
    found = freezing.until(settings.windows, zone, now) if settings.windows else None
    if found is None:
        return None
    return Frozen(window=found[0], until=found[1], reason=settings.reason)


def rests(project: Project, now: int) -> str:
    """Why the controller starts nothing now: it is paused, or frozen; "" where it may act."""
    paused = pause.paused(project.ws)
    if paused is not None:
        why = f": {paused.reason}" if paused.reason else ""
        return f"paused since {ids.iso(paused.since)}{why}; `trimtab resume` ends it"
    found = frozen(project.config, now)
    return found.sentence if found else ""


def refuse(project: Project, what: str) -> None:
    """Raises RefusedError where a person asks for `what` during a freeze."""
    found = frozen(project.config, ids.now())
    if found is not None:
        raise RefusedError(
            f"{what} waits: {found.sentence}",
            hint='wait, or overrule it with --force --reason "...", which is kept in the ledger',
        )
