"""`trimtab retire`."""

from __future__ import annotations

from typing import Final

import click

from trimtab import ids
from trimtab.cli.session import Session, note, user
from trimtab.cli.verb import verb
from trimtab.errors import RefusedError, UsageError
from trimtab.loop.retiring.ending import Erasure, Plan, Retirement
from trimtab.server import endings
from trimtab.server.requests import Ending, Named

_WATCHED: Final = "embedded"
"""The target of a monitor inside another server; who asks needs no numerical library to know it."""


@verb(
    "retire",
    "trimtab retire                                  # only look: who calls, what goes, what stays",
    "trimtab retire loans --successor loans-eu --in 2w --reason merged --yes",
    "trimtab retire loans --now --force --yes",
    "trimtab retire loans --cancel",
    "trimtab retire shop --reason moved --yes        # a monitor inside another server",
)
@click.argument("name", default="", metavar="[ENDPOINT]")
@click.option("--successor", metavar="NAME|URL", default="", help="Who answers instead.")
@click.option(
    "--in", "within", metavar="SPAN|DATE", default="", help="Tell callers first: 2w, 2027-01-31."
)
@click.option("--now", "at_once", is_flag=True, help="At once (the default).")
@click.option("--reason", default="", help="Kept in the ledger and told by `trimtab why`.")
@click.option("--by", default="", help="Who decided it (default: your user name).")
@click.option("--force", is_flag=True, help="At once, although somebody called lately.")
@click.option("--yes", is_flag=True, help="Do it. Without, nothing is changed.")
@click.option("--cancel", is_flag=True, help="Take an announcement back.")
def retire(
    session: Session,
    name: str,
    successor: str,
    within: str,
    at_once: bool,
    reason: str,
    by: str,
    force: bool,
    yes: bool,
    cancel: bool,
) -> None:
    """End an endpoint: announce it, answer 410, free what it held.

    Without --yes it only says who called in the last 30 days, what would be erased and what kept.
    With --in callers are told in every answer until then; without, it is refused where somebody
    called within `[retire] quiet`. Then every request gets 410 and the successor's address for
    `[retire] grace`, and the port is freed. `trimtab tick` carries it on.

    The name of a monitor inside another server ends its watching, at once: what was seen stays, its
    incidents are resolved, and the next row that it logs has it watched again.
    """
    if at_once and within:
        raise UsageError("--now and --in are two answers to one question", hint="say one of them")
    endpoint = name or session.project().config.model_name
    if cancel:
        session.answer(session.call(endings.RETIRE_CANCEL, Named(name=endpoint)), _render_back)
        return
    request = Ending(
        name=endpoint, successor=successor, within=within, reason=reason,
        by=by or user(), force=force,
    )  # fmt: skip
    if yes:
        session.answer(session.call(endings.RETIRE, request), render)
        return
    plan = session.call(endings.RETIRE_PLAN, request)
    session.answer(plan, render)
    if plan.retirement is None:
        note(_would(plan))


def _would(plan: Plan) -> str:
    if not plan.refusal:
        return "nothing was changed: --yes does it"
    refused = RefusedError(plan.refusal)
    return (
        f"it would be refused: {refused.message}; --in 2w tells them first, --force does not wait"
    )


def render(plan: Plan) -> None:
    """What there is to know before, and after."""
    from trimtab.cli import consumers, paper  # rich is loaded only to print
    from trimtab.server import words

    if plan.endpoint.target == _WATCHED:
        _render_watch(plan)
        return
    paper.facts(
        {
            "endpoint": f"{plan.endpoint.name} {plan.url}".strip(),
            "models": ", ".join(plan.models) or "none",
            "state": _state(plan),
            "last answer": words.moment(plan.sunset_at),
            "410 until": words.moment(plan.until),
            "successor": plan.link or plan.successor or "none",
            "frees": _frees(plan),
        }
    )
    for one in plan.open_rollouts:
        paper.say(f"an open rollout would be closed: {one}")
    consumers.render(plan.consumers)
    if plan.erases:
        paper.table(
            ["erased", "files", "rows", "size", "when"],
            [
                (one.about, f"{one.files:,}", f"{one.rows:,}", words.size(one.bytes), _when(one))
                for one in plan.erases
            ],
            right=["files", "rows", "size"],
        )
    _kept(plan)


def _render_watch(plan: Plan) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    known = plan.retirement
    paper.facts(
        {
            "monitor": f"{plan.endpoint.name}, inside another server",
            "watches": ", ".join(plan.models) or "none",
            "state": f"watched no more since {words.moment(known.gone_at)}, {_said(known)}"
            if known
            else "watched",
            "newest row": words.moment(plan.newest_row) if plan.newest_row else "none yet",
            "comes back": "with the next row that it logs",
        }
    )
    _kept(plan)


def _kept(plan: Plan) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.table(["kept", "because"], [(one.what, one.why) for one in plan.keeps])


def _state(plan: Plan) -> str:
    known = plan.retirement
    return f"{known.phase} {_said(known)}" if known else "answers"


def _said(known: Retirement) -> str:
    return f"by {known.by}: {known.reason or 'no reason given'}"


def _frees(plan: Plan) -> str:
    from trimtab.server import words

    parts = [f"{words.size(plan.memory)} of memory"] if plan.memory else []
    parts += [f"{words.size(plan.disk)} on disk"] if plan.disk else []
    if plan.price_per_month:
        parts.append(f"{words.number(plan.price_per_month)} a month ([serve] price_per_hour)")
    return ", ".join(parts) or "nothing that is measured"


def _when(one: Erasure) -> str:
    from trimtab.server import words

    if one.erased_at:
        return words.moment(one.erased_at)
    return f"from {words.moment(one.at)}" if one.at > ids.now() else "when it is gone"


def _render_back(back: Retirement) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(f"{back.endpoint} goes on: its end was taken back")
