"""A model that the unmodified client registers: through the gate, behind an endpoint, in its account."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time

import mlflow as library
import numpy as np
import onnx
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

PYTHON = os.environ["TRIMTAB_CONFORMANCE_PYTHON"]
PROJECT = """
[project]
name = "loans"
owner = "a@example.org"
purpose = "approve"
[data.applications]
source = "rows.csv"
key = "id"
target = "repaid"
[model]
decide = "P(yes) >= 0.5"
[require]
roc_auc = { min = 0.8 }
"""
NUMBERS = ["income", "debt"]
WRITES_SKOPS = tuple(map(int, library.__version__.split(".")[:2])) >= (3, 10)


def rows():
    rng = np.random.default_rng(3)
    income, debt = rng.normal(50, 10, 500), rng.normal(5, 2, 500)
    score = income - 3 * debt + rng.normal(0, 3, 500)
    purpose = rng.choice(["car", "home"], 500)
    table = {"id": np.arange(500), "income": income, "debt": debt, "purpose": purpose}
    return pd.DataFrame({**table, "repaid": np.where(score > 35, "yes", "no")})


@pytest.fixture(scope="module")
def served(tmp_path_factory, serve):
    """A project with rows, and the address of its server."""
    folder = tmp_path_factory.mktemp("deploys")
    rows().to_csv(folder / "rows.csv", index=False)
    with serve(folder, text=PROJECT) as url:
        yield folder, url
        for one in command(folder, "endpoints", "ls")[1]["endpoints"]:
            command(folder, "down", one["name"])


def command(folder, *words):
    """The exit code of a command in a project, and its answer as JSON."""
    done = subprocess.run(
        [PYTHON, "-m", "trimtab", *words, "--json", "-C", str(folder)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def client(served, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    library.set_tracking_uri(served[1])
    library.set_registry_uri(served[1])
    library.set_experiment("deploys")
    yield library
    while library.active_run():
        library.end_run()


@pytest.fixture
def trimtab(served):
    return functools.partial(command, served[0])


@pytest.fixture
def name():
    return f"loans-{time.time_ns()}"


def log(flavor, model, table, name, **more):
    """Log and register; what it requires is said, since finding it out takes the client seconds."""
    with library.start_run() as run:
        flavor.log_model(
            model, name="model", registered_model_name=name,
            signature=infer_signature(table, pd.Series(["yes"])), pip_requirements=["numpy"], **more,
        )  # fmt: skip
    return run.info.run_id


def pipeline(table):
    words = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["purpose"]), remainder="passthrough"
    )
    taken = table[[*NUMBERS, "purpose"]]
    return taken, make_pipeline(words, LogisticRegression(max_iter=2000)).fit(
        taken, table["repaid"]
    )


def graph():
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["score"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [0.3, -0.9]),
            helper.make_tensor("b", TensorProto.FLOAT, [1], [-10.5]),
        ],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_a_registered_pipeline_is_deployed(client, trimtab, served, name):
    table = rows()
    taken, fitted = pipeline(table)
    how = {"serialization_format": "skops"} if WRITES_SKOPS else {}
    run = log(client.sklearn, fitted, taken, name, input_example=taken[:2], **how)
    client.MlflowClient().set_registered_model_alias(name, "champion", "1")
    code, found = trimtab("deploy", f"{name}@v1")
    assert (code, found["error"]["code"]) == (4, "not_found")
    assert f"{name}@mlflow-1" in found["error"]["hint"]
    asked = [f"{name}@mlflow-champion", *([] if WRITES_SKOPS else ["--allow-pickle"])]
    code, found = trimtab("deploy", *asked, "--port", "0")
    assert (code, found["version"]) == (0, f"{name}@v1")
    sent = {"dataframe_split": json.loads(taken[:20].to_json(orient="split"))}
    answer = requests.post(f"{found['url']}/invocations", json=sent, timeout=30).json()
    decided = [one["decision"] for one in answer["predictions"]]
    assert decided == fitted.predict(taken[:20]).tolist()
    _, shown = trimtab("models", "show", f"{name}@v1")
    origin = shown["version"]["meta"]["origin"]
    assert (origin["model"], origin["version"], origin["run"]) == (name, "1", run)
    assert origin["client"] == library.__version__
    again = client.pyfunc.load_model(f"models:/{name}@champion") if WRITES_SKOPS else None
    if again is not None:
        assert list(again.predict(taken[:20])) == decided
    trimtab("down", name)


def test_boosters_and_graphs_pass_the_gate(client, trimtab, name):
    import lightgbm
    import xgboost

    table = rows()
    taken, truth = table[NUMBERS], (table["repaid"] == "yes").astype(int)
    of_lightgbm = lightgbm.train(
        {"objective": "binary", "verbose": -1}, lightgbm.Dataset(taken, truth), 20
    )
    log(client.lightgbm, of_lightgbm, taken, name)
    log(client.xgboost, xgboost.XGBClassifier(n_estimators=20).fit(taken, truth), taken, name)
    log(client.onnx, graph(), taken.astype("float32"), name)
    onnx.checker.check_model(graph())
    for number, flavor in enumerate(("lightgbm, text", "xgboost, UBJSON", "onnx"), 1):
        code, decision = trimtab("gate", f"{name}@mlflow-{number}")
        assert code == 0, decision
        assert decision["version"]["number"] == number
        assert decision["version"]["meta"]["origin"]["flavor"] == flavor
        assert decision["version"]["meta"]["engine"] == "onnx"


def test_a_model_that_is_bad_is_refused(client, trimtab, name):
    table = rows()
    turned = table.assign(repaid=np.where(table["repaid"] == "yes", "no", "yes"))
    how = {"serialization_format": "skops"} if WRITES_SKOPS else {}
    fitted = LogisticRegression().fit(turned[NUMBERS], turned["repaid"])
    log(client.sklearn, fitted, table[NUMBERS], name, **how)
    asked = [f"{name}@mlflow-1", *([] if WRITES_SKOPS else ["--allow-pickle"])]
    code, decision = trimtab("gate", *asked)
    assert (code, decision["version"]) == (3, None)
    code, found = trimtab("deploy", *asked)
    assert code == 3
    assert "roc_auc >= 0.8" in found["error"]["message"]


def test_a_pickle_is_not_run(client, trimtab, served, name, tmp_path):
    table, mark = rows(), tmp_path / "sprung"
    fitted = LogisticRegression().fit(table[NUMBERS], table["repaid"])
    log(client.sklearn, fitted, table[NUMBERS], name, serialization_format="cloudpickle")
    where = client.MlflowClient().get_model_version_download_uri(name, "1").partition(":/")[2]
    trap = b"cos\nmkdir\n(S'" + str(mark).encode() + b"'\ntR."
    files = f"{served[1]}/api/2.0/mlflow-artifacts/artifacts/{where}"
    assert requests.put(f"{files}/model.pkl", data=trap, timeout=30).status_code == 200
    code, found = trimtab("gate", f"{name}@mlflow-1")
    assert (code, found["error"]["code"]) == (3, "refused")
    assert "--allow-pickle" in found["error"]["hint"]
    answer = requests.post(
        f"{served[1]}/api/v1/gate", json={"subject": f"{name}@mlflow-1"}, timeout=300
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused")
    code, found = trimtab("gate", f"{name}@mlflow-1", "--allow-pickle")
    assert code == 3
    assert "builds os.mkdir" in found["error"]["message"]
    assert not mark.exists()


def test_columns_of_another_project_are_refused(client, trimtab, name):
    table = rows().rename(columns={"income": "salary"})
    truth = (table["repaid"] == "yes").astype(int)
    import lightgbm

    taken = table[["salary", "debt"]]
    data = lightgbm.Dataset(taken, truth)
    log(
        client.lightgbm,
        lightgbm.train({"objective": "binary", "verbose": -1}, data, 3),
        taken,
        name,
    )
    code, found = trimtab("gate", f"{name}@mlflow-1")
    assert (code, found["error"]["code"]) == (1, "data")
    assert "'salary'" in found["error"]["message"]


def test_what_passed_is_in_the_registry_that_the_client_reads(client, trimtab, name):
    log(client.onnx, graph(), rows()[NUMBERS].astype("float32"), name)
    assert trimtab("gate", f"{name}@mlflow-1")[0] == 0
    time.sleep(1.1)
    asked, ours = client.MlflowClient(), f"trimtab.{name}"
    assert ours in [one.name for one in asked.search_registered_models()]
    found = asked.get_model_version_by_alias(ours, "champion")
    assert (found.version, found.tags["trimtab.version"]) == ("1", f"{name}@v1")
    loaded = client.onnx.load_model(f"models:/{ours}@champion")
    assert [one.name for one in loaded.graph.input] == ["numbers"]
    scores = client.pyfunc.load_model(f"models:/{ours}/1").predict(
        {"numbers": rows()[NUMBERS].to_numpy(np.float32)}
    )
    assert len(scores["score"]) == 500
    with pytest.raises(MlflowException, match="only read"):
        asked.delete_model_version(ours, "1")


def test_runs_of_others_are_seen_as_they_go(client, served):
    script = (
        "import trimtab\nwith trimtab.start_run('theirs', params={'d': 6}) as r: r.log({'a': 0.5})"
    )
    subprocess.run([PYTHON, "-c", script], cwd=served[0], check=True, timeout=120)
    time.sleep(1.1)
    found = client.search_runs(experiment_ids=["0"], filter_string="params.d = '6'")
    assert found["tags.mlflow.runName"].tolist() == ["theirs"]
    assert found["metrics.a"].tolist() == [0.5]
    assert found["status"].tolist() == ["FINISHED"]


def test_a_deleted_version_is_gone(client, trimtab, name):
    log(client.onnx, graph(), rows()[NUMBERS].astype("float32"), name)
    client.MlflowClient().delete_model_version(name, "1")
    code, found = trimtab("deploy", f"{name}@mlflow-1")
    assert (code, found["error"]["code"]) == (4, "not_found")
    with pytest.raises(MlflowException):
        client.MlflowClient().get_model_version(name, "1")
