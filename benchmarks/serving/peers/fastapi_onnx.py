"""The same model as a graph behind FastAPI: what a careful team writes by hand."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import create_model

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"] + "/package/model.onnx", options)
numbers, words = [f"n{i:02}" for i in range(20)], [f"w{i}" for i in range(5)]
Row = create_model(
    "Row",
    **dict.fromkeys(numbers, (float | None, ...)),
    **dict.fromkeys(words, (str, ...)),
)
app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
async def predict(row: Row) -> dict[str, float]:
    given = row.model_dump()
    feed = {
        "numbers": np.array([[given[name] for name in numbers]], dtype=np.float32),
        "words": np.array([[given[name] for name in words]], dtype=object),
    }
    return {"score": float(session.run(["score"], feed)[0][0])}
