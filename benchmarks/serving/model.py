"""The model that everybody serves: 20 numbers and 5 words, imputed, scaled, one-hot, boosted.

`python benchmarks/serving/model.py FOLDER` writes `package/` (trimtab's), `model.joblib` (scikit-learn's
own, for the peers), `native/` (the same without a graph) and `body.json`, one row as `/predict` takes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import msgspec
import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab.errors import ModelError
from trimtab.model import package as packaging
from trimtab.tune.candidate import Candidate

NUMBERS = [f"n{i:02}" for i in range(20)]
WORDS = [f"w{i}" for i in range(5)]


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """Seeded rows of 20 numbers (some missing), 5 words and a target that depends on both."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, len(NUMBERS)))
    words = rng.integers(0, 8, size=(rows, len(WORDS)))
    logit = numbers[:, :4].sum(axis=1) + (words[:, 0] > 3) - 0.5
    target = rng.random(rows) < 1 / (1 + np.exp(-logit))
    gone = rng.random(numbers.shape) < 0.02
    columns: dict[str, list[object]] = {
        name: np.where(gone[:, i], None, numbers[:, i].round(4)).tolist()
        for i, name in enumerate(NUMBERS)
    }
    columns |= {name: [f"c{x}" for x in words[:, i]] for i, name in enumerate(WORDS)}
    columns["y"] = np.where(target, "yes", "no").tolist()
    return pl.DataFrame(columns)


def estimator() -> object:
    """The pipeline, not fitted."""
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
    )
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=100, random_state=0))


def native(candidate: Candidate, folder: Path) -> None:
    """The package that serves the estimator itself: what is left where no graph can be made."""
    convert, packaging.convert.convert = packaging.convert.convert, refuse
    try:
        packaging.package(candidate, out=folder / "native")
    finally:
        packaging.convert.convert = convert


def refuse(*_: object, **__: object) -> None:
    raise ModelError("no graph, to measure the estimator itself")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = table(6_000)
    fitted = estimator().fit(rows[:5_000].select(NUMBERS + WORDS), rows[:5_000]["y"].to_numpy())
    candidate = Candidate(
        estimator=fitted,
        params={},
        task="binary",
        target="y",
        fit_on="y",
        classes=("no", "yes"),
        positive="yes",
        threshold=0.5,
        features=dict.fromkeys(NUMBERS, "number") | dict.fromkeys(WORDS, "text"),
        train=rows[:5_000],
        withheld=rows[5_000:],
    )
    made = packaging.package(candidate, out=folder / "package")
    native(candidate, folder)
    print(f"package: {made.signature.engine}, largest difference {made.parity.max_difference:.1e}")
    joblib.dump(fitted, folder / "model.joblib")
    row = rows.drop("y").drop_nulls().row(0, named=True)  # a peer refuses null
    (folder / "body.json").write_bytes(msgspec.json.encode({"row": row}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
