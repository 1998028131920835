"""A candidate becomes a package with all that the monitor needs, and answers for its withheld rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab.config import Config, Requirement
from trimtab.errors import DataError
from trimtab.evaluate import measure, metrics
from trimtab.evaluate.scored import Scored
from trimtab.loop.candidate import importance, teaching, watching
from trimtab.loop.project import Project
from trimtab.model.load import LoadedModel, Outputs, load
from trimtab.model.package import PROFILE, Packaged, package
from trimtab.monitor import basis as bases
from trimtab.monitor.log import traffic
from trimtab.profile import reference as references
from trimtab.store.records import SliceMetric
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features

WITHHELD: Final = "withheld"


def write_package(
    project: Project, candidate: Candidate, out: Path, more: pl.DataFrame | None = None
) -> Packaged:
    """Write a candidate into a new folder with all that the monitor needs; see `ordinary` for `more`."""
    allowed = project.config.serve.allow_python
    found = package(
        candidate,
        out=out,
        profile=lambda model: watching.reference(
            project.config, candidate, model, lambda rows: _outputs(candidate, model, rows), more
        ),
        context=_context(project, candidate),
        allow_python=allowed,
    )
    if len(rows := _known(candidate)):
        model = load(out, verify=False, allow_python=allowed)
        columns = _columns(model, candidate, rows)
        answer = model.predict(columns)
        basis = _basis(project.config, candidate, model, rows, answer, out)
        (out / bases.FILE).write_bytes(basis)
        importance.write(out, model, columns, rows[candidate.target])
    return found


def scored(
    model: LoadedModel,
    candidate: Candidate,
    requirements: tuple[Requirement, ...],
    *,
    biased: str = "",
) -> tuple[Scored, pl.DataFrame]:
    """The packaged model's answers on the withheld rows beside the truth and the baseline."""
    rows = _known(candidate)
    if not rows.height:
        raise DataError("no withheld row has a known target: the model cannot be judged")
    answer = model.predict(_columns(model, candidate, rows))
    return _beside_truth(model, candidate, rows, answer, requirements, biased=biased), rows


def _beside_truth(
    model: LoadedModel,
    candidate: Candidate,
    rows: pl.DataFrame,
    answer: Outputs,
    requirements: tuple[Requirement, ...],
    *,
    biased: str = "",
) -> Scored:
    truth = rows[candidate.target].to_list()
    wanted = {one.across or one.by for one in requirements} - {""}
    slices = {
        name: np.array(rows[name].to_list(), dtype=object)
        for name in wanted
        if name in rows.columns
    }
    guess = _baseline(model, candidate, truth)
    return traffic.build(
        model.signature, truth, answer.score, answer.decision, slices=slices, baseline=guess,
        biased=biased,
    )  # fmt: skip


def _outputs(candidate: Candidate, model: LoadedModel, rows: pl.DataFrame) -> dict[str, Any]:
    """Rows as a window counts them: inputs, and the model's answers to them."""
    answer = model.predict(_columns(model, candidate, rows))
    return _profiled(rows, model) | traffic.watched(answer.score, answer.decision, model.signature)


def _basis(
    config: Config,
    candidate: Candidate,
    model: LoadedModel,
    rows: pl.DataFrame,
    answer: Outputs,
    place: Path,
) -> bytes:
    table = _profiled(rows, model) | traffic.outputs(answer.score, answer.decision, model.signature)
    reference = references.decode((place / PROFILE).read_bytes())
    found = bases.fit(
        model.signature, reference, table, answer.score, answer.decision,
        rows[candidate.target].to_list(), private=config.serve.pii, teach=teaching.trees,
        slices=_slices(config, candidate, model, rows, answer),
    )  # fmt: skip
    return bases.encode(found)


def _slices(
    config: Config, candidate: Candidate, model: LoadedModel, rows: pl.DataFrame, answer: Outputs
) -> tuple[SliceMetric, ...]:
    """Quality on all withheld rows and on each slice that a requirement or `protected` names."""
    named = [name for one in config.require for name in (one.across, one.by)]
    named += [name for one in config.data.values() for name in one.protected]
    columns = [
        name
        for name in dict.fromkeys(named)
        if name in candidate.withheld.columns and name not in config.serve.pii
    ]
    wanted = tuple(
        Requirement(metric=metric, by=name)
        for metric in metrics.default_metrics(candidate.task)
        for name in columns
    )
    table = _beside_truth(model, candidate, rows, answer, wanted)
    found = measure.measure(table, wanted, subject="", window=WITHHELD, now=0)
    return tuple(
        SliceMetric(
            metric=one.metric, slice=one.slice, value=one.value, lo=one.lo, hi=one.hi,
            level=one.level, rows=one.n,
        )
        for one in sorted(found, key=lambda one: bool(one.slice))
        if one.n and math.isfinite(one.value) and math.isfinite(one.lo) and math.isfinite(one.hi)
    )  # fmt: skip


def _profiled(rows: pl.DataFrame, model: LoadedModel) -> dict[str, Any]:
    """Input columns as the prediction log has them: nulls as NaN, or None for texts."""
    found: dict[str, Any] = {}
    for column in model.signature.inputs:
        values = rows[column.name]
        if column.kind == "text":
            found[column.name] = np.array(values.cast(pl.String).to_list(), dtype=object)
        else:
            found[column.name] = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return found


def _columns(model: LoadedModel, candidate: Candidate, rows: pl.DataFrame) -> dict[str, Any]:
    names = {column.name: candidate.features[column.name] for column in model.signature.inputs}
    table = features(rows, names)
    return {
        name: np.array(table[name].to_list(), dtype=object)
        if kind == "text"
        else table[name].to_numpy()
        for name, kind in names.items()
    }


def _known(candidate: Candidate) -> pl.DataFrame:
    return candidate.withheld.drop_nulls([candidate.target])


def _baseline(model: LoadedModel, candidate: Candidate, truth: list[Any]) -> Scored:
    """What guessing without inputs would have said on the same rows."""
    signature, rows = model.signature, len(truth)
    if signature.task == "regression":
        guess = np.full(rows, candidate.baseline["value"])
        return traffic.build(signature, truth, guess, guess.tolist())
    shares = {traffic.text(label): share for label, share in candidate.baseline["shares"].items()}
    likeliest = max(shares, key=lambda label: shares[label])
    if signature.task == "binary":
        share = shares.get(traffic.text(signature.positive), 0.0)
        return traffic.build(signature, truth, np.full(rows, share), [likeliest] * rows)
    chances = [shares.get(name, 0.0) for name in traffic.class_names(signature)]
    total = sum(chances) or 1.0
    table = np.tile(np.array(chances) / total, (rows, 1))
    return traffic.build(signature, truth, table, [likeliest] * rows)


def _context(project: Project, candidate: Candidate) -> list[str]:
    """Columns that a client may send along to be logged: key, time and protected."""
    names = [
        name
        for one in project.config.data.values()
        for name in (one.key, one.time, *one.protected)
        if name
    ]
    return [name for name in dict.fromkeys(names) if name in candidate.train.columns]
