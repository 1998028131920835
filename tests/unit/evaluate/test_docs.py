"""The documentation lists what there is, and its examples run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np

from trimtab.config import parse
from trimtab.evaluate import endpoint, metrics
from trimtab.evaluate.policy import MAX_GROUPS, MIN_ROWS, MIN_UNITS
from trimtab.evaluate.requirements import check_requirements
from trimtab.evaluate.scored import Scored

DOCS = Path(__file__).parents[3] / "docs"
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")
REQUIREMENTS = (DOCS / "requirements.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    section = METRICS.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_table_metric_is_documented() -> None:
    said = {r[0]: (r[1], r[2]) for r in rows("On a scored table") if r[0].startswith("`")}
    known = {f"`{m.name}`": (", ".join(m.tasks), m.direction) for m in metrics.BUILT_IN}
    assert said == known


def test_every_default_is_documented() -> None:
    said = {r[0]: tuple(re.findall(r"`(\w+)`", r[1])) for r in rows("On a scored table")}
    for task in ("binary", "multiclass", "regression"):
        assert said[task] == metrics.default_metrics(task)


def test_every_endpoint_metric_is_documented() -> None:
    said = {r[0]: r[2] for r in rows("On an endpoint") if r[0].startswith("`")}
    assert said == {f"`{m.name}`": m.direction for m in endpoint.BUILT_IN}


def test_the_numbers_of_the_policy_are_documented() -> None:
    assert f"under {MIN_ROWS} rows" in REQUIREMENTS
    assert f"from {MIN_ROWS} rows and {MIN_UNITS} of the rarer kind" in METRICS
    assert f"the {MAX_GROUPS} largest" in METRICS


def test_the_example_requirements_are_good() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", REQUIREMENTS, re.DOTALL)
    raw = {
        "project": {"name": "loans"},
        "data": {"a": {"source": "a.csv"}},
        **tomllib.loads(example),
    }
    parsed = parse(raw).require
    assert len(parsed) == 9
    check_requirements(parsed, "binary", columns=["group", "region"])


def test_the_example_metric_measures() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", METRICS, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    predicted = np.random.default_rng(0).normal(size=50)
    table = Scored("regression", np.zeros(50), None, predicted)
    found = names["pinball"].compute(table, 0.95)
    assert found.value == np.maximum(-0.9 * predicted, 0.1 * predicted).mean()
