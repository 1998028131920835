"""Writes the two settings files that MLServer reads: plain, with its adaptive batching, or a model
that does nothing."""

import json
import sys
from pathlib import Path

folder, port, model, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
folder.mkdir(parents=True, exist_ok=True)
(folder / "settings.json").write_text(
    json.dumps(
        {
            "http_port": port,
            "grpc_port": port + 1,
            "metrics_port": port + 2,
            "parallel_workers": 0,
            "debug": False,
        }
    )
)
(folder / "runtime.py").write_text(
    """
import os, joblib, numpy as np, pandas as pd
from mlserver import MLModel
from mlserver.codecs import NumpyRequestCodec, PandasCodec

class Runtime(MLModel):
    async def load(self):
        self.model = joblib.load(os.environ["MODEL"] + "/model.joblib")
        return True

    async def predict(self, payload):
        frame = PandasCodec.decode_request(payload)
        scores = self.model.predict_proba(frame)[:, 1].reshape(-1, 1)
        return NumpyRequestCodec.encode_response(self.name, scores)


class Nothing(MLModel):
    async def predict(self, payload):
        return NumpyRequestCodec.encode_response(self.name, np.full((1, 1), 0.5))
"""
)
kind = "Nothing" if mode == "noop" else "Runtime"
settings = {"name": "loans", "implementation": f"runtime.{kind}"}
if mode == "batch":
    settings |= {"max_batch_size": 64, "max_batch_time": 0.002}
(folder / "model-settings.json").write_text(json.dumps(settings))
