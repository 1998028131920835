"""What the monitor saw: every watched thing with its windows, measures, findings and quality."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.loop.alerts import unheard
from trimtab.loop.project import Project
from trimtab.loop.retiring import retirement
from trimtab.monitor.outcomes import knowledge
from trimtab.server import requests as asked
from trimtab.server.answers import Monitored, WatchedThing
from trimtab.store import estimates, label_requests, operations, versions
from trimtab.store.records import Window

_MOST = 400
_MODELS = 2
"""Of a name, so that a map does not vanish with the promotion that answered what it showed."""


def show(project: Project, request: asked.Watched) -> Monitored:
    """Windows by what they are of, newest last; one name, or all."""
    ws = project.ws
    by_name: dict[tuple[str, str], list[Window]] = {}
    for one in operations.windows(ws, endpoint=request.name or None):
        if one.role != "shadow":
            by_name.setdefault((one.endpoint, one.model), []).append(one)
    labels = {one.digest: one.label for one in versions.find(ws, "model")}
    most = max(1, min(request.windows, _MOST))
    found = []
    for name, model in _newest(by_name):
        windows = by_name[name, model]
        shown = _joined(windows)[-most:]
        against = labels.get(model) or str(windows[-1].features.get("against", ""))
        found.append(
            WatchedThing(
                name=name,
                against=against,
                model=model,
                windows=shown,
                known=_known(project, name, model),
                estimates=estimates.find(ws, name, model=model, since=shown[0].start),
                requests=[
                    one
                    for one in label_requests.find(ws, endpoint=name, state="open")
                    if one.model == model
                ],
            )
        )
    return Monitored(watched=found, undelivered=unheard.sentences(project.in_force()))


def _newest(by_name: dict[tuple[str, str], list[Window]]) -> list[tuple[str, str]]:
    """Names with their two newest models, the newest first."""
    order = sorted(by_name, key=lambda one: (one[0], -by_name[one][-1].start))
    return [one for name in dict.fromkeys(n for n, _ in order)
            for one in [o for o in order if o[0] == name][:_MODELS]]  # fmt: skip


def _known(project: Project, name: str, model: str) -> str:
    """What is known of the quality of an endpoint's model, in a sentence, and nothing of another one's; of
    an endpoint that has ended, that it has.
    """
    ended = retirement.in_force(project.ws, name)
    if ended is not None and ended.phase in retirement.ENDED:
        return retirement.sentence(ended).removeprefix(f"{name} ")
    found = knowledge.of(project.ws, name)
    return found.sentence if found and found.model in ("", model) else ""


def _joined(windows: Sequence[Window]) -> list[Window]:
    """One window per span: the judged one where a model answered in two roles."""
    found: dict[int, Window] = {}
    for one in windows:
        old = found.get(one.start)
        if old is None or one.judged_at > old.judged_at:
            found[one.start] = one
    return [found[start] for start in sorted(found)]
