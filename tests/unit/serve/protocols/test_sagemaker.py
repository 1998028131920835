import io

import msgspec
import numpy as np
import pytest

from trimtab.errors import UsageError
from trimtab.serve.protocols.sagemaker import (
    ATTRIBUTES,
    INFERENCE_ID,
    Invocations,
    execution_parameters,
)

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}
CSV = b"10,1,true,car,n\n,-5,,home,\n"
NAMED = b"income,debt,owner,purpose,region\n" + CSV
OUTSIDE = Invocations({})
INSIDE = Invocations({"SAGEMAKER_BATCH": "true"})


def test_csv_gives_one_line_per_record_without_a_header(speak):
    response = speak(OUTSIDE, CSV, {"content-type": "text/csv"})
    assert response.content_type == "text/csv"
    lines = response.body.decode().split("\n")
    assert [line.split(",")[:2] for line in lines] == [["p0", "yes"], ["p1", "no"], [""]]


@pytest.mark.parametrize(
    ("contract", "headers", "content_type"),
    [
        (OUTSIDE, {}, "application/json"),
        (OUTSIDE, {"accept": "text/csv"}, "text/csv"),
        (OUTSIDE, {"x-amzn-sagemaker-target-variant": "one"}, "text/csv"),
        (INSIDE, {}, "text/csv"),
        (INSIDE, {"accept": "*/*"}, "text/csv"),
        (INSIDE, {"accept": "application/json"}, "application/json"),
        (Invocations({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"}), {}, "text/csv"),
        (
            Invocations({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/x-npy"}),
            {},
            "application/x-npy",
        ),
    ],
)
def test_csv_with_a_header_is_answered_by_who_asks(contract, headers, content_type, speak):
    response = speak(contract, NAMED, {"content-type": "text/csv", **headers})
    assert response.content_type == content_type
    if content_type == "text/csv":
        assert len(response.body.decode().splitlines()) == 2


def test_json_stays_json_unless_the_default_is_another(speak):
    assert speak(INSIDE, {"rows": [ROW]}).content_type == "application/json"
    default = Invocations({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"})
    assert speak(default, {"rows": [ROW]}).content_type == "text/csv"


def test_arrays_give_decisions(speak):
    response = speak(OUTSIDE, {"rows": [ROW]}, {"accept": "application/x-npy"})
    assert np.load(io.BytesIO(response.body)).tolist() == ["yes"]


def test_the_inference_id_becomes_the_prediction_id(speak):
    headers = {INFERENCE_ID: "case-7"}
    one = msgspec.json.decode(speak(OUTSIDE, {"rows": [ROW]}, headers).body)
    assert [x["id"] for x in one["predictions"]] == ["case-7"]
    two = msgspec.json.decode(speak(OUTSIDE, {"rows": [ROW, ROW]}, headers).body)
    assert [x["id"] for x in two["predictions"]] == ["case-7:0", "case-7:1"]
    own = msgspec.json.decode(speak(OUTSIDE, {"rows": [ROW], "ids": ["a"]}, headers).body)
    assert [x["id"] for x in own["predictions"]] == ["a"]
    assert speak(OUTSIDE, {"rows": [ROW]}, {INFERENCE_ID: "x" * 201}).status == 400


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("", "x-request-id=r1,x-model-version=loans@v1"),
        ("trace=é,7", "trace=?,7,x-request-id=r1,x-model-version=loans@v1"),
        ("t" * 1024, "t" * 1024),
        ("t" * 2000, "t" * 1024),
        ("a\r\nb", "a??b,x-request-id=r1,x-model-version=loans@v1"),
    ],
)
def test_custom_attributes_come_back_with_request_and_version(sent, expected, speak):
    response = speak(OUTSIDE, {"rows": [ROW]}, {ATTRIBUTES: sent})
    assert response.headers[ATTRIBUTES] == expected


def test_strangers_get_no_custom_attributes(speak):
    assert ATTRIBUTES not in speak(OUTSIDE, {"rows": [ROW]}).headers
    assert ATTRIBUTES in speak(INSIDE, {"rows": [ROW]}).headers


def test_execution_parameters_follow_the_environment():
    found = execution_parameters({})
    assert found["BatchStrategy"] == "MULTI_RECORD"
    assert found["MaxPayloadInMB"] == 1
    assert 1 <= found["MaxConcurrentTransforms"] <= 8
    environment = {
        "SAGEMAKER_BATCH_STRATEGY": "SingleRecord",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "3",
    }
    assert execution_parameters(environment) == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 6,
    }
    with pytest.raises(UsageError, match="SAGEMAKER_MAX_PAYLOAD_IN_MB"):
        execution_parameters({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "six"})
