"""Requests for labels: list and show."""

from __future__ import annotations

from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.server.answers import LabelRequests, LabelRequestShown
from trimtab.store import label_requests, operations


def ls(project: Project, request: asked.StateFilter) -> LabelRequests:
    """Requests for labels, newest first; raises UsageError."""
    state = request.of("open", "closed")
    return LabelRequests(requests=label_requests.find(project.ws, state=state))


def show(project: Project, request: asked.Identified) -> LabelRequestShown:
    """A request with its rows, by its id or an unambiguous beginning; raises NotFoundError."""
    found = [one for one in label_requests.find(project.ws) if one.id.startswith(request.id)]
    if len(found) != 1 or not request.id:
        raise NotFoundError(
            f"there is no single label request {request.id!r}", hint="see `trimtab labels ls`"
        )
    rows = label_requests.rows(project.ws, found[0].id)
    known = _truths(project, found[0].model, [one.prediction for one in rows])
    return LabelRequestShown(
        request=found[0],
        target=next((one.target for one in project.config.data.values() if one.target), ""),
        rows=rows,
        labelled=sorted(known),
    )


def _truths(project: Project, model: str, predictions: list[str]) -> list[str]:
    """Those of the predictions whose label can be a truth of the model; any where it is gone."""
    from trimtab.model import registry  # noqa: PLC0415 (both bring numpy)
    from trimtab.monitor.log import traffic  # noqa: PLC0415

    labels = operations.labels_of(project.ws, predictions)
    try:
        signed = registry.signature_of(project.ws, model)
    except NotFoundError:
        return list(labels)
    return [name for name, one in labels.items() if traffic.usable(one.value, signed)]
