"""How a command is declared: its name, its examples, its group; and what help looks like.

A verb gets `-C` and `--json` and takes a `Session` first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from trimtab.cli.session import Session

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Verb(click.Command):
    """A command whose help ends in examples."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples as they are to be typed."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def write_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    """Lines of shell, never wrapped."""
    if examples:
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for line in examples:
                formatter.write(f"  {line}\n")


def verb(
    name: str, *examples: str, of: click.Group | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a function as a command, of a noun where `of` is given."""

    def declare(function: Callable[..., Any]) -> click.Command:
        make = click.command(name, cls=Verb, examples=examples, context_settings=CONTEXT)
        command = make(_common(function))
        if of is not None:
            of.add_command(command)
        return command

    return declare


def noun(name: str, about: str) -> click.Group:
    """Declare a group of commands on one kind of thing."""
    return click.Group(name, help=about, context_settings=CONTEXT)


def project_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `-C DIR`."""
    return click.option(
        "-C",
        "--project",
        "folder",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="The project's folder, or one inside it (default: the working directory).",
    )


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    @project_option()
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, folder: Path | None, as_json: bool, **arguments: Any) -> Any:
        above = (ctx.find_root().obj or {}).get("folder")
        return function(Session(start=folder or above, as_json=as_json), **arguments)

    return wrapped
