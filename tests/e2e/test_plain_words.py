"""Bad input, as people meet it: what happened, to which thing, what to do next; nothing is lost."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys

import polars as pl
import pytest

TOML = """[project]
name = "fruit"
[data.fruit]
source = "fruit.csv"
target = "ripe"
[require]
roc_auc = { min = 0.6 }
"""
PIPELINE = '''"""Is it ripe?"""

import os

import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab import Candidate, Dataset, flow, search, step


@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw


def estimator(strength: float = 1.0):
    prepare = make_column_transformer(
        (SimpleImputer(), ["weight"]), (OneHotEncoder(handle_unknown="ignore"), ["colour"])
    )
    return make_pipeline(prepare, LogisticRegression(C=strength))


@flow
def train(fruit: Dataset) -> Candidate:
    return search(estimator, clean(fruit), space={"strength": (0.1, 10.0)}, trials=3, cv=3)
'''


@pytest.fixture
def fruit(shell):
    """A small project that has not run yet."""
    (shell.folder / "trimtab.toml").write_text(TOML)
    (shell.folder / "pipeline.py").write_text(PIPELINE)
    table().write_csv(shell.folder / "fruit.csv")
    return shell


def table(rows=400):
    weight = [100 + (i * 37) % 90 for i in range(rows)]
    return pl.DataFrame(
        {
            "weight": [None if i % 29 == 0 else float(w) for i, w in enumerate(weight)],
            "colour": [["green", "red", "yellow"][i % 3] for i in range(rows)],
            "ripe": [w + 40 * (i % 3) + (i * 13) % 50 > 190 for i, w in enumerate(weight)],
        }
    )


def test_an_unknown_key_gets_the_nearest(fruit):
    (fruit.folder / "trimtab.toml").write_text(TOML.replace("source", "sorce"))
    ended = fruit("run", code=2)
    assert "did you mean 'source'" in ended.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.rename({"ripe": "ready"}), "ripe"),
        (lambda t: t.with_columns(ripe=pl.lit(True)), "only the value True"),
        (lambda t: t.head(0), "fruit.csv"),
    ],
)
def test_a_table_that_cannot_be_learned_from(fruit, change, words):
    change(table()).write_csv(fruit.folder / "fruit.csv")
    ended = fruit("run", "--json", code=1)
    assert words in ended.body["error"]["message"]
    assert "Traceback" not in ended.err


def test_a_broken_row_is_named_and_the_batch_is_kept(fruit):
    fruit("data", "add", "fruit")
    with (fruit.folder / "fruit.csv").open("a") as file:
        file.write("1,2,3,4,5,6\n")
    ended = fruit("data", "add", "fruit", code=1)
    assert "line 402" in ended.err
    assert list((fruit.folder / ".trimtab" / "quarantine" / "fruit").iterdir())
    assert len(fruit("data", "ls", "--json").body["versions"]) == 1


def test_a_step_that_fails_names_itself_and_the_line(fruit):
    (fruit.folder / "pipeline.py").write_text(PIPELINE.replace("return raw", 'return raw["nope"]'))
    ended = fruit("run", code=1)
    assert "clean" in ended.err
    assert "line" in ended.err


def test_two_runs_at_once_share_their_work(fruit):
    command = [sys.executable, "-m", "trimtab", "run", "--json"]
    both = [
        subprocess.Popen(command, cwd=fruit.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for one in both:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, err.decode()
        assert json.loads(out)["decision"]["version"]["number"] == 1
    listed = fruit("runs", "ls", "--kind", "trial", "--json").body["runs"]
    assert len([one for one in listed if one["status"] == "done"]) == 3


def test_a_port_in_use_and_requests_that_break_the_signature(fruit):
    fruit("run")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = fruit("deploy", "--port", port, code=5)
        assert f"port {port} is in use" in ended.err
    url = fruit("deploy", "--json").body["url"]
    host, _, port = url.removeprefix("http://").partition(":")
    good = {"weight": 150, "colour": "red"}

    def ask(body):
        client = http.client.HTTPConnection(host, int(port), timeout=30)
        client.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = client.getresponse()
        said = json.loads(answer.read())
        client.close()
        return answer.status, said

    status, said = ask(json.dumps({"rows": [good, {**good, "weight": "heavy"}]}))
    assert (status, said["error"]["row"], said["error"]["column"]) == (422, 1, "weight")
    status, said = ask(json.dumps({"row": {**good, "color": "red"}}))
    assert status == 422
    assert "colour" in json.dumps(said["error"])
    for broken in ("NaN", "Infinity", "1e999"):
        status, said = ask(f'{{"row": {{"weight": {broken}, "colour": "red"}}}}')
        assert status in (400, 422), said
    status, said = ask(json.dumps({"row": {**good, "colour": "x" * 1_000_000}}))
    assert status == 422
    assert len(json.dumps(said)) < 2_000
    assert ask(json.dumps({"row": good}))[0] == 200


def test_without_a_project_it_says_how_to_begin(shell):
    ended = shell("run", "--json", code=4)
    assert "trimtab init" in ended.body["error"]["hint"]
