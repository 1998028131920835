"""The files of a new project as text, from a description of its table."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from typing import Final

import msgspec

CATEGORIES: Final = 200
SMALL: Final = 5_000
_WIDTH: Final = 100
_NEXT: Final = "\n        "


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the texts say. `data` is the source's name and the flow's argument."""

    project: str
    data: str
    source: str
    target: str
    task: str
    rows: int
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    key: str = ""
    time: str = ""
    protected: tuple[str, ...] = ()
    decide: str = ""


_METRIC: Final = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}


def files(plan: Plan) -> dict[str, str]:
    """Path below the project's folder -> content."""
    return {
        "trimtab.toml": project_file(plan),
        "pipeline.py": pipeline(plan),
        "tests/test_pipeline.py": test(plan),
        ".gitignore": ignore(plan),
        ".python-version": f"{sys.version_info.major}.{sys.version_info.minor}\n",
    }


def argument(stem: str) -> str:
    """A source's name out of a file's: a Python name, since the flow takes it as an argument."""
    name = re.sub(r"\W+", "_", stem.lower(), flags=re.ASCII).strip("_")
    if not name or name[0].isdigit() or keyword.iskeyword(name) or name == "seed":
        return f"table_{name}".rstrip("_")
    return name


def project_file(plan: Plan) -> str:
    """trimtab.toml."""
    roles = {"key": plan.key, "time": plan.time, "target": plan.target}
    lines = [
        "[project]",
        f"name = {_quoted(plan.project)}",
        "",
        f"[data.{plan.data}]",
        f"source = {_quoted(plan.source)}",
        *(f"{role} = {_quoted(column)}" for role, column in roles.items() if column),
    ]
    if plan.protected:
        listed = ", ".join(_quoted(name) for name in plan.protected)
        lines.append(f"protected = [{listed}]  # withheld from fit, kept for evaluation")
    if plan.decide:
        lines += ["", "[model]", f"decide = {_quoted(plan.decide)}"]
    lines += ["", "[require]  # read by gate, rollout and monitor"]
    lines.append(f'{_METRIC[plan.task]} = {{ better_than = "baseline" }}')
    if plan.protected and plan.task == "binary":
        lines += [
            f"# selection_rate = {{ ratio = 0.8, across = {_quoted(name)} }}"
            for name in plan.protected
        ]
    return "\n".join(lines) + "\n"


def pipeline(plan: Plan) -> str:
    """pipeline.py: a step, an estimator and a flow."""
    model = _forest(plan) if plan.rows < SMALL else _boosting(plan)
    unique = f'.unique({_quoted(plan.key)}, keep="last", maintain_order=True)' if plan.key else ""
    if plan.words:
        model.imports.append("from sklearn.preprocessing import OneHotEncoder")
        model.parts.append('(OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS)')
    imports = "\n".join(sorted(model.imports))
    lists = [_listed("NUMBERS", plan.numbers), _listed("WORDS", plan.words)]
    parts = model.parts[0 if plan.numbers else 1 :]
    inside = f"\n        {f',{_NEXT}'.join(parts)},\n    " if len(parts) > 1 else parts[0]
    return f'''\
"""Predicts {_prose(plan.target)} from {plan.data}."""

import polars as pl
{imports}

from trimtab import Candidate, Dataset, flow, search, step

{"".join(lists)}

@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    """Rows whose target is known; rows and types only, a model input is made in the estimator."""
    return raw.drop_nulls({_quoted(plan.target)}){unique}


def estimator({model.arguments}) -> Pipeline:
    """{model.about}"""
    prepare = make_column_transformer({inside})
    trees = {model.trees}
    return make_pipeline(prepare, trees)


@flow
def train({plan.data}: Dataset, seed: int = 0, trials: int = 8) -> Candidate:
    """Clean, then the best of a few trials."""
    space = {model.space}
    return search(estimator, clean({plan.data}), space=space, trials=trials, cv=4, seed=seed)
'''


@dataclass
class _Model:
    """The parts of pipeline.py in which one kind of estimator differs from another.

    `parts` are the column transformers, the one of the numbers first.
    """

    imports: list[str]
    parts: list[str]
    arguments: str
    about: str
    trees: str
    space: str


def _forest(plan: Plan) -> _Model:
    """For small tables: good without tuning, and no threads that wait for each other."""
    kind = f"RandomForest{_kind(plan)}"
    return _Model(
        imports=[
            "from sklearn.compose import make_column_transformer",
            f"from sklearn.ensemble import {kind}",
            *(["from sklearn.impute import SimpleImputer"] if plan.numbers else []),
            "from sklearn.pipeline import Pipeline, make_pipeline",
        ],
        parts=['(SimpleImputer(strategy="median"), NUMBERS)'],
        arguments="depth: int = 8, leaf: int = 2",
        about="A forest; its arguments are what is searched.",
        trees=f"{kind}(max_depth=depth, min_samples_leaf=leaf, random_state=0)",
        space='{"depth": (3, 16), "leaf": (1, 20)}',
    )


def _boosting(plan: Plan) -> _Model:
    """For large tables: faster than a forest, and takes missing numbers as they are."""
    kind = f"HistGradientBoosting{_kind(plan)}"
    return _Model(
        imports=[
            "from sklearn.compose import make_column_transformer",
            f"from sklearn.ensemble import {kind}",
            "from sklearn.pipeline import Pipeline, make_pipeline",
        ],
        parts=['("passthrough", NUMBERS)'],
        arguments="rounds: int = 100, leaves: int = 15",
        about="Boosted trees; the arguments are what is searched.",
        trees=f"{kind}(max_iter=rounds, max_leaf_nodes=leaves, random_state=0)",
        space='{"rounds": (50, 250), "leaves": (8, 40)}',
    )


def _kind(plan: Plan) -> str:
    return "Regressor" if plan.task == "regression" else "Classifier"


def test(plan: Plan) -> str:
    """tests/test_pipeline.py: the step called as plain Python."""
    cells: dict[str, str] = {plan.target: f"[{_sample(plan)}, None]"}
    if plan.key:
        cells[plan.key] = "[1, 2]"
    table = ", ".join(f"{_quoted(name)}: {values}" for name, values in cells.items())
    return f'''\
"""A step is plain Python: no platform is needed to test it."""

import sys
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline import clean


def test_a_row_without_its_target_is_dropped():
    raw = pl.DataFrame({{{table}}})
    assert clean(raw).height == 1
'''


def ignore(plan: Plan) -> str:
    """.gitignore."""
    lines = [".trimtab/", ".venv/", "__pycache__/"]
    if not plan.source.startswith(("/", "..")):
        lines += ["# the data has versions of its own: trimtab data ls", f"/{plan.source}"]
    return "\n".join(lines) + "\n"


def _sample(plan: Plan) -> str:
    return "1.5" if plan.task == "regression" else '"yes"'


def _listed(name: str, columns: tuple[str, ...]) -> str:
    if not columns:
        return ""
    lines = [f"{name} = ["]
    indent = " " * len(lines[0])
    for column in columns:
        item = f"{_quoted(column)}, "
        if len(lines[-1]) > len(indent) and len(lines[-1]) + len(item) > _WIDTH + 1:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent)
        lines[-1] += item
    return "\n".join(lines).removesuffix(", ") + "]\n"


def _quoted(text: str) -> str:
    """A text as a literal of Python, TOML and JSON alike."""
    return msgspec.json.encode(text).decode()


def _prose(name: str) -> str:
    """A column's name as it may stand in a docstring."""
    return re.sub(r"\s+", " ", re.sub(r"[\"\\\\]", "", name)).strip()
