"""Versions of MLflow's registry brought through the gate: what they are called, judged by and refused for."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from trimtab.errors import (
    ConfigError,
    ConflictError,
    DataError,
    ModelError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from trimtab.interop.mlflow import candidates
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.files import store
from trimtab.interop.mlflow.registry import create as create_model
from trimtab.interop.mlflow.registry import set_alias
from trimtab.interop.mlflow.versions import create, delete
from trimtab.interop.mlflow.wire import Asked
from trimtab.loop.candidate import accept, bringing, foreign
from trimtab.loop.project import open_project
from trimtab.model import native
from trimtab.server import requests
from trimtab.server.handlers import account, models, release
from trimtab.store import runs, versions

COLUMNS = ["income", "debt"]
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
roc_auc = { min = %s }
"""


def table():
    rng = np.random.default_rng(3)
    income, debt = rng.normal(50, 10, 400), rng.normal(5, 2, 400)
    repaid = np.where(income - 3 * debt + rng.normal(0, 3, 400) > 35, "yes", "no")
    ids = np.arange(400)
    return pl.DataFrame({"id": ids, "income": income, "debt": debt, "repaid": repaid})


@pytest.fixture
def made(tmp_path):
    """A project with rows; `least` is what the gate asks."""
    opened = []

    def make(least="0.8", text=PROJECT):
        table().write_csv(tmp_path / "rows.csv")
        (tmp_path / "trimtab.toml").write_text(text % least if "%s" in text else text)
        opened.append(open_project(tmp_path))
        return opened[-1]

    yield make
    for one in opened:
        one.ws.close()


class Client:
    """What a client does to a board, committed at once."""

    def __init__(self, project):
        self.ws = project.ws
        self.board = Board(self.ws)
        self.board.load()

    def change(self, handler, *given, **fields):
        with self.ws.transaction(), self.board.lock:
            found = (
                handler(self.board, *given)
                if given
                else handler(self.board, Asked(fields, is_query=False))
            )
            self.board.write()
        return found

    def put(self, path, data):
        self.change(store, path, self.ws.blobs.put(data), len(data))

    def register(self, name="loans", folder="0/m/artifacts", **files):
        for file, data in files.items():
            self.put(f"{folder}/{file.replace('__', '.')}", data)
        if name not in self.board.registered:
            self.change(create_model, name=name)
        source = f"mlflow-artifacts:/{folder}"
        return self.change(create, name=name, source=source)["model_version"]["version"]


def mlmodel(columns=COLUMNS, how="skops"):
    inputs = [{"type": "double", "name": name, "required": True} for name in columns]
    entry = {"pickled_model": "model.skops", "serialization_format": how}
    told = {"flavors": {"sklearn": entry}, "signature": {"inputs": json.dumps(inputs)}}
    return yaml.safe_dump({**told, "mlflow_version": "3.17.2"}).encode()


def fitted():
    rows = table()
    return native.dumps(LogisticRegression().fit(rows[COLUMNS], rows["repaid"].to_list()))


def bring(project, reference):
    """In this process what a child does otherwise."""
    return bringing.bring(project, candidates.find(project.ws, reference))


@pytest.mark.slow
def test_a_registered_model_passes_the_gate(made):
    project = made()
    client = Client(project)
    client.register(MLmodel=mlmodel(), model__skops=fitted())
    client.change(set_alias, name="loans", alias="champion", version="1")
    assert versions.find(project.ws, "model") == []  # a client's alias promotes nothing
    with pytest.raises(NotFoundError, match="not brought in yet"):
        models.show(project, requests.Reference(reference="loans@mlflow-1"))
    decision = bring(project, "loans@mlflow-1")
    assert decision.allowed
    assert decision.version.label == "loans@v1"
    origin = decision.version.meta["origin"]
    assert origin == {
        "kind": "mlflow", "model": "loans", "version": "1", "client": "3.17.2",
        "flavor": "scikit-learn, skops",
    }  # fmt: skip
    for again in ("loans@mlflow-champion", "loans@mlflow-latest"):
        assert bring(project, again).version == decision.version
    assert len(runs.find(project.ws, kind="bring")) == 1
    shown = models.show(project, requests.Reference(reference="loans@mlflow-1"))
    assert shown == models.show(project, requests.Reference(reference="loans@v1"))
    told = account.why(project, requests.Question(what="loans@mlflow-champion"))
    assert told.title == f"candidate {decision.subject}"
    assert ("roc_auc", "pass") in [(one.metric, one.status) for one in shown.verdicts]


@pytest.mark.slow
def test_what_it_was_made_of_is_known_later(made):
    project = made()
    Client(project).register(MLmodel=mlmodel(), model__skops=fitted())
    decision = bring(project, "loans@mlflow-1")
    kept = accept.candidate(project, decision.subject)
    assert type(kept.estimator) is LogisticRegression
    assert kept.train.height + kept.withheld.height == 400


@pytest.mark.slow
def test_the_same_files_under_another_name(made):
    project = made()
    client = Client(project)
    client.register(MLmodel=mlmodel(), model__skops=fitted())
    client.register(name="other", folder="0/n", MLmodel=mlmodel(), model__skops=fitted())
    first, second = bring(project, "loans@mlflow-1"), bring(project, "other@mlflow-1")
    assert (first.version.label, second.version.label) == ("loans@v1", "other@v1")
    assert first.subject == second.subject
    assert bring(project, "loans@mlflow-1").version == first.version


