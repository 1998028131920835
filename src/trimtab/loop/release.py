"""What a person may do to an endpoint: deploy, roll back, stop, start.

The first deployment starts the endpoint with the model alone. A later one opens a rollout, which
`tick` carries through its stages by evidence, unless it is asked to switch at once.
"""

from __future__ import annotations

import msgspec

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import ConflictError, NotFoundError, RefusedError, TrimtabError
from trimtab.loop import rollout, skew
from trimtab.loop.gate import CHAMPION
from trimtab.loop.project import Project, apply
from trimtab.loop.reports import Deployed
from trimtab.model import registry
from trimtab.serve.routes import RoutesFile
from trimtab.store import ledger, operations, versions
from trimtab.store.records import Endpoint, Version

PREVIOUS = "previous"


def deploy(
    project: Project,
    reference: str = "",
    *,
    name: str = "",
    direct: bool = False,
    port: int | None = None,
) -> Deployed:
    """Put a model version (default: the champion) behind an endpoint (default: the model's name).

    Raises NotFoundError for an unknown version, ConflictError where a rollout is open or the port
    is taken.
    """
    apply(project)
    ws, config = project.ws, project.config
    version = _version(project, reference)
    registry.check_signature(ws, version.digest, config.model.verify_key)
    name = name or version.name
    running = local.find(ws, name)
    served = champion_of(project, name) if running and running.routes else None
    if running is None or served is None or served.digest == version.digest:
        return _start(project, version, name, port)
    endpoint = local.start(ws, name, config.serve, port=port, verify_key=config.model.verify_key)
    if direct:
        _try(project, name, version)
        with ws.transaction():
            _close_rollout(project, name, "superseded", f"{version.label} was switched to directly")
            switch(project, name, version, served)
        return _deployed(project, name, version, f"{version.label} answers; {served.label} is kept")
    opened = rollout.open_for(project, name, version, served, cause={"kind": "manual"})
    if opened is None:
        raise ConflictError(
            f"a rollout is open at {name!r} already",
            hint="let `trimtab tick` finish it, or use --direct to switch at once",
        )
    return Deployed(
        endpoint=endpoint,
        url=local.url(endpoint),
        version=version.label,
        rollout=opened,
        message=f"{version.label} begins as {opened.stages[0]}; `trimtab tick` carries it on",
    )


def rollback(project: Project, name: str = "") -> Deployed:
    """End an open rollout, or go back to the model before the champion; in one step."""
    ws = project.ws
    name = name or project.config.model_name
    if local.find(ws, name) is None:
        raise NotFoundError(f"there is no endpoint {name!r}", hint="see `trimtab endpoints ls`")
    champion = champion_of(project, name)
    with ws.transaction():
        closed = _close_rollout(project, name, "rolled_back", "a person rolled it back")
        if closed and champion:
            local.set_routes(ws, name, [local.spec(ws, champion, "champion", 1.0)])
    if closed and champion:
        return _deployed(project, name, champion, f"the rollout is over; {champion.label} answers")
    before = versions.aliases(ws, "model", champion.name).get(PREVIOUS) if champion else None
    if champion is None or not before or before == champion.digest:
        raise NotFoundError(f"endpoint {name!r} has no earlier model to go back to")
    version = versions.get(ws, "model", before)
    registry.check_signature(ws, version.digest, project.config.model.verify_key)
    switch(project, name, version, champion)
    return _deployed(project, name, version, f"{version.label} answers again, not {champion.label}")


def switch(project: Project, name: str, version: Version, served: Version) -> None:
    """Make `version` champion of its name and the only answer of the endpoint; keeps the other."""
    ws = project.ws
    local.set_routes(ws, name, [local.spec(ws, version, "champion", 1.0)])
    with ws.transaction():
        versions.set_alias(ws, "model", version.name, CHAMPION, version.digest)
        versions.set_alias(ws, "model", version.name, PREVIOUS, served.digest)
        ledger.append(
            ws, "deploy", {"endpoint": name, "version": version.label, "model": version.digest}
        )


def champion_of(project: Project, name: str) -> Version | None:
    """The version that an endpoint's champion route serves; while a rollout is open, the one it
    would go back to.
    """
    for one in operations.rollouts(project.ws, endpoint=name, state="open"):
        return versions.get(project.ws, "model", one.champion)
    row = local.find(project.ws, name)
    for route in row.routes.get("routes", []) if row else []:
        if route["role"] == "champion":
            return versions.get(project.ws, "model", route["model"])
    return None


def stop(project: Project, name: str | None = None) -> list[Endpoint]:
    """Stop one endpoint, or all."""
    served = [one.name for one in operations.endpoints(project.ws) if one.target == local.TARGET]
    names = [name] if name else served
    return [local.stop(project.ws, one) for one in names]


def start(project: Project) -> list[Endpoint]:
    """Adopt the endpoints that run and start again those that should and do not."""
    found = local.every(project.ws)
    return [
        local.start(
            project.ws, one.name, project.config.serve, verify_key=project.config.model.verify_key
        )
        if one.state in ("lost", "starting", "stopped") and one.routes
        else one
        for one in found
    ]


def _version(project: Project, reference: str) -> Version:
    ws, name = project.ws, project.config.model_name
    if reference:
        return versions.get(
            ws,
            "model",
            reference if "@" in reference or ":" in reference else f"{reference}@{CHAMPION}",
        )
    if not versions.find(ws, "model", name):
        raise RefusedError(
            f"no version of {name!r} has passed the gate", hint="`trimtab run` trains and gates one"
        )
    return versions.get(ws, "model", f"{name}@{CHAMPION}")


def _start(project: Project, version: Version, name: str, port: int | None) -> Deployed:
    ws = project.ws
    if not operations.rollouts(ws, endpoint=name, state="open"):
        local.set_routes(ws, name, [local.spec(ws, version, "champion", 1.0)])
    before = local.find(ws, name)
    endpoint = local.start(
        ws, name, project.config.serve, port=port, verify_key=project.config.model.verify_key
    )
    if before is None or before.state != "ready":
        try:
            skew.check(project, name, version)
        except TrimtabError:
            local.stop(ws, name)
            raise
    with ws.transaction():
        versions.set_alias(ws, "model", version.name, CHAMPION, version.digest)
        ledger.append(
            ws, "deploy", {"endpoint": name, "version": version.label, "model": version.digest}
        )
    return _deployed(project, name, version, f"{version.label} answers at {local.url(endpoint)}")


def _try(project: Project, name: str, version: Version) -> None:
    """Give a version a route that no client falls on, and replay training rows through it.

    The routes are as they were afterwards. Raises RefusedError, ModelError.
    """
    ws = project.ws
    before = msgspec.convert(operations.endpoint(ws, name).routes, RoutesFile)
    if all(one.model != version.digest for one in before.routes):
        silent = local.spec(ws, version, "canary", 0.0)
        local.set_routes(ws, name, [*before.routes, silent], [*before.shadow])
    try:
        skew.check(project, name, version)
    finally:
        local.set_routes(ws, name, [*before.routes], [*before.shadow])


def _deployed(project: Project, name: str, version: Version, message: str) -> Deployed:
    endpoint = operations.endpoint(project.ws, name)
    return Deployed(
        endpoint=endpoint, url=local.url(endpoint), version=version.label, message=message
    )


def _close_rollout(project: Project, name: str, state: str, reason: str) -> bool:
    is_open = operations.rollouts(project.ws, endpoint=name, state="open")
    for one in is_open:
        closed = msgspec.structs.replace(one, state=state, reason=reason, closed_at=ids.now())
        operations.update_rollout(project.ws, closed)
    return bool(is_open)
