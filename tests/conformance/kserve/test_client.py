"""KServe's own REST client, in the first and the second protocol."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = 12
DATATYPES = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}
DTYPES = {"FP32": np.float32, "BOOL": bool, "BYTES": object}


def ask(protocol, method, *arguments, **named):
    """One call of a client of its own."""

    async def call():
        async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
            return await getattr(client, method)(*arguments, **named)

    return asyncio.run(call())


def request(served, rows, *, binary, **more):
    inputs = []
    for name, kind in served.columns.items():
        datatype = DATATYPES[kind]
        values = np.array([row[name] for row in rows], dtype=DTYPES[datatype])
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(served.name, inputs, **more)


def agree(response, answers, same):
    score = response.get_output_by_name("score").as_numpy().tolist()
    decision = response.get_output_by_name("decision").as_numpy().tolist()
    words = [x.decode() if isinstance(x, bytes) else x for x in decision]
    assert words == [answer["decision"] for answer in answers]
    assert same(score, [answer["score"] for answer in answers])
    return True


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_the_server_is_live(loans, protocol):
    assert ask(protocol, "is_server_live", loans.url) is True


def test_the_server_is_ready(loans):
    assert ask("v2", "is_server_ready", loans.url) is True


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_the_model_is_ready(loans, protocol):
    assert ask(protocol, "is_model_ready", loans.url, loans.name) is True


def test_an_unknown_model_is_not_ready(loans):
    assert ask("v2", "is_model_ready", loans.url, "nobody") is False
    with pytest.raises(httpx.HTTPStatusError, match="nobody.*404"):
        ask("v1", "is_model_ready", loans.url, "nobody")


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
def test_infer(loans, same, binary_in, binary_out):
    asked = request(
        loans,
        loans.rows(ROWS, nulls=False),
        binary=binary_in,
        request_id="a-17",
        parameters={"binary_data_output": binary_out},
    )
    headers = {}
    response = ask("v2", "infer", loans.url, asked, loans.name, response_headers=headers)
    assert agree(response, loans.answers(ROWS, nulls=False), same)
    assert response.id == "a-17"
    assert response.model_name == loans.name
    assert ("inference-header-content-length" in headers) == binary_out


def test_an_output_overrides_the_request(loans, same):
    asked = request(
        loans,
        loans.rows(ROWS, nulls=False),
        binary=True,
        parameters={"binary_data_output": True},
        request_outputs=[
            RequestedOutput("score", {"binary_data": False}),
            RequestedOutput("decision"),
        ],
    )
    headers = {}
    response = ask("v2", "infer", loans.url, asked, loans.name, response_headers=headers)
    assert agree(response, loans.answers(ROWS, nulls=False), same)
    assert [output.name for output in response.outputs] == ["score", "decision"]
    assert "inference-header-content-length" in headers


def test_infer_with_a_plain_dictionary(loans, same):
    rows = loans.rows(ROWS, nulls=False)
    inputs = [
        {
            "name": name,
            "shape": [ROWS, 1],
            "datatype": DATATYPES[kind],
            "data": [[row[name]] for row in rows],
        }
        for name, kind in loans.columns.items()
    ]
    response = ask("v2", "infer", loans.url, {"inputs": inputs}, loans.name)
    assert agree(response, loans.answers(ROWS, nulls=False), same)


def test_predict(loans, same):
    got = ask("v1", "infer", loans.url, {"instances": loans.rows()}, loans.name)
    assert same(got["predictions"], loans.answers())


def test_predict_with_values_in_the_order_of_the_columns(loans, same):
    rows = [list(row.values()) for row in loans.rows(ROWS)]
    got = ask("v1", "infer", loans.url, {"instances": rows}, loans.name)
    assert same(got["predictions"], loans.answers(ROWS))


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_an_unknown_model_is_refused_in_words(loans, protocol):
    asked = {"v1": {"instances": loans.rows(1)}, "v2": {"inputs": []}}[protocol]
    with pytest.raises(httpx.HTTPStatusError, match="nobody.*404") as refused:
        ask(protocol, "infer", loans.url, asked, "nobody")
    assert isinstance(refused.value.response.json()["error"], str)


def test_a_bad_row_is_refused_in_words(loans):
    row = loans.rows(1)[0] | {"debt": "much"}
    with pytest.raises(httpx.HTTPStatusError, match="debt") as refused:
        ask("v1", "infer", loans.url, {"instances": [row]}, loans.name)
    assert 400 <= refused.value.response.status_code < 500
    assert "much" not in str(refused.value)


def test_a_shape_that_the_data_do_not_fill(loans):
    inputs = [{"name": "debt", "shape": [3], "datatype": "FP32", "data": [1.0, 2.0]}]
    with pytest.raises(httpx.HTTPStatusError, match="debt") as refused:
        ask("v2", "infer", loans.url, {"inputs": inputs}, loans.name)
    assert 400 <= refused.value.response.status_code < 500
