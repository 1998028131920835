"""Logged predictions as tables: columns to profile, and rows with their late truth to measure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluate.scored import Scored
from trimtab.model.signature import Signature
from trimtab.profile.scales import CONFIDENCE, LATENCY
from trimtab.serve.logged.frame import Frame
from trimtab.store.records import Label

SCORE: Final = "__score__"
DECISION: Final = "__decision__"
ANSWERED: Final = 200
FAILED: Final = 500
"""From this status on it is the model that failed, not the request."""
LARGEST: Final = 1e70


@dataclass(frozen=True, eq=False)
class Answers:
    """Rows that one model answered, in the order they were answered.

    `times` are event times and `received` times of arrival in microseconds, `latency_us` the time
    that the row's request took. `columns` are inputs (float64, or object with None) and context.
    """

    ids: list[str]
    times: NDArray[np.int64]
    roles: list[str]
    score: NDArray[np.float32]
    decision: list[Any]
    latency_us: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    received: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.ids)

    def take(self, index: Sequence[int]) -> Answers:
        """Those rows."""
        places = np.asarray(index, dtype=np.intp)
        return Answers(
            ids=[self.ids[i] for i in index],
            times=self.times[places],
            roles=[self.roles[i] for i in index],
            score=self.score[places],
            decision=[self.decision[i] for i in index],
            latency_us=self.latency_us[places],
            columns={name: values[places] for name, values in self.columns.items()},
            received=self.received[places],
        )


def by_model(frames: Iterable[Frame]) -> dict[tuple[str, str], list[Frame]]:
    """Answered frames per (model digest, role)."""
    found: dict[tuple[str, str], list[Frame]] = {}
    for frame in frames:
        if frame.status == ANSWERED and frame.ids:
            found.setdefault((frame.model, frame.role), []).append(frame)
    return found


def answers(
    frames: Sequence[Frame], signature: Signature, only: Collection[str] | None = None
) -> Answers:
    """The rows of one model's frames, with all columns or `only` some."""
    names = [
        column.name
        for column in (*signature.inputs, *signature.context)
        if only is None or column.name in only
    ]
    parts = [part for frame in frames for part in frame.requests()]
    received = [part.received_at for part in parts for _ in range(part.rows)]
    return Answers(
        ids=list(chain.from_iterable(frame.ids for frame in frames)),
        times=np.array(
            list(chain.from_iterable(frame.times() for frame in frames)), dtype=np.int64
        ),
        roles=list(chain.from_iterable([frame.role] * frame.rows for frame in frames)),
        score=np.concatenate([frame.scores() for frame in frames])
        if frames
        else np.empty(0, np.float32),
        decision=list(chain.from_iterable(frame.decision for frame in frames)),
        latency_us=np.array(
            list(chain.from_iterable(frame.latencies() for frame in frames)), dtype=np.int64
        ),
        columns={name: _column(frames, name) for name in names},
        received=np.array(received, dtype=np.int64),
    )


def together(parts: Sequence[Answers]) -> Answers:
    """Rows of one model, read in several places, in their order; at least one part."""
    full = [part for part in parts if part.rows] or list(parts[:1])
    if len(full) == 1:
        return full[0]
    return Answers(
        ids=list(chain.from_iterable(part.ids for part in full)),
        times=np.concatenate([part.times for part in full]),
        roles=list(chain.from_iterable(part.roles for part in full)),
        score=np.concatenate([part.score for part in full]),
        decision=list(chain.from_iterable(part.decision for part in full)),
        latency_us=np.concatenate([part.latency_us for part in full]),
        columns={
            name: np.concatenate([_alike(part.columns[name], full, name) for part in full])
            for name in full[0].columns
        },
        received=np.concatenate([part.received for part in full]),
    )


def _alike(values: NDArray[Any], parts: Sequence[Answers], name: str) -> NDArray[Any]:
    """Floats among texts, or among columns that were not logged, become objects."""
    if all(part.columns[name].dtype == values.dtype for part in parts):
        return values
    return values.astype(object)


def profiled(rows: Answers, signature: Signature) -> dict[str, NDArray[Any]]:
    """The columns that a profile counts: inputs, outputs, context to slice by, and latency."""
    told = {name: values for name, values in rows.columns.items() if is_told(values)}
    inputs = {column.name: rows.columns[column.name] for column in signature.inputs}
    outs = watched(rows.score, rows.decision, signature)
    return told | inputs | outs | {LATENCY: rows.latency_us}


def outputs(
    score: NDArray[Any], decision: Sequence[Any], signature: Signature
) -> dict[str, NDArray[Any]]:
    """The model's outputs as columns: the score (the highest of several), and the decision."""
    flat = np.asarray(score, dtype=np.float64)
    found: dict[str, NDArray[Any]] = {SCORE: flat.max(axis=1) if flat.ndim == 2 else flat}
    if signature.task != "regression":
        found[DECISION] = np.array([text(one) for one in decision], dtype=object)
    return found


