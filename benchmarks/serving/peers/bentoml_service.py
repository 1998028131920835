"""BentoML with its adaptive batching, the pickled pipeline inside.

Rows come as a list: 1.4.39 cannot batch data frames (its dispatcher adds their size to a number).
"""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Loans:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"] + "/model.joblib")

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
