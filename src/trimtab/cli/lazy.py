"""A click group that imports a command's module only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from trimtab.cli.verb import write_examples


class LazyGroup(click.Group):
    """Commands by section; each value is `module:attribute` below `trimtab.cli`."""

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Mapping[str, str]],
        examples: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.sections = sections
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name in the order of the sections."""
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        for section in self.sections.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].partition(":")
                found = importlib.import_module(f"trimtab.cli.{module}")
                return cast("click.Command", getattr(found, attribute))
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; an unknown one is refused with the nearest."""
        if args and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, n=1)
            raise click.UsageError(
                f"there is no command {args[0]!r}"
                + (f", did you mean {near[0]!r}?" if near else ""),
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with a line each, section by section."""
        for title, section in self.sections.items():
            self._format(ctx, formatter, title, list(section))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then what holds for every command."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)

    def _format(
        self, ctx: click.Context, formatter: click.HelpFormatter, title: str, names: Sequence[str]
    ) -> None:
        width = max(len(name) for name in self.list_commands(ctx))
        rows = []
        for name in names:
            command = self.get_command(ctx, name)
            rows.append((name.ljust(width), summary(command) if command else ""))
        with formatter.section(title):
            formatter.write_dl(rows)


def summary(command: click.Command) -> str:
    """The first line of a command's help, without its full stop."""
    return (command.help or "").partition("\n")[0].strip().rstrip(".")
