"""What the demo shows: acts with what happens in them, as it happens, and one table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table


class Screen:
    """A terminal, or a plain stream of lines where there is none."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._began = time.monotonic()
        self._status: Status | None = None

    @contextmanager
    def act(self, name: str, title: str) -> Iterator[None]:
        """One act: its heading, a spinner while it runs, its duration at the end."""
        begun = time.monotonic()
        self.console.print(f"\n[bold]{name}[/bold]  {title}")
        with self.console.status("") as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None
        self.console.print(f"  [dim]{time.monotonic() - begun:.1f} s[/dim]")

    def doing(self, what: str) -> None:
        """What is under way, shown until the next call."""
        if self._status is not None:
            self._status.update(f"[dim]{what}[/dim]")

    def say(self, what: str) -> None:
        """One line that stays."""
        self.console.print(f"  {what}", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The final table."""
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        self.console.print()
        self.console.print(table)

    def total(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began
