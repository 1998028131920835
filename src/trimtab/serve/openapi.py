"""`/openapi.json`: the paths of an endpoint in OpenAPI 3.1, made from its model's signature.

Says what is accepted as narrowly as JSON Schema can, and every status that may come back.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import trimtab
from trimtab.model.signature import Class, Column, Signature
from trimtab.serve import formats, oip, parse, tensors
from trimtab.serve.contracts import Contracts
from trimtab.serve.reply import JSON

Schema = dict[str, Any]

_FLOAT32: Final = 3.4028234663852886e38
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
_KINDS: Final[dict[str, Schema]] = {
    "number": {"type": "number", "minimum": -_FLOAT32, "maximum": _FLOAT32},
    "boolean": {"type": "boolean"},
    "text": {"type": "string", "maxLength": parse.MAX_TEXT},
}
_PRINTABLE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": parse.MAX_ID,
    "pattern": "^[ -~]+$",
}
_ANY_ROWS: Final = {"type": "array", "minItems": 1, "maxItems": parse.MAX_ROWS}


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
            "schemas": _schemas(signature, event_time),
            "parameters": _parameters(),
            "headers": {
                "request-id": {"description": "Yours, or one made.", "schema": _PRINTABLE},
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
        ok["content"] = {JSON: {"schema": _ref(schema)}}
    return {
        "operationId": _identity("get", path),
        "summary": about,
        "responses": {"200": ok, **_errors((*_ALWAYS, *codes), _error_of(path))},
    }


def _predict(contract: str, path: str) -> Schema:
    """A POST that scores."""
    body = {"predict": "Typed", "oip": "Infer"}.get(contract, "Body")
    reply = {"predict": "TypedReply", "oip": "InferReply"}.get(contract, "Reply")
    accepts: Schema = {JSON: {"schema": _ref(body)}}
    gives: Schema = {JSON: {"schema": _ref(reply)}}
    others = [media for kind, media in formats.CONTENT_TYPES.items() if kind != "json"]
    codes = ["400", "413", "415", "422", "500", "503"]
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
            "200": {"description": "One entry per version.", "content": {JSON: {"schema": _ref("Anything")}}},
            **_errors((*_ALWAYS, "400", "413", "415"), "Text"),
        },
    }  # fmt: skip


def _errors(codes: tuple[str, ...], schema: str) -> Schema:
    about = {**_ERRORS, "404": "No such version.", "406": "An extra for the reply is not installed.",
             "501": "Not offered."}  # fmt: skip
    return {
        code: {"description": about[code], "content": {JSON: {"schema": _ref(schema)}}}
        for code in sorted(set(codes))
    }


def _error_of(path: str, contract: str = "") -> str:
    """Which shape errors have at a path."""
    if contract == "invocations":
        return "MlflowError"
    texts = contract in ("oip", "kserve") or path.startswith(("/v2", "/v1/models"))
    return "Text" if texts else "Error"


def _schemas(signature: Signature, event_time: str) -> Schema:
    text, count = {"type": "string"}, {"type": "integer"}
    detail = {
        "type": "object",
        "required": ["code", "message", "hint"],
        "properties": {
            "code": text,
            "message": text,
            "hint": text,
            "row": {"type": ["integer", "null"]},
            "column": {"type": ["string", "null"]},
        },
    }
    tensor = _object(name=text, datatype={"enum": list(tensors.DATATYPES)}, shape=_array(count))
    boolean = {"type": "boolean"}
    return {
        "Anything": {},
        "Error": _object(error=detail),
        # Health answers in its own words where it is not ready.
        "Text": {"anyOf": [_object(error=text), _object(ready={"const": False})]},
        "MlflowError": _object(error=detail, error_code=text, message=text, stack_trace=text),
        "Live": _object(live=boolean),
        "Ready": _object(ready=boolean),
        "Statistics": _object(model_stats=_array(_object(name=text, version=text))),
        "Metadata": _object(
            name=text, versions=_array(text), platform=text,
            inputs=_array(tensor), outputs=_array(tensor),
        ),
        **_rows(signature, event_time),
        "Tensor": tensor,
        "Infer": {
            **_object(inputs={**_array(_ref("Tensor")), "minItems": 1}),
            "description": "One tensor per column, or the packed tensors `numbers` and `words`.",
        },
        "InferReply": _object(
            model_name=text, model_version=text, id=text, outputs=_array(_ref("Tensor"))
        ),
        "Prediction": _prediction(signature),
        "TypedReply": _object(
            model=text, model_version=text, request_id=text, predictions=_array(_ref("Prediction"))
        ),
        "Predictions": _object(predictions=_array(_ref("Prediction"))),
        "Reply": {"anyOf": [_ref("TypedReply"), _ref("Predictions"), _ref("InferReply")]},
    }  # fmt: skip


def _rows(signature: Signature, event_time: str) -> Schema:
    """What is sent as rows: by name, by position, by column."""
    everything = (*signature.inputs, *signature.context)
    context = {c.name for c in signature.context}
    row = {
        "type": "object",
        "properties": {c.name: _cell(c, c.name in context) for c in everything},
        "required": [c.name for c in signature.inputs],
        "additionalProperties": False,
    }
    beside: Schema = {"ids": {**_ANY_ROWS, "items": _PRINTABLE, "uniqueItems": True}}
    if event_time == "client":
        beside["event_time"] = {"description": "RFC 3339 or microseconds; one, or one per row."}
    columns = {
        **row,
        "properties": {
            name: {**_ANY_ROWS, "items": cell}
            for name, cell in row["properties"].items()  # type: ignore[attr-defined]
        },
    }
    by_position = {
        "type": "array",
        "prefixItems": [_cell(c) for c in signature.inputs],
        "minItems": len(signature.inputs),
        "maxItems": len(signature.inputs),
    }
    rows, ref = {**_ANY_ROWS, "items": _ref("Row")}, _ref("Row")
    either = {"anyOf": [rows, {**_ANY_ROWS, "items": _ref("Positional")}]}
    parameters = {"parameters": {"type": "object"}, "params": {"type": "object"}}
    split = _object(data={**_ANY_ROWS, "items": _ref("Positional")})
    own = [
        _closed({"row": ref}, {"id": _PRINTABLE, **_without(beside, "ids")}),
        _closed({"rows": rows}, _without(beside, "ids")),
        _closed({"columns": _ref("Columns")}, _without(beside, "ids")),
    ]
    return {
        "Row": row,
        "Columns": columns,
        "Positional": by_position,
        "Typed": {"oneOf": own},
        "Body": {
            "oneOf": [
                *own,
                _closed({"instances": either}, parameters),
                _closed({"inputs": either}, parameters),
                _closed({"dataframe_records": rows}, parameters),
                _closed({"dataframe_split": split}, parameters),
                _ref("Infer"),
            ]
        },
    }


def _prediction(signature: Signature) -> Schema:
    score = {"type": "number", "minimum": 0, "maximum": 1}
    if signature.task == "regression":
        return _object(id={"type": "string"}, value={"type": "number"})
    found = _object(id={"type": "string"}, decision={"enum": list(signature.classes)}, score=score)
    if signature.task == "multiclass":
        found["properties"]["scores"] = {"type": "object", "additionalProperties": score}
        found["required"].append("scores")
    return found


def _cell(column: Column, context: bool = False) -> Schema:
    """What a cell of a column may be; the context is logged as it comes."""
    if context:
        return {"type": ["string", "number", "boolean", "null"], "maxLength": parse.MAX_TEXT}
    schema = dict(_KINDS[column.kind])
    if column.closed and column.categories:
        listed: list[Class | None] = [*column.categories, *([None] if column.nullable else [])]
        return {"enum": listed}
    if column.categories:
        schema["examples"] = list(column.categories[:5])
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
    return schema


def _parameters() -> Schema:
    return {
        "request-id": {
            "name": "x-request-id", "in": "header", "required": False, "schema": _PRINTABLE,
            "description": "The id of the request; one is made where there is none.",
        },
        "route-key": {
            "name": "x-route-key", "in": "header", "required": False, "schema": _PRINTABLE,
            "description": "Requests of one key go to one model while several share the traffic.",
        },
    }  # fmt: skip


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _closed(required: Schema, optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _without(schema: Schema, name: str) -> Schema:
    return {key: value for key, value in schema.items() if key != name}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _identity(method: str, path: str) -> str:
    letters = "".join(x if x.isalnum() else "_" for x in path).strip("_")
    return f"{method}_{letters}" if letters else method
