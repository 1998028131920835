"""Tables, facts and verdicts on stdout, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trimtab.cli.plain import plain
from trimtab.server import words
from trimtab.store.records import Verdict

_WIDE: Final = 220  # a pipe has no width; narrower would cut what a script's reader looks for
STYLES: Final = {
    "pass": "green",
    "done": "green",
    "ready": "green",
    "good": "green",
    "promoted": "green",
    "resolved": "green",
    "fail": "bold red",
    "failed": "bold red",
    "bad": "bold red",
    "lost": "bold red",
    "missing": "red",
    "open": "yellow",
    "undecided": "yellow",
    "provisional": "yellow",
    "running": "cyan",
    "busy": "cyan",
    "cached": "dim",
    "stopped": "dim",
    "idle": "dim",
}


def console() -> Console:
    """Where answers go."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def say(text: str = "") -> None:
    """A line as it is."""
    console().print(Text(plain(text)))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Rows under a heading; words that are a state get its colour."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        shown.add_column(
            Text(plain(column)),  # not as markup, which brackets in a metric's name would be
            justify="right" if column in right else "left",
            overflow="fold",
            header_style="dim",
        )
    for row in rows:
        shown.add_row(*(state(text) for text in row))
    console().print(shown)


def state(text: str) -> Text:
    """A cell, coloured where it is a state."""
    return Text(plain(text), style=STYLES.get(text, ""))


def facts(pairs: Mapping[str, Any]) -> None:
    """Names and values, a line each; what is empty is left out."""
    known = {name: value for name, value in pairs.items() if value not in ("", None, {}, [], ())}
    width = max((len(name) for name in known), default=0)
    for name, value in known.items():
        line = Text(plain(name.ljust(width) + "  "), style="dim")
        line.append_text(state(value if isinstance(value, str) else words.cell(value)))
        console().print(line)


def verdicts(found: Sequence[Verdict]) -> None:
    """Requirements with what was measured and decided."""
    table(
        ["requirement", "measured", "verdict"],
        [(one.text, words.measured(one), words.standing(one)) for one in found],
    )
