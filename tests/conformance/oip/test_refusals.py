"""What tritonclient gets to read when it asks for the impossible."""

from __future__ import annotations

import http.client
import json

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def refusal(client, name, inputs, **more):
    """Status and text of a refusal; the client must have been able to read it."""
    with pytest.raises(InferenceServerException) as refused:
        client.infer(name, inputs, **more)
    text = refused.value.message()
    assert "exception occurred in the client" not in text
    assert "Traceback" not in text
    return int(refused.value.status()), text


def test_an_unknown_model(client, loans, tensors):
    status, text = refusal(client, "nobody", tensors(loans, loans.rows(1, nulls=False)))
    assert status == 404
    assert "nobody" in text


def test_an_unknown_version(client, loans, tensors):
    inputs = tensors(loans, loans.rows(1, nulls=False))
    status, text = refusal(client, loans.name, inputs, model_version="99")
    assert status == 404
    assert "version" in text


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_shape_that_the_data_do_not_fill(client, loans, tensors, binary):
    inputs = tensors(loans, loans.rows(3, nulls=False), binary=binary)
    inputs[1].set_shape([4])
    status, text = refusal(client, loans.name, inputs)
    assert 400 <= status < 500
    assert inputs[1].name() in text


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_inputs_of_different_lengths(client, loans, tensors, binary):
    rows = loans.rows(3, nulls=False)
    inputs = tensors(loans, rows, binary=binary)
    inputs[0] = tensors(loans, rows[:2], binary=binary)[0]
    status, _ = refusal(client, loans.name, inputs)
    assert 400 <= status < 500


def test_a_missing_input(client, loans, tensors):
    inputs = tensors(loans, loans.rows(1, nulls=False))
    status, text = refusal(client, loans.name, inputs[1:])
    assert 400 <= status < 500
    assert inputs[0].name() in text


def test_an_unknown_input(client, loans, tensors):
    inputs = tensors(loans, loans.rows(1, nulls=False))
    extra = triton.InferInput("wealth", [1], "FP32")
    extra.set_data_from_numpy(np.array([1.0], dtype=np.float32))
    status, text = refusal(client, loans.name, [*inputs, extra])
    assert 400 <= status < 500
    assert "wealth" in text


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_datatype_that_a_column_does_not_take(client, loans, tensors, binary):
    inputs = tensors(loans, loans.rows(1, nulls=False), binary=binary, owner="FP32")
    status, text = refusal(client, loans.name, inputs)
    assert 400 <= status < 500
    assert "owner" in text


def test_an_unknown_output(client, loans, tensors, outputs):
    inputs = tensors(loans, loans.rows(1, nulls=False))
    status, text = refusal(client, loans.name, inputs, outputs=outputs("riches"))
    assert 400 <= status < 500
    assert "output" in text


def test_tensors_that_overlap_or_lack_bytes(loans, tensors):
    """A header that promises more bytes than follow, and one that leaves some over."""
    inputs = tensors(loans, loans.rows(2, nulls=False))
    body, length = triton.InferenceServerClient.generate_request_body(inputs)
    for wrong in (body[:-3], body + b"more"):
        connection = http.client.HTTPConnection(loans.host, loans.port, timeout=30)
        headers = {
            "inference-header-content-length": str(length),
            "content-type": "application/octet-stream",
        }
        connection.request("POST", f"/v2/models/{loans.name}/infer", wrong, headers)
        reply = connection.getresponse()
        text = json.loads(reply.read())["error"]
        connection.close()
        assert reply.status == 400
        assert isinstance(text, str)


def test_the_client_goes_on_after_a_refusal(client, loans, tensors):
    inputs = tensors(loans, loans.rows(1, nulls=False))
    refusal(client, loans.name, inputs[1:])
    assert client.infer(loans.name, inputs).as_numpy("score").shape == (1,)
