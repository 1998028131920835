"""Acceptance by effect: before the loop trains on new rows, a model with and one without them.

The new rows of a data version are those that neither the champion's data nor a version that a
person accepted has. What they do is evidence on the version; a batch that harms is refused and
lies in quarantine. Runs in a job, never in the controller: it fits models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from trimtab import hashing, ids
from trimtab.acceptance import PREFIX
from trimtab.data import quarantine, snapshot, tables
from trimtab.errors import (
    DataError,
    NotFoundError,
    PipelineError,
    RefusedError,
    TrimtabError,
    UndecidedError,
)
from trimtab.loop import gate
from trimtab.loop.candidate import admission
from trimtab.loop.project import Project
from trimtab.loop.reports import Admission
from trimtab.model import codec
from trimtab.pipeline import outputs
from trimtab.store import evidence, operations, runs, trees, versions
from trimtab.store.records import Action, Evidence, Version
from trimtab.tune import batches
from trimtab.tune.batches import Measured
from trimtab.tune.candidate import Candidate

GOLDEN: Final = "golden"
_METHOD: Final = "mean paired loss with and without the batch, one-sided normal bounds"
_MOST_NAMED: Final = 10_000
_ROW: Final = "__row__"


def incoming(project: Project, action: Action) -> dict[str, str]:
    """Read the training source as it is now and `admit` it: the versions that the flow is to run on.

    Raises RefusedError, and what adding data raises.
    """
    name = next((name for name, one in project.config.data.items() if one.target), "")
    if not name or project.config.accept.mode == "off":
        return {}
    version = snapshot.add(project.ws, project.config, name).version
    admit(project, version, action)
    return {name: version.label}


def admit(project: Project, version: Version, action: Action) -> Admission:
    """Let a data version through to training, and note on the action why; raises RefusedError."""
    found = judged(project, version)
    said = f"{found.status}: {found.reason}" if found.reason else found.status
    operations.update_action(project.ws, action.id, "running", batch=said)
    if found.status != "refuse" or found.word:
        return found
    raise RefusedError(
        f"{version.label} is not trained on: {found.reason} (`trimtab data show {version.label}`)",
        hint="if it is right after all: "
        f'`trimtab data accept {version.label} --reason "..."` and '
        f"`trimtab run --data {version.label}`",
    )


def judged(project: Project, version: Version) -> Admission:
    """What a data version does to the champion; measured once for each champion and setting."""
    settings, ws = project.config.accept, project.ws
    if settings.mode == "off":
        return Admission(version=version.label, status="accept", reason="[accept] mode is off")
    word = admission.accepted(project, version)
    if word is not None:
        reason = f"accepted by {word['by']}: {word['reason']}"
        return Admission(version=version.label, status="accept", reason=reason, word=word)
    champion = versions.aliases(ws, "model", project.config.model_name).get(gate.CHAMPION, "")
    if not champion:
        return Admission(version=version.label, status="accept", reason="there is no champion yet")
    if version.digest in trusted(project, version.name, champion):
        reason = "the champion was made of it: nothing is new"
        return Admission(version=version.label, status="accept", reason=reason)
    asked = hashing.object_digest("config", [champion, hashing.object_digest("config", settings)])
    for one in evidence.find(ws, subject=version.digest, metric=admission.METRIC):
        if one.details.get("asked") == asked:
            return admission.admission(version, one, None)
    return _measured(project, version, champion, asked)


def _measured(project: Project, version: Version, champion: str, asked: str) -> Admission:
    ws, settings = project.ws, project.config.accept
    run = runs.start(ws, "accept", version.label)
    facts: dict[str, Any] = {"champion": champion, "asked": asked}
    try:
        known = candidate(project, champion)
        rows = new_rows(project, version, champion)
        found = batches.measure(
            known, rows, _golden(project, known), level=settings.level,
            tolerated=settings.label_errors,
        )  # fmt: skip
    except (UndecidedError, PipelineError, NotFoundError, DataError) as error:
        # What cannot be measured is no reason to refuse: the gate decides on the model.
        facts |= {"status": "missing", "reason": f"its effect cannot be measured: {error.message}"}
        one = _evidence(version, run.id, facts, settings.level)
    except BaseException as error:
        runs.fail(ws, run.id, error)
        raise
    else:
        one = _evidence(
            version, run.id, facts | _facts(found, settings.mode), settings.level, found
        )
        if one.details["status"] == "refuse":
            _quarantine(project, version, found, rows, one)
    with ws.transaction():
        evidence.append(ws, [one])
        runs.link(ws, run.id, "in", version.name, version.digest)
        runs.link(ws, run.id, "in", "champion", champion)
        runs.finish(ws, run.id, "done")
    return admission.admission(version, one, None)


def _facts(found: Measured, mode: str) -> dict[str, Any]:
    """What is kept in the ledger: counts, effects and names of columns, never a cell."""
    probes = [
        {key: value for key, value in msgspec.to_builtins(one).items() if key != "seen"}
        for one in (found.effect, *found.probes)
    ]
    reason = "; ".join(one.said for one in found.failed) or found.effect.said
    return {
        "status": mode if found.failed else "accept", "reason": reason, "probes": probes,
        "rows": found.rows, "used": found.used, "trusted": found.trusted,
    }  # fmt: skip


def _evidence(
    version: Version, run: str, facts: dict[str, Any], level: float, found: Measured | None = None
) -> Evidence:
    effect = None if found is None or found.effect.status == "undecided" else found.effect
    return Evidence(
        id=ids.new_id(),
        metric=admission.METRIC,
        subject=version.digest,
        window=GOLDEN,
        value=effect.value if effect else 0.0,
        lo=effect.lo if effect else 0.0,
        hi=effect.hi if effect else 0.0,
        n=effect.n if effect else 0,
        level=1 - level,
        method=_METHOD,
        run=run,
        measured_at=ids.now(),
        details=facts,
    )


def _quarantine(
    project: Project, version: Version, found: Measured, rows: pl.DataFrame, one: Evidence
) -> None:
    ws = project.ws
    files: dict[str, Path] = {
        name: ws.blobs.path(entry.digest)
        for name, entry in trees.walk(ws.blobs, version.digest).items()
    }
    source = version.meta.get("source", {})
    places = rows[_ROW].gather(found.suspects[:_MOST_NAMED].tolist()).to_list()
    quarantine.keep(
        ws.root,
        version.name,
        files,
        DataError(f"{version.label} harms: {one.details['reason']}"),
        str(source.get("uri", "")),
        version=version.label,
        effect={
            "value": one.value, "lo": one.lo, "hi": one.hi, "n": one.n, "level": one.level,
            "probes": [msgspec.to_builtins(probe) for probe in (found.effect, *found.probes)],
        },
        rows=places,
    )  # fmt: skip


def candidate(project: Project, champion: str) -> Candidate:
    """The candidate that a champion's package was made of; raises UndecidedError."""
    ws = project.ws
    for made in runs.users(ws, champion):
        if made.direction != "out":
            continue
        for link in runs.links(ws, made.run):
            if link.direction == "in" and link.name == "candidate":
                stored = outputs.Outputs((link.digest,), (codec.CANDIDATE.name,))
                try:
                    found: Candidate = outputs.load(ws, stored)
                except TrimtabError as error:
                    raise UndecidedError(f"the champion cannot be read: {error.message}") from error
                return found
    raise UndecidedError("what the champion's package was made of is not known here")


