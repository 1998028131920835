"""Trees of filters and projects of random runs."""

import random

import pytest
from hypothesis import strategies as st

from trimtab.store import metrics, runs, versions
from trimtab.store.records import Point
from trimtab.store.workspace import open_workspace
from trimtab.track.search.tree import (
    UNITS,
    Among,
    And,
    Between,
    Compare,
    Field,
    Like,
    Not,
    Now,
    Null,
    Or,
    Span,
)

KEYS = ["auc", "loss", "val/loss", "a b", "model.lr", "x`y", 'q"r', "ä.ö", "-", "1", " "]
texts = st.sampled_from(["a", "b", "10", "9.5", "true", "it's", "", "A%", "日本"]) | st.text(
    max_size=4
)
numbers = (
    st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, 0.5, 6, -0.0, 1e-300])
)
spans = st.builds(
    Span,
    st.integers(0, 10**6) | st.floats(0, 1e6, allow_nan=False),
    st.sampled_from(sorted(UNITS)),
)
moments = (
    st.sampled_from(["2024-01-01", "2026-02-03T04:05:06", "2026-02-03T04:05:06+02:00"])
    | st.integers(0, 2 * 10**12)
    | st.builds(Now)
    | st.builds(Now, st.sampled_from([-1, 1]), spans)
)
KINDS = [
    ([Field("metric", key) for key in KEYS], numbers, "number"),
    ([Field("param", key) for key in KEYS], numbers | texts, "either"),
    ([Field("tag", key) for key in KEYS], numbers | texts, "either"),
    ([Field("attribute", key) for key in ("id", "name", "kind", "error")], texts, "text"),
    ([Field("attribute", "status")], st.sampled_from(["done", "failed"]), "status"),
    ([Field("attribute", key) for key in ("started", "ended")], moments, "number"),
    ([Field("attribute", "duration")], numbers | spans, "number"),
    ([Field("attribute", "peak_memory")], numbers, "number"),
    ([Field("data", key) for key in ("", "name", "version", "digest")], texts, "several"),
    ([Field("attribute", "made")], texts, "several"),
]


@st.composite
def clauses(draw):
    """One condition."""
    fields, values, kind = draw(st.sampled_from(KINDS))
    field = draw(st.sampled_from(fields))
    shape = draw(st.sampled_from(["compare", "among", "null", "like", "between"]))
    negated = draw(st.booleans())
    if shape == "null":
        return Null(field, negated)
    if shape == "like" and kind != "number":
        return Like(field, draw(texts), draw(st.booleans()), negated)
    if shape == "between" and kind in ("number", "either", "text"):
        low = draw(values)
        same = values.filter(lambda one: isinstance(one, str) == isinstance(low, str))
        high = draw(values if kind == "number" else same)
        return Between(field, low, high, negated)
    if shape == "among":
        return Among(field, tuple(draw(st.lists(values, min_size=1, max_size=3))), negated)
    signs = ["=", "!="] if kind in ("several", "status") else ["=", "!=", "<", "<=", ">", ">="]
    return Compare(field, draw(st.sampled_from(signs)), draw(values))


TREES = st.recursive(
    clauses(),
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda parts: And(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
        | st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=6,
)


def filled(ws, count, seed=0):
    """Runs of every kind, some with what others lack."""
    draw = random.Random(seed)
    digest = ws.blobs.put(b"rows")
    versions.add(ws, "data", "loans", digest)
    made = []
    for number in range(count):
        run = runs.start(
            ws,
            draw.choice(["run", "flow", "trial"]),
            draw.choice(["fit", "a", "Fit"]),
            params={
                key: draw.choice([6, 0.5, "6", "9.5", "a", "b", True, None, {"lr": 0.1}, [1, 2]])
                for key in draw.sample(["auc", "a b", "model", "1", "loss"], draw.randint(0, 5))
            },
            tags={"team": "risk"} if draw.random() < 0.5 else {"1": "9.5"},
            cause={"kind": "mlflow", "experiment": "e"} if draw.random() < 0.3 else {},
        )
        values = [0.5, 1.0, 6.0, -1.0, float("nan"), float("inf"), draw.random()]
        points = [
            Point(key=key, step=step, time=step, value=draw.choice(values))
            for key in ("auc", "loss", "val/loss")
            for step in range(draw.randint(0, 3))
        ]
        metrics.append(ws, run.id, points)
        if draw.random() < 0.5:
            runs.link(ws, run.id, "in", draw.choice(["a", "rows"]), digest)
        if draw.random() < 0.2:
            runs.link(ws, run.id, "out", "model", digest)
        if draw.random() < 0.8:
            error = {"type": "ValueError", "message": "a"} if number % 7 == 0 else None
            runs.finish(ws, run.id, "failed" if error else "done", error=error, peak_bytes=number)
        made.append(run.id)
    return made


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """A workspace of 60 runs that no test changes."""
    found = open_workspace(tmp_path_factory.mktemp("runs"), "demo")
    filled(found, 60)
    yield found
    found.close()


@pytest.fixture
def own(tmp_path):
    """An empty workspace."""
    found = open_workspace(tmp_path, "demo")
    yield found
    found.close()


@pytest.fixture(scope="session")
def trees():
    """A strategy of filters as trees."""
    return TREES


@pytest.fixture(scope="session")
def fill():
    """A function that writes random runs into a workspace and returns their ids."""
    return filled
