"""Evidence on a rollout's candidate: its answers as shadow and canary, and the labels they got.

What needs labels is measured where they came, beside the champion's of the same time; what needs
none is measured on everything that was answered.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.config import Config, Requirement
from trimtab.errors import DataError
from trimtab.evaluate import anytime, latency, metrics
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.scored import Scored
from trimtab.loop.candidate import selected
from trimtab.loop.project import Project
from trimtab.loop.releases import guards
from trimtab.loop.releases.guards import Arms
from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor.log import traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.progress import Progress
from trimtab.monitor.outcomes import joined
from trimtab.store.records import Evidence, Rollout


class Measured(NamedTuple):
    """Evidence on the requirements; the labelled answers of both arms where both have some."""

    evidence: list[Evidence]
    arms: Arms | None


def measure(project: Project, rollout: Rollout, seen: Progress, index: Catalogue) -> Measured:
    """Evidence of which each end holds alone at any look. Labels that cannot be truths are left out.

    Raises DataError where labels do not fit the model's classes.
    """
    config = project.config
    signature = registry.signature_of(project.ws, rollout.candidate)
    found = _endpoint(config, rollout, seen)
    free = [one for one in config.require if _is_free(config, one, seen)]
    if free:
        found += _anytime(_answered(signature, seen), free, rollout)
    ours = _labelled(project, rollout, rollout.candidate, index)
    if ours is None:
        return Measured(found, None)
    theirs = _labelled(project, rollout, rollout.champion, index)
    rest = [one for one in config.require if one not in free and not one.better_than]
    found += _anytime(ours[0], rest, rollout)
    if theirs is None:
        return Measured(found, None)
    arms = Arms(ours[0], theirs[0], guards.links(ours[1], theirs[1]))
    over = [one for one in config.require if one.better_than == "champion"]
    return Measured(found + _anytime(arms.candidate, over, rollout, arms), arms)


def _anytime(
    table: Scored, asked: list[Requirement], rollout: Rollout, arms: Arms | None = None
) -> list[Evidence]:
    return anytime.measure_anytime(
        table,
        asked,
        subject=rollout.candidate,
        window=guards.window(rollout),
        against=arms.champion if arms else None,
        links=arms.links if arms else None,
        each_end=True,
    )


def _endpoint(config: Config, rollout: Rollout, seen: Progress) -> list[Evidence]:
    """Latency and errors, of shadow and canary together."""
    subject, window = rollout.candidate, guards.window(rollout)
    asked, failed = seen.candidate.asked, seen.candidate.failed
    found = [
        latency.rate_evidence(
            failed, asked, subject=subject, window=window, validity="anytime", level=one.level
        )
        for one in config.require
        if one.metric == "error_rate" and asked
    ]
    if not seen.counts.size:
        return found
    return found + [
        latency.quantile_evidence(
            seen.milliseconds(),
            one.quantile,
            subject=subject,
            window=window,
            validity="anytime",
            level=one.level,
        )
        for one in config.require
        if one.metric == "latency_ms" and one.quantile
    ]


def _labelled(
    project: Project, rollout: Rollout, model: str, index: Catalogue
) -> tuple[Scored, list[str]] | None:
    """A model's labelled answers since the rollout opened, and their prediction ids."""
    config, signature = project.config, registry.signature_of(project.ws, model)
    known, truths = joined.since(index, model, signature, rollout.opened_at)
    if not known.rows:
        return None
    biased = selected.of_log(config)
    try:
        table = traffic.scored(
            known,
            [one.value for one in truths],
            signature,
            slices=traffic.slices(known, truths, joined.columns(config)),
            biased=biased,
        )
    except DataError as error:
        raise DataError(f"labels do not fit the model's classes: {error.message}") from error
    return table, known.ids


def _answered(signature: Signature, seen: Progress) -> Scored:
    """All that the candidate, a classifier, has answered, as a table without truth."""
    kinds, classes = list(seen.decided.items()), traffic.class_names(signature)
    counts = [count for _, count in kinds]
    codes = np.array([classes.index(said) for (_, said), _ in kinds])
    return Scored(
        task=signature.task,
        truth=None,
        score=None,
        decision=np.repeat(codes == 1 if signature.task == "binary" else codes, counts),
        classes=classes,
        slices={
            name: np.repeat(np.array(_told(seen, name), dtype=object), counts)
            for name in seen.columns
            if any(_told(seen, name))
        },
    )


def _told(seen: Progress, column: str) -> list[str | None]:
    """A column's value in each kind of answer."""
    at = seen.columns.index(column)
    return [values[at] for values, _ in seen.decided]


def _is_free(config: Config, one: Requirement, seen: Progress) -> bool:
    """Whether a requirement is measured on all answers: it needs no truth, and its columns came
    with the requests. A count of rows is of labelled ones, where labels come.
    """
    metric = metrics.get(one.metric)
    return (
        isinstance(metric, Metric)
        and not metric.needs_labels
        and not one.better_than
        and not (metric.is_certain and config.serve.labels)
        and bool(seen.decided)
        and all(
            name in seen.columns and any(_told(seen, name)) for name in (one.across, one.by) if name
        )
    )
