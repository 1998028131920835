"""A series is the same set of points however it arrived and however often it was compacted."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.errors import IntegrityError, UsageError
from trimtab.store import metrics, tables
from trimtab.store.records import Point
from trimtab.store.series import arrivals, chart, chunk, compaction, nodes, points, reading
from trimtab.store.series.points import Columns, Series
from trimtab.store.workspace import Workspace

GOLDEN = Path(__file__).parents[4] / "tests/golden"
FLOATS = st.binary(min_size=8, max_size=8).map(lambda data: struct.unpack("<d", data)[0])
INT64 = st.integers(-(2**63), 2**63 - 1)
made = st.builds(
    Point,
    key=st.sampled_from("ab"),
    step=st.integers(-3, 60) | INT64,
    time=st.integers(0, 5) | INT64,
    value=st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]) | st.floats() | FLOATS,
)


def exact(found: list[Point]) -> list[tuple]:
    return [(one.key, one.step, one.time, struct.pack("<d", one.value)) for one in found]


def series(values, steps=None) -> Series:
    values = np.array(values, dtype=np.float64)
    steps = np.arange(len(values)) if steps is None else np.array(steps, dtype=np.int64)
    return Series(steps.astype(np.int64), steps.astype(np.int64) * 10, values)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that few points make several levels."""
    monkeypatch.setattr(chunk, "MOST", 4)
    monkeypatch.setattr(chunk, "INNER", 2)


@given(st.lists(INT64), st.lists(FLOATS))
def test_columns_shrink_and_grow_again(integers: list[int], floats: list[float]) -> None:
    column = np.array(integers, dtype=np.int64)
    assert points.grown(points.shrunk(column)).tolist() == integers
    values = np.array(floats, dtype=np.float64)
    grown = points.grown_values(points.shrunk_values(values))
    assert grown.view(np.int64).tolist() == values.view(np.int64).tolist()


@given(st.lists(made, max_size=30), st.randoms())
def test_order_and_repetition_mean_nothing(batch: list[Point], random) -> None:
    again = [*batch, *batch[:5]]
    random.shuffle(again)
    one, two = (points.of_points(part).series() for part in (batch, again))
    assert one.keys() == two.keys()
    for key in one:
        found = points.canonical(one[key])
        assert exact(points.to_points(key, found)) == exact(
            points.to_points(key, points.canonical(two[key]))
        )
        wanted = {row[1:] for row in exact(points.to_points(key, one[key]))}
        assert len(found) == len(wanted)
        order = [(p.step, p.time, not math.isnan(p.value)) for p in points.to_points(key, found)]
        assert order == sorted(order)


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(data=st.data())
def test_compaction_changes_nothing_that_is_read(ws: Workspace, small, data) -> None:
    plain, packed = (f"{name}-{data.draw(st.uuids())}" for name in ("plain", "packed"))
    for batch in data.draw(st.lists(st.lists(made, max_size=25), max_size=6)):
        metrics.append(ws, plain, batch)
        metrics.append(ws, packed, batch)
        if data.draw(st.booleans()):
            compaction.compact(ws, packed)
    assert exact(metrics.read(ws, packed)) == exact(metrics.read(ws, plain))
    assert metrics.keys(ws, packed) == metrics.keys(ws, plain)
    mine, theirs = metrics.latest(ws, packed), metrics.latest(ws, plain)
    assert [(k, struct.pack("<d", v)) for k, v in mine.items()] == [
        (k, struct.pack("<d", v)) for k, v in theirs.items()
    ]


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(data=st.data())
def test_summaries_are_those_of_the_points(ws: Workspace, small, data) -> None:
    run = f"run-{data.draw(st.uuids())}"
    steps = st.lists(st.integers(0, 500), min_size=1, max_size=200)
    for batch in data.draw(st.lists(steps, min_size=1, max_size=5)):
        values = [math.nan if step % 7 == 0 else float(step * step % 101) for step in batch]
        metrics.append_columns(
            ws, run, Columns(("a",), np.zeros(len(batch), np.uint32), series(values, batch))
        )
        compaction.compact(ws, run)
    whole = reading.read(ws, run, "a")["a"]
    with ws.reading() as db:
        for level in range(4):
            found = reading.nodes(db, ws, run, "a", level)
            assert int(found["points"].sum()) == len(whole)
            begin = 0
            for node in found:
                part = whole[begin : begin + int(node["points"])]
                (wanted,) = nodes.of_series(part, len(part))
                assert node.tobytes() == wanted.tobytes()
                begin += len(part)


