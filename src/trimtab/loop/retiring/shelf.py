"""What of an endpoint is to be erased and when, by the project file; and what stays, with the reason."""

from __future__ import annotations

from typing import Final

from trimtab.config import duration
from trimtab.deploy import local
from trimtab.loop.project import Project
from trimtab.loop.retiring import erase, retirement
from trimtab.serve.access import keys
from trimtab.store import operations, runs, versions
from trimtab.store.records import Version

_DAY: Final = 86_400_000_000


def due(project: Project, endpoint: str, gone_at: int) -> dict[str, int]:
    """What is erased -> from when on (microseconds; 0 is as soon as the endpoint is gone).

    `[retire] erase` says what goes at once; `[serve] keep` ends the log's time, `[data.NAME]
    retention_days` that of the rows its models were trained on.
    """
    config = project.config
    found: dict[str, int] = dict.fromkeys(config.retire.erase, 0)
    if config.serve.keep and "log" not in found:
        found["log"] = gone_at + duration(config.serve.keep)
    for version in trained_on(project, endpoint):
        settings = config.data.get(version.name)
        if settings is not None and settings.retention_days is not None:
            at = version.created_at + settings.retention_days * _DAY
            found[f"{erase.DATA}{version.label}"] = at if at > gone_at else 0
    return found


def trained_on(project: Project, endpoint: str) -> list[Version]:
    """The data versions that the runs behind an endpoint's models read, oldest first."""
    ws = project.ws
    row = next((one for one in operations.endpoints(ws) if one.name == endpoint), None)
    routes = [] if row is None else [*row.routes.get("routes", []), *row.routes.get("shadow", [])]
    read = {one for route in routes for one in _inputs(project, str(route["model"]))}
    return [one for one in reversed(versions.find(ws, "data")) if one.digest in read]


def stays(project: Project, endpoint: str, erased: dict[str, int]) -> list[tuple[str, str]]:
    """What is not erased, and why."""
    ws, config = project.ws, project.config
    place = local.folder(ws, endpoint)
    row = operations.endpoint(ws, endpoint)
    labels = list(dict.fromkeys(str(one["label"]) for one in row.routes.get("routes", [])))
    found = [
        ("ledger, evidence, verdicts", "an audit reads them; they hold digests and measurements"),
        (f"model versions {', '.join(labels) or 'none'}", _of_models(project, endpoint)),
        ("labels and windows", "what the evidence of quality rests on"),
    ]
    found += [
        (erase.about(what), f'[retire] erase does not name "{what}"')
        for what in ("log", "secret", "consumers")
        if what not in erased and erase.survey(project, endpoint, what).files
    ]
    if "keys" not in erased and keys.read(place):
        found.append((erase.about("keys"), '[retire] erase does not name "keys"'))
    for version in trained_on(project, endpoint):
        if f"{erase.DATA}{version.label}" not in erased:
            said = f"[data.{version.name}] says no retention_days"
            found.append((f"training rows {version.label}", said))
    if any(one.startswith(erase.DATA) for one in erased):
        said = "evidence is computed again from them; removing `.trimtab` removes them too"
        found.append(("what steps made of training rows, 256 rows kept with each model", said))
    if config.serve.labels:
        found.append(("files of outcomes", "they are yours, not trimtab's"))
    return found


def shared_with(project: Project, endpoint: str, version: Version) -> list[str]:
    """Endpoints that still answer by a model that was trained on a data version."""
    return [
        one.name
        for one in operations.endpoints(project.ws)
        if one.name != endpoint
        and not retirement.is_over(project.ws, one.name)
        and version.digest in {found.digest for found in trained_on(project, one.name)}
    ]


def _of_models(project: Project, endpoint: str) -> str:
    mine = {
        route["model"]
        for route in operations.endpoint(project.ws, endpoint).routes.get("routes", [])
    }
    others = [
        one.name
        for one in operations.endpoints(project.ws)
        if one.name != endpoint
        and mine & {route["model"] for route in one.routes.get("routes", [])}
    ]
    why = "verdicts name their digests, and what was decided can be computed again"
    return f"{why}; {', '.join(others)} answers with them too" if others else why


def _inputs(project: Project, model: str) -> set[str]:
    """Digests that the flows behind a model read."""
    ws, found = project.ws, set[str]()
    for link in runs.users(ws, model):
        if link.direction == "out":
            run = runs.get(ws, link.run)
            for one in {run.id, run.parent} - {""}:
                found.update(x.digest for x in runs.links(ws, one) if x.direction == "in")
    return found
