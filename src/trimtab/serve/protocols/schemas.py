"""JSON Schemas of what an endpoint reads and says, made from its model's signature.

As narrow as JSON Schema can be: what it cannot say (that ids and columns are as long as the rows, that
the cells of a `dataframe_split` are of its columns, that a tensor fills its shape) is checked all the
same, and said in words.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab.model.signature import Class, Column, Signature
from trimtab.serve.protocols import parse, tensors

Schema = dict[str, Any]

_FLOAT32: Final = 3.4028234663852886e38
_KINDS: Final[dict[str, Schema]] = {
    "number": {"type": "number", "minimum": -_FLOAT32, "maximum": _FLOAT32},
    "boolean": {"type": "boolean"},
    "text": {"type": "string", "maxLength": parse.MAX_TEXT},
}
PRINTABLE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": parse.MAX_ID,
    "pattern": "^[ -~]+$",
}
_ID: Final = {**PRINTABLE, "type": ["string", "integer"]}
_ANY_CELL: Final[Schema] = {
    "type": ["string", "number", "boolean", "null"],
    "maxLength": parse.MAX_TEXT,
}
_EQUALLY_LONG: Final = "One list per column, all equally long."
_ANY_ROWS: Final = {"type": "array", "minItems": 1, "maxItems": parse.MAX_ROWS}
_BESIDE: Final[Schema] = {
    "parameters": {"type": ["object", "null"]},
    "params": {"type": ["object", "null"]},
    "signature_name": {"type": ["string", "null"]},
}
_DETAIL: Final[Schema] = {
    "type": "object",
    "required": ["code", "message", "hint"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": "string"},
        "row": {"type": ["integer", "null"]},
        "column": {"type": ["string", "null"]},
    },
}


def components(signature: Signature, event_time: str) -> Schema:
    """Every schema by its name; `event_time` is "client" where rows may bring their own."""
    text, count = {"type": "string"}, {"type": "integer"}
    tensor = _object(name=text, datatype={"enum": list(tensors.DATATYPES)}, shape=_array(count))
    boolean = {"type": "boolean"}
    return {
        "Anything": {},
        "Error": _object(error=_DETAIL),
        # Health answers in its own words where it is not ready.
        "Text": {"anyOf": [_object(error=text), _object(ready={"const": False})]},
        "MlflowError": _object(error=_DETAIL, error_code=text, message=text, stack_trace=text),
        "Live": _object(live=boolean),
        "Ready": _object(ready=boolean),
        "Statistics": _object(model_stats=_array(_object(name=text, version=text))),
        "Metadata": _object(
            name=text, versions=_array(text), platform=text,
            inputs=_array(tensor), outputs=_array(tensor),
        ),
        **_rows(signature, event_time),
        "Tensor": tensor,
        "Input": _input(signature),
        "Infer": {
            **_object(inputs={**_array(ref("Input")), "minItems": 1}),
            "description": "One tensor per column, or the packed tensors `numbers` and `words`.",
        },
        "InferReply": _object(
            model_name=text, model_version=text, id=text, outputs=_array(ref("Tensor"))
        ),
        "Prediction": _prediction(signature),
        "TypedReply": _object(
            model=text, model_version=text, request_id=text, predictions=_array(ref("Prediction"))
        ),
        "Predictions": _object(predictions=_array(ref("Prediction"))),
        "Reply": {"anyOf": [ref("TypedReply"), ref("Predictions"), ref("InferReply")]},
    }  # fmt: skip


def _input(signature: Signature) -> Schema:
    """A tensor of a request, with JSON values or the size of its bytes behind the JSON."""
    known = (*signature.inputs, *signature.context)
    axis = {"type": "integer", "minimum": 0, "maximum": parse.MAX_ROWS}
    return {
        **_object(
            name={"enum": list(dict.fromkeys([*(c.name for c in known), "numbers", "words"]))},
            datatype={"enum": list(tensors.DATATYPES)},
            shape={"type": "array", "items": axis, "minItems": 1, "maxItems": 2},
        ),
        "oneOf": [
            {
                "required": ["data"],
                "properties": {
                    "data": {"type": "array"},
                    "datatype": {"enum": sorted(set(tensors.DATATYPES) - tensors.NO_JSON)},
                },
            },
            {
                "required": ["parameters"],
                "properties": {"parameters": _object(binary_data_size={**axis, "maximum": 2**31})},
            },
        ],
    }


def _rows(signature: Signature, event_time: str) -> Schema:
    """What is sent as rows: by name, by column, by position, and the bodies made of them."""
    context = {c.name for c in signature.context}
    cells = {c.name: _cell(c, c.name in context) for c in (*signature.inputs, *signature.context)}
    required = [c.name for c in signature.inputs]
    columns = {name: {**_ANY_ROWS, "items": cell} for name, cell in cells.items()}
    # As tensors are printed: every cell in a list of its own.
    nested = {
        name: {"anyOf": [column, {**_ANY_ROWS, "items": _tuple([cells[name]])}]}
        for name, column in columns.items()
    }
    own = _own_shapes(event_time)
    return {
        "Row": {**_closed(cells, {}), "required": required},
        "Columns": {**_closed(columns, {}), "required": required, "description": _EQUALLY_LONG},
        "Inputs": {**_closed(nested, {}), "required": required, "description": _EQUALLY_LONG},
        "Positional": _positional(signature),
        "Typed": {"oneOf": [_closed(*shape) for shape in own]},
        "Body": {
            "oneOf": [
                *(_closed(rows, {**beside, **_BESIDE}) for rows, beside in own),
                *(_closed(rows, _BESIDE) for rows in _foreign_shapes(signature)),
                ref("Infer"),
            ]
        },
    }


def _positional(signature: Signature) -> Schema:
    """Rows without names: the inputs in order, in every row or in none with the context behind."""
    inputs = [_by_position(c) for c in signature.inputs]
    listed: list[Schema] = [{**_ANY_ROWS, "items": _tuple(inputs)}]
    if signature.context:
        whole = [*inputs, *(_cell(c, True) for c in signature.context)]
        listed.append({**_ANY_ROWS, "items": _tuple(whole)})
    return {"anyOf": listed, "description": "The cells of a row are in the order of the inputs."}


def _own_shapes(event_time: str) -> list[tuple[Schema, Schema]]:
    """The shapes of `/predict`, each with what may stand beside it.

    That ids and event times are as many as the rows is more than JSON Schema can say.
    """
    ids = {**_ANY_ROWS, "type": ["array", "null"], "items": _ID, "uniqueItems": True}
    beside: Schema = {"ids": {**ids, "description": 'One per row; 1 and "1" are the same.'}}
    alone: Schema = {"id": _ID}
    if event_time == "client":
        times = {"description": "RFC 3339 or microseconds; one for all rows, or one per row."}
        beside["event_time"] = alone["event_time"] = times
    rows = {**_ANY_ROWS, "items": ref("Row")}
    return [
        ({"row": ref("Row")}, alone),
        ({"rows": rows}, beside),
        ({"columns": ref("Columns")}, beside),
    ]


def _foreign_shapes(signature: Signature) -> list[Schema]:
    """The shapes of MLflow, TF Serving and their like."""
    rows = {**_ANY_ROWS, "items": ref("Row")}
    lists: list[Schema] = [rows, ref("Positional")]
    if len(signature.inputs) == 1:
        lists.append({**_ANY_ROWS, "items": _by_position(signature.inputs[0])})
    return [
        {"instances": {"anyOf": lists}},
        {"inputs": {"anyOf": [*lists, ref("Inputs")]}},
        {"dataframe_records": rows},
        {"dataframe_split": _split(signature)},
    ]


def _split(signature: Signature) -> Schema:
    """A frame as pandas splits it: without the names of its columns, or with them in any order."""
    inputs, context = [c.name for c in signature.inputs], [c.name for c in signature.context]
    most = len(inputs) + len(context)
    names: Schema = {
        **_array({"enum": [*inputs, *context]}),
        "minItems": len(inputs),
        "maxItems": most,
        "uniqueItems": True,
    }
    if context:  # else their number says that none is missing
        names["allOf"] = [{"contains": {"const": name}} for name in inputs]
    cells = {**_array(_ANY_CELL), "minItems": len(inputs), "maxItems": most}
    index = {"index": {"type": ["array", "null"]}}
    return {
        "description": "Each row has a cell per name in columns, as it would stand in Row.",
        "oneOf": [
            _closed({"data": ref("Positional")}, {"columns": {"type": "null"}, **index}),
            _closed({"data": {**_ANY_ROWS, "items": cells}, "columns": names}, index),
        ],
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
        return dict(_ANY_CELL)
    schema = dict(_KINDS[column.kind])
    if column.closed and column.categories:
        listed: list[Class | None] = [*column.categories, *([None] if column.nullable else [])]
        return {"enum": listed}
    if column.categories:
        schema["examples"] = list(column.categories[:5])
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
    return schema


def _by_position(column: Column) -> Schema:
    """A cell of a row without names: an array of one type has no booleans but 0 and 1."""
    if column.kind != "boolean":
        return _cell(column)
    return {"enum": [True, False, 0, 1, *([None] if column.nullable else [])]}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _closed(required: Schema, optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _tuple(items: list[Schema]) -> Schema:
    return {
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "maxItems": len(items),
    }


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """Where the schema of a name is."""
    return {"$ref": f"#/components/schemas/{name}"}
