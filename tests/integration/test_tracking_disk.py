"""A tracking server whose disk fills up: what was answered stays, the rest is refused in words."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx

from trimtab.interop.mlflow.app import Mlflow
from trimtab.store.workspace import open_workspace

API = "/api/2.0/mlflow/"


def test_what_was_answered_is_kept_and_it_goes_on_once_there_is_room(tiny_disk: Path) -> None:
    ws = open_workspace(tiny_disk, "demo")
    app = Mlflow(None, ws)

    async def work() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

            async def post(path: str, **fields: object) -> httpx.Response:
                return await client.post(API + path, json=fields)

            made = await post("runs/create", experiment_id="0", run_name="one")
            run = made.json()["run"]["info"]["run_id"]
            filler = tiny_disk / "filler"
            filler.write_bytes(b"\0" * 100_000)
            answered, refused = [], []
            for number in range(3000):
                reply = await post(
                    "runs/log-metric", run_id=run, key="m", value=number, timestamp=1, step=number
                )
                (answered if reply.status_code == 200 else refused).append((number, reply))
                if len(refused) == 5:
                    break
            assert answered
            for _, reply in refused:
                assert reply.status_code == 503
                told = reply.json()
                assert told["error_code"] == "TEMPORARILY_UNAVAILABLE"
                assert "the disk is full" in told["message"]
            # what is large is refused too, and reading goes on
            path = "/api/2.0/mlflow-artifacts/artifacts/0/x"
            reply = await client.put(path, content=os.urandom(2 << 20))
            assert (reply.status_code, "space" in reply.json()["message"]) == (503, True)
            shown = await client.get(API + "runs/get", params={"run_id": run})
            assert shown.json()["run"]["data"]["metrics"][0]["step"] == answered[-1][0]
            filler.unlink()
            last = {"key": "m", "value": 1.0, "timestamp": 1, "step": 9_999}
            assert (await post("runs/log-batch", run_id=run, metrics=[last])).status_code == 200
            found = await client.get(
                API + "metrics/get-history", params={"run_id": run, "metric_key": "m"}
            )
            steps = [one["step"] for one in found.json()["metrics"]]
            assert steps == [*(number for number, _ in answered), 9_999]

    asyncio.run(work())
    ws.close()
