from __future__ import annotations

import numpy as np

from trimtab.monitor.drift import episodes
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count, merge
from trimtab.profile.reference import fit_reference

REGIONS = np.array(["north", "south", "west"], dtype=object)


def rows(random, number: int, south: float = 0.0) -> dict[str, np.ndarray]:
    region = REGIONS[random.choice(3, number, p=[0.7, 0.28, 0.02])]
    score = random.normal(np.where(region == "south", south, 0.0), 1)
    return {"__score__": 1 / (1 + np.exp(-score)), "region": region}


def test_a_slice_that_moves_alone_is_seen():
    random = np.random.default_rng(0)
    reference = fit_reference(rows(random, 8_000), slices=["region"])
    assert reference.bins.names == ("__score__",)
    calm = judge(reference, [count(reference.bins, rows(random, 1_000))]).slices
    assert [(one.column, one.value) for one in calm] == [
        ("region", "'north'"),
        ("region", "'south'"),
    ]
    assert min(one.p for one in calm) > 1e-3
    moved = judge(reference, [count(reference.bins, rows(random, 1_000, south=0.8))]).slices
    north, south = moved
    assert north.p > 1e-3
    assert south.p < 1e-6
    assert 0 < south.lo < south.effect < south.hi
    assert abs(south.was - 0.28) < 0.02


def test_a_drift_of_the_scores_names_the_slice_that_it_comes_from():
    random = np.random.default_rng(3)
    reference = fit_reference(rows(random, 8_000), slices=["region"])
    calm = [count(reference.bins, rows(random, 1_000)) for _ in range(3)]
    slow = [count(reference.bins, rows(random, 1_000, south=0.4)) for _ in range(3)]
    (drift,) = judge(reference, [*calm, *slow]).findings
    assert (drift.since, drift.slices) == (3, ("region=south",))
    assert drift.text.endswith("(most in region=south).")
    dated = [episodes.Span(one, one + 1) for one in range(6)]
    (told,) = episodes.told([drift], reference, dated, [*calm, *slow], {"data drift"}, 50)
    assert (told.form, told.slices) == ("sudden", ("region=south",))


def test_a_drift_of_the_scores_of_all_slices_names_none():
    random = np.random.default_rng(4)
    reference = fit_reference(rows(random, 8_000), slices=["region"])

    def both(number: int) -> dict[str, np.ndarray]:
        region = REGIONS[random.choice(3, number, p=[0.7, 0.28, 0.02])]
        return {"__score__": 1 / (1 + np.exp(-random.normal(0.5, 1, number))), "region": region}

    (drift,) = judge(reference, [count(reference.bins, both(4_000))]).findings
    assert drift.features[0].feature == "__score__"
    assert drift.slices == ()
    assert "most in" not in drift.text


def test_a_drift_of_an_input_alone_tells_no_slice():
    random = np.random.default_rng(5)
    table = rows(random, 8_000) | {"x": random.normal(size=8_000)}
    reference = fit_reference(table, slices=["region"])
    moved = rows(random, 1_000) | {"x": random.normal(1, 1, 1_000)}
    (drift,) = judge(reference, [count(reference.bins, moved)]).findings
    assert [one.feature for one in drift.features] == ["x"]
    assert drift.slices == ()


def test_slices_of_joined_windows_and_of_seasons():
    random = np.random.default_rng(1)
    table, days = rows(random, 8_000), np.arange(8_000) // 400
    keyed = fit_reference(table, days, seasons=days % 2, slices=["region"])
    small = [count(keyed.bins, rows(random, 40)) for _ in range(20)]
    (north,) = judge(keyed, small, seasons=[0] * 20, least_rows=100).slices
    joined = merge(merge(small[-1], small[-2]), small[-3])
    code = keyed.bins.joints[0].slice.levels.index("north")
    assert north.rows == joined.joints[0][code].sum()
    assert north.was == keyed.seasons.profiles[0].joints[0][code].sum() / 4_000


def test_where_nothing_is_sliced_there_is_no_measure():
    random = np.random.default_rng(2)
    reference = fit_reference({"x": random.normal(size=500)})
    assert judge(reference, [reference.profile]).slices == ()
