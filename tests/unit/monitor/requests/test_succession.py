"""Latency where one version took the place of another: what is named, with whom and when, and what not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from trimtab import ids
from trimtab.monitor.requests import asking, pulse, slowness

pytestmark = pytest.mark.slow

HOUR, DAY = 3_600_000_000, 86_400_000_000
BEGIN = 20_000 * DAY
ALPHA = {HOUR: 1.2e-6, DAY: 2.8e-5}


class Day(NamedTuple):
    start: int
    features: dict[str, dict[str, int]]
    model: str


class Reign(NamedTuple):
    """A version answers from a moment on (in windows) with so many times the latency."""

    model: str
    since: float
    times: float = 1.0


def served(reigns, until, *, per=300, cold=0, span=DAY, seed=0):
    """Windows by version, of `per` requests each where it answers all of it; the first `cold` ones of a
    version take a second.
    """
    noise = np.random.default_rng([seed, 5])
    ends = [one.since for one in reigns[1:]] + [until]
    found = []
    for reign, end in zip(reigns, ends, strict=True):
        left = cold
        for place in range(int(reign.since), int(np.ceil(end))):
            begin, stop = max(place, reign.since), min(place + 1, end)
            count = noise.poisson(per * (stop - begin))
            if not count:
                continue
            usual = 10_000 * np.exp(noise.normal(0, 0.1))
            spent = usual * reign.times * np.exp(noise.normal(0, 0.3, count))
            spent[:left] = 1_000_000
            left = max(0, left - count)
            first = BEGIN + int(begin * span) + 1_000
            body = {
                asking.LATENCY: asking._latency(spent.astype(np.int64)),
                asking.FIRST: {"at": first},
            }
            found.append(Day(BEGIN + place * span, body, reign.model))
    return found


def looks(windows, span=DAY, first=1):
    """What each look from the `first` on named, by the number of windows that had closed: the champion is
    who answered last.
    """
    found = {}
    last = max(one.start for one in windows)
    for end in range(BEGIN + first * span, last + 2 * span, span):
        closed = [one for one in windows if one.start < end]
        mine = [one for one in closed if one.model == closed[-1].model]
        rest = [one for one in closed if one.model != closed[-1].model]
        named = slowness.look(
            mine, ALPHA[span], span, pulse._cycles(span), end - span,
            others=rest, label=lambda model: f"goods@{model}",
        )  # fmt: skip
        if named:
            found[(end - BEGIN) // span] = named
    return found


def test_a_version_that_takes_five_times_as_long_is_named_with_the_one_before_and_the_moment():
    windows = served([Reign("v1", 0), Reign("v2", 14.4, 5)], 20)
    found = looks(windows)
    began = BEGIN + int(14.4 * DAY) + 1_000
    assert set(found) == set(range(15, 21))
    for (one,) in found.values():
        assert one.since == began
        assert one.text.startswith(f"Latency change since {ids.iso(began)}: latency (95 %) ")
        assert one.text.endswith(f"; goods@v2 answers since {ids.iso(began)}, goods@v1 did before.")
    (last,) = found[20]
    assert 4 < last.detail["ratio"] < 6


def test_a_version_that_is_faster_is_named_too():
    (one,) = looks(served([Reign("v1", 0), Reign("v2", 14.4, 0.2)], 18))[18]
    assert one.severity == "notice" and "goods@v2 answers since" in one.text


@pytest.mark.parametrize("span", [DAY, HOUR])
def test_calm_deployments_are_none_also_where_the_first_seconds_are_cold(span):
    """50 deployments at any moment of a window, with 0, 5 and 20 slow requests of a process that is new."""
    noise = np.random.default_rng(3)
    for seed in range(50):
        at = 24 + noise.random()
        cold = (0, 5, 20)[seed % 3]
        windows = served([Reign("v1", 0), Reign("v2", at)], 34, cold=cold, span=span, seed=seed)
        assert looks(windows, span, 24) == {}, (seed, at, cold)


def test_a_version_that_began_just_before_its_window_ended_is_judged_with_the_next():
    calm = served([Reign("v1", 0), Reign("v2", 14.97)], 18, cold=12)
    assert looks(calm) == {}
    slow = looks(served([Reign("v1", 0), Reign("v2", 14.97, 5)], 18))
    assert set(slow) == {16, 17, 18}
    assert slow[16][0].since == BEGIN + int(14.97 * DAY) + 1_000


def test_going_back_ends_what_the_version_brought():
    found = looks(served([Reign("v1", 0), Reign("v2", 14, 5), Reign("v1", 17.5)], 24))
    (over,) = found[max(found)]
    assert over.detail["lasts"] == 0.0 and "goods@v2 answers since" in over.text
    assert set(found) & {21, 22, 23, 24} <= {max(found)}


def test_going_back_does_not_change_when_the_version_came():
    """The one gone back to answered in the morning of the day on which the other came."""
    found = looks(served([Reign("v1", 0), Reign("v2", 14.4, 5), Reign("v1", 17.5)], 24))
    assert {one.since for (one,) in found.values()} == {BEGIN + int(14.4 * DAY) + 1_000}
    (over,) = found[max(found)]
    assert (
        over.detail["lasts"] == 0.0 and f"goods@v2 answers since {ids.iso(over.since)}" in over.text
    )


def test_what_another_version_mended_on_the_same_day_ended_when_that_began():
    (one,) = looks(served([Reign("v1", 0), Reign("v2", 12.2, 5), Reign("v3", 12.9)], 15))[15]
    (began, ended) = (ids.iso(BEGIN + int(at * DAY) + 1_000) for at in (12.2, 12.9))
    assert f"since {began}: " in one.text and f"as usual again since {ended}; " in one.text


def test_a_change_that_is_older_than_the_version_keeps_its_beginning():
    """The machine is slow since the tenth window; a version deployed later is as slow and not blamed."""
    found = looks(served([Reign("v1", 0), Reign("v1", 12, 5), Reign("v2", 16, 5)], 20))
    assert set(found) == {13, 14, 15, 16, 17, 18, 19, 20}
    for (one,) in found.values():
        assert one.since == BEGIN + 12 * DAY and "answers since" not in one.text


def test_many_versions_of_a_few_days_are_one_course():
    reigns = [Reign(f"v{i}", 3 * i) for i in range(8)]
    assert looks(served(reigns, 24)) == {}
    found = looks(served([*reigns[:-1], Reign("v8", 21, 5)], 24))
    assert set(found) == {22, 23, 24} and "goods@v8 answers since" in found[24][0].text


def test_a_pass_names_the_version_that_was_deployed_and_the_one_before(place):
    """From the log to the sentence; the newer version's package differs by a note."""
    from trimtab.model import registry
    from trimtab.monitor.observe import observe
    from trimtab.serve.logged import frame as bytes_of
    from trimtab.serve.logged.frame import Frame
    from trimtab.store import versions

    (place.folder / "package" / "note").write_text("slower")
    digest = registry.put(place.ws, place.folder / "package")
    second = versions.add(place.ws, "model", "goods", digest)

    def answer(day, part, version, spent):
        rows = place.rows(30)
        for i in range(30):
            moment = BEGIN + day * DAY + int((part + i / 100) * DAY)
            score = np.asarray(rows.score[i : i + 1], dtype="<f4")
            place.log.append([
                Frame(
                    ids=(ids.new_id(),), request=ids.new_id(), received_at=moment,
                    endpoint="goods", role="champion", model=version.digest, label=version.label,
                    contract="predict", event_times=(moment,), words={"kind": ["a"]},
                    numbers=bytes_of.pack_numbers({"x": rows.columns["x"][i : i + 1]}),
                    score=score.tobytes(), width=1, decision=rows.decision[i : i + 1],
                    latency_us=int(spent * np.exp(place.noise.normal(0, 0.2))),
                )
            ])  # fmt: skip

    for day in range(13):
        answer(day, 0.0, place.version, 10_000)
    answer(13, 0.0, place.version, 10_000)
    answer(13, 0.5, second, 50_000)
    for day in (14, 15):
        answer(day, 0.0, second, 50_000)
    calm = observe(place.ws, place.config, "goods", place.version, now=BEGIN + 13 * DAY + DAY // 2)
    assert not any("atency" in one for one in calm.sentences)
    seen = observe(place.ws, place.config, "goods", second, now=BEGIN + 17 * DAY)
    (said,) = [one for one in seen.sentences if "Latency change" in one]
    began = ids.iso(BEGIN + 13 * DAY + DAY // 2)
    assert said.startswith(f"goods: Latency change since {began}: latency (95 %) ")
    assert said.endswith(f"; goods@v2 answers since {began}, goods@v1 did before.")
