from __future__ import annotations

import random

import pytest

from trimtab.data.infer import describe
from trimtab.errors import DataError, NotFoundError


@pytest.fixture
def loans(put):
    pick = random.Random(0)
    lines = [
        "application_id,applied_at,closed_at,income,debt,purpose,member,note,country,copy,repaid"
    ]
    for row in range(300):
        repaid = pick.choice(["yes", "no"])
        word = pick.choice(["car", "home", "study"])
        flag = pick.choice(["true", "false"])
        lines.append(
            f"L{row:05d},2026-01-{row % 28 + 1:02d},2026-02-01T00:00:{row % 60:02d}Z,"
            f"{pick.random() * 1e4:.2f},{pick.randrange(900)},{word},{flag},"
            f"text number {row} {pick.random()},DE,{repaid},{repaid}"
        )
    return put("loans.csv", "\n".join(lines) + "\n")


def test_roles_features_and_task_are_guessed(loans):
    found = describe(loans, "repaid")
    assert (found.rows, found.format) == (300, "csv")
    assert (found.key, found.time, found.target) == ("application_id", "applied_at", "repaid")
    assert found.numbers == ("income", "debt")
    assert found.words == ("purpose", "member")
    assert (found.task, found.classes) == ("binary", ("no", "yes"))
    assert found.left_out == {
        "closed_at": "it is a time; derive a feature from it in the estimator",
        "note": "nearly every value differs: 300 in 300 rows",
        "country": "it is 'DE' in every row",
        "copy": "it is a copy of 'repaid'",
    }


def test_without_a_target_there_is_no_task(loans):
    found = describe(loans)
    assert (found.target, found.task, found.classes) == ("", "", ())
    assert "repaid" in found.words


def table(put, **columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    return put("t.csv", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1] * 50, "binary"),
        (["true", "false"] * 50, "binary"),
        ([1.0, 2.0] * 50, "binary"),
        (["a", "b", "c", "a"] * 25, "multiclass"),
        ([1, 2, 3, 4, 5] * 20, "multiclass"),
        (list(range(100)), "regression"),
        ([value / 7 for value in range(100)], "regression"),
    ],
)
def test_the_task_follows_from_the_target(values, task, put):
    assert describe(table(put, y=values, x=range(1, 101)), "y").task == task


def test_a_row_number_is_a_key_and_an_age_is_not(put):
    counts = describe(table(put, row=range(30), age=[20 + n % 9 for n in range(30)]))
    assert (counts.key, counts.numbers) == ("row", ("age",))
    few = describe(table(put, age=[31, 52, 18], height=[1.5, 1.25, 1.75]))
    assert (few.key, few.numbers) == ("", ("age", "height"))
    second = describe(table(put, id=range(30), other_id=range(30), x=[n % 4 for n in range(30)]))
    assert second.key == "id"
    assert second.left_out == {"other_id": "it tells rows apart like a key"}


def test_many_words_are_free_text_and_repeating_words_a_category(put):
    found = describe(
        table(
            put,
            city=[f"city {n % 300}" for n in range(1000)],
            mail=[f"m{n % 700}" for n in range(1000)],
            none=[""] * 1000,
        )
    )
    assert found.words == ("city",)
    assert found.left_out["mail"] == "it is free text: 700 different values in 1000 rows"
    assert found.left_out["none"] == "it has no values"


def test_a_target_must_be_there_and_vary(put):
    path = table(put, outcome=[1, 1], x=[1, 2])
    with pytest.raises(DataError, match="is 1 in all of 2 rows"):
        describe(path, "outcome")
    with pytest.raises(DataError, match="did you mean 'outcome'"):
        describe(path, "outcom")
    with pytest.raises(NotFoundError, match=r"no file .*gone.csv"):
        describe(path.with_name("gone.csv"), "x")


@pytest.mark.slow
def test_real_tables_are_described(real_data):
    power = describe(real_data / "electricity.csv", "class")
    assert (power.task, power.key, power.time) == ("binary", "", "")
    assert power.numbers == ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    compas = describe(real_data / "compas_two_years.csv", "two_year_recid")
    assert compas.time == "compas_screening_date"
    assert set(compas.words) >= {"sex", "race", "c_charge_degree"}
    assert compas.task == "binary"
    # Its last line is a lone quote: one field where ten are due.
    with pytest.raises(DataError, match=r"california_housing.csv line 20642 has 1 field"):
        describe(real_data / "california_housing.csv", "median_house_value")
