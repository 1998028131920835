"""Everything of an endpoint that is only looked at: health, metadata, statistics, metrics.

Each tongue's questions are answered in its own words (Open Inference v2 and Triton's extensions,
KServe v1, MLflow, SageMaker, Vertex AI); nothing here scores or changes anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol
from urllib.parse import unquote

import trimtab
from trimtab.errors import TrimtabError
from trimtab.model.signature import Signature
from trimtab.serve import contracts as spoken
from trimtab.serve import metrics as counted
from trimtab.serve.contracts import Contracts
from trimtab.serve.logged.log import Log
from trimtab.serve.metrics import Counts, Metrics, Stats, merged
from trimtab.serve.protocols import oip, openapi, parse
from trimtab.serve.reply import Refusal, Response, encode, refused
from trimtab.serve.router import Route, Router, Table

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
_TYPES: Final = {
    "FP32": "TYPE_FP32",
    "BOOL": "TYPE_BOOL",
    "BYTES": "TYPE_STRING",
    "INT64": "TYPE_INT64",
}
_TEXT: Final = "text/plain; charset=utf-8"
_MODEL: Final = re.compile(r"/v[12]/models/([^/:]{1,80})(?:[/:]|$)")
_NOTHING: Final[Mapping[str, str]] = {}


class Looked(Protocol):
    """What can be seen of an engine."""

    name: str
    router: Router
    log: Log
    metrics: Metrics
    event_time: Literal["server", "client"]
    others: Callable[[], Sequence[Counts]]

    @property
    def ready(self) -> bool:
        """Whether it answers predictions."""
        ...


def look(
    engine: Looked,
    method: str,
    path: str,
    headers: Mapping[str, str] = _NOTHING,
    body: bytes = b"",
    *,
    contracts: Contracts | None = None,
) -> Response:
    """Answer what is no prediction: 404 for unknown paths, 405 for wrong methods.

    `contracts` are the endpoint's own; without them those of no platform's environment.
    """
    plain = _plain(path)
    try:
        return _look(engine, contracts or _usual(engine.name), method, path, plain, body)
    except TrimtabError as error:
        return refusal(path, error)


def refusal(path: str, error: TrimtabError) -> Response:
    """An error in the words of the path's protocol, where no contract speaks."""
    plain = _plain(path)
    texts = plain.startswith((f"{oip.PREFIX}/", "/v1/models")) or plain == oip.PREFIX
    return oip.failed(error) if texts else refused(error)


def _look(
    engine: Looked, known: Contracts, method: str, given: str, path: str, body: bytes
) -> Response:
    get, post, takes = _getter(engine, known, path), _poster(engine, path), known.at(given)
    allowed = ["GET"] if get else []
    allowed += ["POST"] if post or takes else []
    if get is not None and method in ("GET", "HEAD"):
        return get()
    if post is not None and method == "POST":
        return post(body)
    if allowed:
        allow = ", ".join(allowed)
        wrong = Refusal(
            405, "method", f"{path[:200]} takes {' and '.join(allowed)}", headers={"allow": allow}
        )
        return takes.contract.fail(wrong) if takes else refusal(path, wrong)
    other = _MODEL.match(path)
    raise Refusal(
        404,
        "not_found",
        f"there is no model {other[1]!r} here, only {engine.name!r}"
        if other and other[1] != engine.name
        else f"there is nothing at {path[:200]}",
        hint=f"POST {', '.join(known.posts)}; GET /openapi.json describes them",
    )


