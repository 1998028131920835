"""`trimtab config`: show, schema."""

from __future__ import annotations

from trimtab.cli.session import Session, print_json
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import ConfigShown
from trimtab.server.requests import Nothing

config = noun("config", "The project file.")


@verb("show", "trimtab config show", of=config)
def show(session: Session) -> None:
    """Print the project file with its defaults filled in."""
    session.answer(session.call(operations.CONFIG_SHOW, Nothing()), _render)


@verb("schema", "trimtab config schema > trimtab.schema.json", of=config)
def schema(session: Session) -> None:
    """Print the JSON schema of trimtab.toml, for editors."""
    from trimtab.config import schema as describe  # not needed by the other command

    print_json(describe())


def _render(shown: ConfigShown) -> None:
    import msgspec  # only to walk the sections

    from trimtab.cli import paper  # rich is loaded only to print

    paper.facts({"file": shown.path, "digest": shown.digest})
    read = msgspec.to_builtins(shown.config)
    requirements = shown.config.require
    tables = {f"data.{name}": table for name, table in read.pop("data").items()}
    read.pop("require")
    for name, table in {**read, **tables}.items():
        paper.say(f"\n[{name}]")
        paper.facts(table)
    if requirements:
        paper.say("\n[require]")
        for requirement in requirements:
            paper.say(requirement.text)
