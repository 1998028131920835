from __future__ import annotations

import os
import stat
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import ids
from trimtab.errors import IntegrityError, UsageError
from trimtab.model.signature import Column, Signature
from trimtab.serve.logged import privacy
from trimtab.serve.logged.privacy import Rules, Sampling

SIGNED = Signature(
    task="regression",
    engine="onnx",
    inputs=(
        Column(name="age", kind="number", nullable=True),
        Column(name="email", kind="text", nullable=True),
        Column(name="owner", kind="boolean"),
    ),
    context=(Column(name="customer", kind="number"), Column(name="street", kind="text")),
)
KEY = b"k" * 32


def columns():
    numbers = {"age": np.array([41.0, np.nan, 7.0]), "owner": np.array([1.0, 0.0, 1.0])}
    words = {"email": ["anna@example.org", None, "b@c.de"]}
    return numbers, words, {"customer": [7, None, "7"], "street": ["High Street 5", "Z", None]}


def test_without_rules_nothing_is_touched():
    given_columns = columns()
    rules = Rules.compile({}, SIGNED)
    assert not rules
    assert all(a is b for a, b in zip(rules.apply(*given_columns), given_columns, strict=True))


def test_rules_of_columns_that_a_model_does_not_have_are_another_models():
    assert not Rules.compile({"elsewhere": "hash"}, SIGNED)


def test_dropped_columns_are_left_out_and_the_callers_own_stay_whole():
    numbers, words, context = columns()
    rules = Rules.compile({"age": "drop", "email": "drop", "street": "drop"}, SIGNED)
    kept = rules.apply(numbers, words, context)
    assert [set(one) for one in kept] == [{"owner"}, set(), {"customer"}]
    assert (set(numbers), set(words), set(context)) == (
        {"age", "owner"},
        {"email"},
        {"customer", "street"},
    )


def test_hashes_join_across_types_and_columns_and_hide_from_dictionaries():
    settings = {"age": "hash", "email": "hash", "customer": "hash"}
    numbers, words, context = Rules.compile(settings, SIGNED, KEY).apply(*columns())
    assert set(numbers) == {"owner"}
    assert words["age"][1] is None and words["email"][1] is None
    assert words["age"][2] == context["customer"][0] == context["customer"][2]
    assert all(len(one) == 32 for one in words["age"] if one)
    _, other, _ = Rules.compile(settings, SIGNED, b"x" * 32).apply(*columns())
    assert other["email"][0] != words["email"][0]


def test_masks_keep_shape_and_magnitude():
    settings = {"age": "mask", "email": "mask", "street": "mask", "customer": "mask"}
    numbers, words, context = Rules.compile(settings, SIGNED).apply(*columns())
    assert numbers["age"].tolist()[::2] == [40.0, 7.0] and np.isnan(numbers["age"][1])
    assert words["email"] == ["ann*@*******.***", None, "b@*.**"]
    assert context["street"] == ["Hig* ****** *", "*", None]
    assert context["customer"] == [7.0, None, "*"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_masked_number_has_one_significant_digit(value):
    (found,) = privacy._rounded(np.array([value]))
    assert float(f"{found:.0e}") == found
    assert abs(found - value) <= abs(value) / 2 or not np.isfinite(found)


@given(st.text())
def test_a_mask_shows_a_third_and_three_characters_at_most(text):
    found = privacy._masked(text)
    assert len(found) == len(text)
    shown = [a for a, b in zip(found, text, strict=True) if a == b and a.isalnum()]
    assert len(shown) <= min(3, len(text) // 3)


@pytest.mark.parametrize("rule", ["hash", "mask"])
def test_true_and_false_can_only_be_dropped(rule):
    with pytest.raises(UsageError, match="'owner' is true or false"):
        Rules.compile({"owner": rule}, SIGNED, KEY)
    assert Rules.compile({"owner": "drop"}, SIGNED)


def test_hashing_needs_the_secret():
    with pytest.raises(UsageError, match="secret"):
        Rules.compile({"email": "hash"}, SIGNED)


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = privacy.read_key(tmp_path)
    assert privacy.read_key(tmp_path) == first and len(first) == 32
    assert stat.S_IMODE(os.stat(tmp_path / privacy.KEY).st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [privacy.KEY]
    (tmp_path / privacy.KEY).write_bytes(b"short")
    with pytest.raises(IntegrityError, match="5 bytes"):
        privacy.read_key(tmp_path)


def test_no_rule_tells_its_secret():
    assert "kkkk" not in repr(Rules.compile({"email": "hash"}, SIGNED, KEY))


def test_everything_is_logged_where_no_share_is_set():
    sampling = Sampling.compile({})
    assert not sampling and sampling.keeps("champion", "loans@v3", "r")


def test_the_nearest_name_decides():
    sampling = Sampling.compile({"loans@v3": 0.0, "loans@canary": 1.0, "canary": 0.0})
    assert not sampling.keeps("canary", "loans@v3", "r")
    assert sampling.keeps("canary", "loans@v4", "r")
    assert not sampling.keeps("canary", "rents@v4", "r")
    assert sampling.keeps("champion", "rents@v4", "r")


def test_a_share_is_kept_and_a_larger_one_keeps_the_same_and_more():
    names = [ids.new_id() for _ in range(5_000)]
    kept = {
        share: {n for n in names if Sampling.compile({"champion": share}).keeps("champion", "m", n)}
        for share in (0.0, 0.1, 0.5, 1.0)
    }
    assert kept[0.0] == set() and kept[1.0] == set(names)
    assert kept[0.1] < kept[0.5]
    assert abs(len(kept[0.1]) - 500) < 150 and abs(len(kept[0.5]) - 2_500) < 200


def test_what_is_sampled_does_not_coincide_with_what_the_router_picks():
    """A tenth to the canary and a tenth logged must not be the same tenth."""
    from hashlib import blake2b

    names = [ids.new_id() for _ in range(4_000)]
    sampling = Sampling.compile({"canary": 0.1})
    canary = [
        n
        for n in names
        if int.from_bytes(blake2b(n.encode(), digest_size=8).digest()) < 0.1 * 2**64
    ]
    kept = Counter(sampling.keeps("canary", "m", n) for n in canary)
    assert 0.03 < kept[True] / len(canary) < 0.2


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match="share of 'canary'"):
        Sampling.compile({"canary": share})


def test_a_name_that_is_nearly_a_column_is_told_and_a_strange_one_left_to_other_models():
    names = ["emial", "email", "ssn", "*"]
    assert privacy.misspelt(names, SIGNED) == {"emial": "email"}
