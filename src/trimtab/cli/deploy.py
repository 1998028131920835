"""`trimtab deploy`."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.session import Session, user
from trimtab.cli.verb import verb
from trimtab.loop.reports import Deployed
from trimtab.server import operations
from trimtab.server.requests import Deployment


@verb(
    "deploy",
    "trimtab deploy",
    "trimtab deploy loans@v2 --direct",
    "trimtab deploy loans@v2 --ab 50% --for 2w",
    "trimtab deploy --port 8080",
    "trimtab deploy loans@mlflow-3",
)
@click.argument("reference", default="", metavar="[MODEL]")
@click.option("--name", default="", help="The endpoint (default: the model's name).")
@click.option("--direct", is_flag=True, help="Switch at once, without shadow and canary.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Its port; 0 for any free one.")
@click.option("--ab", default="", metavar="SHARE", help="Test it at this share, such as 50%.")
@click.option("--for", "lasts", default="", metavar="SPAN", help="Of a test, such as 2w.")
@click.option("--revive", is_flag=True, help="Bring an endpoint back that was retired.")
@click.option("--allow-pickle", is_flag=True, help="Read a pickle; only from whom you trust.")
@click.option("--force", is_flag=True, help="Overrule a freeze; needs a reason.")
@click.option("--reason", default="", help="Why; kept in the ledger.")
@click.option("--by", default="", help="Who (default: your user name).")
def deploy(session: Session, reference: str, by: str, allow_pickle: bool, **asked: Any) -> None:
    """Put a model version behind a local endpoint.

    Without MODEL it is the champion. The first deployment starts the endpoint in a process of its
    own. A later one opens a rollout, which `trimtab tick` carries through its stages by evidence.
    With --ab both models answer at fixed shares until a person decides: `trimtab rollouts report`
    compares them, `trimtab rollouts advance` or `rollback` ends the test. NAME@mlflow-N is version N
    that a client of MLflow registered: it is packaged and measured, and deployed where it passes.
    """
    if allow_pickle:
        reference = _brought(session, reference)
    request = Deployment(reference=reference, by=by or user(), **asked)
    session.answer(session.call(operations.DEPLOY, request), render)


def _brought(session: Session, reference: str) -> str:
    """The version that a pickled model of MLflow's registry became; raises where it became none."""
    from trimtab.cli import gate  # the other verb that may read one
    from trimtab.server.handlers import release  # the database is loaded only when needed

    return release.passed(gate.brought(session.project(), reference))


def render(deployed: Deployed) -> None:
    """Where it answers, and how to ask it."""
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(deployed.message or f"{deployed.version} answers at {deployed.url}")
    paper.facts({"predict": f"{deployed.url}/predict", "version": deployed.version})
