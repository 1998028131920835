"""What people read: every command that shows something, over a project in which much has happened."""

import msgspec
import pytest

from trimtab.cli import shapes
from trimtab.loop.reports import ColumnDrift, Drift
from trimtab.store import operations, runs


def test_status_begins_with_a_sentence_and_names_what_is_wrong(call, loans):
    out = call("status").out
    assert out.startswith("loans@v1 is champion of loans")
    for text in ("applications@v1", "roc_auc >= 0.76", "fail 0.712", "undecided 0.84", "incident "):
        assert text in out


@pytest.mark.slow
def test_runs(call, loans):
    out = call("runs", "ls").out
    assert "retrain: incident drift" in out
    assert "trial" not in out
    assert "trial 1" in call("runs", "ls", "--kind", "trial").out
    assert "trial 1" in call("runs", "ls", "--all").out
    flow = runs.find(loans.ws, kind="flow")[-1]
    out = call("runs", "show", flow.id[:16]).out
    for text in ("seed 0, trials 20", "412 MB", "roc_auc", "applications", "trial 1"):
        assert text in out
    out = call("runs", "metrics", flow.id, "--key", "loss").out
    assert out.count("loss") == 60
    assert call("runs", "metrics", flow.id, "--key", "f1").code == 4


def test_models(call, loans):
    assert "champion" in call("models", "ls").out
    out = call("models", "show", "loans@champion").out
    assert "0.712 [0.69, 0.741] on 2,400 rows" in out
    assert call("models", "show", "loans@champion", "--json").body["version"]["number"] == 1


def test_endpoints(call, loans):
    assert "loans@v1 95% (champion), loans@v2 5% (canary)" in call("endpoints", "ls").out
    out = call("endpoints", "show", "loans").out
    for text in ("http://127.0.0.1:40000", "open at 5%", "concept drift", "600"):
        assert text in out or "The same inputs" in out


def test_incidents_are_shown_and_closed(call, loans):
    assert "income moved" in call("incidents", "ls").out
    assert "income moved" not in call("incidents", "ls", "--state", "open").out
    incident = operations.incidents(loans.ws, state="open")[0].id[:16]
    assert "years, debt" in call("incidents", "show", incident).out
    out = call("incidents", "resolve", incident, "--note", "new employers").out
    assert "new employers" in out
    assert call("incidents", "resolve", incident).code == 5


def test_why_is_a_tree(call, loans):
    out = call("why", "loans@champion").out
    assert "loans@v1 (champion)" in out
    assert "data applications@v1" in out


def test_doctor_says_what_it_checked(call, loans):
    ended = call("doctor")
    assert ended.code == 0
    assert "all is well" in ended.out


def test_the_configuration_is_applied_once(call, loans):
    assert "in force already" in call("apply").out
    assert "[require]\nroc_auc >= 0.76" in call("config", "show").out


def test_a_tick_says_what_it_saw(call, project):
    call("apply")
    assert "on course: nothing to do" in call("tick").out


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "on course: nothing to do"),
        ({"blind": True}, "nothing to do now"),
        ({"waiting": ["concept drift is open; a person decides"]}, "nothing to do now"),
    ],
    ids=["calm", "blind", "waiting"],
)
def test_a_pass_that_cannot_know_or_waits_is_not_called_on_course(capsys, how, said):
    from trimtab.cli.tick import _render
    from trimtab.loop.reports import Pass

    _render(Pass(**{"observed": [], "acted": [], "waiting": [], "settled": True, **how}))
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_nothing_runs_and_nothing_is_there_yet(call, project):
    assert call("down").out == "nothing was running\n"
    assert "no runs yet" in call("runs", "ls").out
    assert "no endpoints yet" in call("endpoints", "ls").out
    assert "no incidents" in call("incidents", "ls").out
    assert "no versions yet" in call("models", "ls").out


def test_the_gate_asks_for_a_run_first(call, project):
    ended = call("gate")
    assert ended.code == 4
    assert "trimtab run" in ended.err


def test_the_gate_judges_the_last_candidate_again(call, loans):
    ended = call("gate")
    assert ended.code == 3
    assert "refused" in ended.out
    assert "roc_auc >= 0.76: missing" in ended.out


