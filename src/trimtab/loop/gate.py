"""The gate: requirements against a candidate's evidence; only a pass gets a version number.

It reads evidence and never measures. A refused candidate stays as a digest with its verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trimtab.errors import NotFoundError
from trimtab.evaluate.judge import judge
from trimtab.loop.candidate import skew
from trimtab.loop.project import Project
from trimtab.loop.reports import Decision
from trimtab.model import registry
from trimtab.store import artifacts, evidence, refs, verdicts, versions
from trimtab.store.records import Artifact, Verdict, Version

CHAMPION: Final = "champion"


def gate(
    project: Project, subject: str, *, run: str = "", strict: bool | None = None, name: str = ""
) -> Decision:
    """Judge every requirement of the configuration on a packaged candidate and record it.

    That the endpoint sees what training saw is required of every candidate whose rows were replayed.
    `subject` is the package's digest. The first model to pass becomes champion; later ones go
    through a rollout. Raises NotFoundError where the candidate was never packaged, RefusedError where
    it is not signed with `[model] verify_key`.
    """
    ws, config = project.ws, project.config
    found = _artifact(project, subject)
    registry.check_signature(ws, subject, config.model.verify_key)
    known = evidence.find(ws, subject=subject)
    judged = [
        skew.explained(
            judge(
                requirement,
                known,
                subject=subject,
                place="gate",
                strict=strict,
                config=config.digest,
                run=run,
            ),
            known,
        )
        for requirement in (*config.require, *skew.required(project, known))
    ]
    allowed = all(verdict.allows for verdict in judged)
    provisional = allowed and any(verdict.provisional for verdict in judged)
    version: Version | None = None
    with ws.transaction():
        verdicts.append(ws, judged)
        if allowed:
            version = versions.add(
                ws,
                "model",
                name or config.model_name,
                subject,
                run=run,
                meta={**found.meta, "provisional": provisional, "config": config.digest},
            )
            if not versions.aliases(ws, "model", version.name).get(CHAMPION):
                versions.set_alias(ws, "model", version.name, CHAMPION, subject, expect=refs.ABSENT)
    return Decision(
        subject=subject, allowed=allowed, provisional=provisional, verdicts=judged, version=version
    )


def last(project: Project, subject: str) -> Decision | None:
    """What the gate decided on this candidate under the present configuration, if it did."""
    ws, config = project.ws, project.config
    decided = [
        one
        for one in verdicts.find(ws, subject=subject, place="gate")
        if one.config == config.digest
    ]
    if not decided and config.require:
        return None
    newest = _newest(decided)
    numbered = [one for one in versions.find(ws, "model") if one.digest == subject]
    allowed = all(verdict.allows for verdict in newest)
    if allowed and not numbered:
        return None
    return Decision(
        subject=subject,
        allowed=allowed,
        provisional=allowed and any(verdict.provisional for verdict in newest),
        verdicts=newest,
        version=numbered[0] if allowed else None,
    )


def refusal(decision: Decision) -> str:
    """Why a candidate was refused, a line a requirement; "" where it was not."""
    return "\n".join(
        f"{verdict.text}: {verdict.status}; {verdict.reason}"
        for verdict in decision.verdicts
        if not verdict.allows
    )


def _newest(decided: Sequence[Verdict]) -> list[Verdict]:
    newest: dict[str, Verdict] = {}
    for verdict in decided:
        newest.setdefault(verdict.requirement, verdict)
    return list(newest.values())


def _artifact(project: Project, subject: str) -> Artifact:
    try:
        return artifacts.get(project.ws, subject)
    except NotFoundError as error:
        raise NotFoundError(
            f"no candidate with digest {subject} was packaged here", hint="run `trimtab run` first"
        ) from error