def new_rows(project: Project, version: Version, champion: str) -> pl.DataFrame:
    """The rows of a version that are in no trusted one, with their number in `__row__`."""
    ws = project.ws
    rows = tables.read(ws, version).with_row_index(_ROW)
    for digest in trusted(project, version.name, champion):
        rows = _without(rows, tables.read(ws, digest))
    return rows


def trusted(project: Project, name: str, champion: str) -> list[str]:
    """The versions of a source that champions were made of, or that a person accepted."""
    ws = project.ws
    ruled = {champion}
    for one in operations.rollouts(ws):
        if one.state == "promoted":
            ruled |= {one.champion, one.candidate}
    made = [one.run for model in ruled for one in runs.users(ws, model) if one.direction == "out"]
    parents = {runs.get(ws, run).parent for run in made} - {""}
    used = {link.digest for run in parents for link in runs.links(ws, run)
            if link.direction == "in"}  # fmt: skip
    return [
        one.digest
        for one in versions.find(ws, "data", name)
        if one.digest in used or admission.accepted(project, one) is not None
    ]


def _without(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows that `known` has not as often: a copy of a known row is new."""
    shared = [name for name in rows.columns if known.schema.get(name) == rows.schema[name]]
    if not shared:
        return rows
    turn = pl.int_range(pl.len()).over(shared).alias("__turn__")
    return rows.with_columns(turn).join(
        known.select(shared).with_columns(turn), on=[*shared, "__turn__"], how="anti",
        nulls_equal=True, maintain_order="left",
    ).drop("__turn__")  # fmt: skip


def _golden(project: Project, champion: Candidate) -> pl.DataFrame:
    name = project.config.accept.golden.removeprefix(PREFIX)
    if not name:
        return champion.withheld
    if not versions.find(project.ws, "data", name):
        snapshot.add(project.ws, project.config, name)
    return tables.read(project.ws, f"{name}@latest")
