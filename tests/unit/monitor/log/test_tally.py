"""What log frames add up to, however they are cut into calls."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.monitor.log import tally
from trimtab.serve.logged.frame import Frame, Part


def frame(name, said="yes", *, role="champion", status=200, score=0.7, **more):
    return Frame(
        ids=() if status != 200 else (name,), request=name, received_at=1, endpoint="e", role=role,
        model="m", label="", contract="predict", status=status,
        score=np.array([score], "<f4").tobytes(), decision=[] if status != 200 else [said], **more,
    )  # fmt: skip


answers = st.lists(st.sampled_from(["yes", "no"]), min_size=1, max_size=40)


@given(answers, answers, st.integers(0, 40), st.integers(0, 40))
def test_pairs_are_counted_however_the_log_is_cut(ours, theirs, cut, other) -> None:
    champion = [frame(str(at), said) for at, said in enumerate(theirs)]
    shadow = [frame(str(at), said, role="shadow") for at, said in enumerate(ours)]
    whole = tally.paired(tally.UNPAIRED, champion, shadow, "binary")
    part = tally.paired(tally.UNPAIRED, champion[:cut], shadow[:other], "binary")
    part = tally.paired(part, champion[cut:], shadow[other:], "binary")
    assert part == whole
    assert whole.compared == min(len(ours), len(theirs))
    assert whole.agreed == sum(a == b for a, b in zip(ours, theirs, strict=False))


def test_answers_that_never_find_their_other_do_not_pile_up() -> None:
    pairs = tally.UNPAIRED
    for start in range(0, 20_000, 4_000):
        lost = [frame(str(start + at)) for at in range(4_000)]
        pairs = tally.paired(pairs, lost, [], "binary")
    assert pairs.compared == 0
    assert len(pairs.waiting[0]) == 5_000
    assert "19999" in pairs.waiting[0]


@pytest.mark.parametrize(("a", "b", "alike"), [(100.0, 109.0, 1), (100.0, 120.0, 0), (0.0, 0.0, 1)])
def test_numbers_agree_within_a_tenth(a, b, alike) -> None:
    pairs = tally.paired(tally.UNPAIRED, [frame("1", a)], [frame("1", b)], "regression")
    assert (pairs.compared, pairs.agreed) == (1, alike)


def test_classes_agree_as_text() -> None:
    pairs = tally.paired(tally.UNPAIRED, [frame("1", 1)], [frame("1", "1")], "multiclass")
    assert pairs.agreed == 1


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(0, 60))
def test_values_add_up_however_they_are_cut(values, cut) -> None:
    known, counts = tally.merged(*tally.NOBODY[2:4], values[:cut])
    known, counts = tally.merged(known, counts, values[cut:])
    expected = Counter(values)
    assert dict(zip(known.tolist(), counts.tolist(), strict=True)) == expected


def test_every_request_of_a_batch_counts_and_only_failures_fail() -> None:
    batch = Frame(
        ids=("1", "2", "3"), request="a", received_at=1, endpoint="e", role="canary", model="m",
        label="", contract="predict", decision=["yes"] * 3,
        parts=(Part("a", 2, 1, 700), Part("b", 1, 1, 900)),
    )  # fmt: skip
    frames = [batch, frame("c", status=500), frame("d", status=422), frame("e")]
    spent = tally.latencies(tally.answered(frames))
    assert spent == [700, 900, 0]
    client = tally.grown(tally.NOBODY, frames, len(spent))
    assert (client.asked, client.failed) == (4, 1)
    assert (client.requests, client.refused, client.rows) == (5, 1, 4)
    shadow = tally.grown(tally.NOBODY, frames, len(spent), shadow=True)
    assert (shadow.asked, shadow.failed) == (5, 2)


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=50))
def test_latencies_are_right_to_one_part_in_a_thousand(spent) -> None:
    known = tally.coarse(spent)
    assert (np.abs(known - np.array(spent)) <= np.array(spent) / 1_000).all()


@pytest.mark.slow
def test_few_latencies_differ() -> None:
    assert len(np.unique(tally.coarse(range(1_000_000, 2_000_000)))) <= 1_024
    assert tally.coarse([]).tolist() == []


def test_a_shadow_that_answers_in_another_order_is_paired_all_the_same() -> None:
    champion = [frame(str(at), "yes" if at % 3 else "no") for at in range(9)]
    shadow = [frame(str(at), "yes", role="shadow") for at in reversed(range(2, 12))]
    pairs = tally.paired(tally.UNPAIRED, champion, shadow, "binary")
    assert (pairs.compared, pairs.agreed) == (7, 5)
    assert [set(one) for one in pairs.waiting] == [{"0", "1"}, {"9", "10", "11"}]


def test_decisions_are_counted_by_what_was_sent_along() -> None:
    nan = np.array([np.nan]).tobytes()
    frames = [
        frame("1", "yes", context={"group": ["u"]}),
        frame("2", "no", words={"group": ["u"]}),
        frame("3", "yes", numbers={"group": nan}),
        frame("4", True),
    ]
    found = tally.decided(Counter(), frames, ["group"])
    found = tally.decided(found, frames[:1], ["group"])
    assert found == {
        (("u",), "yes"): 2,
        (("u",), "no"): 1,
        ((None,), "yes"): 1,
        ((None,), "True"): 1,
    }
    plenty = [frame(str(at), context={"group": [str(at)]}) for at in range(6_000)]
    assert not tally.decided(Counter(), plenty, ["group"]), "a column of names groups nobody"


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_cells_keep_scores_and_decisions(scores) -> None:
    frames = [frame(str(at), score=one) for at, one in enumerate(scores)]
    score, decided = tally.scores(tally.cells(frames, 0.5))
    assert np.abs(score - np.array(scores)).max() <= 1 / tally.CELLS
    assert decided.tolist() == [one >= 0.5 for one in scores]
    assert not tally.cells([frame("1", score=1.5)], 0.5).size
