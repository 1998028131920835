"""The OpenAPI 3.1 document of the HTTP API, made from the same table that answers it."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import msgspec

import trimtab
from trimtab.server import operations
from trimtab.server.failure import Failed
from trimtab.server.operations import Operation

_REF: Final = "#/components/schemas/{name}"


@functools.cache
def document() -> dict[str, Any]:
    """The whole document."""
    types = [kind for one in operations.TABLE for kind in (one.request, one.response)]
    wanted = list(dict.fromkeys([*types, Failed]))
    refs, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    schema = dict(zip(wanted, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations.TABLE:
        paths.setdefault(one.url, {})[one.method.lower()] = _operation(one, schema, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "trimtab",
            "version": trimtab.__version__,
            "description": "Additive within v1: fields and operations are added, never removed.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    one: Operation[Any, Any], schema: dict[Any, dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    fields = components[one.request.__name__].get("properties", {})
    required = components[one.request.__name__].get("required", [])
    in_path = re.findall(r"{(\w+)}", one.path)
    in_query = [name for name in fields if name not in in_path and one.method == "GET"]
    found: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.path.split("/")[1]],
        "summary": one.summary,
        "parameters": [
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "required": name in in_path or name in required,
                "schema": fields[name],
            }
            for name in (*in_path, *in_query)
        ],
        "responses": {
            str(one.status): _content("what was asked for", schema[one.response]),
            "default": _content("what went wrong", schema[Failed]),
        },
    }
    if one.method == "POST":
        rest = {name: field for name, field in fields.items() if name not in in_path}
        body = {
            "type": "object",
            "properties": rest,
            "required": [name for name in required if name in rest],
            "additionalProperties": False,
        }
        found["requestBody"] = {"required": True, **_content("", body)}
        found["requestBody"].pop("description")
    return found


def _content(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}
