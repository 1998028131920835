"""Late labels joined with the answers that they judge, as they come.

A labelled row is read from the log once, when its label or the row itself arrives, and kept in
parts by model and window; what is measured later reads the parts. So a pass costs what is new.
Label ids wait in `pending` until they were looked for; a crash repeats a part and changes nothing,
since of several parts the last says what a row's label is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.config import Config, duration
from trimtab.model.signature import Signature
from trimtab.monitor.log import catalogue, history, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.history import Key, Piece, Signed
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import repeated
from trimtab.store import operations
from trimtab.store.records import Label, Window
from trimtab.store.workspace import Workspace

REMEMBERED: Final = 64
"""How many windows are looked back on."""
_AT_ONCE: Final = 20_000


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled rows of one model and window, column by column.

    `good` says whether a label can be a truth of the model. `columns` are those that requirements
    group by, as (was a number, values); `extra` what the labels themselves brought of them.
    """

    ids: list[str]
    times: list[int]
    received: list[int]
    roles: list[str]
    score: bytes
    width: int
    decision: list[Any]
    columns: dict[str, tuple[bool, list[Any]]]
    truth: list[Any]
    labelled: list[int]
    came: list[int]
    extra: list[dict[str, Any]]
    good: list[bool]


class Joined(NamedTuple):
    """Labelled rows, each once, with labels that can be truths."""

    rows: Answers
    labels: list[Label]

    @property
    def came(self) -> int:
        """When the newest label came; 0 where there is none."""
        return max((one.received_at for one in self.labels), default=0)


def columns(config: Config) -> frozenset[str]:
    """The columns that requirements group by: all that parts keep beside the answer."""
    return frozenset(one.across or one.by for one in config.require) - {""}


def take(index: Catalogue, ws: Workspace, pieces: Sequence[Piece]) -> None:
    """Note new pieces of the log, and which of their rows have a label already."""
    names = {name for piece in pieces for frame in piece.frames for name in frame.ids}
    early = operations.labels_of(ws, names)
    with index.transaction():
        for piece in pieces:
            catalogue.add_block(index, piece.block, piece.frames)
        _queue(index, early)


def queue(index: Catalogue, predictions: Iterable[str]) -> None:
    """Have labels of these ids looked for; call it before the labels are stored."""
    with index.transaction():
        _queue(index, predictions)


def settle(index: Catalogue, ws: Workspace, endpoint: str, config: Config, signed: Signed) -> None:
    """Join what is pending. Where the requirements group by other columns now, begin anew."""
    shape = {"span": duration(config.monitor.window), "columns": sorted(columns(config))}
    before = catalogue.get(index, "shape")
    if before != shape:
        if before is not None:
            _begin_anew(index, ws, endpoint, config, signed)
        with index.transaction():
            catalogue.put(index, "shape", shape)
    while some := [
        name for (name,) in index.db.execute("SELECT prediction FROM pending LIMIT ?", (_AT_ONCE,))
    ]:
        labels = operations.labels_of(ws, some)
        found = history.lookup(index, labels, signed, columns(config))
        seen = {name for rows in found.values() for name in rows.ids}
        with index.transaction():
            for key, rows in repeated.apart(index, found).items():
                _keep(index, key, rows, labels, config, signed(key[0]))
            index.db.executemany(
                "INSERT OR IGNORE INTO orphans VALUES (?)",
                ((name,) for name in labels.keys() - seen),
            )
            index.db.executemany(
                "DELETE FROM orphans WHERE prediction = ?", ((name,) for name in seen)
            )
            index.db.executemany(
                "DELETE FROM pending WHERE prediction = ?", ((name,) for name in some)
            )


def orphans(index: Catalogue) -> int:
    """How many labels belong to no prediction in this log."""
    (count,) = index.db.execute("SELECT COUNT(*) FROM orphans").fetchone()
    return int(count)


def odd(index: Catalogue, model: str) -> tuple[int, str, Any]:
    """How many labels cannot be truths of a model, and one of them: its prediction and value."""
    (count,) = index.db.execute("SELECT COUNT(*) FROM odd WHERE model = ?", (model,)).fetchone()
    if not count:
        return 0, "", None
    name, value = index.db.execute(
        "SELECT prediction, value FROM odd WHERE model = ? ORDER BY prediction LIMIT 1", (model,)
    ).fetchone()
    return int(count), name, msgspec.json.decode(value)


def newest(index: Catalogue, model: str) -> int:
    """The number of the last part of a model; 0 where nothing is labelled."""
    (found,) = index.db.execute("SELECT MAX(id) FROM parts WHERE model = ?", (model,)).fetchone()
    return int(found or 0)


def last_time(index: Catalogue, model: str) -> int:
    """The event time of the last answer of a model that has a label; -1 where there is none."""
    (found,) = index.db.execute(
        "SELECT MAX(last_time) FROM parts WHERE model = ? AND NOT shadow", (model,)
    ).fetchone()
    return -1 if found is None else int(found)


