"""Whether a flow is being drawn right now, and by whom."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Tracer(Protocol):
    """Takes down the step calls of a flow and answers each with a handle."""

    def add(self, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call of a step."""
        ...


active: ContextVar[Tracer | None] = ContextVar("active", default=None)
