"""What an embedded monitor needs of its project: the model's reference, and a place to leave windows.

It writes the monitor down as an endpoint that nobody starts or stops, so that the controller judges
its windows like any other's.
"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any, Final

from trimtab import config as project_file
from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError, UsageError
from trimtab.model.decide import decider
from trimtab.model.signature import Signature
from trimtab.monitor.embed import spool
from trimtab.monitor.embed.rows import DECISION, SCORE, Layout, Subject
from trimtab.monitor.log.traffic import text
from trimtab.monitor.watched import watched
from trimtab.profile.cells import NumberCells
from trimtab.profile.reference import Reference
from trimtab.store import operations, versions
from trimtab.store.records import Endpoint, Version
from trimtab.store.workspace import Workspace, open_workspace

_LONGEST_NAME: Final = 100


def embed(model: str, name: str, start: Path | None) -> Subject:
    """Look a model version up and write its monitor down.

    Raises NotFoundError for an unknown project or version, ConflictError where a served endpoint
    has the name.
    """
    path = project_file.find(start)
    config = project_file.load(path)
    ws = open_workspace(path.parent, config.project.name, url=config.store.url)
    try:
        version = versions.get(ws, "model", model)
        found = watched(ws, version)
        if found is None:
            raise NotFoundError(
                f"{version.label} has no reference profile to watch by",
                hint="train it anew, or use Monitor.against(table)",
            )
        name = name or f"{version.name}-embedded"
        _enter(ws, name, version)
    finally:
        ws.close()
    return Subject(
        name=name,
        model=version.digest,
        place=spool.folder(ws.root, name),
        reference=found.reference,
        layout=_layout(found.reference, found.signature),
        window=config.monitor.window,
        least_rows=config.monitor.min_rows,
        pages=config.monitor.false_pages_per_month,
    )


def _enter(ws: Workspace, name: str, version: Version) -> None:
    if (
        "/" in name or name.startswith((".", "file:"))
        or not name.isprintable() or len(name.encode()) > _LONGEST_NAME
    ):  # fmt: skip
        raise UsageError(
            f"a monitor cannot be called {name[:_LONGEST_NAME]!r}",
            hint=f"its name is a folder's: at most {_LONGEST_NAME} bytes, without / and control "
            "characters, no . or file: in front",
        )
    known = next((one for one in operations.endpoints(ws) if one.name == name), None)
    if known is not None and known.target != spool.TARGET:
        raise ConflictError(
            f"{name!r} is an endpoint that trimtab serves and watches itself",
            hint='give the monitor a name: Monitor(..., name="shop")',
        )
    route = {"role": "champion", "model": version.digest, "label": version.label,
             "folder": "", "weight": 1.0}  # fmt: skip
    routes = {"version": 1, "name": name, "routes": [route], "shadow": []}
    if known is None or known.routes != routes:
        now = ids.now()
        operations.save_endpoint(
            ws,
            Endpoint(
                name=name,
                target=spool.TARGET,
                state=known.state if known else spool.STATE,
                host="",
                routes=routes,
                created_at=known.created_at if known else now,
            ),
        )


def _layout(reference: Reference, signed: Signature) -> Layout:
    names = [column.name for column in signed.inputs]
    counted = {one.name for one in reference.bins.features if isinstance(one, NumberCells)}
    numbers = [name for name in names if name in counted]
    outputs = [one for one in (SCORE, DECISION) if one in reference.bins.names]
    return Layout(
        numbers=tuple(numbers),
        words=tuple(name for name in names if name not in numbers),
        order=tuple(names),
        outputs=tuple(outputs),
        decide=_decide(signed),
        classes=tuple(text(one) for one in signed.classes),
        positive=signed.positive_index if signed.task == "binary" else None,
        is_number=signed.task == "regression",
    )


def _decide(signed: Signature) -> Any:
    """The decision that a score means, as text; None where the score alone does not say it."""
    if signed.task != "binary":
        return None
    decide = decider(signed)
    return lambda score: None if isnan(score) else text(decide(score))