def test_predict_needs_an_endpoint_that_runs(call, loans, tmp_path):
    assert call("predict", "nobody", "x.csv").code == 4
    endpoint = operations.endpoint(loans.ws, "loans")
    stopped = msgspec.structs.replace(endpoint, state="stopped", pid=0)
    operations.save_endpoint(loans.ws, stopped)
    ended = call("predict", "loans", "x.csv")
    assert ended.code == 5
    assert "is stopped" in ended.err


@pytest.mark.slow
def test_data_is_added_listed_shown_and_compared(call, project):
    ended = call("data", "add")
    assert ended.out.startswith("houses@v1: 3 rows, 3 columns\n")
    assert "houses@v1 has these bytes already" in call("data", "add", "houses").out
    (project / "houses.csv").write_text("rooms,town,price\n3,A,11\n4,B,12\n", "utf-8")
    assert call("data", "add", "houses", "--json").body["version"]["number"] == 2
    assert "houses@v2" in call("data", "ls").out
    out = call("data", "show", "houses@v1").out
    for text in ("licence", "unknown", "rooms", "integer", "text"):
        assert text in out
    for line in (["data", "diff"], ["diff"]):
        assert "1 added, 2 removed, 0 changed" in call(*line, "houses@v1", "houses@v2").out
    keyed = call("diff", "houses@v1", "houses@v2", "--key", "rooms")
    assert "0 added, 1 removed, 1 changed, by rooms" in keyed.out
    assert "price" in keyed.out


def test_a_batch_that_cannot_be_read_is_refused_and_named(call, project):
    (project / "houses.csv").write_text('rooms,town,price\n3,"A,10\n', "utf-8")
    ended = call("data", "add", "houses")
    assert ended.code == 1
    assert "houses.csv line 2" in ended.err


@pytest.mark.parametrize("command", ["status", "runs ls", "models ls", "endpoints ls", "data ls"])
def test_every_answer_is_also_one_document(call, loans, command):
    assert isinstance(call(*command.split(), "--json").body, dict)


def test_columns_without_a_distribution_are_named_with_the_reason(capsys):
    shapes.render_shapes([], {f"c{k}": "too many" for k in range(11)} | {"id": "key"})
    assert capsys.readouterr().out == (
        "no distribution of c0, c1, c2, c3, c4, c5, c6, c7 and 3 more: too many\n"
        "no distribution of id: key\n"
    )


def test_a_share_that_came_from_nothing_has_both_ends(capsys):
    moved = ColumnDrift(
        column="town", drifted=True, test="chi_square", p=1e-9, effect=0.3, lo=0.2, hi=0.4,
        unit="share", missing=(0.0, 0.0), unseen=(0.0, 0.28),
    )  # fmt: skip
    shapes.render_drift(Drift(columns=[moved]))
    assert capsys.readouterr().out.rstrip().endswith(" 0% to 28.0%")


def test_bars_show_whatever_is_there():
    assert shapes.bars((0.0, 0.001, 0.5, 1.0)) == " ▁▄█"
    assert shapes.bars(()) == ""


@pytest.mark.slow
def test_distributions_of_a_version_are_shown_and_compared(call, project):
    for price in (10, 30):
        rows = [f"{k % 7},{'AB'[k % 2]},{price * (k % 20)}\n" for k in range(300)]
        (project / "houses.csv").write_text("rooms,town,price\n" + "".join(rows), "utf-8")
        assert call("data", "add").code == 0
    shown = call("data", "show", "houses@v1").out
    assert "distribution" in shown
    assert "█" in shown
    assert "'A' 50%, 'B' 50%" in shown
    found = call("data", "diff", "houses@v1", "houses@v2").out
    assert "price 65 % outside the training range 0 to 190" in found
    body = call("data", "diff", "houses@v1", "houses@v2", "--json").body["drift"]
    assert [one["column"] for one in body["columns"] if one["drifted"]] == ["price"]
    assert len(call("data", "show", "houses@v1", "--json").body["shapes"]) == 3
