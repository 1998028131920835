"""Models made by hand, so that serving is tested without any modelling library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.errors import TrimtabError
from trimtab.model import golden, signature
from trimtab.model.decide import decide
from trimtab.model.digest import folder_digest
from trimtab.model.golden import Golden
from trimtab.model.signature import Column, Signature
from trimtab.serve import routes
from trimtab.serve.answer import Answer, Call, Contract
from trimtab.serve.engine import Engine
from trimtab.serve.logged.log import Log
from trimtab.serve.reply import Response
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile, RouteSpec

INPUTS = (
    Column(name="income", kind="number", nullable=True),
    Column(name="debt", kind="number"),
    Column(name="owner", kind="boolean", nullable=True),
    Column(name="purpose", kind="text", categories=("car", "home")),
    Column(name="region", kind="text", nullable=True, categories=("n", "s"), closed=True),
)
SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=INPUTS,
    context=(Column(name="group", kind="text", nullable=True),),
    classes=("no", "yes"),
    positive="yes",
    threshold=0.5,
)
ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}


def graph(bias: float) -> bytes:
    """score = sigmoid(bias + debt + (purpose == "car")); the other inputs are read and unused."""
    column = helper.make_tensor("debt_at", TensorProto.INT64, [], [1])
    word = helper.make_tensor("purpose_at", TensorProto.INT64, [], [0])
    shift = helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias])
    nodes = [
        helper.make_node("Gather", ["numbers", "debt_at"], ["debt"], axis=1),
        helper.make_node("Gather", ["words", "purpose_at"], ["purpose"], axis=1),
        helper.make_node(
            "LabelEncoder",
            ["purpose"],
            ["is_car"],
            domain="ai.onnx.ml",
            keys_strings=["car"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["debt", "is_car"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
    ]
    inputs = [
        helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 3]),
        helper.make_tensor_value_info("words", TensorProto.STRING, [None, 2]),
    ]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])]
    made = helper.make_graph(nodes, "model", inputs, outputs, [column, word, shift])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_package(folder: Path, bias: float = 0.0, signed: Signature = SIGNED) -> str:
    """A package that answers sigmoid(bias + debt + car); returns its digest."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(graph(bias))
    (folder / "signature.json").write_bytes(signature.encode(signed))
    debts = [-3.0, -0.5, 0.0, 2.0]
    score = 1 / (1 + np.exp(-(bias + np.array(debts) + 1)))
    columns: dict[str, Any] = {
        "income": [1.0, None, 3.0, 4.0],
        "debt": debts,
        "owner": [0.0, 1.0, None, 1.0],
        "purpose": ["car"] * 4,
        "region": ["n", "s", None, "n"],
    }
    rows = Golden(
        columns={name: columns.get(name, [0.0] * 4) for name in (c.name for c in signed.inputs)},
        scores=score.tolist(),
        decisions=decide(signed, score),
    )
    (folder / "golden.json").write_bytes(golden.encode(rows))
    return folder_digest(folder)


@pytest.fixture
def spec(tmp_path) -> Callable[..., RouteSpec]:
    """Write a package into the endpoint's folder and name it in a route."""

    def make(label: str = "loans@v1", *, bias: float = 0.0, **fields: Any) -> RouteSpec:
        folder = f"models/{label}"
        signed = fields.pop("signed", SIGNED)
        digest = write_package(tmp_path / "endpoint" / folder, bias, signed)
        values = {"role": "champion", "model": digest, "label": label, "folder": folder}
        return RouteSpec(**(values | fields))

    return make


@pytest.fixture
def endpoint(tmp_path, spec) -> Path:
    """The folder of an endpoint `loans` with one champion."""
    folder = tmp_path / "endpoint"
    file = RoutesFile(version=1, name="loans", routes=(spec(),))
    routes.write(folder, file)
    return folder


@pytest.fixture
def engine(endpoint) -> Engine:
    """A ready engine of that endpoint."""
    router = Router(endpoint)
    assert router.reload(), router.error
    return Engine(name="loans", router=router, log=Log(endpoint / "log", "loans"))


@pytest.fixture
def post(engine) -> Callable[..., tuple[int, Any]]:
    """Send a body to an engine and read the JSON that comes back."""

    def send(body: Any, path: str = "/predict", *, to: Engine = engine, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        response = to.handle("POST", path, named, data)
        return response.status, msgspec.json.decode(response.body)

    return send


@pytest.fixture
def signed() -> Signature:
    """The signature of that endpoint's model."""
    return SIGNED


@pytest.fixture
def speak(engine) -> Callable[..., Response]:
    """A contract alone: it reads a body, the champion answers, it writes. Rows are p0, p1, ..."""

    def send(contract: Contract, body: Any, headers: Any = (), path: str = "/") -> Response:
        route = engine.router.table.routes[0]
        signed = route.model.signature
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            rows = contract.read(Call(path, dict(headers), data), signed)
            checked = route.checker.check(rows)
            outputs = route.model.predict_packed(checked.numbers, list(checked.words.values()))
        except TrimtabError as error:
            return contract.fail(error)
        ids = tuple(rows.ids or [f"p{i}" for i in range(rows.count)])
        return contract.write(
            Answer("loans", route.label, "r1", ids, signed, outputs, rows.options)
        )

    return send