@pytest.mark.slow
def test_a_long_series_has_levels_and_takes_late_points(ws: Workspace, small) -> None:
    values = np.sin(np.arange(3_000) / 50)
    columns = Columns(("a",), np.zeros(3_000, np.uint32), series(values))
    metrics.append_columns(ws, "r", columns)
    assert compaction.compact(ws, "r") == 1
    assert levels(ws) == {0: 750, 1: 46, 2: 2}
    metrics.append(ws, "r", [Point(key="a", step=1_500, time=1, value=7.0)])
    assert compaction.compact(ws, "r") == 1
    assert levels(ws) == {0: 751, 1: 46, 2: 2}
    assert compaction.compact(ws, "r") == 0
    found = reading.read(ws, "r", "a")["a"]
    assert len(found) == 3_001
    assert found.value.max() == 7.0


def levels(ws: Workspace) -> dict[int, int]:
    table = tables.metric_chunks
    query = sa.select(table.c.level, sa.func.count()).group_by(table.c.level)
    with ws.reading() as db:
        return dict(db.execute(query).all())


def test_nobody_compacts_what_another_has(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def race(*given) -> object:
        monkeypatch.undo()
        assert compaction.compact(ws, "r") == 1
        metrics.append(ws, "r", [Point(key="a", step=2, time=0, value=2.0)])
        return before(*given)

    metrics.append(ws, "r", [Point(key="a", step=1, time=0, value=1.0)])
    before = compaction._swap
    monkeypatch.setattr(compaction, "_swap", race)
    assert compaction.compact(ws, "r") == 0
    assert [one.step for one in metrics.read(ws, "r")] == [1, 2]
    assert compaction.waiting(ws, least=1) == ["r"]
    assert compaction.compact(ws, "r") == 1
    assert compaction.waiting(ws, least=1) == []
    assert [one.step for one in metrics.read(ws, "r")] == [1, 2]


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=300),
    stretches=st.integers(1, 40),
    late=st.integers(0, 20),
    span=st.tuples(st.integers(0, 300), st.integers(0, 300)) | st.none(),
    by=st.sampled_from(["step", "time"]),
)
def test_a_chart_keeps_every_extreme(
    ws: Workspace, small, values, stretches, late, span, by
) -> None:
    run = f"run-{len(values)}-{np.random.default_rng().integers(2**62)}"
    whole = series(values)
    for part, packs in ((whole[: len(values) - late], True), (whole[len(values) - late :], False)):
        metrics.append_columns(ws, run, Columns(("a",), np.zeros(len(part), np.uint32), part))
        if packs:
            compaction.compact(ws, run)
    scale = 1 if by == "step" else 10
    start, end = (None, None) if span is None else (min(span) * scale, max(span) * scale)
    curve = chart.chart(ws, run, "a", stretches=stretches, by=by, start=start, end=end)
    assert len(curve.nodes) <= stretches
    place = whole.step if by == "step" else whole.time
    kept = np.ones(len(whole), bool) if span is None else (place >= start) & (place <= end)
    inside = whole.value[kept]
    # nodes on the edge bring a few points from beyond it
    assert int(curve.nodes["points"].sum()) >= len(inside)
    finite = inside[np.isfinite(inside)]
    if finite.size:
        assert curve.nodes["low"].min() <= finite.min()
        assert curve.nodes["high"].max() >= finite.max()
    if span is None:
        assert int(curve.nodes["points"].sum()) == len(values)
        assert int(curve.nodes["nans"].sum()) == int(np.isnan(whole.value).sum())
        known = whole.value[np.isfinite(whole.value)]
        for node in curve.nodes:
            for name in ("low", "high"):
                if math.isfinite(node[name]):
                    assert whole.value[int(node[f"{name}_step"])] == node[name]
        if known.size:
            assert curve.nodes["low"].min() == known.min()
            assert curve.nodes["high"].max() == known.max()


