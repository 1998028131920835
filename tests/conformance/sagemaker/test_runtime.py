"""SageMaker's local runtime client, its health check and its batch transform, without Docker."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sagemaker.core.local.entities import (
    _LocalTransformJob,
    _perform_request,
    _wait_for_serving_container,
)
from sagemaker.core.local.local_session import LocalSagemakerRuntimeClient

ROWS = 12


@pytest.fixture
def client(loans) -> LocalSagemakerRuntimeClient:
    return LocalSagemakerRuntimeClient(config={"local": {"serving_port": loans.port}})


def invoke(client, body, kind, accept=None, **more):
    """Status, content type and body of an invocation."""
    answer = client.invoke_endpoint(body, "loans", kind, accept, **more)
    told = answer["ResponseMetadata"]
    return told["HTTPStatusCode"], answer["ContentType"], answer["Body"].read(), told["HTTPHeaders"]


def table(served, count=None, *, nulls=True, header=True):
    rows = pd.DataFrame(served.rows(count, nulls=nulls))
    return rows.to_csv(index=False, header=header)


def test_the_container_is_up(loans):
    _wait_for_serving_container(loans.port, timeout=6)


def test_a_ping_is_answered(loans):
    reply, code = _perform_request(f"{loans.url}/ping")
    assert code == 200
    assert len(reply.data) <= 1


def test_the_parameters_of_batch_transform(loans):
    reply, code = _perform_request(f"{loans.url}/execution-parameters")
    assert code == 200
    told = json.loads(reply.data)
    assert set(told) >= {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    assert told["BatchStrategy"] in ("MULTI_RECORD", "SINGLE_RECORD")
    assert told["MaxConcurrentTransforms"] >= 1
    assert 1 <= told["MaxPayloadInMB"] <= 100


def test_json(client, loans, same):
    body = json.dumps({"instances": loans.rows()})
    status, kind, reply, _ = invoke(client, body, "application/json", "application/json")
    assert (status, kind) == (200, "application/json")
    assert same(json.loads(reply)["predictions"], loans.answers())


def test_csv_in_and_out_has_a_line_a_record(client, loans, same):
    status, kind, reply, _ = invoke(client, table(loans), "text/csv", "text/csv")
    assert status == 200
    assert kind.startswith("text/csv")
    told = pd.read_csv(io.BytesIO(reply), header=None)
    answers = loans.answers()
    assert len(told) == len(answers)
    assert holds(told, answers, same)


def test_csv_without_a_header_follows_the_signature(client, loans, same):
    body = table(loans, header=False)
    status, _, reply, _ = invoke(client, body, "text/csv", "text/csv")
    assert status == 200
    told = pd.read_csv(io.BytesIO(reply), header=None)
    assert len(told) == len(loans.answers())
    assert holds(told, loans.answers(), same)


def test_without_accept_csv_is_answered_in_a_type_that_is_named(client, loans):
    status, kind, reply, _ = invoke(client, table(loans, 3), "text/csv")
    assert status == 200
    assert reply
    assert kind.partition(";")[0] in ("text/csv", "application/json")


def test_json_in_csv_out(client, loans, same):
    body = json.dumps({"instances": loans.rows(ROWS)})
    status, kind, reply, _ = invoke(client, body, "application/json", "text/csv")
    assert status == 200
    assert kind.startswith("text/csv")
    told = pd.read_csv(io.BytesIO(reply), header=None)
    assert holds(told, loans.answers(ROWS), same)


def test_the_attributes_of_a_caller_do_no_harm(client, loans, same):
    body = json.dumps({"instances": loans.rows(ROWS)})
    status, _, reply, _ = invoke(
        client,
        body,
        "application/json",
        CustomAttributes="trace=1",
        TargetVariant="one",
        InferenceId="inference-7",
    )
    assert status == 200
    assert same(json.loads(reply)["predictions"], loans.answers(ROWS))


@pytest.mark.parametrize("body", ["{", "income\n1,2,3\n"])
def test_a_bad_body_is_a_readable_4xx(client, body):
    kind = "application/json" if body == "{" else "text/csv"
    status, _, reply, _ = invoke(client, body, kind)
    assert 400 <= status < 500
    assert b"Traceback" not in reply
    assert reply


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
def test_a_batch_transform_joins_input_and_output_line_by_line(loans, same, tmp_path, strategy):
    """The client's transform job, all but the container that it would start."""
    given, made = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    made.mkdir()
    (given / "rows.csv").write_text(table(loans, header=False))
    job = transform(loans, tmp_path)
    job._perform_batch_inference(
        {
            "DataSource": {"S3DataSource": {"S3Uri": f"file://{given}"}},
            "SplitType": "Line",
            "ContentType": "text/csv",
        },
        {"S3OutputPath": f"file://{made}", "Accept": "text/csv"},
        BatchStrategy=strategy,
        MaxPayloadInMB=1,
    )
    told = pd.read_csv(made / "rows.csv.out", header=None)
    assert len(told) == len(loans.rows())
    assert holds(told, loans.answers(), same)


def transform(served, folder: Path) -> _LocalTransformJob:
    session = SimpleNamespace(
        config={"local": {"serving_port": served.port, "container_root": str(folder)}},
        sagemaker_client=SimpleNamespace(describe_model=lambda name: {"PrimaryContainer": {}}),
        sagemaker_runtime_client=LocalSagemakerRuntimeClient(
            config={"local": {"serving_port": served.port}}
        ),
    )
    job = _LocalTransformJob("job", "loans", session)
    job.container = SimpleNamespace(stop_serving=lambda: None)
    return job


def holds(told, answers, same):
    """Some column of the reply has the decisions, another one the scores."""
    decisions = [answer["decision"] for answer in answers]
    scores = [answer["score"] for answer in answers]
    columns = [told[name] for name in told]
    assert any(list(column) == decisions for column in columns), told.head()
    numbers = [column for column in columns if pd.api.types.is_float_dtype(column)]
    assert any(same(column.tolist(), scores) for column in numbers), told.head()
    return True
