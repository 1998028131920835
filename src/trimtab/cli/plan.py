"""`trimtab plan`, and the parameters of a flow as they are typed: `-p depth=4`."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.server.answers import Planned, PlannedStep


class Param(click.ParamType[tuple[str, Any]]):
    """`NAME=VALUE`, where the value is JSON, or text where it is not."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The name and the value."""
        import msgspec  # only where a parameter is given

        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        try:
            return name, msgspec.json.decode(text)
        except msgspec.DecodeError:
            return name, text


@verb("plan", "trimtab plan", "trimtab plan -p trials=50")
@click.option(
    "-p", "--param", "params", type=Param(), multiple=True, help="An argument of the flow."
)
def plan(session: Session, params: tuple[tuple[str, Any], ...]) -> None:
    """Say what a run would execute, and why; change nothing."""
    project = session.project()
    from trimtab.loop.candidate import train  # brings numpy and polars

    with contextlib.redirect_stdout(sys.stderr):  # the project's own code may print
        found = train.plan(project, dict(params))
    steps = [
        PlannedStep(step=one.name, action=one.status, reason=one.reason, weak=list(one.weak))
        for one in found.steps
    ]
    planned = Planned(
        flow=found.flow,
        steps=steps,
        data={one.name: one.label for one in found.data},
        nothing_to_do=found.nothing_to_do,
    )
    session.answer(planned, _render)


def _render(planned: Planned) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    read = ", ".join(label or f"{name} (a new version)" for name, label in planned.data.items())
    paper.say(f"{planned.flow}, reading {read}" if read else planned.flow)
    paper.table(
        ["step", "", "why"],
        [(one.step, one.action, one.reason) for one in planned.steps],
    )
    for one in planned.steps:
        if one.weak:
            paper.say(f"the key of {one.step} does not see: {', '.join(one.weak)}")
    if planned.nothing_to_do:
        paper.say(f"nothing to do: all {len(planned.steps)} steps are cached")
