"""Who repays a loan: learned from whom our officers approved."""

import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab import Candidate, Dataset, flow, search, step

NUMBERS, WORDS = ["income", "debt", "years"], ["purpose", "region", "neighbourhood"]


@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    """One row for each application whose outcome is known."""
    return raw.drop_nulls("repaid").unique("application_id", keep="last", maintain_order=True)


def estimator(rounds: int = 120, leaves: int = 4) -> Pipeline:
    """Boosted trees that leave missing numbers to the trees; the arguments are searched."""
    prepare = make_column_transformer(
        ("passthrough", NUMBERS),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
    )
    trees = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=leaves, learning_rate=0.15, random_state=0
    )
    return make_pipeline(prepare, trees)


@flow
def train(applications: Dataset, seed: int = 0) -> Candidate:
    """Clean, then the best of a few trials."""
    space = {"rounds": (60, 180), "leaves": (3, 8)}
    return search(estimator, clean(applications), space=space, trials=4, cv=3, seed=seed)
