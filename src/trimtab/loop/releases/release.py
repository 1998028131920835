"""What a person may do to an endpoint: deploy, go back, stop, start.

The first deployment starts the endpoint with the model alone. A later one opens a rollout, which
`tick` carries through its stages by evidence, unless it is asked to switch at once or to test.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trimtab import ids
from trimtab.deploy import local, tomb
from trimtab.errors import ConflictError, NotFoundError, RefusedError, TrimtabError, UsageError
from trimtab.loop import freeze, hand
from trimtab.loop.candidate import skew
from trimtab.loop.gate import CHAMPION
from trimtab.loop.hand import NOBODY, Hand
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import earlier, experiment, rollout
from trimtab.loop.releases.shown import Terms
from trimtab.loop.reports import Deployed
from trimtab.loop.retiring import retire, retirement
from trimtab.model import registry
from trimtab.serve.logged import privacy
from trimtab.serve.routes import RoutesFile
from trimtab.store import ledger, operations, versions
from trimtab.store.records import Endpoint, Version

PREVIOUS = earlier.PREVIOUS


def deploy(
    project: Project,
    reference: str = "",
    *,
    name: str = "",
    direct: bool = False,
    port: int | None = None,
    ab: str = "",
    lasts: str = "",
    revive: bool = False,
    who: Hand = NOBODY,
) -> Deployed:
    """Put a model version (default: the champion) behind an endpoint (default: the model's name).

    With `ab`, such as "50%", it answers that share beside the champion until a person decides, who
    is asked for it after `lasts`. `revive` brings back an endpoint that is to retire or has. Raises
    NotFoundError for an unknown version, ConflictError where a rollout is open, the port is taken or
    the endpoint is to retire, RefusedError in a freeze, UsageError for terms that are none.
    """
    terms = _terms(ab, lasts, direct=direct)
    who.check()
    apply(project)
    ws, config = project.ws, project.config
    ended = name or _named(reference) or config.model_name
    if not revive:
        retire.refuse(project, ended)
    version = _version(project, reference or _was_champion(project, ended, revive=revive))
    registry.check_signature(ws, version.digest, config.model.verify_key)
    name = name or version.name
    local.check_ours(ws, name)
    if revive:
        retire.revive(project, name)
    retire.refuse(project, name)
    with hand.moving(ws):
        running = local.find(ws, name)
        served = champion_of(project, name) if running and running.routes else None
        if running is None or served is None or served.digest == version.digest:
            if terms is not None:
                raise ConflictError(
                    f"{name!r} has no other model to test {version.label} against",
                    hint="an A/B test needs a champion that answers, and another version",
                )
            return _start(project, version, name, port)
        if not who.force:
            freeze.refuse(project, f"{version.label} at {name!r}")
        endpoint = local.start(
            ws, name, config.serve, port=port, verify_key=config.model.verify_key
        )
        if direct:
            return _direct(project, name, version, served, who)
        found = _offer(project, endpoint, version, served, terms, who)
        return msgspec.structs.replace(
            found, message=_told(project, name, version, found.message, port)
        )


def _terms(ab: str, lasts: str, *, direct: bool) -> Terms | None:
    terms = experiment.terms_of(ab, lasts, ids.now()) if ab else None
    if (terms and direct) or (lasts and not ab):
        raise UsageError(
            "--ab tests two models beside each other, so not with --direct; --for goes with it",
            hint="such as --ab 50% --for 2w",
        )
    return terms


def _offer(
    project: Project,
    endpoint: Endpoint,
    version: Version,
    served: Version,
    terms: Terms | None,
    who: Hand,
) -> Deployed:
    """Open a rollout; where the endpoint refuses its routes, the model that answered answers on."""
    ws, name = project.ws, endpoint.name
    found = _open(project, endpoint, version, served, terms, who)
    try:
        local.settle(ws, name)
    except TrimtabError as error:
        with ws.transaction():
            _close_rollout(project, name, "rolled_back", error.message)
            local.set_routes(ws, name, [local.spec(ws, served, "champion", 1.0)])
        raise
    return found


def _direct(project: Project, name: str, version: Version, served: Version, who: Hand) -> Deployed:
    ws = project.ws
    _try(project, name, version)
    with ws.transaction():
        _close_rollout(project, name, "superseded", f"{version.label} was switched to directly")
        switch(project, name, version, served)
        hand.note(
            ws, "deploy", f"deploy:{ids.new_id()}", f"{version.label} answers, not {served.label}",
            who, endpoint=name, model=version.digest,
        )  # fmt: skip
    said = f"{version.label} answers; {served.label} is kept"
    return _deployed(project, name, version, _told(project, name, version, said))


def _open(
    project: Project,
    endpoint: Endpoint,
    version: Version,
    served: Version,
    terms: Terms | None,
    who: Hand,
) -> Deployed:
    cause = {"kind": "manual", "by": who.by, "reason": who.reason}
    if terms is not None:
        cause |= experiment.cause_of(terms)
    opened = rollout.open_for(
        project, endpoint.name, version, served, cause=cause,
        stages=[f"{100 * terms.share:g}%"] if terms else (),
    )  # fmt: skip
    if opened is None:
        raise ConflictError(
            f"a rollout is open at {endpoint.name!r} already",
            hint="let `trimtab tick` finish it, end it with `trimtab rollouts rollback`, or use "
            "--direct to switch at once",
        )
    said = f"{version.label} begins as {opened.stages[0]}; `trimtab tick` carries it on"
    if terms is not None:
        said = (
            f"{version.label} answers {opened.stages[0]} beside {served.label}: an A/B test. "
            f"`trimtab rollouts report {endpoint.name}` compares them, a person decides"
        )
    return Deployed(
        endpoint=endpoint,
        url=local.url(endpoint),
        version=version.label,
        rollout=opened,
        message=said,
    )


def rollback(project: Project, name: str = "", who: Hand = NOBODY) -> Deployed:
    """Go back to the model before the champion, where no rollout is open; in one step.

    Asked again it goes one further back, never to what was left. Raises NotFoundError where nothing
    was before, TrimtabError where the endpoint does not take the model: then nothing is changed.
    """
    ws = project.ws
    name = name or project.config.model_name
    local.check_ours(ws, name)
    if retirement.is_over(ws, name):
        retire.refuse(project, name)
    with hand.moving(ws):
        champion = champion_of(project, name) if local.find(ws, name) else None
        known = earlier.chain(ws, champion.name) if champion else []
        before = [one for one in known if champion and one != champion.digest]
        if champion is None or not before:
            raise NotFoundError(
                f"endpoint {name!r} has no earlier model to go back to",
                hint="`trimtab deploy MODEL@vN` answers with any other version",
            )
        version = versions.get(ws, "model", before[0])
        registry.check_signature(ws, version.digest, project.config.model.verify_key)
        said = f"{version.label} answers again, not {champion.label}"
        with ws.transaction():
            switch(project, name, version, champion, behind=before[1:])
            hand.note(
                ws, "roll back", f"rollback:{ids.new_id()}", said,
                who, endpoint=name, model=version.digest,
            )  # fmt: skip
        try:
            local.settle(ws, name)
        except TrimtabError as error:
            with ws.transaction():
                switch(project, name, champion, version, behind=known)
                hand.note(
                    ws, "roll back", f"rollback:{ids.new_id()}",
                    f"{champion.label} answers still, not {version.label}: {error.message}",
                    who, endpoint=name, model=champion.digest,
                )  # fmt: skip
            raise
    return _deployed(project, name, version, said)


def switch(
    project: Project,
    name: str,
    version: Version,
    served: Version,
    *,
    behind: Sequence[str] | None = None,
) -> None:
    """Make `version` champion of its name and the only answer of the endpoint; keeps the other.

    `behind` are the champions before, where `served` is not to be the newest of them.
    """
    ws = project.ws
    if behind is None:
        behind = [served.digest, *earlier.chain(ws, version.name)]
    local.set_routes(ws, name, [local.spec(ws, version, "champion", 1.0)])
    with ws.transaction():
        versions.set_alias(ws, "model", version.name, CHAMPION, version.digest)
        earlier.put(ws, version.name, behind)
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
    served = [
        one.name
        for one in operations.endpoints(project.ws)
        if one.target == local.TARGET and one.state != tomb.RETIRED
    ]
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


def _named(reference: str) -> str:
    """The model's name in a reference, "" for a digest."""
    return "" if ":" in reference else reference.partition("@")[0]


def _was_champion(project: Project, name: str, *, revive: bool) -> str:
    """The digest of the model that a retired endpoint answered with, "" where that is not asked."""
    ended = retirement.in_force(project.ws, name) if revive else None
    if ended is None or ended.phase == "announced":
        return ""
    found = champion_of(project, name)
    return found.label if found else ""


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
    said = f"{version.label} answers at {local.url(endpoint)}"
    return _deployed(project, name, version, _told(project, name, version, said, port))


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
        local.settle(ws, name)
        skew.check(project, name, version)
    finally:
        local.set_routes(ws, name, [*before.routes], [*before.shadow])


def _told(project: Project, name: str, version: Version, said: str, port: int | None = None) -> str:
    """What is said of a deployment, and which of the settings do nothing, or nothing yet."""
    serve, signed = project.config.serve, registry.signature_of(project.ws, version.digest)
    lines = [said]
    keys = local.unheard(project.ws, name, serve, port)
    if keys:
        lines.append(
            f"{name} goes on with other settings of [serve] than are there now "
            f"({', '.join(keys)}): stop it with `trimtab down {name}` and deploy again"
        )
    for key, columns in (("pii", serve.pii), ("invalid", serve.invalid)):
        lines += [
            f"[serve] {key} names {wrong!r}, which {version.label} does not have: "
            f"did you mean {near!r}?"
            for wrong, near in privacy.misspelt(columns, signed).items()
        ]
    return "\n".join(lines)


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
        experiment.decided(project, one, reason)
    return bool(is_open)
