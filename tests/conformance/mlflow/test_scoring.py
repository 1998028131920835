"""MLflow's scoring client, and the bodies that its scoring server takes."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.deployments import PredictionsResponse
from mlflow.models.utils import convert_input_example_to_serving_input
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def client(loans) -> ScoringServerClient:
    made = ScoringServerClient(loans.host, loans.port)
    made.wait_server_ready(timeout=10)
    return made


@pytest.fixture
def whole(loans) -> pd.DataFrame:
    """Rows without nulls, with the datatypes that pandas itself gives them."""
    return pd.DataFrame(loans.rows(nulls=False))


def send(served, body, kind=JSON, **headers):
    data = json.dumps(body) if isinstance(body, (dict, list)) else body
    return requests.post(
        f"{served.url}/invocations", data, headers={"Content-Type": kind} | headers, timeout=30
    )


def agree(predictions, answers, same):
    """Predictions are a table, whose columns have the estimator's answers."""
    assert same(predictions.to_dict("records"), answers)
    return True


def read(reply):
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith(JSON)
    return PredictionsResponse.from_json(reply.text).get_predictions()


def test_ping_and_version(client):
    client.ping()
    version = client.get_version()
    assert version
    assert not version.startswith(("{", '"'))


def test_health_is_ping(loans):
    for path in ("/ping", "/health"):
        assert requests.get(loans.url + path, timeout=30).status_code == 200


def test_a_data_frame(client, whole, loans, same):
    predictions = client.invoke(whole).get_predictions()
    assert agree(predictions, loans.answers(nulls=False), same)


def test_a_data_frame_with_an_index_of_its_own(client, whole, loans, same):
    whole.index = [f"row {place}" for place in range(len(whole))]
    predictions = client.invoke(whole).get_predictions()
    assert agree(predictions, loans.answers(nulls=False), same)


def test_a_data_frame_with_columns_in_another_order(client, whole, loans, same):
    predictions = client.invoke(whole[whole.columns[::-1]]).get_predictions()
    assert agree(predictions, loans.answers(nulls=False), same)


def test_a_data_frame_with_missing_cells(client, loans, same):
    """The client writes them as NaN, which only Python takes for JSON; MLflow's server is Python."""
    predictions = client.invoke(pd.DataFrame(loans.rows())).get_predictions()
    assert agree(predictions, loans.answers(), same)


def test_what_mlflow_itself_makes_of_an_example(whole, loans, same):
    """The payload that `validate_serving_input` sends."""
    body = convert_input_example_to_serving_input(whole.head(5))
    assert agree(read(send(loans, body)), loans.answers(5, nulls=False), same)


def shapes(served):
    rows = served.rows()
    names = list(served.columns)
    return {
        "dataframe_split": {"columns": names, "data": [list(row.values()) for row in rows]},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": {name: [row[name] for row in rows] for name in names},
    }


@pytest.mark.parametrize("shape", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_the_four_shapes(loans, same, shape):
    reply = send(loans, {shape: shapes(loans)[shape]})
    assert agree(read(reply), loans.answers(), same)


def test_a_split_without_columns_follows_the_signature(loans, same):
    body = {"dataframe_split": {"data": [list(row.values()) for row in loans.rows(5)]}}
    assert agree(read(send(loans, body)), loans.answers(5), same)


def test_a_split_with_an_index(loans, same):
    split = shapes(loans)["dataframe_split"] | {"index": list(range(len(loans.rows())))}
    assert agree(read(send(loans, {"dataframe_split": split})), loans.answers(), same)


def test_parameters_beside_the_rows(loans, same):
    body = {"dataframe_records": loans.rows(5), "params": {}}
    assert agree(read(send(loans, body)), loans.answers(5), same)


@pytest.mark.parametrize("kind", [JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=UTF-8"])
def test_json_may_say_its_charset(loans, same, kind):
    reply = send(loans, {"dataframe_records": loans.rows(5)}, kind)
    assert agree(read(reply), loans.answers(5), same)


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8"])
def test_csv_with_a_header(whole, loans, same, kind):
    reply = send(loans, whole.to_csv(index=False).encode(), kind)
    assert agree(read(reply), loans.answers(nulls=False), same)


def test_csv_with_missing_cells(loans, same):
    body = pd.DataFrame(loans.rows()).to_csv(index=False)
    assert agree(read(send(loans, body.encode(), "text/csv")), loans.answers(), same)


def test_csv_with_quoted_cells(whole, loans, same):
    body = whole.head(5).to_csv(index=False, quoting=1, lineterminator="\r\n")
    reply = send(loans, body.encode(), "text/csv")
    assert agree(read(reply), loans.answers(5, nulls=False), same)


def test_parquet(loans, same):
    stored = io.BytesIO()
    pd.DataFrame(loans.rows()).to_parquet(stored)
    assert agree(read(send(loans, stored.getvalue(), PARQUET)), loans.answers(), same)


def test_parquet_of_other_numbers(whole, loans, same):
    narrow = whole.astype({"income": np.float32, "debt": np.float64, "years": np.int8})
    stored = io.BytesIO()
    narrow.to_parquet(stored, compression="zstd")
    reply = send(loans, stored.getvalue(), PARQUET)
    assert agree(read(reply), loans.answers(nulls=False), same)


@pytest.mark.parametrize(
    "kind",
    ["text/html", "application/pickle", f"{JSON}; charset=latin-1", "text/csv; delimiter=tab"],
)
def test_other_types_are_415(loans, kind):
    """MLflow's server says why in plain text; an endpoint's errors are JSON everywhere."""
    reply = send(loans, {"dataframe_records": loans.rows(1)}, kind)
    assert reply.status_code == 415
    assert reply.headers["content-type"].startswith(JSON)
    told = reply.json()
    assert told["error_code"] == "BAD_REQUEST"
    assert told["message"]


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        {"rows_of_another_kind": []},
        {"dataframe_records": [], "inputs": {}},
        {"dataframe_split": {"columns": ["income"], "data": [[1.0]], "more": 1}},
        {"dataframe_split": {"columns": ["income"], "data": [[1.0]]}},
        {"dataframe_records": [{"income": 1.0}]},
        {"instances": [{"income": 1.0}, {"debt": 1.0}]},
        {"inputs": {"income": [1.0], "debt": [1.0, 2.0]}},
    ],
    ids=lambda body: str(body)[:40],
)
def test_bad_bodies_are_400_with_a_code_and_a_message(loans, body):
    reply = send(loans, body)
    assert reply.status_code == 400, reply.text
    told = reply.json()
    assert isinstance(told["error_code"], str)
    assert isinstance(told["message"], str)
    assert "Traceback" not in reply.text


def test_the_client_says_why(client, whole):
    with pytest.raises(Exception, match=r"error code 400.*debt"):
        client.invoke(whole.drop(columns="debt"))


def test_a_bad_cell_is_named_and_not_repeated(client, whole):
    spoilt = whole.astype({"debt": object})
    spoilt.loc[2, "debt"] = "a secret"
    with pytest.raises(Exception, match=r"error code 400.*debt") as refused:
        client.invoke(spoilt)
    assert "a secret" not in str(refused.value)
