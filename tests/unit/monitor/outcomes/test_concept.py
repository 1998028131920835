from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import DataError, UsageError
from trimtab.monitor.budget import Budget, run_length
from trimtab.monitor.outcomes import concept, meaning, relief, where
from trimtab.monitor.outcomes.calibration import constant, fit, fit_residuals
from trimtab.monitor.outcomes.concept import ConceptState, start, update

EXACT = constant(20_000_000, 100_000_000)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def errors(random, rows: int, rate: float) -> np.ndarray:
    return (random.random(rows) < rate).astype(float)


def watch(state, calibration, days):
    """Feeds days of (scores, events); the alarm or None."""
    for day, (score, event) in enumerate(days):
        times = np.full(len(score), day)
        state = update(state, calibration, score, event, times=times)
        if state.alarm:
            break
    return state.alarm


def bernoulli(seed: int, rate: float, rows: int = 20_000, change: int = 10_000, arl: float = 3e6):
    random = np.random.default_rng(seed)
    stream = np.concatenate([errors(random, change, 0.2), errors(random, rows - change, rate)])
    state = start(arl, streams=("more",), margin=0, caution=0)
    return update(state, EXACT, np.zeros(rows), stream).alarm


@pytest.mark.slow
def test_delay_on_a_known_rate():
    """Errors from 20 to 30 %: at most the 430 rows of ADWIN, at its false-alarm rate."""
    alarms = [bernoulli(seed, 0.3) for seed in range(30)]
    assert all(alarm is not None and alarm.at > 10_000 for alarm in alarms)
    assert np.median([alarm.at - 10_000 for alarm in alarms if alarm]) <= 430
    assert abs(np.median([alarm.since - 10_000 for alarm in alarms if alarm])) < 100
    (last,) = [alarm for alarm in alarms[-1:] if alarm]
    assert last.seen > last.expected
    assert last.rows == last.at - last.since


@pytest.mark.slow
def test_mean_run_length_without_change():
    """Runs of 2,000 rows at run length 2,000: an alarm in fewer than two of three of them."""
    stopped = [bernoulli(seed, 0.2, 2_000, 1_000, 2_000) is not None for seed in range(80)]
    assert np.mean(stopped) < 2 / 3


@pytest.mark.slow
def test_batches_are_as_good_as_one():
    random = np.random.default_rng(3)
    stream = errors(random, 20_000, 0.2)
    whole = update(start(1e4, streams=("more",), caution=0), EXACT, np.zeros(20_000), stream)
    parts = start(1e4, streams=("more",), caution=0)
    for first in range(0, 20_000, 777):
        part = stream[first : first + 777]
        parts = update(parts, EXACT, np.zeros(len(part)), part)
    assert parts.rows == whole.rows
    for a, b in zip(parts.tracks, whole.tracks, strict=True):
        assert a.evidence == pytest.approx(b.evidence, abs=1e-6)
        assert a.row == b.row


@pytest.mark.slow
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 1000))
def test_state_travels_through_bytes(sizes, seed):
    random = np.random.default_rng(seed)
    direct = through = start(1000.0)
    calibration = constant(30, 100)
    for size in sizes:
        score, event = random.random(size), errors(random, size, 0.3)
        direct = update(direct, calibration, score, event)
        encoded = msgspec.json.encode(update(through, calibration, score, event))
        through = msgspec.json.decode(encoded, type=ConceptState)
    assert through == direct


