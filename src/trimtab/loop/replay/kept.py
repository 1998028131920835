"""A replay as a run of its own: parameters, series, evidence, and the report as an artifact."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.loop.replay import engine, picture
from trimtab.loop.replay.engine import Ask
from trimtab.loop.replay.report import PICTURE, REPORT, Figure, Replayed
from trimtab.loop.replay.source import Source
from trimtab.loop.replay.stored import FOLDER, KIND
from trimtab.loop.replay.walk import Tell
from trimtab.store import evidence
from trimtab.store.records import Evidence
from trimtab.track import run as tracking
from trimtab.track.run import ActiveRun


def replay(
    project: Project, find: Callable[[str], Source], ask: Ask, params: dict[str, Any], tell: Tell
) -> Replayed:
    """Replay what `find(run)` gives, and keep it; a replay that ends early leaves a run that says so."""
    engine.check(ask)
    with tracking.start_run(
        project.config.model_name, params, kind=KIND, ws=project.ws, cause={"kind": "manual"}
    ) as run:
        source = find(run.id)
        for label, digest in source.inputs.items():
            run.use(label, digest)
        found = of_source(source, ask, tell)
        found = msgspec.structs.replace(found, run=run.id)
        _log(run, found, source)
    return found


def of_source(source: Source, ask: Ask, tell: Tell) -> Replayed:
    """Replay a source and keep nothing."""
    ask = msgspec.structs.replace(ask, searched=source.searched)
    history = source.history(ask.cut)
    found = engine.replay(
        history, source.template, ask, source=source.name, target=source.target, tell=tell
    )
    return msgspec.structs.replace(found, notes=[*source.notes, *found.notes])


def _log(run: ActiveRun, found: Replayed, source: Source) -> None:
    with run.ws.transaction():
        for one in found.policies:
            for window, value in zip(found.windows, one.windows, strict=True):
                run.log({f"{one.policy}.{found.loss}": value}, step=window.number)
            run.log(
                {
                    f"{one.policy}.retrains": float(len(one.retrains)),
                    f"{one.policy}.seconds": one.seconds,
                }
            )
        with tempfile.TemporaryDirectory(dir=run.ws.root / "tmp") as place:
            folder = Path(place)
            (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(found)))
            (folder / PICTURE).write_text(picture.svg(found), "utf-8")
            run.log_artifact(folder, FOLDER)
        run.set_tags(
            {
                "training": found.training,
                "recommends": found.recommends,
                "said": f"{found.training} training, {found.recommends}: {found.because}",
            }
        )
        subject = next(iter(source.inputs.values()), f"project:{run.ws.project_name}")
        evidence.append(run.ws, _evidence(run.id, found, subject))


def _evidence(run: str, found: Replayed, subject: str) -> list[Evidence]:
    rows = sum(one.rows for one in found.windows)
    now = ids.now()

    def row(name: str, metric: str, figure: Figure) -> Evidence:
        return Evidence(
            id=ids.new_id(),
            metric=metric,
            subject=subject,
            window=f"replay:{name}",
            value=figure.value,
            lo=figure.lo,
            hi=figure.hi,
            n=rows,
            level=found.level,
            method="successive-differences",
            validity="fixed",
            run=run,
            measured_at=now,
        )

    return [
        row(one.policy, metric, figure)
        for one in found.policies
        for metric, figure in one.losses.items()
    ]
