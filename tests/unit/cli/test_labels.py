"""The noun `labels`: what is asked for, in the order to label it in."""

import csv
import io

from trimtab.loop.project import open_project
from trimtab.store import label_requests, operations
from trimtab.store.records import Label, LabelRequest, RequestedLabel

REQUEST = "01983f0c5a7b7c00" * 2


def ask(folder):
    project = open_project(folder)
    request = LabelRequest(
        id=REQUEST, endpoint="houses", model="blake3:" + "0" * 64, reason="no row has labels yet",
        since=1, until=2, wanted=3, opened_at=3,
        detail={"strata": {"sure": 10, "unsure": 5}, "metric": "rmse"},
    )  # fmt: skip
    rows = [
        RequestedLabel(
            request=REQUEST, place=i, prediction=f"p{i}", stratum="unsure", probability=0.6
        )
        for i in range(3)
    ]
    assert label_requests.open_request(project.ws, request, rows)
    assert not label_requests.open_request(project.ws, request, rows)
    operations.add_labels(
        project.ws, [Label(prediction="p1", value=3.0, labelled_at=1, received_at=1)]
    )
    return project


def test_a_request_is_listed_shown_and_exported(call, project):
    assert "no labels are asked for" in call("labels", "ls").out
    ask(project)
    assert "0 of 3" in call("labels", "ls").out
    assert call("labels", "ls", "--state", "closed", "--json").body["requests"] == []
    for noun, known in (("labels", "open, closed"), ("incidents", "open, resolved")):
        ended = call(noun, "ls", "--state", "opne")
        assert (ended.code, ended.out) == (2, "")
        assert f"one of {known}" in ended.err
    shown = call("labels", "show", REQUEST[:12])
    assert shown.code == 0
    assert "no row has labels yet" in shown.out
    body = call("labels", "show", REQUEST[:12], "--json").body
    assert [one["prediction"] for one in body["rows"]] == ["p0", "p1", "p2"]
    assert (body["target"], body["labelled"]) == ("price", ["p1"])
    rows = list(csv.DictReader(io.StringIO(call("labels", "export", REQUEST[:12]).out)))
    assert [one["prediction_id"] for one in rows] == ["p0", "p2"]
    assert {one["price"] for one in rows} == {""}
    assert float(rows[0]["probability"]) == 0.6


def test_an_export_goes_to_a_file(call, project):
    ask(project)
    ended = call("labels", "export", REQUEST, "--out", "to-label.csv")
    assert (ended.code, ended.out) == (0, "")
    assert (project / "to-label.csv").read_text().startswith("prediction_id,price,stratum")
    assert "wrote 2 rows" in ended.err


def test_an_unknown_request_is_not_found(call, project):
    ended = call("labels", "show", "abc")
    assert ended.code == 4
    assert "there is no single label request 'abc'" in ended.err
