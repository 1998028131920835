from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.errors import IntegrityError
from trimtab.model.signature import Column, Signature
from trimtab.monitor.log import columnar, traffic
from trimtab.monitor.log.columnar import Wanted
from trimtab.serve.logged.frame import Frame, Part

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(
        Column(name="x", kind="number", nullable=True),
        Column(name="owner", kind="boolean", nullable=True),
        Column(name="kind", kind="text", nullable=True),
    ),
    context=(Column(name="note", kind="text"),),
    classes=("no", "yes"),
    positive="yes",
)
MOMENT = st.integers(0, 7_258_118_400_000_000 - 1)
FLOAT = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
SINGLE = st.floats(0, 1, width=32)
CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
DECISION = st.one_of(st.text(max_size=3), st.booleans(), st.integers(-5, 5), st.floats(0, 1))


def numbers(values) -> bytes:
    return np.array([math.nan if one is None else one for one in values], "<f8").tobytes()


@st.composite
def frames(draw) -> Frame:
    if draw(st.integers(0, 9)) == 0:
        return Frame(
            ids=(), request=draw(st.text(min_size=1, max_size=5)), received_at=draw(MOMENT),
            endpoint="e", role="champion", model="m", label="goods@v1", contract="predict",
            status=422, error="input in x",
        )  # fmt: skip
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    count, width = sum(sizes), draw(st.just(1))
    parts = tuple(
        Part(draw(st.text(min_size=1, max_size=5)), size, draw(MOMENT), draw(st.integers(0, 10**9)))
        for size in sizes
    )

    def some(cell):
        return draw(st.lists(cell, min_size=count, max_size=count))

    return Frame(
        ids=tuple(some(st.text(min_size=1, max_size=8))),
        request=parts[0].request,
        received_at=parts[0].received_at,
        latency_us=parts[0].latency_us,
        parts=parts if len(parts) > 1 else (),
        endpoint="e",
        role=draw(st.sampled_from(["champion", "canary", "shadow"])),
        model="m",
        label="goods@v1",
        contract=draw(st.sampled_from(["predict", "oip"])),
        event_times=tuple(some(MOMENT)) if draw(st.booleans()) else (),
        numbers={
            "x": numbers(some(FLOAT)),
            "owner": numbers(some(st.sampled_from([0.0, 1.0, None]))),
        },
        words={"kind": some(st.one_of(st.none(), st.text(max_size=6)))},
        context={"note": some(CELL)} if draw(st.booleans()) else {},
        score=np.array(some(SINGLE), "<f4").tobytes(),
        width=width,
        decision=some(DECISION),
    )


def same(a, b) -> bool:
    """Equal, of one type, NaN like null."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


def whole(one: Frame) -> list[tuple]:
    """A frame's rows, each with all that was logged of it."""
    requests = [part for part in one.requests() for _ in range(part.rows)]
    return [
        (name, part.request, part.received_at, part.latency_us, one.times()[i], one.role,
         one.contract, one.decision[i], float(one.scores()[i]),
         *(one.column(c)[i] for c in ("x", "owner", "kind")),
         one.context["note"][i] if one.context else None)
        for i, (name, part) in enumerate(zip(one.ids, requests, strict=True))
    ]  # fmt: skip