@pytest.mark.slow
@pytest.mark.parametrize("withheld", [300, 1_000, 5_000])
def test_calm_months_never_alarm_whatever_the_withheld_sample(withheld):
    """The probabilities are estimates: their uncertainty is granted to the model."""
    length = run_length(Budget(), 30 * 300)
    for seed in range(12):
        random = np.random.default_rng([seed, withheld])
        score = sigmoid(random.normal(0, 1.5, withheld))
        calibration = fit(score, random.random(withheld) < score)

        def days(random=random):
            for _ in range(60):
                score = sigmoid(random.normal(0, 1.5, 300))
                yield score, random.random(300) < score

        assert watch(start(length), calibration, days()) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stream", "days"),
    [("switch", "errors", 1), ("noisier", "errors", 4), ("likelier", "more", 6)],
)
def test_changed_meaning_is_found(kind, stream, days):
    random = np.random.default_rng(7)
    score = sigmoid(random.normal(0, 1.5, 4_000))
    calibration = fit(score, random.random(4_000) < score)
    change = {
        "switch": lambda p: 1 - p,
        "noisier": lambda p: 0.8 * p + 0.2 * (1 - p),
        "likelier": lambda p: 1.6 * p / (1.6 * p + 1 - p),
    }[kind]

    def stream_of_days():
        for day in range(40):
            score = sigmoid(random.normal(0, 1.5, 500))
            truth = change(score) if day >= 20 else score
            yield score, random.random(500) < truth

    alarm = watch(start(run_length(Budget(), 15_000)), calibration, stream_of_days())
    assert alarm is not None
    assert alarm.at_time is not None
    assert 20 <= alarm.at_time <= 20 + days
    assert alarm.since_time in {19, 20, 21, 22}
    assert alarm.stream == stream


@pytest.mark.slow
def test_harder_inputs_raise_errors_but_no_alarm():
    """Covariate shift on a calibrated model: twice the errors, all of them expected."""
    random = np.random.default_rng(8)
    score = sigmoid(random.normal(2, 2, 4_000))
    calibration = fit(score, random.random(4_000) < score)
    seen = []

    def days():
        for day in range(40):
            score = sigmoid(random.normal(2 if day < 20 else 0, 2 if day < 20 else 1, 500))
            truth = random.random(500) < score
            seen.append(np.mean((score >= 0.5) != truth))
            yield score, truth

    assert watch(start(run_length(Budget(), 15_000)), calibration, days()) is None
    assert np.mean(seen[20:]) > 1.8 * np.mean(seen[:20])


def test_regression_by_exceeded_residuals():
    random = np.random.default_rng(9)
    withheld = np.abs(random.normal(size=5_000))
    limit, calibration = fit_residuals(random.normal(size=5_000), withheld)
    assert limit == np.quantile(withheld, 0.8)
    assert calibration.rate == 0.2

    def days(scale):
        for day in range(30):
            error = np.abs(random.normal(0, scale if day >= 10 else 1, 300))
            yield random.normal(size=300), error > limit

    assert watch(start(1e6, streams=("more",)), calibration, days(1.0)) is None
    alarm = watch(start(1e6, streams=("more",)), calibration, days(1.4))
    assert alarm is not None
    assert alarm.at_time is not None
    assert alarm.at_time >= 10


def test_the_first_alarm_stays_and_the_level_shows():
    state = start(1e5, streams=("more",), margin=0, caution=0)
    assert concept.progress(state) == 0
    state = update(state, EXACT, np.zeros(500), np.ones(500))
    first = state.alarm
    assert first is not None
    assert first.since == 0
    assert concept.progress(state) >= 1
    assert update(state, EXACT, np.zeros(500), np.zeros(500)).alarm == first


def test_no_labels_no_change():
    state = start(1e5)
    assert update(state, EXACT, np.zeros(0), np.zeros(0)) is state


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="run length above 1"):
        start(1.0)
    with pytest.raises(UsageError):
        start(10.0, streams=())
    with pytest.raises(DataError, match="do not pair up"):
        update(start(10.0), EXACT, np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="1 times for 2"):
        update(start(10.0), EXACT, np.zeros(2), np.zeros(2), times=np.zeros(1, dtype=np.int64))


def stream(noise, shifts, rows=400):
    """Batches of scores and events whose odds are turned by a part of the way: 1 is no change."""
    for share in shifts:
        score = noise.random(rows)
        event = noise.random(rows) < np.where(noise.random(rows) < share, 1 - score, score)
        yield score, event.astype(float)


def fed(shifts, seed=0):
    noise = np.random.default_rng([seed, 31])
    score = noise.random(4_000)
    known = fit(score, (noise.random(4_000) < score).astype(float))
    state = start(1e5)
    for day, (batch, event) in enumerate(stream(noise, shifts)):
        times = np.full(len(batch), day)
        state = relief.over(concept.update(state, known, batch, event, times=times))
    return state


