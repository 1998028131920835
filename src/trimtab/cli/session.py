"""One call of the command line: the project it works on, and the one way to answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from trimtab.cli.plain import plain

if TYPE_CHECKING:  # the project brings the database with it
    from trimtab.loop.project import Project
    from trimtab.server.operation import A, Operation, Q


@dataclass(frozen=True)
class Session:
    """The options of one call."""

    start: Path | None
    as_json: bool

    def project(self) -> Project:
        """The project of the folder, opened; raises NotFoundError or ConfigError."""
        from trimtab.loop.project import open_project  # the database is loaded only when needed

        return open_project(self.start)

    def call(self, operation: Operation[Q, A], request: Q) -> A:
        """Do an operation on the project."""
        return operation.call(self.project(), request)

    def answer(self, value: Any, render: Callable[[Any], None]) -> None:
        """Print an answer: as one JSON document with `--json`, as text for people without."""
        if self.as_json:
            print_json(value)
        else:
            render(value)


def print_json(value: Any) -> None:
    """One indented JSON document on stdout; NaN and infinities become null."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line about what happens, on stderr: stdout is for data."""
    click.echo(plain(text), err=True)


def user() -> str:
    """The name of who is at the terminal, "" where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without a name, as in a bare container
        return ""