@pytest.mark.slow
def test_a_chart_of_a_long_series_reads_no_points(
    ws: Workspace, small, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.append_columns(
        ws, "r", Columns(("a",), np.zeros(4_000, np.uint32), series(range(4_000)))
    )
    compaction.compact(ws, "r")
    read = []
    genuine = reading.bodies
    monkeypatch.setattr(reading, "bodies", lambda *given: read.append(given) or genuine(*given))
    assert len(chart.chart(ws, "r", "a", stretches=50).nodes) == 50
    assert read == []
    near = chart.chart(ws, "r", "a", stretches=50, start=100, end=120)
    assert near.nodes["points"].tolist() == [1] * len(near.nodes)
    assert len(read) == 1


def test_a_chart_of_nothing_is_empty(ws: Workspace) -> None:
    assert len(chart.chart(ws, "r", "a", stretches=10).nodes) == 0
    with pytest.raises(UsageError, match="1 to 10,000 stretches"):
        chart.chart(ws, "r", "a", stretches=0)


@given(st.lists(st.floats(), min_size=1, max_size=20), st.integers(0), st.integers(0, 7))
def test_a_changed_bit_of_a_chunk_is_found(values: list[float], position: int, bit: int) -> None:
    whole = series(values)
    assert exact(points.to_points("a", chunk.decode(chunk.encode(whole)))) == exact(
        points.to_points("a", whole)
    )
    inner = nodes.of_series(whole, 2)
    for data, read in (
        (chunk.encode(whole), chunk.decode),
        (chunk.summary(inner), chunk.children),
    ):
        changed = bytearray(data)
        changed[position % len(data)] ^= 1 << bit
        with pytest.raises(IntegrityError):
            read(bytes(changed))


def test_the_golden_chunk() -> None:
    values = [0.5, math.nan, math.inf, -math.inf, -0.0, 1e308]
    wanted = series(values, [-(2**63), -1, 0, 7, 7, 2**62])
    found = chunk.decode((GOLDEN / "metric-chunk-v1.bin").read_bytes())
    assert exact(points.to_points("a", found)) == exact(points.to_points("a", wanted))
    inner = chunk.children((GOLDEN / "metric-summary-v1.bin").read_bytes())
    assert inner.tobytes() == nodes.of_series(wanted, 2).tobytes()
    assert chunk.total((GOLDEN / "metric-summary-v1.bin").read_bytes())[0]["high"] == 1e308


def test_a_newer_chunk_says_so() -> None:
    with pytest.raises(IntegrityError, match="format") as caught:
        chunk.decode(b"TTC2" + chunk.encode(series([1.0]))[4:])
    assert "upgrade" in caught.value.hint


def test_tidying_takes_what_is_worth_it(ws: Workspace) -> None:
    for number in range(arrivals.WORTH):
        for run in ("long", "other"):
            metrics.append(ws, run, [Point(key="a", step=number, time=0, value=1.0)])
    metrics.append(ws, "short", [Point(key="a", step=1, time=0, value=1.0)])
    assert compaction.tidy(ws, run="long") == arrivals.WORTH
    assert compaction.tidy(ws) == arrivals.WORTH
    assert compaction.tidy(ws) == 0
    assert compaction.waiting(ws, least=1) == ["short"]
    assert len(metrics.read(ws, "long")) == arrivals.WORTH


def test_one_key_of_many_is_taken_as_if_all_were():
    found = points.of_points(
        [Point(key=k, step=n, time=0, value=n) for n in range(3) for k in "ab"]
    )
    every = found.series()
    for key in "ab":
        assert points.to_points(key, found.of(key)) == points.to_points(key, every[key])
    assert len(found.of("c")) == 0
