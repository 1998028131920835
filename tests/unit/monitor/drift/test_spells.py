from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab.monitor.drift import episodes
from trimtab.monitor.drift.spells import spell
from trimtab.monitor.drift.windows import LEAST_ROWS
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference
from trimtab.store.records import Episode, Window

RANDOM = np.random.default_rng(5)
REFERENCE = fit_reference(
    {"a": RANDOM.normal(size=4_000), "b": RANDOM.normal(size=4_000), "c": RANDOM.choice([*"xyz"], 4_000)}
)  # fmt: skip


def window(rows=200, **broken):
    """A window in which exactly this share of a column's rows is missing, or of levels new."""
    columns = {
        "a": RANDOM.normal(size=rows),
        "b": RANDOM.normal(size=rows),
        "c": RANDOM.choice([*"xyz"], rows),
    }
    for name, share in broken.items():
        columns[name][: round(share * rows)] = "new" if name == "c" else np.nan
    return count(REFERENCE.bins, columns)


def days(number):
    return [Window(endpoint="e", model="m", role="champion", start=day * 10, end=day * 10 + 10,
                   rows=200, profile="") for day in range(number)]  # fmt: skip


def told(windows, past=()):
    found = judge(REFERENCE, windows)
    alone = episodes.alone(found, judge(REFERENCE, windows[-1:]))
    return episodes.told(
        found.findings, REFERENCE, days(len(windows)), windows, alone, LEAST_ROWS, past
    )


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([0, 0, 0.3, 0.3, 0.3, 0.34], (2, True, 31)),
        ([0.3] * 64, (0, True, 30)),
        ([0.4, 0.4, 0, 0, 0.3], (4, True, 30)),
        ([0, 0.4, 0.4, 0, 0], (1, False, 40)),
        ([0, 0.4, 0.4, 0.04], (1, True, 28)),
    ],
)
@pytest.mark.parametrize("name", ["a", "c"])
def test_a_spell_begins_after_the_last_pause_and_has_a_share_of_its_own(name, course, expected):
    windows = [window(**{name: share}) for share in course]
    (found,) = [
        one for finding in judge(REFERENCE, windows).findings if finding.kind in ("broken input", "skew")
        for one in finding.features
    ]  # fmt: skip
    since, lasts, own = spell(REFERENCE, windows, found, REFERENCE.bins.spans()[name])
    assert (since, lasts, own.note.partition(" %")[0]) == (*expected[:2], str(expected[2]))
    assert own.effect == pytest.approx(expected[2] / 100)
    assert own.lo < own.effect < own.hi


def test_few_rows_without_a_weak_defect_are_no_pause():
    """Two of a hundred rows, and by chance none of the newest hundred: it is not over."""
    course = [0.0] * 6 + [0.03, 0.02, 0.04, 0.03, 0.02, 0.03, 0.04, 0.03, 0.0]
    (found,) = told([window(100, a=share) for share in course])
    assert found.since == 60
    assert episodes.lasts(found)
    assert "as the reference again" not in found.text


def test_of_two_broken_inputs_the_one_that_is_mended_is_named_no_more():
    course = [{}] * 4 + [{"a": 0.3}] * 3 + [{"a": 0.3, "b": 0.4}] * 3 + [{"b": 0.4}]
    (found,) = told([window(**one) for one in course])
    assert [(one.feature, one.since) for one in found.features] == [("b", 70)]
    assert found.text.startswith(
        "Broken input (null burst) in 1 of 3 features since 1970-01-01T00:00:00.000070Z: b "
    )
    (found,) = told([window(**one) for one in [*course, {}]])
    assert {one.feature: one.since for one in found.features} == {"a": 40, "b": 70}
    assert found.text.endswith(episodes.AGAIN + ".")
    (found,) = told([window(**one) for one in course[:-1]])
    assert found.text == (
        "Broken input (null burst) in 2 of 3 features since 1970-01-01T00:00:00.000040Z: a 30 % missing,"
        " was 0 %; b 40 % missing, was 0 % (since 1970-01-01T00:00:00.000070Z)."
    )


def test_a_drift_is_as_old_as_its_episode_though_its_windows_are_looked_at_no_more():
    moved = count(REFERENCE.bins, {name: values + (2.0 if name == "a" else 0.0) if name != "c" else values
                                   for name, values in {
                                       "a": RANDOM.normal(size=200), "b": RANDOM.normal(size=200),
                                       "c": RANDOM.choice([*"xyz"], 200)}.items()})  # fmt: skip
    one = Episode(endpoint="e", model="m", kind="data drift", since=-500, features={"a": 1})
    (found,) = told([moved] * 8, [one])
    assert (found.kind, found.since, found.features[0].since) == ("data drift", -500, -500)
    assert "since 1969-12-31T23:59:59.999500Z: a " in found.text
    (found,) = told([moved] * 8, [msgspec.structs.replace(one, features={"b": 1})])
    assert found.since == 0


@pytest.mark.parametrize("calm", range(1, 11))
def test_a_spell_that_is_over_keeps_its_share_and_its_end(calm):
    """Sums of windows hold the calm ones too, so that their effect is ever smaller."""
    windows = [window(400, a=share) for share in [0.0] * 10 + [0.12] + [0.0] * calm]
    (found,) = told(windows)
    assert not episodes.lasts(found)
    assert found.since == 100
    assert "a 12 % missing" in found.text