def marks(index: Catalogue, model: str, since: int) -> dict[int, tuple[int, int]]:
    """Of each window from `since` on: its last part's number, and how many labelled rows it has."""
    rows = index.db.execute(
        "SELECT start, MAX(id), SUM(rows) FROM parts "
        "WHERE model = ? AND NOT shadow AND start >= ? GROUP BY start",
        (model, since),
    )
    return {start: (last, rows) for start, last, rows in rows}


def window(index: Catalogue, model: str, signature: Signature, start: int) -> Joined:
    """The labelled answers of one window in order of event time."""
    bodies = index.db.execute(
        "SELECT body FROM parts WHERE model = ? AND NOT shadow AND start = ? ORDER BY id",
        (model, start),
    )
    found = _assembled((body for (body,) in bodies), signature)
    return _ordered(found, found.rows.times)


def since(index: Catalogue, model: str, signature: Signature, received: int) -> Joined:
    """What a model answered from a moment on, to clients or as a shadow, in order of arrival."""
    bodies = index.db.execute(
        "SELECT body FROM parts WHERE model = ? AND last_received >= ? ORDER BY id",
        (model, received),
    )
    found = _assembled((body for (body,) in bodies), signature)
    keep = np.flatnonzero(found.rows.received >= received).tolist()
    some = Joined(found.rows.take(keep), [found.labels[i] for i in keep])
    return _ordered(some, some.rows.received)


def count(index: Catalogue, model: str, signature: Signature, moment: int, span: int) -> int:
    """How many labelled answers have an event time from `moment` on."""
    first = moment // span * span
    total = 0
    for start in sorted(marks(index, model, first)):
        total += int((window(index, model, signature, start).rows.times >= moment).sum())
    return total


def with_columns(
    index: Catalogue, model: str, signature: Signature, since: int, until: int
) -> Joined:
    """Labelled answers of a time with all their inputs, read from the log again."""
    first = index.db.execute(
        "SELECT DISTINCT start FROM parts WHERE model = ? AND NOT shadow AND last_time >= ? "
        "AND start < ? ORDER BY start",
        (model, since, until),
    ).fetchall()
    labels: dict[str, Label] = {}
    for (start,) in first:
        labels |= {one.prediction: one for one in window(index, model, signature, start).labels}
    names = [column.name for column in signature.inputs]
    rows = history.read(index, signature, model, since=since, until=until, names=names)
    known, mine = traffic.with_labels(rows, labels)
    return _ordered(Joined(known, mine), known.times)


def _queue(index: Catalogue, predictions: Iterable[str]) -> None:
    index.db.executemany(
        "INSERT OR IGNORE INTO pending VALUES (?)", ((name,) for name in predictions)
    )


def _keep(
    index: Catalogue,
    key: Key,
    rows: Answers,
    labels: dict[str, Label],
    config: Config,
    signature: Signature,
) -> None:
    """Add rows with their labels to the parts of their windows."""
    span, wanted = duration(config.monitor.window), columns(config)
    good = [traffic.usable(labels[name].value, signature) for name in rows.ids]
    starts = rows.times // span * span
    for start in np.unique(starts).tolist():
        places = np.flatnonzero(starts == start).tolist()
        some = rows.take(places)
        _add(index, key, start, _part(some, labels, wanted, [good[i] for i in places]))
    if key[1]:
        return
    wrong = [
        (key[0], name, msgspec.json.encode(labels[name].value).decode())
        for name, fine in zip(rows.ids, good, strict=True)
        if not fine
    ]
    index.db.executemany(
        "DELETE FROM odd WHERE model = ? AND prediction = ?", ((key[0], name) for name in rows.ids)
    )
    index.db.executemany("INSERT INTO odd (model, prediction, value) VALUES (?, ?, ?)", wrong)


def _add(index: Catalogue, key: Key, start: int, part: Part) -> None:
    """Store a part; older ones that are no larger are merged into it, so that few stay.

    `rows` counts what it adds to the parts before it: a label that is told anew adds no row.
    """
    older = index.db.execute(
        "SELECT id, total, body FROM parts WHERE model = ? AND shadow = ? AND start = ? "
        "ORDER BY id DESC",
        (*key, start),
    ).fetchall()
    before: dict[tuple[str, int], bool] = {}
    for number, total, body in older:
        old = msgspec.msgpack.decode(body, type=Part)
        if not before and total <= len(part.ids):
            part = _merged(old, part)
            index.db.execute("DELETE FROM parts WHERE id = ?", (number,))
        else:
            before = _good(old) | before
    mine = _good(part)
    rows = sum(mine.values()) - sum(before.get(row, False) for row in mine)
    index.db.execute(
        "INSERT INTO parts (model, shadow, start, rows, total, last_time, last_received, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, start, rows, len(part.ids), max(part.times), max(part.received),
         msgspec.msgpack.encode(part)),
    )  # fmt: skip


