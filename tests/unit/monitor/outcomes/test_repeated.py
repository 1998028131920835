"""Clients that give several rows one prediction id."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trimtab.store import operations


def send(place, number: int, names: list[str], rows) -> None:
    """A day's rows under these ids, one request each."""
    world = sys.modules[type(place).__module__]
    place.days[number], place.ids[number] = rows, names
    for i, name in enumerate(names):
        one = type(rows)(
            {key: values[i : i + 1] for key, values in rows.columns.items()},
            rows.score[i : i + 1],
            rows.decision[i : i + 1],
            [],
        )
        moment = world.BEGIN + number * world.DAY + i
        place.append(one, [name], [moment], role="champion")


def labelled(place, number: int) -> int:
    """How many rows of a day have a label."""
    windows = operations.windows(place.ws, endpoint="goods")
    return windows[number].features.get("labels", {}).get("labels", 0)


@pytest.mark.slow
def test_labels_of_an_id_that_stands_for_unlike_answers_are_left_out_and_said(site):
    """A client that sends its customers' numbers, 20 of them, for 400 rows: the label that is told last
    is no truth of the others' rows."""
    place = site()
    place.live(0)
    place.label(0)
    calm = place.look(1)
    assert not any("stand for several rows" in one for one in calm.sentences)
    rows = place.rows(400)
    send(place, 1, [f"customer {i % 20}" if i < 200 else f"row {i}" for i in range(400)], rows)
    place.label(1)
    seen = place.look(2)
    assert seen.alarms == []
    (said,) = [one for one in seen.sentences if "stand for several rows" in one]
    assert said.startswith("goods: 20 prediction ids stand for several rows with unlike answers")
    assert labelled(place, 1) == 200


@pytest.mark.slow
def test_a_request_that_is_sent_again_is_one_labelled_row(site):
    place = site()
    rows = place.rows(400)
    half = np.arange(400) // 2
    twice = type(rows)(
        {name: values[half] for name, values in rows.columns.items()},
        rows.score[half],
        [rows.decision[i] for i in half],
        [rows.truth[i] for i in half],
    )
    send(place, 0, [f"row {i}" for i in half], twice)
    place.label(0)
    seen = place.look(1)
    assert not any("stand for several rows" in one for one in seen.sentences)
    assert labelled(place, 0) == 200
