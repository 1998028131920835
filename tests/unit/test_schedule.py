import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import config, ids, schedule
from trimtab.errors import ConfigError

HOUR = 3_600_000_000


def at(text):
    return ids.parse_time(text)


def told(expression, timezone, after, until):
    return [ids.iso(one) for one in schedule.slots(expression, timezone, at(after), at(until))]


def test_a_schedule_follows_the_clock_of_its_zone():
    found = told("0 3 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z")
    # Clocks go forward on the 29th: three o'clock comes an hour of UTC earlier from then on.
    assert found == ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]


def test_a_moment_that_clocks_leave_out_comes_right_after():
    found = told("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z")
    assert found == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]


def test_a_moment_that_clocks_repeat_comes_once():
    found = told("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z")
    assert len(found) == 2
    assert found[0] == "2026-10-25T00:30:00Z"


def test_every_hour_is_every_hour_that_passes():
    hours = told("0 * * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T06:00:00Z")
    assert len(hours) == 8


@given(
    st.sampled_from(["*/7 * * * *", "0 3 * * *", "15 2 * * 1", "0 0 1 * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(0, 400 * 24),
    st.lists(st.integers(1, 96), min_size=1, max_size=4),
)
def test_the_same_moments_come_however_often_one_looks(expression, timezone, begin, steps):
    moment = at("2026-01-01T00:00:00Z") + begin * HOUR
    found, here = [], moment
    for step in steps:
        found += schedule.slots(expression, timezone, here, here + step * HOUR)
        here += step * HOUR
    assert found == list(schedule.slots(expression, timezone, moment, here))
    assert found == sorted(set(found))
    assert all(moment < one <= here for one in found)


@pytest.mark.parametrize(
    ("retrain", "words"),
    [
        ({"on": ["drfit"]}, "did you mean 'drift'"),
        ({"on": ["cron:0 3 * *"]}, "no cron expression"),
        ({"on": ["cron:0 0 30 2 *"]}, "cron"),
        ({"on": ["cron:61 * * * *"]}, "Bad minute"),
        ({"on": ["cron:"]}, "nothing starts on"),
        ({"on": ["rows:none"]}, "how many rows"),
        ({"on": ["after:other"]}, r"there is no \[trigger.other\]"),
        ({"on": ["webhook"]}, "needs a secret"),
        ({"timezone": "Europe/Atlantis"}, "no time zone 'Europe/Atlantis'"),
        ({"at_most": "often"}, "cannot be read"),
        ({"max_depth": 0}, "lets nothing start"),
        ({"cost_per_day": -1.0}, "less than nothing"),
        ({"cooldown": "soon"}, "not a duration"),
        ({"overlap": "both"}, "overlap"),
        ({"cooldwon": "1h"}, "did you mean 'cooldown'"),
    ],
)
def test_a_mistake_in_a_trigger_is_told(retrain, words):
    with pytest.raises(ConfigError, match=words):
        config.parse({"project": {"name": "loans"}, "retrain": retrain})
    with pytest.raises(ConfigError, match=words):
        config.parse({"project": {"name": "loans"}, "trigger": {"nightly": retrain}})


def test_triggers_of_a_file():
    found = config.parse(
        {
            "project": {"name": "loans"},
            "trigger": {
                "nightly": {"flow": "pipeline:report", "on": ["cron:0 3 * * *", "data"]},
                "then": {"on": ["after:nightly"], "overlap": "queue", "at_most": "3/week"},
            },
        }
    )
    assert found.trigger["nightly"].flow == "pipeline:report"
    assert schedule.limit(found.trigger["then"].at_most, "then") == (3, "week")
    with pytest.raises(ConfigError, match=r"called like \[retrain\]"):
        config.parse({"project": {"name": "loans"}, "trigger": {"retrain": {}}})


def test_the_29th_of_february_comes():
    schedule.check_cron("0 0 29 2 *", "UTC", "here")