def test_a_weak_change_is_dated_by_its_rows_and_not_by_a_lucky_few_of_them():
    missed = []
    for seed in range(12):
        noise = np.random.default_rng([seed, 77])
        score = noise.random(4_000)
        known = fit(score, (noise.random(4_000) < score).astype(float))
        state = start(1e5)
        for batch, event in stream(noise, [0.0] * 6 + [0.2] * 14, 300):
            state = concept.update(state, known, batch, event)
            if state.alarm is not None:
                break
        missed.append(abs(state.alarm.since - 1_800))
    assert np.mean(missed) < 35
    assert max(missed) < 100


def test_a_concept_that_returns_is_recurring_and_the_first_episode_is_kept():
    state = fed([0.0] * 4 + [0.8] * 3 + [0.0] * 5 + [0.8] * 2)
    (first,) = state.ended
    assert (first.alarm.since_time, first.until) in {(3, 7), (4, 7)}
    assert state.alarm is not None and state.alarm.since_time in (11, 12)
    form, said, _ = meaning.shape(state, state.alarm, 12)
    assert form == "recurring" and said.startswith(", as from")
    state = fed([0.0] * 4 + [0.8] * 3 + [0.0] * 5)
    assert state.alarm is None and "was over by" in meaning._calm(state).reason


@pytest.mark.parametrize(("share", "ended"), [(0.45, 0), (0.31, 1)], ids=["less", "none"])
def test_what_goes_on_at_less_than_what_gave_the_alarm_is_not_over(share, ended):
    """The rows at which a detector crosses are the worst of many: 71 % of 38 here, of 31 % expected."""
    alarm = concept.Alarm(
        stream="more",
        at=1_238,
        since=1_200,
        at_time=45,
        since_time=43,
        rows=38,
        seen=27.0,
        expected=12.0,
    )
    course = tuple(
        concept.Stretch(10 * day, 300, (300 * (share if day > 4 else 0.31),), (93.0,), (64.0,))
        for day in range(7)
    )
    fresh = start(1e5, streams=("more",))
    state = relief.over(msgspec.structs.replace(fresh, rows=2_100, alarm=alarm, course=course))
    assert len(state.ended) == ended
    assert (state.alarm is None) == bool(ended)


def test_what_returns_at_once_began_after_its_end():
    for seed in (6, 7, 8):
        state = fed([0.0] * 4 + [0.8] * 3 + [0.0] * 2 + [0.8] * 2, seed)
        assert len(state.ended) == 1
        assert state.alarm is not None
        assert state.alarm.since_time == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shifts", "form"),
    [([0.0] * 6 + [0.6] * 4, "sudden"), ([0.0] * 4 + list(np.linspace(0.05, 0.7, 10)), "gradual")],
)
def test_the_form_of_a_concept_drift_is_told_by_its_course(shifts, form):
    named = [
        meaning.shape(state, state.alarm, state.alarm.since_time)[0]
        for state in (fed(shifts, seed) for seed in range(8))
    ]
    assert named.count(form) >= 7


def test_a_second_view_is_on_record():
    state = fed([0.0] * 6 + [0.9] * 3)
    assert state.second.cuts >= 1
    assert state.second.before < 0.4 < state.second.after
    assert 6 * 400 < state.second.at <= state.rows
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=concept.ConceptState)
    assert again == state


def test_errors_in_one_slice_are_placed_there():
    noise = np.random.default_rng(1)
    group = noise.choice(["a", "b", "c"], 3_000).astype(object)
    chance = np.full(3_000, 0.2)
    outcome = (noise.random(3_000) < np.where(group == "b", 0.5, 0.2)).astype(float)
    assert where.slices({"group": group}, outcome, chance, 0.01) == ("group=b",)
    everywhere = (noise.random(3_000) < 0.5).astype(float)
    assert where.slices({"group": group}, everywhere, chance, 0.01) == ()
    assert where.slices({}, everywhere, chance, 0.01) == ()
    assert where.slices({"group": group[:20]}, everywhere[:20], chance[:20], 0.01) == ()
