"""The endpoints that the clients speak to: run by the project's own Python, never by a client's.

`build FOLDER` trains small models, packages them and writes down what the fitted estimators answer
to held-back rows; `serve PACKAGES NAME FOLDER SETTINGS` becomes
`python -m trimtab.serve.endpoint FOLDER` over one of them, with keys of `endpoint.json` as given.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

KINDS = {
    "income": "number",
    "debt": "number",
    "years": "number",
    "owner": "boolean",
    "purpose": "text",
    "region": "text",
}
# The endpoint's name: task and target. `loans` has a second version that gets no traffic by itself.
ENDPOINTS = {
    "loans": ("binary", "repaid"),
    "grades": ("multiclass", "grade"),
    "losses": ("regression", "loss"),
}
TRAINED, HELD_BACK = 400, 60


def main(arguments: list[str]) -> int:
    match arguments:
        case ["build", folder]:
            build(Path(folder))
        case ["serve", packages, name, folder, settings]:
            serve(Path(packages), name, Path(folder), json.loads(settings))
        case _:
            sys.stderr.write("usage: endpoint.py build FOLDER | serve PACKAGES NAME FOLDER JSON\n")
            return 2
    return 0


def build(folder: Path) -> None:
    """Packages under `NAME/LABEL`, and `NAME/expected.json`, which docs of the fixture describe."""
    shutil.rmtree(folder, ignore_errors=True)
    table = _loans()
    for name, (task, target) in ENDPOINTS.items():
        strengths = (1.0, 0.01) if name == "loans" else (1.0,)
        versions = {
            f"{name}@v{number}": _fit(table, task, target, strength)
            for number, strength in enumerate(strengths, start=1)
        }
        answers = {}
        for label, (candidate, scores) in versions.items():
            _package(candidate, folder / name / label)
            answers[label] = _answers(candidate, scores)
        expected = {
            "name": name,
            "task": task,
            "classes": list(next(iter(versions.values()))[0].classes),
            "columns": [{"name": column, "kind": kind} for column, kind in KINDS.items()],
            "rows": table[TRAINED:].select(list(KINDS)).to_dicts(),
            "answers": answers,
        }
        (folder / name / "expected.json").write_text(json.dumps(expected, indent=1))


def serve(packages: Path, name: str, folder: Path, settings: dict[str, Any]) -> None:
    """Write the endpoint's folder and become the endpoint: the first version answers."""
    from trimtab.model.digest import folder_digest
    from trimtab.serve import folder as files
    from trimtab.serve import routes

    found = sorted(path for path in (packages / name).iterdir() if path.is_dir())
    specs = tuple(
        routes.RouteSpec(
            role="champion" if place == 0 else "canary",
            model=folder_digest(path),
            label=path.name,
            folder=str(path.resolve()),
            weight=1.0 if place == 0 else 0.0,
        )
        for place, path in enumerate(found)
    )
    (folder / files.SETTINGS).write_text(json.dumps({"name": name, **settings}))
    routes.write(folder, routes.RoutesFile(version=1, name=name, routes=specs))
    os.execv(sys.executable, [sys.executable, "-m", "trimtab.serve.endpoint", str(folder)])


def _loans() -> Any:
    """Loans with missing incomes and regions, and something to learn for each task."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(7)
    rows = TRAINED + HELD_BACK
    income = rng.lognormal(8, 0.5, rows).round(2)
    debt = rng.gamma(2.0, 300.0, rows).round(2)
    purpose = rng.choice(["car", "home", "study"], rows)
    risk = debt / 900 - income / 4000 + (purpose == "car") + rng.normal(0, 0.5, rows)
    region = rng.choice(["north", "south", "none"], rows)
    return pl.DataFrame(
        {
            "income": [None if rng.random() < 0.1 else float(x) for x in income],
            "debt": debt,
            "years": rng.integers(0, 30, rows),
            "owner": rng.random(rows) < 0.4,
            "purpose": purpose,
            "region": [None if x == "none" else str(x) for x in region],
            "repaid": np.where(risk > 0, "no", "yes"),
            "grade": np.digitize(risk, [-0.5, 0.5]),
            "loss": risk * 100,
        }
    )


def _fit(table: Any, task: str, target: str, strength: float) -> tuple[Any, Any]:
    """A candidate, and its own scores of the held-back rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from trimtab.tune.candidate import Candidate
    from trimtab.tune.frames import features

    numbers = [name for name, kind in KINDS.items() if kind != "text"]
    words = [name for name, kind in KINDS.items() if kind == "text"]
    model = Ridge(strength) if task == "regression" else LogisticRegression(C=strength)
    estimator = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore"), words),
        ),
        model,
    )
    trained, held_back = table[:TRAINED], table[TRAINED:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(features(trained, KINDS), trained[target].to_numpy())
        rows = features(held_back, KINDS)
        scores = estimator.predict(rows) if task == "regression" else estimator.predict_proba(rows)
    candidate = Candidate(
        estimator=estimator,
        params={"strength": strength},
        task=task,
        target=target,
        fit_on=target,
        classes=() if task == "regression" else tuple(estimator.classes_.tolist()),
        positive="yes" if task == "binary" else None,
        threshold=0.5 if task == "binary" else None,
        features=KINDS,
        train=trained,
        withheld=held_back,
    )
    return candidate, scores


def _package(candidate: Any, folder: Path) -> None:
    from trimtab.model.package import package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package(candidate, out=folder)


def _answers(candidate: Any, scores: Any) -> list[dict[str, Any]]:
    """What a right endpoint answers, row by row, worked out from the estimator alone."""
    if candidate.task == "regression":
        return [{"value": float(value)} for value in scores]
    if candidate.task == "multiclass":
        return [
            {"decision": candidate.classes[int(row.argmax())], "scores": row.tolist()}
            for row in scores
        ]
    chance = scores[:, candidate.classes.index("yes")]
    return [{"decision": "yes" if p >= 0.5 else "no", "score": float(p)} for p in chance]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
