import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import config, freezing, ids
from trimtab.errors import ConfigError

HOUR = 3_600_000_000
BERLIN = "Europe/Berlin"


def until(windows, moment, timezone=BERLIN):
    windows = [windows] if isinstance(windows, str) else windows
    found = freezing.until(windows, timezone, ids.parse_time(moment))
    return None if found is None else ids.iso(found[1])


@pytest.mark.parametrize(
    ("window", "moment", "end"),
    [
        ("fri 16:00 - mon 08:00", "2026-11-20T14:59:59Z", None),
        ("fri 16:00 - mon 08:00", "2026-11-20T15:00:00Z", "2026-11-23T07:00:00Z"),
        ("fri 16:00 - mon 08:00", "2026-11-23T06:59:59Z", "2026-11-23T07:00:00Z"),
        ("fri 16:00 - mon 08:00", "2026-11-23T07:00:00Z", None),
        ("Friday 16:00 – 20:00", "2026-11-20T16:00:00Z", "2026-11-20T19:00:00Z"),
        ("22:00 to 06:00", "2026-11-20T23:00:00Z", "2026-11-21T05:00:00Z"),
        ("22:00 - 06:00", "2026-11-20T05:00:00Z", None),
        ("22:00 - 24:00", "2026-11-20T22:30:00Z", "2026-11-20T23:00:00Z"),
        ("sat", "2026-11-21T12:00:00Z", "2026-11-21T23:00:00Z"),
        ("sat - sun", "2026-11-21T12:00:00Z", "2026-11-22T23:00:00Z"),
        ("2026-12-20 - 2027-01-02", "2026-12-19T22:59:59Z", None),
        ("2026-12-20 - 2027-01-02", "2026-12-19T23:00:00Z", "2027-01-02T23:00:00Z"),
        ("2026-12-24T12:00 - 2026-12-24 18:00", "2026-12-24T12:00:00Z", "2026-12-24T17:00:00Z"),
        ("12-20 - 01-02", "2031-01-01T12:00:00Z", "2031-01-02T23:00:00Z"),
        ("12-20 - 01-02", "2031-12-31T12:00:00Z", "2032-01-02T23:00:00Z"),
        ("12-20 - 01-02", "2031-06-01T12:00:00Z", None),
        ("12-31", "2031-12-31T12:00:00Z", "2031-12-31T23:00:00Z"),
        ("02-29 - 03-02", "2027-03-01T12:00:00Z", "2027-03-02T23:00:00Z"),
    ],
)
def test_a_window_is_what_people_mean_by_it(window, moment, end):
    assert until(window, moment) == end


def test_clocks_that_go_forward_or_back_are_followed():
    # Forward on 29 March 2026 at 01:00 UTC, back on 25 October 2026 at 01:00 UTC.
    assert until("sun 02:30 - 12:00", "2026-03-29T00:59:59Z") is None
    assert until("sun 02:30 - 12:00", "2026-03-29T01:00:00Z") == "2026-03-29T10:00:00Z"
    assert until("sat 22:00 - sun 02:30", "2026-03-28T23:00:00Z") == "2026-03-29T01:00:00Z"
    # Half past two comes twice: a freeze begins at the first and ends at the second.
    assert until("sun 02:30 - 12:00", "2026-10-25T00:30:00Z") == "2026-10-25T11:00:00Z"
    assert until("sat 22:00 - sun 02:30", "2026-10-25T01:29:59Z") == "2026-10-25T01:30:00Z"
    assert until("sat 22:00 - sun 02:30", "2026-10-25T01:30:00Z") is None


def test_windows_that_touch_are_one_freeze():
    both = ["fri 16:00 - sun", "mon 00:00 - 08:00", "tue"]
    assert until(both, "2026-11-20T16:00:00Z") == "2026-11-23T07:00:00Z"
    assert until(["mon - thu", "fri - sun"], "2026-11-20T16:00:00Z") > "2026-11-30"


def test_without_windows_nothing_is_frozen():
    assert until([], "2026-11-20T16:00:00Z") is None


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("", "no window of time"),
        ("friday afternoon", "no moment"),
        ("fri 16:00", "from when to when"),
        ("fri 16:00 - 2026-12-20", "from when to when"),
        ("fri - mon - tue", "no window of time"),
        ("frx - mon", "no day 'frx'"),
        ("fri 25:00 - mon 08:00", "no time 25:00"),
        ("fri 10:60 - mon 08:00", "no time 10:60"),
        ("2026-02-30 - 2026-03-02", "no day 2026-02-30"),
        ("13-01 - 13-02", "no day 13-01"),
        ("2027-01-02 - 2026-12-20", "ends before it starts"),
        ("mon 18:00 - mon 08:00", "ends before it starts"),
        ("08:00 - 08:00", "always or never"),
        ("mon - sun", "always or never"),
        ("00:00 - 24:00", "always or never"),
        ("2026-12-20 08:00 - 08:00", "ends before it starts"),
        ("12-20 08:00 - 08:00", "ends as it starts"),
    ],
)
def test_what_is_no_window_is_refused_as_it_is_read(window, said):
    raw = {"project": {"name": "loans"}, "freeze": {"windows": [window]}}
    with pytest.raises(ConfigError, match=r"\[freeze\] windows") as caught:
        config.parse(raw)
    assert said in caught.value.message


def test_an_unknown_zone_and_key_are_refused():
    with pytest.raises(ConfigError, match="no time zone"):
        config.parse({"project": {"name": "loans"}, "freeze": {"timezone": "Mars/North"}})
    with pytest.raises(ConfigError, match="did you mean 'windows'"):
        config.parse({"project": {"name": "loans"}, "freeze": {"window": []}})


@given(start=st.integers(0, 10_079), length=st.integers(1, 10_000), at=st.integers(0, 10_079))
def test_a_week_holds_the_minutes_of_its_window_alone(start, length, at):
    end = (start + length) % 10_080
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

    def said(minute):
        return f"{days[minute // 1440]} {minute % 1440 // 60:02}:{minute % 60:02}"

    if end < start and end // 1440 == start // 1440:
        return
    monday = ids.parse_time("2026-11-16T00:00:00Z")
    found = freezing.until([f"{said(start)} - {said(end)}"], "UTC", monday + at * 60_000_000)
    assert (found is not None) == ((at - start) % 10_080 < length)
