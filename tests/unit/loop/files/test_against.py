"""Any table against another table or a data version, and every bad one."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.errors import DataError, NotFoundError, UsageError
from trimtab.loop.files.against import Watching, watch
from trimtab.loop.project import open_project
from trimtab.store import operations

DAY = 86_400_000_000
PROJECT = '[project]\nname = "shop"\n[data.orders]\nsource = "old.csv"\nkey = "id"\ntime = "day"\n'


def table(seed, rows=2000, shift=0.0, **more):
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "x": random.normal(shift, 1, rows),
            "y": random.normal(0, 1, rows),
            "kind": random.choice(["a", "b", "c"], rows),
        }
    )
    return frame.with_columns(**{name: pl.Series(values) for name, values in more.items()})


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(0, 5000).write_csv("old.csv")
    return tmp_path


def look(place, frame, name="new.csv", **asked):
    path = place / name
    form = path.suffix[1:]
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc,
     "ndjson": frame.write_ndjson}[form](path)  # fmt: skip
    return watch(path, Watching(**{"against": "old.csv", **asked}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.arrow", "new.ndjson"])
def test_every_format_is_judged_alike(place, name):
    found = look(place, table(1, shift=0.5), name)
    assert found.status == "found"
    assert [one.kind for one in found.findings] == ["data drift"]
    assert {one.feature for one in found.findings[0].features} == {"x"}
    calm = look(place, table(2), name)
    assert (calm.status, calm.findings) == ("nothing", [])
    assert {one.feature for one in calm.windows[0].measures} == {"x", "y", "kind"}


def written(seed, rows, least=5, letters="w", mean=0.0):
    """Free text and an embedding: no text occurs twice."""
    random = np.random.default_rng(seed)
    size = random.integers(least, least + 20, rows)
    note = [" ".join(f"{letters}{one}" for one in random.integers(0, 500, n)) for n in size]
    return table(seed, rows, note=note, vector=random.normal(mean, 1, (rows, 8)).tolist())


@pytest.mark.parametrize(
    ("how", "feature"),
    [
        ({}, ""),
        ({"least": 1}, "note:length"),
        ({"letters": "\u0436"}, "note:characters"),
        ({"mean": 0.5}, "vector:"),
    ],
    ids=["calm", "short", "cyrillic", "vectors"],
)
def test_free_text_and_embeddings_are_watched_by_what_is_made_of_them(place, how, feature):
    written(0, 2000).write_parquet("old.parquet")
    found = look(place, written(1, 1000, **how), "new.parquet", against="old.parquet")
    assert found.status == ("found" if how else "nothing")
    named = {one.feature for finding in found.findings for one in finding.features}
    assert all(one.startswith(feature or "none") for one in named)


@pytest.mark.parametrize("reference", ["old.csv", "old.parquet"])
@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_truth_values_are_the_same_in_whatever_letters(place, reference, name):
    random = np.random.default_rng(3)
    old = table(0, 1000, flag=random.random(1000) < 0.3)
    new = table(1, 500, flag=random.random(500) < 0.3)
    if reference == "old.csv":
        spelled = pl.col("flag").cast(pl.String).str.to_titlecase()
        old.with_columns(spelled).write_csv(place / reference)
    else:
        old.write_parquet(place / reference)
    assert look(place, new, name, against=reference).status == "nothing"
    flag = pl.Series(["maybe"] * 50 + ["true", "FALSE", "False"] * 150)
    found = look(place, new.with_columns(flag=flag), against=reference)
    assert [one.kind for one in found.findings] == ["broken input"]
    assert "flag 10 % of the wrong type" in found.findings[0].text


def test_a_file_against_a_file_goes_by_the_settings_of_its_project(place):
    settings = '[monitor]\nwindow = "1w"\nmin_rows = 300\n'
    (place / "trimtab.toml").write_text(f'[project]\nname = "shop"\n{settings}')
    days = [f"2026-03-{1 + row // 20:02}" for row in range(200)]
    found = look(place, table(1, 200, day=days), time="day")
    assert len(found.windows) == 2
    assert found.status == "undecided"
    assert found.windows[-1].reason == "200 rows are too few to judge; 300 are needed"


def days(seed, first, count, *, wobble=0.0, weekend=0.0, bursts=1, jump=0.0):
    """300 rows a day whose level differs from day to day; `jump` moves the second half."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(count), 300)
    level = random.normal(0, wobble, count) + weekend * ((first + np.arange(count) + 3) % 7 >= 5)
    user = np.arange(len(day)) // bursts
    x = (
        level[day]
        + random.normal(0, 0.3 if bursts > 1 else 1.0, len(day))
        + jump * (day >= count // 2)
    )
    if bursts > 1:
        x += random.normal(size=user[-1] + 1)[user]
    at = pl.from_epoch(pl.Series("at", first + day), time_unit="d")
    return pl.DataFrame({"x": x, "y": random.normal(size=len(day)), "user": user, "at": at})


@pytest.mark.parametrize(
    "how",
    [{"wobble": 0.3}, {"weekend": 1.0}, {"bursts": 10}],
    ids=["days differ", "weekends differ", "bursts"],
)
@pytest.mark.parametrize("against", ["old.parquet", "visits@v1"])
def test_a_table_with_times_knows_its_ordinary_variation(place, how, against):
    (place / "trimtab.toml").write_text(
        '[project]\nname = "shop"\n[monitor]\nentity = "user"\n'
        '[data.visits]\nsource = "old.parquet"\ntime = "at"\n'
    )
    days(5, 20_000, 56, **how).write_parquet(place / "old.parquet")
    if "@" in against:
        from trimtab.data import snapshot

        project = open_project(place)
        snapshot.add(project.ws, project.config, "visits")
        project.ws.close()
    asked = {"against": against, "time": "at"}
    calm = look(place, days(6, 20_056, 14, **how), "new.parquet", **asked)
    assert (calm.status, calm.findings) == ("nothing", [])
    assert "user" in calm.ignored
    found = look(place, days(7, 20_056, 14, jump=2.0, **how), "new.parquet", **asked)
    assert [one.kind for one in found.findings] == ["data drift"]
    assert found.findings[0].since == (20_056 + 7) * DAY


def test_a_reference_without_readable_times_is_of_one_kind(place):
    frame = days(5, 20_000, 14)
    odd = pl.Series(["soon"] * frame.height)
    frame.with_columns(at=odd).write_parquet(place / "old.parquet")
    asked = {"against": "old.parquet", "time": "at", "leave_out": ("user",)}
    found = look(place, days(6, 20_014, 3), "new.parquet", **asked)
    assert (found.status, len(found.windows)) == ("nothing", 3)


def test_words_of_which_nothing_can_be_told_are_named(place):
    def priced(seed, rows):
        price = np.random.default_rng(seed).normal(100, 9, rows)
        return table(seed, rows, price=[f"{one:.4f}".replace(".", ",") for one in price])

    priced(0, 2000).write_parquet(place / "old.parquet")
    found = look(place, priced(1, 500), "new.parquet", against="old.parquet")
    assert found.status == "nothing"
    assert [note for note in found.notes if note.startswith("little can be told of price:")]
    assert not look(place, table(1, 500)).notes


def test_a_column_that_nothing_compares_with_is_said(place):
    found = look(place, table(2, more=["x"] * 2000))
    assert found.ignored == ["more"]
    assert any(one.startswith("not compared: more (") for one in found.notes)


def test_nothing_is_written_without_being_asked(place):
    look(place, table(1, shift=0.5))
    assert sorted(path.name for path in place.iterdir()) == ["new.csv", "old.csv"]


@pytest.mark.slow
def test_with_times_a_change_is_dated(place):
    frames = [
        table(day, 600, 0.0 if day < 7 else 0.4, day=[f"2026-03-{day + 1:02}T12:00:00Z"] * 600)
        for day in range(10)
    ]
    found = look(place, pl.concat(frames), time="day", window="1d")
    assert len(found.windows) == 10
    assert all(not one.findings for one in found.windows[:7])
    assert found.findings[0].since == found.windows[7].start
    assert "since 2026-03-08T00:00:00" in found.findings[0].text


@pytest.mark.slow
def test_a_slow_change_is_seen_over_several_windows(place):
    frames = [
        table(day, 300, 0.02 * day, day=[f"2026-03-{day + 1:02}T12:00:00Z"] * 300)
        for day in range(14)
    ]
    found = look(place, pl.concat(frames), time="day", window="1d")
    assert [one.kind for one in found.findings] == ["data drift"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shifts", "form", "since"),
    [
        ([0] * 5 + [0.1 * k for k in range(1, 9)], "gradual", 5),
        ([0, 0, 0, 0.6, 0.6, 0, 0, 0, 0, 0.6, 0.6, 0.6], "recurring", 9),
    ],
    ids=["gradual", "recurring"],
)
def test_windows_of_a_file_say_how_a_change_came_and_when_it_began(place, shifts, form, since):
    days = [f"2026-03-{day + 1:02}" for day in range(len(shifts))]
    frames = [
        table(day, 800, shift, day=[f"{days[day]}T12:00:00Z"] * 800)
        for day, shift in enumerate(shifts)
    ]
    (found,) = look(place, pl.concat(frames), "new.parquet", time="day", window="1d").findings
    assert (found.kind, found.form) == ("data drift", form)
    began = ids.parse_time(f"{days[since]}T00:00:00Z")
    assert abs(found.since - began) <= DAY
    assert f"since {ids.iso(found.since)}: x" in found.text


@pytest.mark.slow
def test_every_window_of_a_file_says_how_its_change_came_and_what_it_repeats(place):
    """An episode is remembered beyond the 64 windows that a form is told by."""
    times = [ids.iso(ids.parse_time("2026-01-01T00:00:00Z") + day * DAY) for day in range(84)]
    moved = {2: 0.8, 3: 0.8, 80: 0.8, 81: 0.8}
    frames = [
        table(day, 300, moved.get(day, 0.0), day=[time] * 300) for day, time in enumerate(times)
    ]
    found = look(place, pl.concat(frames), "new.parquet", time="day", window="1d")
    said = {
        day: one.findings[0]
        for day, one in enumerate(found.windows)
        if one.findings and one.findings[0].detail.get("lasts", 1.0)
    }
    forms = {day: said[day].form for day in moved}
    assert forms == {2: "sudden", 3: "sudden", 80: "recurring", 81: "recurring"}
    assert "recurring, as from 2026-01-" in said[80].text


def test_a_change_that_is_over_does_not_repeat_itself(place):
    """The sums of windows remember it while the newest ones are calm."""
    shifts = [0, 0, 0, 0.8, 0.8, 0, 0, 0, 0]
    frames = [
        table(day, 600, shift, day=[f"2026-03-{day + 1:02}T12:00:00Z"] * 600)
        for day, shift in enumerate(shifts)
    ]
    windows = look(place, pl.concat(frames), "new.parquet", time="day", window="1d").windows
    over = [one.findings[0] for one in windows[5:] if one.findings]
    assert len(over) > 1
    assert {(one.form, one.detail["lasts"]) for one in over} == {("sudden", 0.0)}
    assert all(one.since == windows[3].start for one in over)


def daily(shifts, column="x", rows=300):
    """A table of a day each, whose `column` lies so far from the reference's."""
    start = ids.parse_time("2026-01-01T00:00:00Z")
    frames = []
    for day, shift in enumerate(shifts):
        frame = table(day, rows, day=[ids.iso(start + day * DAY)] * rows)
        frames.append(frame.with_columns(pl.col(column) + shift))
    return pl.concat(frames)


@pytest.mark.slow
def test_a_file_keeps_the_beginning_of_what_lasts_longer_than_any_sum_of_windows(place):
    found = look(place, daily([0] * 12 + [0.6] * 48), "new.parquet", time="day", window="1d")
    (finding,) = found.findings
    assert finding.since == found.windows[12].start
    assert finding.text.startswith("Data drift (sudden) in 1 of 3 features since 2026-01-13T00")


def test_what_ended_within_a_file_is_told_as_it_was_with_its_end(place):
    frame = daily([0] * 8 + [0.6] * 6 + [0] * 12)
    found = look(place, frame, "new.parquet", time="day", window="1d")
    (finding,) = found.findings
    assert finding.since == found.windows[8].start
    assert (finding.severity, finding.detail["until"]) == ("alarm", found.windows[14].start)
    assert finding.detail["lasts"] == 0.0
    assert finding.text.endswith("; as the reference again since 2026-01-15T00:00:00Z.")
    assert abs(finding.features[0].effect - 0.6) < 0.15


def test_each_feature_that_moved_in_a_file_has_its_own_end(place):
    """One that is as the reference again is not told beside another one that still moves."""
    x, y = [0] * 6 + [0.6] * 20, [0] * 10 + [0.8] * 6 + [0] * 10
    frame = daily(x).with_columns(y=daily(y, "y")["y"])
    found = look(place, frame, "new.parquet", time="day", window="1d")
    moved = [{each.feature for one in day.findings for each in one.features}
             for day in found.windows]  # fmt: skip
    assert moved[6:10] == [{"x"}] * 4
    assert moved[10:16] == [{"x", "y"}] * 6
    assert moved[16:] == [{"x"}] * 10
    newest, ended = found.findings
    assert [one.feature for one in newest.features] == ["x"]
    assert [one.feature for one in ended.features] == ["y"]
    assert (newest.since, ended.since) == (found.windows[6].start, found.windows[10].start)
    assert "until" not in newest.detail
    assert ended.detail["until"] == found.windows[16].start
    assert ended.text.startswith("Data drift in 1 of 3 features since 2026-01-11T00:00:00Z: y ")


def test_the_first_window_of_a_file_tells_no_form(place):
    frames = [
        table(day, 600, 0.8, day=[f"2026-03-{day + 1:02}T12:00:00Z"] * 600) for day in range(2)
    ]
    found = look(place, pl.concat(frames), "new.parquet", time="day", window="1d")
    first, second = (one.findings[0] for one in found.windows)
    assert (first.form, second.form) == ("", "sudden")
    assert first.text.startswith("Data drift in 1 of 3")


def test_a_column_that_stands_still_in_a_file_is_a_stale_source(place):
    frames = [
        table(day, 600, day=[f"2026-03-{day + 1:02}T12:00:00Z"] * 600).with_columns(
            x=pl.lit(0.37) if day > 3 else pl.col("x")
        )
        for day in range(6)
    ]
    found = look(place, pl.concat(frames), "new.parquet", time="day", window="1d").findings
    assert [(one.kind, one.form) for one in found] == [("broken input", "stale source")]


def test_time_that_goes_backwards_is_put_in_order_and_said(place):
    days = [f"2026-03-{day:02}T00:00:00Z" for day in (3, 1, 2)]
    frame = pl.concat([table(i, 100, day=[day] * 100) for i, day in enumerate(days)])
    found = look(place, frame, time="day", window="1d")
    assert [one.start for one in found.windows] == sorted(one.start for one in found.windows)
    assert any("backwards 1 times" in line for line in found.notes)


def test_rows_without_a_time_are_left_out_and_counted(place):
    frame = table(1, 200, day=["2026-03-01T00:00:00Z"] * 190 + [None] * 10)
    found = look(place, frame, time="day", window="1d")
    assert found.rows == 190
    assert found.notes == ["10 rows without a time are left out"]


def test_one_row_is_too_few_to_judge(place):
    found = look(place, table(1, 1))
    assert (found.status, found.findings) == ("undecided", [])
    assert "too few" in found.windows[0].reason


@pytest.mark.parametrize("text", ["", "x,y,kind\n"])
def test_an_empty_file_is_an_error_that_names_it(place, text):
    (place / "empty.csv").write_text(text)
    with pytest.raises(DataError, match=r"empty\.csv"):
        watch(place / "empty.csv", Watching(against="old.csv"))


def test_a_constant_column_and_one_of_nothing_have_their_names(place):
    frame = table(1).with_columns(x=pl.lit(0.25), y=pl.lit(None, dtype=pl.Float64))
    found = look(place, frame, "new.parquet")
    assert {one.kind for one in found.findings} >= {"broken input"}
    named = {part.feature for one in found.findings for part in one.features}
    assert named >= {"x", "y"}
    json.dumps([str(one) for one in found.findings])


@pytest.mark.slow
@pytest.mark.parametrize("odd", [1e308, float("inf"), float("-inf"), -1e308])
def test_one_absurd_value_alarms_nobody_and_blinds_nothing(place, odd):
    values = np.random.default_rng(5).normal(0, 1, 2000)
    values[7] = odd
    calm = look(place, table(5).with_columns(x=pl.Series(values)), "new.parquet")
    assert calm.status == "nothing"
    moved = look(place, table(5).with_columns(x=pl.Series(values + 0.5)), "new.parquet")
    assert [one.kind for one in moved.findings] == ["data drift"]


@pytest.mark.parametrize("name", ["new.csv", "new.ndjson"])
def test_words_among_numbers_are_broken_input(place, name):
    rows = table(6).to_dicts()
    for row in rows[::10]:
        row["x"] = "n.a. "
    path = place / name
    if name == "new.csv":
        lines = [",".join(str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join(["x,y,kind", *lines]) + "\n")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    found = watch(path, Watching(against="old.csv"))
    assert [one.kind for one in found.findings] == ["broken input"]
    assert found.findings[0].features[0].statistic == "mistyped"


@pytest.mark.slow
def test_many_levels_are_counted(place):
    names = [f"id-{number}" for number in range(20_000)]
    old = table(0, 20_000, name=names)
    old.write_parquet(place / "ids.parquet")
    new = table(1, 20_000, name=[f"id-{number}" for number in range(20_000, 40_000)])
    found = look(place, new, "new.parquet", against="ids.parquet")
    assert found.status == "nothing", "every row of the reference was a new level too"


def test_columns_that_one_side_lacks_are_named(place):
    found = look(place, table(1).drop("y").with_columns(z=pl.lit(1.0)))
    assert found.absent == ["y"]
    assert found.ignored == ["z"]
    assert {one.feature for one in found.windows[0].measures} == {"x", "kind"}


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused_with_words(place):
    frame = table(1)
    with pytest.raises(UsageError, match="no column 'when'"):
        look(place, frame, time="when")
    with pytest.raises(UsageError, match="no column of old"):
        look(place, frame.select(z=pl.col("x")))
    with pytest.raises(UsageError, match="--window goes with --time"):
        look(place, frame, window="1d")
    with pytest.raises(NotFoundError, match="no file"):
        look(place, frame, against="older.csv")
    with pytest.raises(DataError, match="no time that can be read"):
        look(place, frame, time="kind")
    (place / "new.txt").write_text("x\n1\n")
    with pytest.raises(DataError, match="known|not a table"):
        watch(place / "new.txt", Watching(against="old.csv"))


@pytest.mark.slow
def test_a_data_version_is_a_reference_and_windows_are_recorded_on_demand(place):
    (place / "trimtab.toml").write_text(PROJECT)
    frame = table(0, 5000).with_columns(id=pl.int_range(5000), day=pl.lit("2026-01-01T00:00:00Z"))
    frame.write_csv(place / "old.csv")
    from trimtab.data import snapshot

    project = open_project(place)
    snapshot.add(project.ws, project.config, "orders")
    new = table(1, 1000, 0.5, day=["2026-03-01T00:00:00Z"] * 1000)
    asked = {"against": "orders@v1", "time": "day", "window": "1d"}
    found = look(place, new, **asked)
    assert (found.against, found.status, found.recorded) == ("orders@v1", "found", 0)
    assert operations.windows(project.ws) == []
    again = look(place, new, **asked, record=True)
    assert again.recorded == 1
    (window,) = operations.windows(project.ws)
    assert (window.endpoint, window.role, window.rows) == ("file:new.csv", "file", 1000)
    assert window.findings[0]["kind"] == "data drift"
    look(place, new, **asked, record=True)
    assert len(operations.windows(project.ws)) == 1, "the same file again is the same windows"
    for _ in range(2):
        before = ids.now()
        look(place, new, against="orders@v1", record=True)
        assert before <= max(one.start for one in operations.windows(project.ws)) <= ids.now()
    assert len(operations.windows(project.ws)) == 3, "rows without times are of the look"
    project.ws.close()


def with_words(path, seed, odd, every, shift=0.0):
    """A table whose every so-and-so-manieth x is a word; `every` 2 makes half of them words."""
    rows = table(seed, shift=shift).to_dicts()
    for at, row in enumerate(rows[::every]):
        row["x"] = odd[at % len(odd)]
    if path.suffix == ".csv":
        lines = [",".join(str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join(["x,y,kind", *lines]) + "\n")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_reference_with_a_few_words_among_numbers_is_of_numbers_and_says_so(place, form):
    old = with_words(place / f"ref.{form}", 0, ["-", "n/a"], 20)
    calm = watch(
        with_words(place / f"calm.{form}", 1, ["-", "n/a"], 20), Watching(against=str(old))
    )
    assert (calm.status, calm.findings) == ("nothing", [])
    (said,) = calm.notes
    assert said.startswith(
        f"ref.{form}: x counts as numbers: 50 of its 2,000 values are no numbers"
    )
    assert said.endswith("the first '-'; they count as of the wrong type")
    moved = watch(
        with_words(place / f"moved.{form}", 2, ["-", "n/a"], 20, 0.5), Watching(against=str(old))
    )
    assert [one.kind for one in moved.findings] == ["data drift"]
    assert "x 0.46 sd higher" in moved.findings[0].text


@pytest.mark.slow
def test_a_reference_with_many_words_among_numbers_is_of_words_and_says_so(place):
    old = with_words(place / "ref.ndjson", 0, ["-"], 3)
    found = watch(with_words(place / "next.ndjson", 1, ["-"], 3), Watching(against=str(old)))
    assert any(
        "ref.ndjson: x counts as words: 667 of its 2,000 values" in one for one in found.notes
    )


def test_codes_with_zeros_in_front_stay_words(place):
    codes = [f"{at % 40:04}" for at in range(1990)] + ["none yet"] * 10
    frame = table(0).with_columns(code=pl.Series(codes))
    frame.write_csv(place / "codes.csv")
    found = look(place, frame, against="codes.csv")
    (code,) = [one for one in found.windows[0].measures if one.feature == "code"]
    assert code.statistic == "chi_square"
    assert found.notes == []


def test_of_who_a_row_is_it_is_not_said_what_it_counts_as(place):
    (place / "trimtab.toml").write_text('[project]\nname = "shop"\n[monitor]\nentity = "user"\n')
    users = ["guest" if at % 40 == 0 else str(at // 3) for at in range(2000)]
    odd = ["many", *(str(at) for at in range(1999))]
    frame = table(0).with_columns(user=pl.Series(users), odd=pl.Series(odd))
    frame.write_csv(place / "visits.csv")
    found = look(place, frame, against="visits.csv")
    (said,) = [one for one in found.notes if "counts as" in one]
    assert said.startswith("visits.csv: odd counts as numbers: 1 of its 2,000 values is no number,")
    assert said.endswith("the first 'many'; it counts as of the wrong type")