def _good(part: Part) -> dict[tuple[str, int], bool]:
    """Of each row of a part, whether its label can be a truth of the model."""
    return dict(zip(zip(part.ids, part.received, strict=True), part.good, strict=True))


def _part(
    rows: Answers, labels: dict[str, Label], wanted: Collection[str], good: list[bool]
) -> Part:
    mine = [labels[name] for name in rows.ids]
    kept = {
        name: (values.dtype.kind == "f", [_null(one) for one in values.tolist()])
        for name, values in rows.columns.items()
        if name in wanted
    }
    return Part(
        ids=rows.ids,
        times=rows.times.tolist(),
        received=rows.received.tolist(),
        roles=rows.roles,
        score=np.asarray(rows.score, dtype="<f4").tobytes(),
        width=rows.score.shape[1] if rows.score.ndim == 2 else 1,
        decision=rows.decision,
        columns=kept,
        truth=[one.value for one in mine],
        labelled=[one.labelled_at for one in mine],
        came=[one.received_at for one in mine],
        extra=[{name: one.extra[name] for name in wanted if name in one.extra} for one in mine],
        good=good,
    )


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def _merged(a: Part, b: Part) -> Part:
    """Both parts' rows, each once: of a row in both, the second's. A client may repeat an id."""
    ids = a.ids + b.ids
    last = {row: place for place, row in enumerate(zip(ids, a.received + b.received, strict=True))}
    places = sorted(last.values())
    score = np.frombuffer(a.score + b.score, dtype="<f4").reshape(-1, a.width)[places]
    lists = ("times", "received", "roles", "decision", "truth", "labelled", "came", "extra", "good")
    picked: dict[str, Any] = {}
    for name in lists:
        both = getattr(a, name) + getattr(b, name)
        picked[name] = [both[i] for i in places]
    kept = {}
    for name in a.columns.keys() & b.columns.keys():
        values = a.columns[name][1] + b.columns[name][1]
        number = a.columns[name][0] and b.columns[name][0]
        kept[name] = (number, [values[i] for i in places])
    return Part(
        ids=[ids[i] for i in places],
        score=score.tobytes(),
        width=a.width,
        columns=kept,
        **picked,
    )


def _assembled(bodies: Iterable[bytes], signature: Signature) -> Joined:
    whole: Part | None = None
    for body in bodies:
        part = msgspec.msgpack.decode(body, type=Part)
        whole = part if whole is None else _merged(whole, part)
    if whole is None:
        return Joined(traffic.answers([], signature, ()), [])
    flat = np.frombuffer(whole.score, dtype="<f4")
    rows = Answers(
        ids=whole.ids,
        times=np.array(whole.times, dtype=np.int64),
        roles=whole.roles,
        score=flat if whole.width == 1 else flat.reshape(-1, whole.width),
        decision=whole.decision,
        latency_us=np.zeros(len(whole.ids), dtype=np.int64),
        columns={
            name: np.array(values, dtype=np.float64 if number else object)
            for name, (number, values) in whole.columns.items()
        },
        received=np.array(whole.received, dtype=np.int64),
    )
    labels = [
        Label(prediction=name, value=value, labelled_at=at, received_at=came, extra=extra)
        for name, value, at, came, extra in zip(
            whole.ids, whole.truth, whole.labelled, whole.came, whole.extra, strict=True
        )
    ]
    if all(whole.good):
        return Joined(rows, labels)
    places = np.flatnonzero(whole.good).tolist()
    return Joined(rows.take(places), [labels[i] for i in places])


def _ordered(found: Joined, by: Any) -> Joined:
    order = np.argsort(by, kind="stable").tolist()
    return Joined(found.rows.take(order), [found.labels[i] for i in order])


def _begin_anew(
    index: Catalogue, ws: Workspace, endpoint: str, config: Config, signed: Signed
) -> None:
    """Join the remembered windows again, from the log and the stored labels."""
    with index.transaction():
        index.db.execute("DELETE FROM parts")
        index.db.execute("DELETE FROM detectors")
        index.db.execute("DELETE FROM odd")
    for model, shadow, start, end in _remembered(ws, endpoint, config):
        rows = history.read(
            index, signed(model), model, shadow=shadow, since=start, until=end,
            names=columns(config),
        )  # fmt: skip
        with index.transaction():
            _queue(index, operations.labels_of(ws, rows.ids))


def _remembered(
    ws: Workspace, endpoint: str, config: Config
) -> Iterator[tuple[str, bool, int, int]]:
    kept = operations.windows(ws, endpoint=endpoint)
    newest_end = max((one.end for one in kept), default=0)
    horizon = newest_end - REMEMBERED * duration(config.monitor.window)

    def what(one: Window) -> tuple[str, bool, int, int]:
        return one.model, one.role == "shadow", one.start, one.end

    yield from sorted({what(one) for one in kept if one.end > horizon})