@pytest.mark.slow
@given(st.lists(frames(), min_size=1, max_size=6), st.integers(1, 6))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_was_logged_comes_back_as_it_was(tmp_path_factory, some, cut):
    path = tmp_path_factory.mktemp("p") / "one.parquet"
    pieces = [some[i : i + cut] for i in range(0, len(some), cut)]
    columnar.write([columnar.table(piece) for piece in pieces], path, SIGNED)
    table = pl.read_parquet(path)
    records = columnar.records(table)
    refused = [one for one in some if not one.ids]
    assert [one["error"] for one in records if one["prediction_id"] is None] == [
        one.error for one in refused
    ]
    found = [
        (r["prediction_id"], r["request"], r["received_at"], r["latency_us"], r["event_time"],
         r["role"], r["contract"], r["decision"], r["score"],
         math.nan if r["inputs"].get("x") is None else r["inputs"]["x"],
         math.nan if r["inputs"].get("owner") is None else float(r["inputs"]["owner"]),
         r["inputs"].get("kind"), r["context"].get("note"))
        for r in records
        if r["prediction_id"] is not None
    ]  # fmt: skip
    expected = [row for one in some for row in whole(one)]
    assert len(found) == len(expected)
    assert all(
        same(a, b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.slow
@given(st.lists(frames(), min_size=1, max_size=5))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rows_read_from_files_are_those_read_from_frames(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("p") / "one.parquet"
    columnar.write([columnar.table(some)], path, SIGNED)
    answered = [one for one in some if one.ids]
    ours = columnar.answers(columnar.load(path, Wanted()), SIGNED, None)
    theirs = traffic.answers(answered, SIGNED)
    assert (ours.ids, ours.roles) == (theirs.ids, theirs.roles)
    assert ours.decision == theirs.decision
    for name in ("times", "received", "latency_us"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()
    assert np.array_equal(ours.score, theirs.score)
    if answered:
        assert np.array_equal(ours.columns["x"], theirs.columns["x"], equal_nan=True)
        assert ours.columns["kind"].tolist() == theirs.columns["kind"].tolist()
        assert ours.columns["note"].tolist() == theirs.columns["note"].tolist()


def frame(**fields) -> Frame:
    base = {
        "ids": ("p",), "request": "r", "received_at": 5, "endpoint": "e", "role": "champion", "model": "m",
        "label": "goods@v1", "contract": "predict", "decision": ["yes"],
        "score": np.array([0.5], "<f4").tobytes(),
    }  # fmt: skip
    return Frame(**{**base, **fields})


def test_columns_have_the_types_of_the_signature(tmp_path):
    path = tmp_path / "one.parquet"
    one = frame(
        numbers={"x": numbers([1.5]), "owner": numbers([1.0])},
        words={"kind": ["a"]},
        context={"note": ["n"], "customer": [7]},
    )
    columnar.write([columnar.table([one])], path, SIGNED)
    schema = pl.read_parquet_schema(path)
    assert {name: schema[name] for name in schema if name.startswith(("input", "context"))} == {
        "input_x": pl.Float64,
        "input_owner": pl.Boolean,
        "input_kind": pl.String,
        "context_note": pl.String,
        "context_customer": pl.Int64,
    }
    assert schema["decision"] == pl.String and schema["score"] == pl.Float32
    assert schema["event_time"] == pl.Datetime("us", "UTC")


def test_several_scores_are_a_list(tmp_path):
    path = tmp_path / "one.parquet"
    many = Signature(task="multiclass", engine="onnx", inputs=(), classes=(0, 1, 2))
    score = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], "<f4")
    one = frame(ids=("p", "q"), score=score.tobytes(), width=3, decision=[2, 0])
    columnar.write([columnar.table([one])], path, many)
    found = columnar.answers(columnar.load(path, Wanted()), many, None)
    assert np.array_equal(found.score, score)
    assert found.decision == [2, 0]
    assert columnar.records(pl.read_parquet(path))[1]["score"] == score[1].tolist()


def test_only_what_is_wanted_is_read(tmp_path):
    path = tmp_path / "one.parquet"
    some = [
        frame(ids=("a", "b"), event_times=(10, 20), decision=["yes", "no"],
              score=np.zeros(2, "<f4").tobytes(), numbers={"x": numbers([1, 2])}),
        frame(ids=("c",), event_times=(30,), role="shadow", numbers={"x": numbers([3])}),
        frame(ids=("d",), event_times=(40,), model="other", numbers={"x": numbers([4])}),
        frame(ids=(), status=422, error="input", score=b"", decision=[]),
    ]  # fmt: skip
    columnar.write([columnar.table(some)], path, SIGNED)

    def names(**wanted):
        return columnar.load(path, Wanted(**wanted))["prediction_id"].to_list()

    assert names() == ["a", "b", "c", "d"]
    assert names(model="m", shadow=False) == ["a", "b"]
    assert names(shadow=True) == ["c"]
    assert names(since=20, until=40) == ["b", "c"]
    assert names(ids=["d", "a", "nobody"]) == ["a", "d"]
    chosen = columnar.load(path, Wanted(names=["x"])).columns
    assert "input_x" in chosen and "request" not in chosen


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "one.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(IntegrityError, match="one.parquet"):
        columnar.load(path, Wanted())
    with pytest.raises(FileNotFoundError):
        columnar.load(tmp_path / "none.parquet", Wanted())