def _getter(engine: Looked, known: Contracts, path: str) -> Callable[[], Response] | None:
    """What answers a GET of a path."""
    if path in known.health:
        return lambda: _health(engine)
    fixed: dict[str, Callable[[], Response]] = {
        "/": lambda: _json({"status": "alive"}),
        "/livez": lambda: Response(status=200, body=b"\n"),
        "/version": lambda: Response(200, trimtab.__version__.encode(), content_type=_TEXT),
        "/metrics": lambda: Response(200, _metrics(engine), content_type=counted.CONTENT_TYPE),
        "/execution-parameters": lambda: _json(known.execution),
        "/openapi.json": lambda: _openapi(engine, known),
        "/v1/models": lambda: _json({"models": [engine.name]}),
        f"/v1/models/{engine.name}": lambda: _json(
            {"name": engine.name, "ready": engine.ready}, engine.ready
        ),
        "/v2": lambda: _json(
            {"name": "trimtab", "version": trimtab.__version__, "extensions": EXTENSIONS}
        ),
        "/v2/health/live": lambda: _json({"live": True}),
        "/v2/health/ready": lambda: _json({"ready": engine.ready}, engine.ready),
        "/v2/models/stats": lambda: _statistics(engine, None),
    }
    if path in fixed:
        return fixed[path]
    model = f"/v2/models/{engine.name}"
    if path != model and not path.startswith(f"{model}/"):
        return None
    rest = path[len(model) :]
    version = None
    if rest.startswith("/versions/"):
        version, slash, rest = rest.removeprefix("/versions/").partition("/")
        rest = slash + rest
    about: dict[str, Callable[[], Response]] = {
        "": lambda: _json(metadata(engine.name, _table(engine), version)),
        "/ready": lambda: _model_ready(engine, version),
        "/config": lambda: _json(configuration(engine.name, _table(engine), version)),
        "/stats": lambda: _statistics(engine, version),
    }
    return about.get(rest) if version != "" else None


def _poster(engine: Looked, path: str) -> Callable[[bytes], Response] | None:
    """What answers a POST that is no prediction."""
    if path == "/v2/repository/index":
        return lambda body: _index(engine, body)
    if path in {f"/v2/repository/models/{engine.name}/{verb}" for verb in ("load", "unload")}:
        return _no_control
    if path == f"/v1/models/{engine.name}:explain":
        return _no_explainer
    return None


def metadata(name: str, table: Table, version: str | None = None) -> dict[str, Any]:
    """`GET /v2/models/NAME[/versions/VERSION]`; raises Refusal 404 for an unknown version."""
    route = _pinned(table, version)
    signature = route.model.signature
    labels = [one.label for one in table.routes] if version is None else [route.label]
    return {
        "name": name,
        "versions": labels,
        "platform": f"trimtab_{signature.engine}",
        "inputs": _inputs(signature),
        "outputs": oip.outputs_of(signature),
        "properties": {"task": signature.task, "digest": route.digest},
    }


def configuration(name: str, table: Table, version: str | None = None) -> dict[str, Any]:
    """`GET /v2/models/NAME/config`, as Triton's model configuration extension words it."""
    signature = _pinned(table, version).model.signature

    def put(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"name": x["name"], "data_type": _TYPES[x["datatype"]], "dims": x["shape"]}
            for x in tensors
        ]

    return {
        "name": name,
        "platform": f"trimtab_{signature.engine}",
        "backend": "trimtab",
        # Every tensor has its rows as its first axis: what Triton calls no batching of its own.
        "max_batch_size": 0,
        "input": put(_inputs(signature)),
        "output": put(oip.outputs_of(signature)),
    }


def statistics(name: str, label: str, stats: Stats | None) -> dict[str, Any]:
    """One entry of `model_stats`; preparing inputs and outputs counts as inference."""
    found = stats or Stats(label=label, batches={})
    nothing = {"count": 0, "ns": 0}
    computed = {"count": found.runs, "ns": found.compute_ns}
    return {
        "name": name,
        "version": label,
        "last_inference": found.last_ms,
        "inference_count": found.rows,
        "execution_count": found.runs,
        "inference_stats": {
            "success": {"count": found.requests, "ns": found.queue_ns + found.compute_ns},
            "fail": {"count": found.failures, "ns": found.failed_ns},
            "queue": {"count": found.requests, "ns": found.queue_ns},
            "compute_input": nothing,
            "compute_infer": computed,
            "compute_output": nothing,
            "cache_hit": nothing,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": nothing,
                "compute_infer": {"count": count, "ns": spent},
                "compute_output": nothing,
            }
            for size, (count, spent) in sorted(found.batches.items())
        ],
    }


