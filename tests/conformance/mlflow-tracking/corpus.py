"""Requests to MLflow's protocol, and answers as what two servers must have in common.

`requests()` yields a method, a path and fields; names in braces stand for ids that earlier answers gave
(`{run0}`). `Replay` sends them to one server, `normal` takes ids, moments and invented names out.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import requests as http

API = "/api/2.0/mlflow/"
INF = float("inf")
Step = tuple[str, str, Any]


def steps() -> Iterator[Step]:
    """Every request, in order."""
    yield from _experiments()
    yield from _runs()
    yield from _metrics()
    yield from _searches()
    yield from _filters()
    yield from _orders()
    yield from _models()
    yield from _registry()
    yield from _ends()
    yield from _refused()


def _experiments() -> Iterator[Step]:
    for body in (
        {"name": "first"},
        {"name": "first"},
        {"name": ""},
        {},
        {"name": 5},
        {"name": "x" * 501},
        {"name": "tagged", "tags": [{"key": "team", "value": "risk"}]},
        {"name": "bad tag", "tags": [{"key": "../x", "value": "v"}]},
        {"name": "placed", "artifact_location": "mlflow-artifacts:/somewhere/else"},
        {"name": "hidden", "artifact_location": "mlflow-artifacts:/a#b"},
        {"name": "un known", "nothing": {"of": "this"}},
    ):
        yield "POST", "experiments/create", body
    for field in ({"experiment_id": "1"}, {"experiment_id": "0"}, {"experiment_id": "99"}, {}):
        yield "GET", "experiments/get", field
    yield "GET", "experiments/get", {"experiment_id": "abc"}
    for name in ("first", "none of this", ""):
        yield "GET", "experiments/get-by-name", {"experiment_name": name}
    yield "POST", "experiments/set-experiment-tag", {"experiment_id": "1", "key": "k", "value": "v"}
    yield "POST", "experiments/set-experiment-tag", {"experiment_id": "1", "key": "", "value": "v"}
    yield "POST", "experiments/delete-experiment-tag", {"experiment_id": "1", "key": "k"}
    yield "POST", "experiments/delete-experiment-tag", {"experiment_id": "1", "key": "k"}
    yield "POST", "experiments/update", {"experiment_id": "1", "new_name": "renamed"}
    yield "POST", "experiments/update", {"experiment_id": "1", "new_name": "tagged"}
    yield "POST", "experiments/delete", {"experiment_id": "3"}
    yield "POST", "experiments/delete", {"experiment_id": "3"}
    yield "GET", "experiments/get", {"experiment_id": "3"}
    yield "POST", "experiments/set-experiment-tag", {"experiment_id": "3", "key": "k", "value": "v"}
    yield "POST", "runs/create", {"experiment_id": "3"}
    yield "POST", "experiments/restore", {"experiment_id": "3"}
    yield "POST", "experiments/restore", {"experiment_id": "3"}
    for body in (
        {"max_results": 10},
        {"max_results": 2},
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": 50_001},
        {"max_results": 10, "filter": "name = 'renamed'"},
        {"max_results": 10, "filter": "name LIKE '%e%'", "order_by": ["name ASC"]},
        {"max_results": 10, "filter": "name ILIKE '%E%'", "order_by": ["name DESC"]},
        {"max_results": 10, "filter": "tags.team = 'risk'"},
        {"max_results": 10, "filter": "tags.team IS NULL", "order_by": ["name"]},
        {"max_results": 10, "filter": "tags.team IS NOT NULL"},
        {"max_results": 10, "filter": "attribute.creation_time > 5", "order_by": ["experiment_id"]},
        {"max_results": 10, "filter": "creation_time > 'x'"},
        {"max_results": 10, "filter": "nonsense = 'x'"},
        {"max_results": 10, "filter": "metrics.a > 1"},
        {"max_results": 10, "order_by": ["nonsense"]},
        {"max_results": 10, "order_by": ["tags.team"]},
        {"max_results": 10, "view_type": "ALL", "order_by": ["experiment_id ASC"]},
        {"max_results": 10, "view_type": "DELETED_ONLY"},
        {"max_results": 10, "page_token": "nonsense"},
    ):
        yield "POST", "experiments/search", body


def _runs() -> Iterator[Step]:
    for body in (
        {"experiment_id": "1", "start_time": 10, "run_name": "a", "user_id": "me"},
        {"experiment_id": "1", "start_time": 20, "tags": [{"key": "mlflow.runName", "value": "b"}]},
        {"experiment_id": "1", "start_time": "30", "run_name": "c"},
        {"experiment_id": "1", "start_time": 30, "run_name": "d"},
        {"experiment_id": "99", "run_name": "x"},
        {
            "experiment_id": "1",
            "run_name": "x",
            "tags": [{"key": "mlflow.runName", "value": "y"}],
        },
        {"experiment_id": "1", "run_name": 7},
        {"experiment_id": "1", "run_name": "x", "start_time": "soon"},
    ):
        yield "POST", "runs/create", body
    for field in ({"run_id": "{run0}"}, {"run_uuid": "{run0}"}, {"run_id": "0" * 32}, {}):
        yield "GET", "runs/get", field
    for key, value in (
        ("depth", "3"),
        ("depth", "3"),
        ("depth", "4"),
        ("", "x"),
        ("a/b", "x"),
        ("a//b", "x"),
        ("../up", "x"),
        ("/root", "x"),
        (".", "x"),
        ("k" * 250, "x"),
        ("k" * 251, "x"),
        ("größe", "x"),
        ("space and:colon", "x"),
        ("percent%", "x"),
        ("long", "v" * 6001),
        ("empty", ""),
        ("number", 5),
    ):
        yield "POST", "runs/log-parameter", {"run_id": "{run0}", "key": key, "value": value}
        yield "POST", "runs/set-tag", {"run_id": "{run0}", "key": key, "value": value}
    yield "POST", "runs/set-tag", {"run_id": "{run0}", "key": "long2", "value": "v" * 8001}
    yield "POST", "runs/delete-tag", {"run_id": "{run0}", "key": "long2"}
    yield "POST", "runs/delete-tag", {"run_id": "{run0}", "key": "long2"}
    yield "POST", "runs/set-tag", {"run_id": "{run0}", "key": "mlflow.runName", "value": "named"}
    yield "GET", "runs/get", {"run_id": "{run0}"}
    yield "POST", "runs/update", {"run_id": "{run0}", "run_name": "again"}
    yield "POST", "runs/update", {"run_id": "{run0}", "status": "FINISHED", "end_time": 99}
    yield "POST", "runs/update", {"run_id": "{run0}", "status": "RUNNING"}
    yield "POST", "runs/update", {"run_id": "{run0}", "status": 4}
    yield "POST", "runs/update", {"status": "FINISHED"}
    yield "GET", "runs/get", {"run_id": "{run0}"}
    yield "POST", "runs/delete", {"run_id": "{run3}"}
    yield "GET", "runs/get", {"run_id": "{run3}"}
    yield "POST", "runs/set-tag", {"run_id": "{run3}", "key": "k", "value": "v"}
    yield "POST", "runs/log-metric", {"run_id": "{run3}", "key": "k", "value": 1, "timestamp": 1}
    yield "POST", "runs/update", {"run_id": "{run3}", "status": "FINISHED"}
    yield "POST", "runs/restore", {"run_id": "{run3}"}
    yield "POST", "runs/restore", {"run_id": "{run3}"}


def _metrics() -> Iterator[Step]:
    run = {"run_id": "{run1}"}
    for value in (0.5, 1, True, "1.5", "NaN", "Infinity", "-Infinity", "abc", None):
        yield "POST", "runs/log-metric", {**run, "key": "v", "value": value, "timestamp": 5}
    for time in (7, "7", -1, None, "x", 9_007_199_254_740_993):
        yield "POST", "runs/log-metric", {**run, "key": "t", "value": 1, "timestamp": time}
    for step in (0, -3, "4", 2**63 - 1, -(2**63), "x"):
        body = {**run, "key": "s", "value": 1, "timestamp": 1, "step": step}
        yield "POST", "runs/log-metric", body
    for key in ("", "a b", "a/b", "a//b", "é", "x" * 251, "a%"):
        yield "POST", "runs/log-metric", {**run, "key": key, "value": 1, "timestamp": 1}
    for step, time, value in ((1, 10, 1.0), (1, 10, 1.0), (1, 10, 2.0), (0, 20, 9.0), (1, 5, 7.0)):
        body = {**run, "key": "h", "value": value, "timestamp": time, "step": step}
        yield "POST", "runs/log-metric", body
    for key in ("v", "t", "s", "h", "none"):
        yield "GET", "metrics/get-history", {**run, "metric_key": key}
    yield "GET", "metrics/get-history", {**run, "metric_key": "h", "max_results": "2"}
    yield "GET", "metrics/get-history", {**run, "metric_key": "h", "max_results": "0"}
    yield "GET", "metrics/get-history", run
    yield "GET", "metrics/get-history", {**run, "metric_key": "h", "page_token": "??"}
    yield "GET", "runs/get", run
    point = {"key": "m", "value": 1.5, "timestamp": 3, "step": 1}
    for body in (
        {
            "metrics": [point],
            "params": [{"key": "p", "value": "1"}],
            "tags": [{"key": "t", "value": "1"}],
        },
        {"metrics": [point]},
        {"params": [{"key": "p", "value": "2"}], "metrics": [{**point, "key": "unseen"}]},
        {"params": [{"key": "q", "value": "2"}, {"key": "q", "value": "2"}]},
        {"metrics": [{"key": "m"}]},
        {"metrics": [{"value": 1}]},
        {"metrics": [{**point, "timestamp": None}]},
        {"metrics": [point] * 1001},
        {"params": [{"key": f"p{n}", "value": "1"} for n in range(101)]},
        {"tags": [{"key": f"t{n}", "value": "1"} for n in range(101)]},
        {
            "metrics": [{**point, "step": n} for n in range(950)],
            "params": [{"key": f"p{n}", "value": "1"} for n in range(51)],
        },
        {"metrics": "none"},
        {},
        {"metrics": [{**point, "key": "x" * 251}]},
    ):
        yield "POST", "runs/log-batch", {**run, **body}
    yield "POST", "runs/log-batch", {"metrics": [point]}
    yield "GET", "runs/get", run


def _searches() -> Iterator[Step]:
    """Runs to search: with equal, missing and odd values."""
    dice = random.Random(7)
    for number in range(24):
        yield (
            "POST",
            "runs/create",
            {
                "experiment_id": "2",
                "start_time": 1000 + number,  # ids break ties, and those differ
                "run_name": f"s{number}",
                "user_id": f"u{number % 3}",
            },
        )
        metrics = [
            {"key": key, "value": value, "timestamp": 1, "step": 0}
            for key, value in (
                ("loss", dice.choice([0.1, 0.2, 0.3, "NaN", 5.0])),
                ("acc", dice.random()),
                ("rare", 1.0 if number % 5 == 0 else None),
                ("a b", float(number)),
                ("wide", dice.choice(["Infinity", "-Infinity", 0, "NaN"])),
            )
            if value is not None
        ]
        params = [{"key": "model", "value": dice.choice(["tree", "Tree", "linear", "a%b", "a_b"])}]
        params += [{"key": "lr", "value": f"{dice.choice([0.1, 0.01])}"}] if number % 3 else []
        tags = [{"key": "team", "value": dice.choice(["red", "blue"])}] if number % 4 else []
        tags += [{"key": "mlflow.source.name", "value": f"f{number % 2}.py"}]
        yield "POST", "runs/log-batch", {
            "run_id": f"{{run{4 + number}}}", "metrics": metrics, "params": params, "tags": tags,
        }  # fmt: skip
    yield "POST", "runs/update", {"run_id": "{run5}", "status": "FINISHED", "end_time": 2000}
    yield "POST", "runs/update", {"run_id": "{run6}", "status": "FAILED", "end_time": 1500}
    yield "POST", "runs/delete", {"run_id": "{run7}"}
    dataset = {"name": "loans", "digest": "d1", "source_type": "local", "source": "s"}
    context = [{"key": "mlflow.data.context", "value": "train"}]
    for run, name in (("{run8}", "loans"), ("{run9}", "other"), ("{run8}", "loans")):
        one = {"dataset": {**dataset, "name": name}, "tags": context}
        yield "POST", "runs/log-inputs", {"run_id": run, "datasets": [one]}
    longer = {"dataset": {**dataset, "digest": "d" * 37}}
    yield "POST", "runs/log-inputs", {"run_id": "{run8}", "datasets": [longer]}
    yield "GET", "runs/get", {"run_id": "{run8}"}


def _search(**fields: Any) -> Step:
    return "POST", "runs/search", {"experiment_ids": ["2"], **fields}


def _filters() -> Iterator[Step]:
    for text in (
        "metrics.loss > 0.1",
        "metric.loss<=0.2",
        "metrics.loss != 0.2",
        "metrics.loss = 5",
        "metrics.`a b` >= 20",
        'metrics."a b" < 3',
        "metrics.wide > 0",
        "metrics.wide < 0",
        "metrics.rare = 1 AND metrics.acc > 0.5",
        "metrics.rare = 1 and params.model = 'tree'",
        "params.model = 'tree'",
        'params.model = "tree"',
        "params.model != 'tree'",
        "params.model LIKE 'tr%'",
        "params.model LIKE 'T___'",
        "params.model ILIKE 'TREE'",
        "params.model ilike '%e%'",
        "params.model LIKE 'a%b'",
        "params.lr IS NULL",
        "params.lr IS NOT NULL AND tags.team = 'red'",
        "parameters.lr = '0.1'",
        "tags.team != 'red'",
        "tag.team = 'blue'",
        "tags.team IS NULL",
        "tags.mlflow.source.name = 'f0.py'",
        "tags.`mlflow.source.name` LIKE 'f%'",
        "attributes.status = 'FINISHED'",
        "status != 'RUNNING'",
        "attribute.start_time > 1005",
        "attr.start_time >= 1005.5",
        "created < 1003",
        "end_time < 1600",
        "run.run_name = 's3'",
        "run_name LIKE 's1%'",
        "attributes.user_id = 'u1'",
        "run_id IN ('{run5}', '{run6}')",
        "run_id NOT IN ('{run5}')",
        "run_id = '{run5}'",
        "artifact_uri LIKE '%{run5}%'",
        "dataset.name = 'loans'",
        "datasets.name LIKE 'l%'",
        "dataset.digest IN ('d1')",
        "dataset.context = 'train'",
        "  metrics.loss   >   0.1  ",
        "",
        # and what is no filter
        "metrics.loss > '0.1'",
        "metrics.loss LIKE '0.1'",
        "metrics.loss",
        "metrics.loss >",
        "> 5",
        "metrics.loss > 0.1 OR metrics.acc > 0.1",
        "(metrics.loss > 0.1)",
        "metrics.loss > 0.1 AND",
        "AND metrics.loss > 0.1",
        "metrics.loss > 0.1 metrics.acc > 0.2",
        "params.model = tree",
        "params.model > 'tree'",
        "params.model = 5",
        "params.model IN ('tree')",
        "tags.team IN ('red')",
        "nonsense.x = 'y'",
        "nonsense = 'y'",
        "status > 'RUNNING'",
        "status IN ('RUNNING')",
        "start_time = 'x'",
        "dataset.nonsense = 'x'",
        "metrics.loss IS NULL",
        "status IS NULL",
        "params.model = 'it''s'",
        "params.model = 'open",
        "metrics.`open > 1",
        "metrics.loss == 1",
        "metrics.loss > 0x10",
        "metrics.loss > 1e-1",
        "metrics.loss > -1",
        "metrics.loss > .05",
        "metrics.loss > NaN",
        "params.lr IS NOT",
        "run_id IN ()",
        "run_id IN ('a', 5)",
        "run_id IN 'a'",
        "; DROP TABLE runs",
        "params.model = 'x'; params.lr = 'y'",
        "metrics.loss > 0.1 -- a comment",
        "params.größe = 'x'",
    ):
        yield _search(filter=text, order_by=["run_name"])


def _orders() -> Iterator[Step]:
    for order in (
        ["metrics.loss"],
        ["metrics.loss DESC"],
        ["metrics.loss ASC", "metrics.acc DESC"],
        ["metrics.rare desc", "metrics.loss"],
        ["metrics.wide"],
        ["metrics.wide DESC"],
        ["metrics.none"],
        ["params.model", "params.lr DESC"],
        ["params.lr DESC"],
        ["tags.team", "attributes.run_name"],
        ["tag.`mlflow.source.name`"],
        ["start_time"],
        ["start_time ASC", "run_name DESC"],
        ["attributes.end_time"],
        ["end_time DESC"],
        ["status"],
        ["created DESC"],
        ["metrics.`a b` DESC"],
        ['metrics."a b"'],
        ["metrics.loss", "metrics.loss DESC"],
        ["metrics.loss SIDEWAYS"],
        ["metrics.loss ASC DESC"],
        ["nonsense"],
        ["nonsense.x"],
        [""],
        ["dataset.name"],
        [5],
        "metrics.loss",
    ):
        yield _search(order_by=order)
    for more in (
        {"max_results": 5},
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": 50_001},
        {"max_results": "3"},
        {"run_view_type": "ALL", "order_by": ["run_name"]},
        {"run_view_type": "DELETED_ONLY"},
        {"run_view_type": "NONSENSE"},
        {"page_token": "nonsense"},
        {"experiment_ids": []},
        {"experiment_ids": ["99"]},
        {"experiment_ids": ["x"]},
        {"experiment_ids": "2"},
        {"experiment_ids": ["1", "2"], "order_by": ["run_name"]},
    ):
        yield _search(**more)
    dice = random.Random(11)
    left = [
        "metrics.loss",
        "metrics.acc",
        "params.model",
        "params.lr",
        "tags.team",
        "status",
        "start_time",
    ]
    ops = ["=", "!=", ">", "<=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL", "IN", "NOT IN"]
    right = ["0.2", "'tree'", "'%e'", "1004", "('red')", "", '"RUNNING"']
    for _ in range(120):
        clauses = [
            f"{dice.choice(left)} {dice.choice(ops)} {dice.choice(right)}"
            for _ in range(dice.choice([1, 1, 2]))
        ]
        yield _search(filter=" AND ".join(clauses), order_by=["run_name"])


def _models() -> Iterator[Step]:
    for body in (
        {"experiment_id": "1", "name": "tree", "source_run_id": "{run0}", "model_type": "clf"},
        {"experiment_id": "1", "name": "line", "params": [{"key": "p", "value": "1"}]},
        {"experiment_id": "1", "name": "a/b"},
        {"experiment_id": "99", "name": "x"},
        {"name": "x"},
    ):
        yield "POST", "logged-models", body
    yield "GET", "logged-models/{model0}", {}
    yield "GET", "logged-models/m-none", {}
    yield (
        "PATCH",
        "logged-models/{model0}",
        {"model_id": "{model0}", "status": "LOGGED_MODEL_READY"},
    )
    yield "PATCH", "logged-models/{model0}/tags", {"tags": [{"key": "k", "value": "v"}]}
    yield "POST", "logged-models/{model0}/params", {
        "model_id": "{model0}", "params": [{"key": "d", "value": "3"}],
    }  # fmt: skip
    yield "DELETE", "logged-models/{model0}/tags/none", {}
    point = {"run_id": "{run0}", "key": "auc", "value": 0.7, "timestamp": 3, "model_id": "{model0}"}
    yield "POST", "runs/log-metric", point
    yield "POST", "runs/log-metric", {
        **point, "dataset_name": "d", "dataset_digest": "x", "value": 0.9, "timestamp": 4,
    }  # fmt: skip
    yield (
        "POST",
        "runs/outputs",
        {"run_id": "{run0}", "models": [{"model_id": "{model0}", "step": 2}]},
    )
    yield "POST", "runs/outputs", {"run_id": "{run0}", "models": []}
    yield "GET", "runs/get", {"run_id": "{run0}"}
    yield "GET", "logged-models/{model0}", {}
    for body in (
        {},
        {"filter": "name = 'tree'"},
        {"filter": "name LIKE 'l%'"},
        {"filter": "params.p = '1'"},
        {"filter": "tags.k = 'v'"},
        {"filter": "metrics.auc > 0.8"},
        {"filter": "metrics.auc > 0.95"},
        {"filter": "nonsense.x > 1"},
        {"filter": "name > 'x'"},
        {"order_by": [{"field_name": "name"}]},
        {"order_by": [{"field_name": "name", "ascending": False}]},
        {"order_by": [{"field_name": "metrics.auc", "ascending": False}]},
        {"order_by": [{"field_name": "creation_time"}]},
        {"order_by": [{"ascending": False}]},
        {"max_results": 1},
    ):
        yield "POST", "logged-models/search", {"experiment_ids": ["1"], **body}
    yield "POST", "logged-models/search", {}
    yield "DELETE", "logged-models/{model1}", {}
    yield "GET", "logged-models/{model1}", {}


def _registry() -> Iterator[Step]:
    for body in (
        {"name": "R", "description": "a model", "tags": [{"key": "k", "value": "v"}]},
        {"name": "R"},
        {"name": "S"},
        {"name": "a/b"},
        {"name": "a:b"},
        {"name": ""},
        {"name": ".."},
        {},
    ):
        yield "POST", "registered-models/create", body
    source = "mlflow-artifacts:/1/{run0}/artifacts/model"
    for body in (
        {"name": "R", "source": source, "run_id": "{run0}"},
        {"name": "R", "source": source, "run_id": "{run0}", "description": "second"},
        {"name": "R", "source": "models:/{model0}", "model_id": "{model0}"},
        {"name": "none", "source": source, "run_id": "{run0}"},
        {"name": "R"},
        {"source": source},
        {"name": "R", "source": "/etc/passwd"},
        {"name": "R", "source": "file:///etc", "run_id": "{run0}"},
        {"name": "R", "source": "mlflow-artifacts:/1/../../etc", "run_id": "{run0}"},
        {"name": "R", "source": "mlflow-artifacts:/1/%2e%2e/etc", "run_id": "{run0}"},
        {"name": "R", "source": "runs://host/{run0}/model", "run_id": "{run0}"},
        {"name": "R", "source": "models://host/R/1"},
    ):
        yield "POST", "model-versions/create", body
    one = {"name": "R", "version": "1"}
    for alias in ("champion", "latest", "v7", "bad alias", "", "a" * 256):
        yield "POST", "registered-models/alias", {**one, "alias": alias}
    yield "POST", "registered-models/alias", {"name": "R", "version": "9", "alias": "x"}
    for alias in ("champion", "none"):
        yield "GET", "registered-models/alias", {"name": "R", "alias": alias}
    for path in ("get", "get-download-uri"):
        yield "GET", f"model-versions/{path}", one
        yield "GET", f"model-versions/{path}", {"name": "R", "version": "9"}
        yield "GET", f"model-versions/{path}", {"name": "R", "version": "x"}
        yield "GET", f"model-versions/{path}", {"name": "R"}
    yield "POST", "model-versions/set-tag", {**one, "key": "mk", "value": "mv"}
    yield "PATCH", "model-versions/update", {**one, "description": "told"}
    for stage in ("Staging", "production", "None", "nonsense"):
        yield "POST", "model-versions/transition-stage", {**one, "stage": stage}
    body = {"name": "R", "version": "2", "stage": "Production", "archive_existing_versions": True}
    yield "POST", "model-versions/transition-stage", {**one, "stage": "Production"}
    yield "POST", "model-versions/transition-stage", body
    yield "POST", "model-versions/transition-stage", {**body, "stage": "None"}
    yield "GET", "model-versions/get", one
    yield "POST", "registered-models/get-latest-versions", {"name": "R"}
    yield "POST", "registered-models/get-latest-versions", {"name": "R", "stages": ["Production"]}
    yield "POST", "registered-models/get-latest-versions", {"name": "R", "stages": ["x"]}
    for fields in (
        {},
        {"filter": "name = 'R'"},
        {"filter": "name='R'", "order_by": ["version_number ASC"]},
        {"filter": "name='R'", "order_by": ["version_number DESC"], "max_results": "2"},
        {"filter": "run_id = '{run0}'", "order_by": ["version_number"]},
        {"filter": "run_id IN ('{run0}')", "order_by": ["version_number"]},
        {"filter": "version_number > 1", "order_by": ["version_number"]},
        {"filter": "source_path LIKE 'mlflow%'", "order_by": ["version_number"]},
        {"filter": "tags.mk = 'mv'"},
        {"filter": "nonsense = 'x'"},
        {"filter": "metrics.x = 1"},
        {"order_by": ["nonsense"]},
        {"max_results": "0"},
    ):
        yield "GET", "model-versions/search", fields
    for fields in (
        {},
        {"filter": "name LIKE 'R%'"},
        {"filter": "tags.k = 'v'"},
        {"filter": "tags.k != 'v'"},
        {"filter": "tags.`mlflow.prompt.is_prompt` != 'true'"},
        {"filter": "tags.`mlflow.prompt.is_prompt` = 'true'"},
        {"filter": "nonsense = 'x'"},
        {"order_by": ["name DESC"]},
        {"order_by": ["nonsense"]},
        {"max_results": "1"},
        {"max_results": "1001"},
        {"page_token": "nonsense"},
    ):
        yield "GET", "registered-models/search", fields
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    yield "POST", "registered-models/create", {"name": "P", "tags": prompt}
    yield "GET", "registered-models/search", {}
    yield "GET", "registered-models/search", {"filter": "tags.`mlflow.prompt.is_prompt` = 'true'"}
    yield "POST", "registered-models/rename", {"name": "R", "new_name": "S"}
    yield "POST", "registered-models/rename", {"name": "R", "new_name": "T"}
    yield "GET", "registered-models/get", {"name": "R"}
    yield "GET", "registered-models/get", {"name": "T"}
    yield "DELETE", "model-versions/delete", {"name": "T", "version": "1"}
    yield "GET", "registered-models/alias", {"name": "T", "alias": "champion"}
    yield "POST", "model-versions/create", {"name": "T", "source": source, "run_id": "{run0}"}
    yield "DELETE", "registered-models/delete-tag", {"name": "T", "key": "k"}
    yield "DELETE", "registered-models/delete-tag", {"name": "T", "key": "k"}
    yield "DELETE", "model-versions/delete", {"name": "T", "version": "9"}
    yield "DELETE", "registered-models/delete", {"name": "S"}
    yield "DELETE", "registered-models/delete", {"name": "S"}


def _ends() -> Iterator[Step]:
    yield "GET", "artifacts/list", {"run_id": "{run0}"}
    yield "GET", "artifacts/list", {"run_id": "{run0}", "path": "../x"}
    yield "GET", "artifacts/list", {"run_id": "{run0}", "path": "none"}
    for fields in (
        {"run_ids": ["{run1}"], "metric_key": "h"},
        {"run_ids": ["{run1}"], "metric_key": "h", "start_step": "1", "end_step": "1"},
        {"run_ids": ["{run1}"], "metric_key": "h", "start_step": "2", "end_step": "1"},
        {"run_ids": ["{run1}"], "metric_key": "h", "start_step": "2"},
        {"metric_key": "h"},
    ):
        yield "GET", "metrics/get-history-bulk-interval", fields


def _refused() -> Iterator[Step]:
    """What stock MLflow takes, fails on or stores wrongly: last, because it changes what is there."""
    located = {"name": "asked", "artifact_location": "mlflow-artifacts:/a?b=c"}
    yield "POST", "experiments/create", located
    yield "POST", "runs/create", {"experiment_id": "1", "run_name": "x", "tags": "none"}
    for broken in ({}, {"dataset": {"name": "x"}}):
        yield "POST", "runs/log-inputs", {"run_id": "{run8}", "datasets": [broken]}
    yield "POST", "runs/update", {"run_id": "{run0}", "status": "NONSENSE"}
    point = {"run_id": "{run0}", "key": "auc", "timestamp": 3, "model_id": "{model0}"}
    yield "POST", "runs/log-metric", {**point, "value": 0.8, "step": 5}
    yield "GET", "logged-models/{model0}", {}
    run = {"run_id": "{run1}", "key": "odd"}
    yield "POST", "runs/log-metric", {**run, "value": [1], "timestamp": 5}
    yield "POST", "runs/log-metric", {**run, "value": 1, "timestamp": 5, "step": 1.5}
    yield "POST", "runs/log-metric", {**run, "value": 1, "timestamp": 5.5}
    yield "POST", "runs/log-metric", {**run, "value": 1, "timestamp": 5, "step": 2**63}
    yield "POST", "runs/log-metric", {**run, "value": 1, "timestamp": 2**63 - 1}
    yield "POST", "runs/log-metric", {**run, "value": float("nan"), "timestamp": 5}
    yield "POST", "runs/log-metric", {**run, "value": INF, "timestamp": 6}
    yield "GET", "metrics/get-history", {"run_id": "{run1}", "metric_key": "odd"}


_IDS = {
    "run": ("runs/create", ("run", "info", "run_id")),
    "model": ("logged-models", ("model", "info", "model_id")),
}
_MOMENTS = re.compile(r"(creation|last_update|updated|creation_timestamp|last_updated).*")


class Replay:
    """A server that is asked; ids that it gives get names."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.names: dict[str, str] = {}
        self.counts = {kind: itertools.count() for kind in _IDS}
        self.session = http.Session()

    def __call__(self, step: Step) -> tuple[int, Any]:
        """Status and normal answer."""
        method, path, fields = step
        text = self._filled(json.dumps(fields))
        told = {"params": json.loads(text)} if method == "GET" else {"data": text}
        headers = {"Content-Type": "application/json"} if method != "GET" else {}
        url = f"{self.url}{API}{self._filled(path)}"
        reply = self.session.request(method, url, headers=headers, timeout=60, **told)
        try:
            body = reply.json()
        except ValueError:
            return reply.status_code, reply.text[:80]
        for kind, (made, where) in _IDS.items():
            if path == made and reply.status_code == 200:
                found: Any = body
                for name in where:
                    found = found[name]
                self.names[f"{{{kind}{next(self.counts[kind])}}}"] = found
        return reply.status_code, self._normal(body)

    def _filled(self, text: str) -> str:
        for name, found in self.names.items():
            text = text.replace(name, found)
        return text

    def _normal(self, body: Any) -> Any:
        if isinstance(body, dict):
            if "error_code" in body:
                return {"error_code": body["error_code"]}
            kept = {
                name: self._normal(value)
                for name, value in body.items()
                if not _MOMENTS.match(name)
            }
            if "next_page_token" in kept:  # opaque
                kept["next_page_token"] = bool(kept["next_page_token"])
            return kept
        if isinstance(body, list):
            found = [self._normal(one) for one in body]
            is_pairs = all(isinstance(one, dict) and "key" in one for one in found)
            is_pairs |= all(isinstance(one, dict) and "current_stage" in one for one in found)
            return (
                sorted(found, key=lambda one: json.dumps(one, sort_keys=True))
                if is_pairs
                else found
            )
        if isinstance(body, str):
            for name, found_id in self.names.items():
                body = body.replace(found_id, name)
        return body
