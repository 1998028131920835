"""`/openapi.json`: the paths of an endpoint in OpenAPI 3.1, made from its model's signature.

Says what is accepted as narrowly as JSON Schema can, and every status that may come back.
"""

from __future__ import annotations

from typing import Final, Literal

import trimtab
from trimtab.model.signature import Signature
from trimtab.serve.contracts import Contracts
from trimtab.serve.measured import skew
from trimtab.serve.protocols import formats, oip
from trimtab.serve.protocols.schemas import PRINTABLE, Schema, components, ref
from trimtab.serve.reply import JSON

_ERRORS: Final = {
    "400": "The request is malformed: no JSON, a tensor that is none, a header that is none.",
    "401": "No key, or one that is not known.",
    "403": "The key is not for this.",
    "413": "The body or the number of its rows is above the limit.",
    "415": "The content type or encoding is not read here.",
    "422": "A cell breaks the model's signature; row and column say which.",
    "429": "Too many requests; Retry-After says when to come back.",
    "500": "The model or the endpoint failed on this request.",
    "503": "No model is loaded, or nothing more is taken for now; Retry-After says when to come back.",
}
_ALWAYS: Final = ("401", "403", "429")
# What a contract reads and says where that is not any of the shapes of `bodies`.
_BODIES: Final = {
    "predict": ("Typed", "TypedReply"),
    skew.CONTRACT: ("Typed", "TypedReply"),
    "oip": ("Infer", "InferReply"),
}


