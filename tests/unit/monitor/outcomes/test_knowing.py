from __future__ import annotations

import re

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.loop.project import open_project
from trimtab.monitor.log import catalogue
from trimtab.monitor.outcomes import draw, joined, knowing, knowledge
from trimtab.monitor.watched import watched
from trimtab.server.handlers import labels
from trimtab.server.requests import Identified
from trimtab.store import estimates, evidence, label_requests, ledger, operations
from trimtab.store.records import Label

DAY = 86_400_000_000
BEGIN = 20_000 * DAY


def requests(place, state=""):
    return label_requests.find(place.ws, endpoint="goods", state=state)


def tell(place, request, *, truth=None, share=1.0):
    """Labels of the requested rows, in their order, handed in by a person."""
    known = {
        name: one
        for day, names in place.ids.items()
        for name, one in zip(names, place.days[day].truth, strict=True)
    }
    rows = label_requests.rows(place.ws, request.id)
    rows = rows[: round(share * len(rows))]
    place_of = place.folder / "labels"
    place_of.mkdir(exist_ok=True)
    pl.DataFrame(
        {
            "prediction_id": [one.prediction for one in rows],
            "good": [known[one.prediction] if truth is None else truth for one in rows],
        }
    ).with_columns(labelled_at=pl.lit(ids.to_datetime(BEGIN + 5 * DAY))).write_parquet(
        place_of / f"asked-{request.id}-{share}.parquet"
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_labels_nothing_is_ever_called_right(site, task):
    place = site(task)
    for day in range(3):
        place.live(day)
        seen = place.look(day + 1)
    assert knowledge.of(place.ws, "goods").state == "cannot know"
    said = next(one for one in seen.sentences if "cannot know" in one)
    assert "no move of the inputs was found" in said
    assert "blind to concept drift" in said or task == "regression"
    assert not any("healthy" in one for one in seen.sentences)
    (request,) = requests(place)
    assert request.wanted >= 50
    assert f"trimtab labels show {request.id[:12]}" in said


@pytest.mark.slow
def test_a_pure_switch_without_labels_is_found_by_the_labels_asked_for(site):
    """Inputs stand still, the meaning is turned round: only labels tell, and they are asked for."""
    place = site()
    place.live(0)
    place.live(1, 2_000, meaning=-1.0)
    assert place.look(2).alarms == []
    (request,) = requests(place, "open")
    tell(place, request, share=0.3)
    place.look(2)
    (request,) = requests(place, "open")
    assert 0 < request.answered < request.wanted
    tell(place, request)
    seen = place.look(2)
    (closed,) = requests(place, "closed")
    assert closed.answered == closed.wanted
    assert "the inputs' meaning changed" in closed.resolution
    assert "concept drift" in [one.kind for one in seen.alarms]
    assert knowledge.of(place.ws, "goods").state == "known"


@pytest.mark.slow
def test_a_window_with_some_labels_is_not_said_to_have_none(site):
    place = site()
    for day in range(2):
        place.live(day)
        place.label(day, part=slice(0, 40))
    (said,) = [one for one in place.look(2).sentences if "cannot know" in one]
    assert f"40 of 400 rows since {ids.iso(BEGIN + DAY)} have labels" in said
    assert "no row" not in said


@pytest.mark.slow
def test_labels_asked_for_can_also_show_that_all_is_well(site):
    place = site()
    place.live(0, 2_000)
    place.look(1)
    (request,) = requests(place)
    tell(place, request)
    seen = place.look(1)
    (closed,) = requests(place)
    assert (closed.state, seen.alarms) == ("closed", [])
    assert "meaning changed" not in closed.resolution
    (found,) = [one for one in evidence.find(place.ws) if one.details.get("request") == request.id]
    assert found.lo <= found.value <= found.hi
    assert "weighted by inclusion probability" in found.method


@pytest.mark.slow
def test_the_chain_names_no_row(site):
    place = site()
    place.live(0)
    place.look(1)
    (request,) = requests(place)
    rows = label_requests.rows(place.ws, request.id)
    with place.ws.reading() as db:
        bodies = " ".join(
            body for (body,) in db.exec_driver_sql("SELECT body FROM ledger").fetchall()
        )
    assert request.id in bodies
    assert not any(one.prediction in bodies for one in rows)
    assert ledger.verify(place.ws)


@pytest.mark.slow
def test_stated_probabilities_are_those_of_the_draw(site):
    place = site()
    place.live(0, 3_000)
    place.look(1)
    (request,) = requests(place)
    rows = label_requests.rows(place.ws, request.id)
    assert len(rows) == request.wanted == len({one.prediction for one in rows})
    for name, size in request.detail["strata"].items():
        mine = [one for one in rows if one.stratum == name]
        assert {round(one.probability * size) for one in mine} == {len(mine)}
    half = rows[: len(rows) // 2]
    for name in request.detail["strata"]:
        whole = sum(one.stratum == name for one in rows)
        assert abs(sum(one.stratum == name for one in half) - whole / 2) <= 2


@pytest.mark.slow
def test_labels_that_are_due_later_are_awaited(site):
    place = site()
    for day in range(3):
        place.live(day)
    place.label(0)
    place.label(1)
    place.look(2)
    assert knowledge.of(place.ws, "goods").state == "known"
    seen = place.look(3)
    assert knowledge.of(place.ws, "goods").state == "awaited"
    (said,) = [one for one in seen.sentences if "are awaited until" in one]
    assert re.search(r"awaited until 20[0-9T:-]+Z", said)
    assert requests(place) == []
    place.live(3)
    place.live(4)
    seen = place.look(5)
    assert knowledge.of(place.ws, "goods").state == "cannot know"
    assert any("has the labels that were due" in one for one in seen.sentences)


@pytest.mark.slow
def test_a_label_of_the_future_has_others_awaited_no_longer_than_it_took(site):
    place = site()
    for day in range(2):
        place.live(day)
    place.label(0, at=BEGIN + 400 * DAY)
    (said,) = [one for one in place.look(2).sentences if "are awaited until" in one]
    assert ids.parse_time(said.split("until ")[1].split(";")[0]) <= BEGIN + 4 * DAY


@pytest.mark.slow
def test_early_labels_make_no_others_late(site):
    """Labels take three days; a tenth of the newest rows got theirs within hours."""
    place = site()
    for day in range(4):
        place.live(day)
    folder = place.folder / "labels"
    folder.mkdir()
    for day, share, days in ((0, 1.0, 3.0), (1, 1.0, 3.0), (2, 0.1, 1.1)):
        count = round(share * len(place.ids[day]))
        pl.DataFrame(
            {"prediction_id": place.ids[day][:count], "good": place.days[day].truth[:count]},
            strict=False,
        ).with_columns(
            labelled_at=pl.lit(ids.to_datetime(round(BEGIN + (day + days) * DAY)))
        ).write_parquet(folder / f"{day}.parquet")
    place.look(4)
    assert knowledge.of(place.ws, "goods").state == "awaited"
    assert requests(place) == []


@pytest.mark.slow
def test_a_new_champion_ends_the_request_of_the_old(site):
    place = site()
    place.live(0)
    place.look(1)
    assert len(requests(place, "open")) == 1
    other = watched(place.ws, place.version)
    other = other._replace(
        version=type(place.version)(
            kind="model", name="goods", number=2, digest="blake3:" + "0" * 64
        )
    )
    with catalogue.open_catalogue(place.ws.root / "endpoints" / "goods") as index:
        knowing.look(place.ws, place.config, "goods", other, [], index, BEGIN)
    (closed,) = requests(place)
    assert (closed.state, closed.resolution) == ("closed", "goods@v2 took over")


@pytest.mark.slow
def test_requested_labels_alone_judge_no_requirement(site):
    """They are the hardest rows on purpose: a window is not judged by them as if they were fair."""
    place = site()
    place.live(0, 2_000)
    place.look(1)
    (request,) = requests(place)
    tell(place, request)
    place.look(1)
    anytime = [one for one in evidence.find(place.ws) if one.validity == "anytime"]
    assert anytime == []


@pytest.mark.slow
def test_labels_for_nobody_and_odd_labels_leave_a_request_open(site):
    place = site()
    place.live(0)
    place.look(1)
    operations.add_labels(
        place.ws,
        [
            Label(prediction=f"nobody-{i}", value="no", labelled_at=1, received_at=1)
            for i in range(9)
        ],
    )
    place.look(1)
    (request,) = requests(place, "open")
    assert request.answered == 0
    tell(place, request, truth="maybe")
    seen = place.look(1)
    (request,) = requests(place)
    assert (request.state, request.answered) == ("open", 0)
    assert knowledge.of(place.ws, "goods").state == "cannot know"
    assert any("labels cannot be truths" in one for one in seen.sentences)
    assert not any("errors are as" in one for one in seen.sentences)
    project = open_project(place.folder)
    shown = labels.show(project, Identified(id=request.id))
    project.ws.close()
    assert shown.labelled == []
    tell(place, request, share=0.95)  # told again, with what can be a truth
    place.look(1)
    assert requests(place)[0].state == "closed"
    assert knowledge.of(place.ws, "goods").state == "known"


@pytest.mark.slow
def test_labels_that_are_told_twice_make_no_window_complete(site):
    """Of 400 rows 250 have labels and 120 of those are told again: that is no 370."""
    place = site()
    place.live(0)
    place.label(0)
    place.live(1)
    place.look(2)
    for name, count in (("first", 250), ("again", 120)):
        place.label(1, part=slice(0, count), name=name)
        place.look(2)
        with catalogue.open_catalogue(place.ws.root / "endpoints" / "goods") as index:
            marks = joined.marks(index, place.version.digest, 0)
        assert [rows for _, rows in marks.values()] == [400, 250]
        assert knowledge.of(place.ws, "goods").state == "awaited"


@pytest.mark.slow
def test_a_sample_is_weighted_back_without_bias():
    """The mean over many draws of the weighted share of errors is the share among all rows."""
    noise = np.random.default_rng(3)
    score = noise.random(2_000)
    wrong = noise.random(2_000) < np.minimum(score, 1 - score)
    unsure = -np.abs(score - 0.5)
    spread = np.sqrt(score * (1 - score))
    stratum = draw.strata(unsure)
    sizes = {k: int((stratum == k).sum()) for k in range(3)}
    whole, early = [], []
    for _ in range(300):
        rows = draw.draw(stratum, spread, 150, noise)
        for found, some in ((whole, rows), (early, rows[:60])):
            mine = np.array([one.row for one in some])
            weight = draw.back(np.array([one.stratum for one in some]), sizes)
            found.append(weight @ wrong[mine] / weight.sum())
    for found in (whole, early):
        error = np.std(found) / len(found) ** 0.5
        assert abs(np.mean(found) - wrong.mean()) < 4 * error
    plain = np.sqrt(wrong.mean() * (1 - wrong.mean()) / 150)
    assert np.std(whole) < plain


@pytest.mark.parametrize("rows", [0, 1, 5, 30])
def test_a_draw_from_few_rows_takes_what_there_is(rows):
    noise = np.random.default_rng(0)
    unsure = noise.random(rows)
    found = draw.draw(draw.strata(unsure), np.ones(rows), 100, noise)
    assert sorted(one.row for one in found) == list(range(rows))
    assert all(one.probability == 1 for one in found)


@pytest.mark.slow
def test_a_request_that_nobody_answers_gives_way_to_newer_rows(site):
    place = site()
    for day in range(10):
        place.live(day, 100)
        place.look(day + 1)
    newest, oldest = requests(place)
    assert (oldest.state, newest.state) == ("closed", "open")
    assert "newer ones are asked for" in oldest.resolution
    assert newest.since > oldest.until


def test_an_id_that_a_client_repeats_is_asked_for_once(site):
    place = site()
    rows = place.rows(200)
    place.append(rows, ["same"] * 100 + [f"p{i}" for i in range(100)],
                 [BEGIN + i for i in range(200)], role="champion")  # fmt: skip
    place.look(1)
    (request,) = requests(place)
    names = [one.prediction for one in label_requests.rows(place.ws, request.id)]
    assert len(names) == len(set(names)) <= 101
    assert sum(request.detail["strata"].values()) == 101


@pytest.mark.slow
def test_answers_that_are_no_numbers_are_left_out(site):
    place = site()
    rows = place.rows(200)
    rows.score[:50] = np.nan
    place.append(rows, [f"p{i}" for i in range(200)], [BEGIN + i for i in range(200)],
                 role="champion")  # fmt: skip
    place.look(1)
    (window,) = operations.windows(place.ws, endpoint="goods")
    assert window.features["estimate"]["values"]["accuracy"]["n"] == 150


@pytest.mark.slow
def test_without_a_place_for_labels_the_sentence_names_the_setting(site):
    place = site()
    serve = msgspec.structs.replace(place.config.serve, labels="")
    place.config = msgspec.structs.replace(place.config, serve=serve)
    place.live(0)
    said = " ".join(place.look(1).sentences)
    assert "[serve] labels says where to put them" in said


@pytest.mark.slow
def test_labels_of_selected_cases_back_test_nothing(site):
    place = site()
    serve = msgspec.structs.replace(place.config.serve, label_policy="selected")
    place.config = msgspec.structs.replace(place.config, serve=serve)
    place.live(0)
    place.label(0)
    place.look(1)
    found = estimates.find(place.ws, "goods")
    assert found and all(one.realised is None for one in found)


@pytest.mark.slow
def test_absurd_values_of_inputs_and_labels_break_no_estimate(site):
    place = site("regression")
    rows = place.rows(300)
    rows.columns["x"][:6] = [1e308, -1e308, np.inf, -np.inf, np.nan, 5e-324]
    rows.columns["kind"][:3] = ["", "\x00", "x" * 10_000]
    names = [f"p{i}" for i in range(300)]
    # the clock goes backwards from row to row
    place.append(rows, names, [BEGIN + DAY - 1 - i for i in range(300)], role="champion")
    place.ids[0], place.days[0] = names, rows
    place.label(0, truth=[1e308, -1e308, 0.0, *rows.truth[3:]])
    said = " ".join(place.look(1).sentences)
    assert "2 labels cannot be truths" in said
    (window,) = operations.windows(place.ws, endpoint="goods")
    assert np.isfinite(window.features["labels"]["metrics"]["rmse"]["value"])
    assert knowledge.of(place.ws, "goods").state == "known"


@pytest.mark.slow
def test_windows_too_small_to_tell_anything_are_not_called_right(site):
    """Twenty rows a day: no window has 50 rows, so only labels of most of them say that all is well."""
    place = site()
    for day in range(3):
        place.live(day, 20)
    said = " ".join(place.look(3).sentences)
    assert "cannot know whether goods@v1 is still right: 0 of 60 rows have labels" in said
    assert knowledge.blind(place.ws, "goods")
    for day in range(3):
        place.label(day)
    place.look(3)
    assert not knowledge.blind(place.ws, "goods")
