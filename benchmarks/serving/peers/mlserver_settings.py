"""Writes the two settings files that MLServer reads: with or without its adaptive batching."""

import json
import sys
from pathlib import Path

folder, port, model, batches = (
    Path(sys.argv[1]),
    int(sys.argv[2]),
    sys.argv[3],
    sys.argv[4] == "batch",
)
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
import os, joblib, pandas as pd
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
"""
)
settings = {"name": "loans", "implementation": "runtime.Runtime"}
if batches:
    settings |= {"max_batch_size": 64, "max_batch_time": 0.002}
(folder / "model-settings.json").write_text(json.dumps(settings))