def watched(
    score: NDArray[Any], decision: Sequence[Any], signature: Signature
) -> dict[str, NDArray[Any]]:
    """The outputs, and how sure the model was of its decision (not of a number)."""
    found = outputs(score, decision, signature)
    if signature.task == "regression":
        return found
    flat = found[SCORE]
    return found | {CONFIDENCE: np.maximum(flat, 1 - flat) if np.ndim(score) == 1 else flat}


def scored(
    rows: Answers,
    truth: Sequence[Any],
    signature: Signature,
    *,
    slices: Mapping[str, NDArray[np.object_]] | None = None,
    baseline: Scored | None = None,
    champion: Scored | None = None,
    biased: str = "",
) -> Scored:
    """Rows with their truth, as everything that measures reads them."""
    return build(
        signature, truth, rows.score, rows.decision,
        slices=slices, baseline=baseline, champion=champion, biased=biased,
    )  # fmt: skip


def build(
    signature: Signature,
    truth: Sequence[Any] | None,
    score: NDArray[Any] | None,
    decision: Sequence[Any],
    *,
    slices: Mapping[str, NDArray[np.object_]] | None = None,
    baseline: Scored | None = None,
    champion: Scored | None = None,
    biased: str = "",
) -> Scored:
    """A `Scored` from labels as they are written in tables and answers; of classes, decisions alone
    will do (`score` None).
    """
    known: NDArray[Any] | None = None
    if signature.task == "regression":
        known = None if truth is None else np.asarray(truth, dtype=np.float64)
        decided: NDArray[Any] = np.asarray(score, dtype=np.float64)
    else:
        known = None if truth is None else np.array([text(one) for one in truth], dtype=object)
        decided = np.array([text(one) for one in decision], dtype=object)
    return Scored(
        task=signature.task,
        truth=known,
        score=None if score is None else np.asarray(score, dtype=np.float64),
        decision=decided,
        classes=class_names(signature),
        slices=slices or {},
        baseline=baseline,
        champion=champion,
        biased=biased,
    )


def class_names(signature: Signature) -> tuple[str, ...]:
    """The classes as text; of a binary model the positive one last."""
    names = tuple(text(one) for one in signature.classes)
    if signature.task == "binary" and signature.positive_index == 0:
        return names[::-1]
    return names


def text(label: Any) -> str:
    """A label as text, the same for 1, 1.0 and "1"."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def once(rows: Answers) -> tuple[list[int], set[str]]:
    """The places of rows that a label can be of: of those with one id and the same answer the first, of
    those with unlike answers none; and the ids that have unlike ones.
    """
    first: dict[str, int] = {}
    unlike = set()
    for place, name in enumerate(rows.ids):
        other = first.setdefault(name, place)
        if other == place:
            continue
        same = rows.score[other].tobytes() == rows.score[place].tobytes()
        if not same or rows.decision[other] != rows.decision[place]:
            unlike.add(name)
    return [place for name, place in first.items() if name not in unlike], unlike


def with_labels(rows: Answers, labels: Mapping[str, Label]) -> tuple[Answers, list[Label]]:
    """The rows whose truth has arrived, with it; where an id stands for unlike answers, none."""
    known = [index for index in once(rows)[0] if rows.ids[index] in labels]
    return rows.take(known), [labels[rows.ids[index]] for index in known]


def usable(value: Any, signature: Signature) -> bool:
    """Whether a label can be a truth of this model: one of its classes, or a number.

    A number of 1e70 and more is none: it is a mistake, and its square's square would be infinite.
    """
    if signature.task == "regression":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) < LARGEST
    return text(value) in {text(one) for one in signature.classes}


def slices(
    rows: Answers, labels: Sequence[Label], names: Iterable[str]
) -> dict[str, NDArray[np.object_]]:
    """Columns to group by: sent along with the request, or brought by the labels."""
    found = {}
    for name in names:
        if name in rows.columns and is_told(rows.columns[name]):
            values = rows.columns[name].astype(object)
        elif labels and all(name in label.extra for label in labels):
            values = np.array([label.extra[name] for label in labels], dtype=object)
        else:
            continue
        found[name] = values
    return found


def is_told(values: NDArray[Any]) -> bool:
    """Whether a logged column holds anything: context that no client sends along does not."""
    if values.dtype.kind == "f":
        return not bool(np.isnan(values).all())
    return any(one is not None for one in values)


def _column(frames: Sequence[Frame], name: str) -> NDArray[Any]:
    parts: list[Any] = []
    numeric = all(name in frame.numbers for frame in frames)
    for frame in frames:
        try:
            parts.append(frame.column(name))
        except KeyError:
            parts.append([None] * frame.rows)
    if numeric:
        return np.concatenate(parts) if parts else np.empty(0)
    return np.array(list(chain.from_iterable(parts)), dtype=object)