@pytest.mark.slow
def test_a_refused_one_gets_no_number(made):
    project = made("0.999")
    Client(project).register(MLmodel=mlmodel(), model__skops=fitted())
    decision = bring(project, "loans@mlflow-1")
    assert not decision.allowed
    assert versions.find(project.ws, "model") == []
    with pytest.raises(RefusedError, match="roc_auc >= 0.999"):
        release.passed(decision)


@pytest.mark.slow
def test_a_version_that_is_deleted_meanwhile_gets_no_number(made):
    project = made()
    client = Client(project)
    client.register(MLmodel=mlmodel(), model__skops=fitted())
    found = candidates.find(project.ws, "loans@mlflow-1")
    client.change(delete, name="loans", version="1")
    with pytest.raises(ConflictError, match="deleted meanwhile"):
        bringing.bring(project, found)
    assert versions.find(project.ws, "model") == []
    assert runs.find(project.ws, kind="bring")[0].status == "failed"
    with pytest.raises(NotFoundError):
        candidates.find(project.ws, "loans@mlflow-1")


def test_columns_of_another_project_are_refused(made):
    project = made()
    Client(project).register(MLmodel=mlmodel([*COLUMNS, "salary"]), model__skops=fitted())
    with pytest.raises(ModelError, match="'salary'"):
        bring(project, "loans@mlflow-1")


def test_without_a_target_there_is_no_judgement(made):
    project = made(text=PROJECT.replace('target = "repaid"\n', "").replace("%s", "0.8"))
    Client(project).register(MLmodel=mlmodel(), model__skops=fitted())
    with pytest.raises(ConfigError, match="target"):
        bring(project, "loans@mlflow-1")


def test_what_there_is_is_said(made):
    project = made()
    client = Client(project)
    client.register(MLmodel=mlmodel(), model__skops=fitted())
    client.change(set_alias, name="loans", alias="best", version="1")
    for reference, said, hint in (
        ("loan@mlflow-1", "did you mean 'loans'", "loans"),
        ("loans@mlflow-2", "no version '2'", "mlflow-1, mlflow-best"),
        ("loans@mlflow-", "no version ''", "mlflow-1"),
        ("loans@mlflow-99999999999999999999", "no version", "mlflow-1"),
    ):
        with pytest.raises(NotFoundError, match=said) as caught:
            candidates.find(project.ws, reference)
        assert hint in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        release.deploy(project, requests.Deployment(reference="loans@v1"))
    assert "trimtab deploy loans@mlflow-1" in caught.value.hint


def test_files_elsewhere_or_nowhere_are_refused(made):
    project = made()
    client = Client(project)
    client.change(create_model, name="loans")
    client.change(create, name="loans", source="s3://bucket/model")
    client.change(create, name="loans", source="mlflow-artifacts:/0/none")
    with pytest.raises(RefusedError, match="s3://bucket/model"):
        candidates.find(project.ws, "loans@mlflow-1")
    with pytest.raises(NotFoundError, match="no files"):
        candidates.find(project.ws, "loans@mlflow-2")


@pytest.mark.parametrize("name", ["a@b", ".hidden", "a\\b", "x" * 101, "a\nb", " a"])
def test_names_that_no_model_has_are_refused(made, name):
    project = made()
    Client(project).register(name=name, MLmodel=mlmodel(), model__skops=b"")
    with pytest.raises(UsageError, match="cannot name a model"):
        candidates.find(project.ws, f"{name}@mlflow-1")


def test_a_prompt_is_no_model(made):
    project = made()
    client = Client(project)
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    client.change(create_model, name="ask", tags=tags)
    client.change(create, name="ask", source="dummy-source", tags=tags)
    with pytest.raises(NotFoundError, match="prompt"):
        candidates.find(project.ws, "ask@mlflow-1")
    assert candidates.hint(project.ws, "ask@v1") == ""


@pytest.mark.slow
def test_a_child_reads_it(made):
    project = made()
    client = Client(project)
    client.register(MLmodel=mlmodel(), model__skops=fitted())
    client.register(folder="0/p", MLmodel=mlmodel(how="pickle"), model__skops=b"x")
    client.register(folder="0/t", MLmodel=mlmodel(), model__skops=fitted()[:500])
    assert release.bring(project, "loans@mlflow-1").version.label == "loans@v1"
    (run,) = runs.find(project.ws, kind=foreign.KIND)
    assert {"cpu", "files"} <= set(run.tags[bringing.LIMITS].split(", "))
    with pytest.raises(RefusedError, match="a program"):
        release.bring(project, "loans@mlflow-2")
    with pytest.raises(ValueError, match="no skops file"):
        release.bring(project, "loans@mlflow-3")


def test_a_child_that_dies_is_told_of(made, tmp_path, monkeypatch):
    project = made()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'half a word' >&2\nkill -9 $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(foreign.sys, "executable", str(python))
    model = foreign.Foreign(name="loans", tree="", origin={})
    with pytest.raises(ValueError, match="ended with -9") as caught:
        foreign.bring(project, model)
    assert caught.value.hint == "half a word"


def test_data_errors_come_back_as_they_were():
    said = foreign.Outcome(code=DataError.code, message="a", hint="b")
    error = foreign._raised(said)
    assert (type(error), error.message, error.hint) == (DataError, "a", "b")
