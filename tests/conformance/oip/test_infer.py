"""tritonclient asks for predictions: JSON and binary tensors in and out, compressed, in versions."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.http import aio

ROWS = 12


def agree(result, answers, same):
    got = {"score": result.as_numpy("score"), "decision": result.as_numpy("decision")}
    # JSON strings come as str, binary ones as bytes.
    words = [x.decode() if isinstance(x, bytes) else x for x in got["decision"].tolist()]
    assert words == [answer["decision"] for answer in answers]
    assert same(got["score"].tolist(), [answer["score"] for answer in answers])
    return True


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
def test_tensors_in_and_out(client, loans, tensors, outputs, same, binary_in, binary_out):
    rows = loans.rows(ROWS, nulls=False)
    result = client.infer(
        loans.name,
        tensors(loans, rows, binary=binary_in),
        outputs=outputs("score", "decision", binary=binary_out),
        request_id="a-17",
    )
    assert agree(result, loans.answers(ROWS, nulls=False), same)
    told = result.get_response()
    assert told["model_name"] == loans.name
    assert told["model_version"]
    assert told["id"] == "a-17"
    assert [tensor["name"] for tensor in told["outputs"]] == ["score", "decision"]
    assert [tensor["datatype"] for tensor in told["outputs"]] == ["FP32", "BYTES"]
    for tensor in told["outputs"]:
        assert ("data" in tensor) != binary_out
        assert ("binary_data_size" in tensor.get("parameters", {})) == binary_out


def test_no_outputs_means_all_in_binary(client, loans, tensors, same):
    rows = loans.rows(ROWS, nulls=False)
    result = client.infer(loans.name, tensors(loans, rows))
    assert agree(result, loans.answers(ROWS, nulls=False), same)
    told = result.get_response()["outputs"]
    assert {tensor["name"] for tensor in told} == {"score", "decision", "prediction_id"}
    assert all(tensor["parameters"]["binary_data_size"] > 0 for tensor in told)
    ids = result.as_numpy("prediction_id").tolist()
    assert len(set(ids)) == ROWS


def test_one_output_alone(client, loans, tensors, outputs, same):
    result = client.infer(
        loans.name,
        tensors(loans, loans.rows(3, nulls=False)),
        outputs=outputs("decision"),
    )
    assert [tensor["name"] for tensor in result.get_response()["outputs"]] == ["decision"]
    assert result.as_numpy("score") is None


def test_an_output_of_each_form_in_one_reply(client, loans, tensors, outputs, same):
    mixed = outputs("score", binary=True) + outputs("decision", binary=False)
    result = client.infer(loans.name, tensors(loans, loans.rows(ROWS, nulls=False)), outputs=mixed)
    assert agree(result, loans.answers(ROWS, nulls=False), same)
    score, decision = result.get_response()["outputs"]
    assert "data" not in score
    assert "data" in decision


def test_an_input_of_each_form_in_one_request(client, loans, tensors, same):
    rows = loans.rows(ROWS, nulls=False)
    binary, plain = tensors(loans, rows, binary=True), tensors(loans, rows, binary=False)
    mixed = [(binary, plain)[place % 2][place] for place in range(len(binary))]
    assert agree(client.infer(loans.name, mixed), loans.answers(ROWS, nulls=False), same)


def test_the_order_of_the_inputs_is_free(client, loans, tensors, same):
    turned = tensors(loans, loans.rows(ROWS, nulls=False))[::-1]
    assert agree(client.infer(loans.name, turned), loans.answers(ROWS, nulls=False), same)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_columns_of_shape_n_by_1(client, loans, tensors, same, binary):
    column = tensors(loans, loans.rows(ROWS, nulls=False), binary=binary, flat=False)
    assert agree(client.infer(loans.name, column), loans.answers(ROWS, nulls=False), same)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_numbers_of_other_datatypes(client, loans, tensors, same, binary):
    rows = loans.rows(ROWS, nulls=False)
    wide = tensors(loans, rows, binary=binary, income="FP64", debt="FP64", years="INT64")
    assert agree(client.infer(loans.name, wide), loans.answers(ROWS, nulls=False), same)


@pytest.mark.parametrize("response", [None, "gzip", "deflate"])
@pytest.mark.parametrize("request_", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_compressed_bodies(client, loans, tensors, outputs, same, binary, request_, response):
    result = client.infer(
        loans.name,
        tensors(loans, loans.rows(nulls=False), binary=binary),
        outputs=outputs("score", "decision", "prediction_id", binary=binary),
        request_compression_algorithm=request_,
        response_compression_algorithm=response,
    )
    assert agree(result, loans.answers(nulls=False), same)


@pytest.mark.parametrize(
    ("coding", "inflate"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_a_long_reply_really_is_compressed(loans, tensors, outputs, coding, inflate):
    body, _ = triton.InferenceServerClient.generate_request_body(
        tensors(loans, loans.rows(nulls=False), binary=False),
        outputs=outputs("score", "decision", "prediction_id", binary=False),
    )
    connection = http.client.HTTPConnection(loans.host, loans.port, timeout=30)
    connection.request("POST", f"/v2/models/{loans.name}/infer", body, {"accept-encoding": coding})
    reply = connection.getresponse()
    raw = reply.read()
    connection.close()
    assert reply.status == 200
    assert reply.headers["content-encoding"] == coding
    assert reply.headers["content-type"] == "application/json"
    assert len(json.loads(inflate(raw))["outputs"]) == 3


def test_a_named_version_answers_for_itself(client, loans, tensors, same):
    rows = tensors(loans, loans.rows(nulls=False))
    versions = client.get_model_metadata(loans.name)["versions"]
    for version, label in zip(versions, loans.labels, strict=True):
        result = client.infer(loans.name, rows, model_version=version)
        assert agree(result, loans.answers(nulls=False, label=label), same)
        assert result.get_response()["model_version"] == version


def test_many_at_once_get_each_their_own(client, loans, tensors, same):
    rows, answers = loans.rows(nulls=False), loans.answers(nulls=False)
    waiting = [client.async_infer(loans.name, tensors(loans, [row])) for row in rows]
    for one, answer in zip(waiting, answers, strict=True):
        assert agree(one.get_result(), [answer], same)


def test_the_asyncio_client(loans, tensors, same):
    rows, answers = loans.rows(ROWS, nulls=False), loans.answers(ROWS, nulls=False)

    async def ask():
        async with aio.InferenceServerClient(loans.address) as client:
            assert await client.is_server_ready()
            calls = (client.infer(loans.name, tensors(loans, [row])) for row in rows)
            return await asyncio.gather(*calls)

    for result, answer in zip(asyncio.run(ask()), answers, strict=True):
        assert agree(result, [answer], same)


def test_parameters_of_the_caller_do_no_harm(client, loans, tensors, same):
    result = client.infer(
        loans.name,
        tensors(loans, loans.rows(ROWS, nulls=False)),
        priority=1,
        timeout=5_000_000,
        parameters={"caller": "a test"},
    )
    assert agree(result, loans.answers(ROWS, nulls=False), same)


def test_the_likeliest_classes_instead_of_scores(client, loans, tensors, same):
    """The classification extension: VALUE:INDEX:LABEL, the likeliest first."""
    rows, answers = loans.rows(ROWS, nulls=False), loans.answers(ROWS, nulls=False)
    asked = [triton.InferRequestedOutput("score", class_count=2)]
    result = client.infer(loans.name, tensors(loans, rows), outputs=asked)
    likeliest = result.as_numpy("score")
    assert likeliest.shape == (ROWS, 2)
    classes = loans.expected["classes"]
    for (first, second), answer in zip(likeliest.tolist(), answers, strict=True):
        value, index, label = first.decode().split(":")
        chance = answer["score"] if label == "yes" else 1 - answer["score"]
        assert same(float(value), chance)
        assert label == classes[int(index)] == answer["decision"]
        assert float(second.decode().split(":")[0]) <= float(value)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_multiclass_model(start, tensors, outputs, same, binary):
    with start("grades") as grades:
        client = triton.InferenceServerClient(grades.address)
        told = {x["name"]: x for x in client.get_model_metadata(grades.name)["outputs"]}
        assert told["scores"]["shape"] == [-1, len(grades.expected["classes"])]
        result = client.infer(
            grades.name,
            tensors(grades, grades.rows(ROWS, nulls=False), binary=binary),
            outputs=outputs("scores", "decision", binary=binary),
        )
        client.close()
        answers = grades.answers(ROWS, nulls=False)
        assert result.as_numpy("decision").dtype == np.int64
        assert result.as_numpy("decision").tolist() == [x["decision"] for x in answers]
        assert same(result.as_numpy("scores").tolist(), [x["scores"] for x in answers])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_regression(start, tensors, outputs, same, binary):
    with start("losses") as losses:
        client = triton.InferenceServerClient(losses.address)
        result = client.infer(
            losses.name,
            tensors(losses, losses.rows(ROWS, nulls=False), binary=binary),
            outputs=outputs("value", binary=binary),
        )
        client.close()
        expected = [answer["value"] for answer in losses.answers(ROWS, nulls=False)]
        assert same(result.as_numpy("value").tolist(), expected)
