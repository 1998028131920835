"""`trimtab tick`."""

from __future__ import annotations

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Pass
from trimtab.server import operations
from trimtab.server.requests import Nothing


@verb("tick", "trimtab tick")
def tick(session: Session) -> None:
    """Make one pass of the controller: observe, compare, act.

    The same pass that `trimtab up` makes in a loop. It may be repeated at any time: what is done
    already is not done again.
    """
    session.answer(session.call(operations.TICK, Nothing()), _render)


def _render(done: Pass) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    for line in done.observed:
        paper.say(f"saw    {line}")
    for action in done.acted:
        result = f": {words.cell(action.result)}" if action.result else ""
        paper.say(f"did    {action.kind} ({action.state}){result}")
    for line in done.waiting:
        paper.say(f"waits  {line}")
    if done.settled and not done.acted:
        sound = not done.waiting and not done.blind
        paper.say("on course: nothing to do" if sound else "nothing to do now")