def document(
    name: str,
    signature: Signature,
    contracts: Contracts,
    *,
    event_time: Literal["server", "client"] = "server",
) -> Schema:
    """The whole document; `event_time` says whether rows may bring their own."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": trimtab.__version__,
            "description": "Predictions over HTTP. Errors always have the key `error`.",
        },
        "paths": _paths(name, contracts),
        "components": {
            "schemas": components(signature, event_time),
            "parameters": _parameters(),
            "headers": {
                "request-id": {"description": "Yours, or one made.", "schema": PRINTABLE},
                "model-version": {"description": "Who answered.", "schema": {"type": "string"}},
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _paths(name: str, contracts: Contracts) -> Schema:
    paths: Schema = {}
    for path, found in contracts.posts.items():
        one = found.contract.name
        paths[path] = {"post": _predict(one, path)}
    infer = f"/v2/models/{name}/versions/{{version}}"
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "A label that the model's metadata lists, or the end of one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9@_.:-]+$"},
    }
    paths[f"{infer}/infer"] = {"parameters": [version], "post": _predict("oip", f"{infer}/infer")}
    for path, (about, schema, codes) in _looked(name).items():
        paths.setdefault(path, {})["get"] = _get(path, about, schema, codes)
        if path == f"/v2/models/{name}":
            for end in ("", "/ready", "/config", "/stats"):
                _, inner, _ = _looked(name)[f"{path}{end}"]
                operation = _get(
                    f"{infer}{end}", f"The same of one version{end}.", inner, ("404", "503")
                )
                paths[f"{infer}{end}"] = {"parameters": [version], "get": operation}
    for path in contracts.health:
        paths.setdefault(path, {})["get"] = _get(
            path, "Whether predictions are answered.", None, ("503",)
        )
    paths["/v2/repository/index"] = {"post": _index()}
    return paths


def _looked(name: str) -> dict[str, tuple[str, str | None, tuple[str, ...]]]:
    """Path to what it says, the schema of its JSON (None for other content), and its errors."""
    model = f"/v2/models/{name}"
    return {
        "/": ("That the process lives.", "Anything", ()),
        "/livez": ("That the process lives.", None, ()),
        "/version": ("The version of trimtab.", None, ()),
        "/metrics": ("Prometheus metrics.", None, ()),
        "/execution-parameters": ("What SageMaker's batch transform asks.", "Anything", ()),
        "/openapi.json": ("This document.", "Anything", ("503",)),
        "/v1/models": ("The models, as KServe v1 lists them.", "Anything", ()),
        f"/v1/models/{name}": ("Whether the model is ready.", "Ready", ("503",)),
        "/v2": ("The server's name and extensions.", "Anything", ()),
        "/v2/health/live": ("That the process lives.", "Live", ()),
        "/v2/health/ready": ("Whether predictions are answered.", "Ready", ("503",)),
        "/v2/models/stats": ("What all versions did.", "Statistics", ("503",)),
        model: ("Inputs and outputs.", "Metadata", ("503",)),
        f"{model}/ready": ("Whether the model is ready.", "Ready", ("503",)),
        f"{model}/config": ("Triton's model configuration.", "Anything", ("503",)),
        f"{model}/stats": ("What all versions did.", "Statistics", ("503",)),
    }


def _get(path: str, about: str, schema: str | None, codes: tuple[str, ...]) -> Schema:
    ok: Schema = {"description": about, "content": {"*/*": {}}}
    if schema is not None:
        ok["content"] = {JSON: {"schema": ref(schema)}}
    return {
        "operationId": _identity("get", path),
        "summary": about,
        "responses": {"200": ok, **_errors((*_ALWAYS, *codes), _error_of(path))},
    }


def _predict(contract: str, path: str) -> Schema:
    """A POST that scores."""
    body, reply = _BODIES.get(contract, ("Body", "Reply"))
    accepts: Schema = {JSON: {"schema": ref(body)}}
    gives: Schema = {JSON: {"schema": ref(reply)}}
    others = [media for kind, media in formats.CONTENT_TYPES.items() if kind != "json"]
    codes = ["400", "413", "415", "500", "503"]
    if contract != "invocations":  # where what MLflow calls a bad request is 400 as well
        codes.append("422")
    if contract == "oip":
        accepts[oip.BINARY] = gives[oip.BINARY] = {}
        codes += ["404", "501"] if "{version}" in path else ["501"]
    else:
        accepts |= {media: {} for media in others}
        gives |= {media: {} for media in others}
        codes.append("406")
    headers = {
        "x-request-id": {"$ref": "#/components/headers/request-id"},
        "x-model-version": {"$ref": "#/components/headers/model-version"},
    }
    return {
        "operationId": _identity("post", path),
        "summary": f"Predictions, as the contract {contract!r} has it.",
        "parameters": [
            {"$ref": "#/components/parameters/request-id"},
            {"$ref": "#/components/parameters/route-key"},
        ],
        "requestBody": {"required": True, "content": accepts},
        "responses": {
            "200": {"description": "One prediction per row.", "headers": headers, "content": gives},
            **_errors((*_ALWAYS, *codes), _error_of(path, contract)),
        },
    }


def _index() -> Schema:
    body = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    return {
        "operationId": "post_v2_repository_index",
        "summary": "The versions that are loaded.",
        "requestBody": {"required": False, "content": {JSON: {"schema": body}}},
        "responses": {
            "200": {"description": "One entry per version.", "content": {JSON: {"schema": ref("Anything")}}},
            **_errors((*_ALWAYS, "400", "413", "415"), "Text"),
        },
    }  # fmt: skip


def _errors(codes: tuple[str, ...], schema: str) -> Schema:
    about = {**_ERRORS, "404": "No such version.", "406": "An extra for the reply is not installed.",
             "501": "Not offered."}  # fmt: skip
    if "422" not in codes and schema == "MlflowError":
        about["400"] = f"{_ERRORS['400']} Or: {_ERRORS['422']}"
    return {
        code: {"description": about[code], "content": {JSON: {"schema": ref(schema)}}}
        for code in sorted(set(codes))
    }


def _error_of(path: str, contract: str = "") -> str:
    """Which shape errors have at a path."""
    if contract == "invocations":
        return "MlflowError"
    texts = contract in ("oip", "kserve") or path.startswith(("/v2", "/v1/models"))
    return "Text" if texts else "Error"


def _parameters() -> Schema:
    return {
        "request-id": {
            "name": "x-request-id", "in": "header", "required": False, "schema": PRINTABLE,
            "description": "The id of the request; one is made where there is none.",
        },
        "route-key": {
            "name": "x-route-key", "in": "header", "required": False, "schema": {"type": "string"},
            "description": "Requests of one key go to one model while several share the traffic.",
        },
    }  # fmt: skip


def _identity(method: str, path: str) -> str:
    letters = "".join(x if x.isalnum() else "_" for x in path).strip("_")
    return f"{method}_{letters}" if letters else method
