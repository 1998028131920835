"""`[accept]`: settings that no batch could be judged by are refused when they are read."""

from __future__ import annotations

import pytest

from trimtab import config
from trimtab.errors import ConfigError

PROJECT = {"project": {"name": "loans"}, "data": {"golden": {"source": "golden.csv"}}}


def read(**accept):
    return config.parse({**PROJECT, "accept": accept}).accept


def test_without_a_word_a_harmful_batch_is_refused():
    found = config.parse(PROJECT).accept
    assert (found.mode, found.level, found.label_errors, found.golden) == ("refuse", 0.01, 0.01, "")


def test_what_is_written_is_read():
    found = read(mode="warn", level=0.05, label_errors=0.02, golden="data.golden")
    assert (found.mode, found.level, found.golden) == ("warn", 0.05, "data.golden")


@pytest.mark.parametrize(
    ("accept", "said"),
    [
        ({"mode": "maybe"}, "mode"),
        ({"level": 0.0}, "level = 0 must be above 0"),
        ({"level": 0.5}, "at most 0.2"),
        ({"label_errors": -0.1}, "label_errors = -0.1"),
        ({"label_errors": 0.5}, "label_errors = 0.5"),
        ({"golden": "golden"}, "names no source"),
        ({"golden": "data.silver"}, "names no source"),
        ({"goldne": "data.golden"}, "did you mean"),
    ],
)
def test_what_means_nothing_is_refused(accept, said):
    with pytest.raises(ConfigError) as refused:
        read(**accept)
    assert said in str(refused.value) + refused.value.hint