def _health(engine: Looked) -> Response:
    if engine.ready:
        return Response(status=200, body=b"\n")
    return refused(Refusal(503, "not_ready", "no predictions are answered now"))


def _model_ready(engine: Looked, version: str | None) -> Response:
    label = engine.name if version is None else _pinned(_table(engine), version).label
    found = {"name": engine.name, "ready": engine.ready}
    return _json(found if version is None else found | {"version": label}, engine.ready)


def _statistics(engine: Looked, version: str | None) -> Response:
    table = _table(engine)
    routes = table.routes if version is None else (_pinned(table, version),)
    whole = Metrics(engine.name, merged([engine.metrics.snapshot(), *engine.others()]))
    listed = [statistics(engine.name, route.label, whole.stats(route.label)) for route in routes]
    return _json({"model_stats": listed})


def _index(engine: Looked, body: bytes) -> Response:
    """`POST /v2/repository/index`, with no body as most clients send it or `{"ready": true}`."""
    asked = parse.decode_json(body) if body.strip() else {}
    if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
        raise Refusal(400, "bad_request", "the body is not an object with ready true or false")
    table = engine.router.table
    state = "READY" if engine.ready else "UNAVAILABLE"
    if asked.get("ready") and not engine.ready:
        return _json([])
    labels = [route.label for route in table.routes] if table else []
    reason = "" if engine.ready else "no predictions are answered now"
    return _json(
        [{"name": engine.name, "version": x, "state": state, "reason": reason} for x in labels]
    )


def _no_control(body: bytes) -> Response:
    raise Refusal(
        403,
        "refused",
        "models are not loaded or unloaded by request: the endpoint serves what was deployed",
        hint="trimtab deploy, or a rollout, changes what it serves",
    )


def _no_explainer(body: bytes) -> Response:
    raise Refusal(501, "not_offered", "no explainer is served here", hint="POST to :predict")


def _openapi(engine: Looked, known: Contracts) -> Response:
    signature = _table(engine).routes[0].model.signature
    return _json(openapi.document(engine.name, signature, known, event_time=engine.event_time))


def _metrics(engine: Looked) -> bytes:
    table = engine.router.table
    gauges = (
        ("ready", "1 while predictions are answered.", float(engine.ready)),
        ("routes_version", "Version of the routes in use.", float(table.version if table else 0)),
        ("log_bytes", "Bytes this process wrote to the prediction log.", float(engine.log.written)),
    )
    return engine.metrics.render(gauges, engine.others())


def _table(engine: Looked) -> Table:
    table = engine.router.table
    if table is None:
        raise Refusal(503, "not_ready", "no model is loaded")
    return table


def _pinned(table: Table, version: str | None) -> Route:
    return table.routes[0] if version is None else spoken.route_of(table, version)


def _inputs(signature: Signature) -> list[dict[str, Any]]:
    return [
        {"name": c.name, "datatype": oip.DATATYPE[c.kind], "shape": [-1]} for c in signature.inputs
    ]


def _plain(path: str) -> str:
    """A path as it is written here: unquoted, without a slash at its end."""
    if "%" in path:
        path = unquote(path)
    return path.rstrip("/") or "/"


def _json(value: Any, ready: bool = True) -> Response:
    if ready:
        return Response(status=200, body=encode(value))
    return Response(status=503, body=encode(value), headers={"retry-after": "1"})


@functools.lru_cache(maxsize=16)
def _usual(name: str) -> Contracts:
    return spoken.table(name, {})
