"""Scored tables to measure, made from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trimtab.evaluate.scored import Scored

Table = Callable[..., Scored]


@pytest.fixture
def binary() -> Table:
    """A maker of binary tables: `binary(n, seed, groups=..., baseline=True)`."""

    def make(
        n: int = 400,
        seed: int = 0,
        *,
        slope: float = 1.5,
        ties: bool = False,
        groups: dict[str, float] | None = None,
        baseline: bool = False,
        **changes: Any,
    ) -> Scored:
        random = np.random.default_rng(seed)
        signal = random.normal(size=n)
        share = 1 / (1 + np.exp(-slope * signal))
        truth = random.random(n) < share
        score = 1 / (1 + np.exp(-slope * signal + random.normal(size=n) * 0.3))
        score = np.round(score, 1) if ties else score
        if groups:
            names, weights = list(groups), np.array(list(groups.values()))
            column = random.choice(names, n, p=weights / weights.sum()).astype(object)
            changes["slices"] = {"group": column}
        if baseline:
            flat = np.full(n, float(truth.mean()))
            changes["baseline"] = Scored("binary", truth, flat, flat >= 0.5)
        fields = {"truth": truth, "score": score, "decision": score >= 0.5, **changes}
        return Scored("binary", **fields)

    return make


@pytest.fixture
def multiclass() -> Table:
    """A maker of tables of three classes."""

    def make(n: int = 400, seed: int = 0, **changes: Any) -> Scored:
        random = np.random.default_rng(seed)
        truth = random.integers(0, 3, n)
        logits = random.normal(size=(n, 3)) + 1.2 * np.eye(3)[truth]
        score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        fields = {"truth": truth, "score": score, "decision": score.argmax(axis=1), **changes}
        return Scored("multiclass", **fields, classes=("ash", "birch", "cedar"))

    return make


@pytest.fixture
def regression() -> Table:
    """A maker of regression tables."""

    def make(n: int = 400, seed: int = 0, noise: float = 1.0, **changes: Any) -> Scored:
        random = np.random.default_rng(seed)
        truth = 10 + 3 * random.normal(size=n)
        predicted = truth + noise * random.normal(size=n)
        fields = {"truth": truth, "score": None, "decision": predicted, **changes}
        return Scored("regression", **fields)

    return make
