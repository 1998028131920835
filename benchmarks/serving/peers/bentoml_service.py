"""BentoML with its adaptive batching, the pickled pipeline inside."""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Loans:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"] + "/model.joblib")

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: pd.DataFrame) -> list[float]:
        return self.model.predict_proba(rows)[:, 1].tolist()
