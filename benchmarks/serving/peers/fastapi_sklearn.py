"""The usual course app: FastAPI, pydantic, pandas and the pickled pipeline."""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import create_model

model = joblib.load(os.environ["MODEL"] + "/model.joblib")
numbers, words = [f"n{i:02}" for i in range(20)], [f"w{i}" for i in range(5)]
Row = create_model(
    "Row",
    **dict.fromkeys(numbers, (float | None, ...)),
    **dict.fromkeys(words, (str, ...)),
)
app = FastAPI()


@app.get("/ping")
def ping() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:
    return {"score": float(model.predict_proba(pd.DataFrame([row.model_dump()]))[0, 1])}
