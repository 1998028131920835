"""Everything of an endpoint that is only looked at: health, metadata and metrics."""

from __future__ import annotations

from typing import Protocol

from trimtab.serve import metrics as counted
from trimtab.serve import oip
from trimtab.serve.log import Log
from trimtab.serve.metrics import Metrics
from trimtab.serve.reply import Refusal, Response, encode, refused
from trimtab.serve.router import Router


class Looked(Protocol):
    """What can be seen of an engine."""

    name: str
    router: Router
    log: Log
    metrics: Metrics

    @property
    def ready(self) -> bool:
        """Whether it answers predictions."""
        ...


def look(engine: Looked, method: str, path: str) -> Response:
    """Answer a GET or HEAD; 404 or 405 for anything else."""
    found = _get(engine, path)
    if found is None:
        refusal = Refusal(
            404,
            "not_found",
            f"there is nothing at {path[:200]}",
            hint=f"POST /predict, /invocations or /v2/models/{engine.name}/infer",
        )
        return _refused(path, refusal)
    if method not in ("GET", "HEAD"):
        return _refused(path, Refusal(405, "method", f"{path} takes GET", headers={"allow": "GET"}))
    return found


def _get(engine: Looked, path: str) -> Response | None:
    model = f"/v2/models/{engine.name}"
    ready = 200 if engine.ready else 503
    if path == "/ping":
        return Response(status=ready)
    if path == "/metrics":
        return Response(status=200, body=_metrics(engine), content_type=counted.CONTENT_TYPE)
    if path == "/v2":
        return Response(status=200, body=oip.server())
    if path == "/v2/health/live":
        return Response(status=200, body=encode({"live": True}))
    if path == "/v2/health/ready":
        return Response(status=ready, body=encode({"ready": engine.ready}))
    if path == f"{model}/ready":
        return Response(status=ready, body=encode({"name": engine.name, "ready": engine.ready}))
    if path == model:
        return _metadata(engine)
    return None


def _metadata(engine: Looked) -> Response:
    table = engine.router.table
    if table is None:
        return _refused("/v2", Refusal(503, "not_ready", "no model is loaded"))
    labels = [route.label for route in table.routes]
    signature = table.routes[0].model.signature
    return Response(status=200, body=oip.metadata(engine.name, labels, signature))


def _metrics(engine: Looked) -> bytes:
    table = engine.router.table
    gauges = (
        ("ready", "1 while predictions are answered.", float(engine.ready)),
        ("routes_version", "Version of the routes in use.", float(table.version if table else 0)),
        ("log_bytes", "Bytes this process wrote to the prediction log.", float(engine.log.written)),
    )
    return engine.metrics.render(gauges)


def _refused(path: str, refusal: Refusal) -> Response:
    return oip.Oip().fail(refusal) if path.startswith(oip.PREFIX) else refused(refusal)
