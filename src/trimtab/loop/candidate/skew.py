"""The skew gate: training rows are kept with a model, and replayed before it may serve.

At the gate through a throwaway endpoint, and through the real one before it promotes the model.
What is found is evidence `skew` of the model; where anything differs it is refused, with the column
named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Requirement
from trimtab.deploy import local
from trimtab.errors import RefusedError
from trimtab.loop.project import Project
from trimtab.serve import folder as endpoint_folder
from trimtab.serve.access import keys
from trimtab.serve.measured import replay
from trimtab.serve.measured.skew import Skew, Training
from trimtab.store import artifacts, evidence
from trimtab.store.records import Artifact, Endpoint, Evidence, Verdict, Version

METRIC: Final = "skew"
REQUIREMENT: Final = Requirement(metric=METRIC, max=0.0)
"""Holds wherever the project does not bound skew itself."""
WINDOW: Final = "replay"
_KEY: Final = "trimtab-replay"
_KEY_LIFE: Final = 300_000_000


def keep(project: Project, training: Training, subject: str) -> str:
    """Store the rows of a model's replays; returns their digest."""
    data = msgspec.json.encode(training)
    digest = project.ws.blobs.put(data)
    artifacts.record(
        project.ws,
        Artifact(
            digest=digest,
            kind="replay",
            size=len(data),
            meta={"model": subject, "rows": training.rows},
            created_at=ids.now(),
        ),
    )
    return digest


def before_promotion(project: Project, name: str, version: Version) -> str:
    """Replay through a running endpoint that has a route to the version; why it is refused, or "".

    Nothing is done where no rows were kept with the model, or the endpoint does not run. Raises
    ModelError where it does not answer.
    """
    ws = project.ws
    running, known = local.find(ws, name), _rows(project, version.digest)
    if running is None or running.state != "ready" or not known:
        return ""
    training = msgspec.json.decode(ws.blobs.read(known), type=Training)
    folder = local.folder(ws, name)
    with passing_key(folder) as key:
        found = replay.live(
            local.package_folder(ws, version.digest),
            training,
            host=reachable(running),
            port=running.port,
            folder=folder,
            settings=endpoint_folder.read_settings(folder),
            label=version.label,
            key=key,
        )
    made = evidence_of(found, version.digest, f"{WINDOW}:{name}", known, "")
    with ws.transaction():
        evidence.append(ws, [made])
    bound = _bound(project)
    return found.refusal if made.value > bound else ""


def check(project: Project, name: str, version: Version) -> None:
    """`before_promotion`, where a person asks for it: raises RefusedError naming the column."""
    said = before_promotion(project, name, version)
    if said:
        raise RefusedError(
            f"{version.label} sees other features at {name!r} than in training: {said}",
            hint="look at what lies between the source and the endpoint, then train or deploy again",
        )


def required(project: Project, known: list[Evidence]) -> list[Requirement]:
    """The requirement on skew, where it was measured and the project has none of its own."""
    own = any(one.metric == METRIC for one in project.config.require)
    measured = any(one.metric == METRIC for one in known)
    return [REQUIREMENT] if measured and not own else []


def explained(verdict: Verdict, known: list[Evidence]) -> Verdict:
    """A verdict on skew that names the columns."""
    used = next((one for one in known if one.id in verdict.evidence), None)
    said = used.details.get("said", "") if used and verdict.metric == METRIC else ""
    if not said or verdict.status == "pass":
        return verdict
    return msgspec.structs.replace(verdict, reason=f"{verdict.reason}; {said}")


def evidence_of(found: Skew, subject: str, window: str, rows: str, run: str) -> Evidence:
    """The share of rows that are off; `rows` is the digest of what was replayed.

    It is counted and not estimated, so it has no interval.
    """
    share = found.off / found.rows if found.rows else 0.0
    details: dict[str, Any] = {
        "off": found.off,
        "columns": found.columns,
        "predictions": found.predictions,
        "hidden": list(found.hidden),
        "rows": rows,
        "said": found.refusal,
    }
    return Evidence(
        id=ids.new_id(),
        metric=METRIC,
        subject=subject,
        window=window,
        value=share,
        lo=share,
        hi=share,
        n=found.rows,
        method="census",
        validity="anytime",
        run=run,
        measured_at=ids.now(),
        details=details,
    )


def _rows(project: Project, subject: str) -> str:
    """The digest of the rows that were kept with a model, "" where there are none."""
    for one in evidence.find(project.ws, subject=subject, metric=METRIC, window=WINDOW, limit=1):
        return str(one.details.get("rows", ""))
    return ""


def _bound(project: Project) -> float:
    bounds = [x.max for x in project.config.require if x.metric == METRIC and x.max is not None]
    return min(bounds, default=0.0)


def reachable(endpoint: Endpoint) -> str:
    """An address of this machine for one that listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)  # noqa: S104


@contextlib.contextmanager
def passing_key(folder: Path) -> Iterator[str]:
    """A key for a few minutes where the endpoint asks for keys, else ""."""
    if keys.read(folder) is None:  # a file without keys lets nobody in
        yield ""
        return
    made, text = keys.add(folder, f"{_KEY}-{ids.new_id()}", expires_at=ids.now() + _KEY_LIFE)
    try:
        yield text
    finally:
        keys.remove(folder, made.id)
