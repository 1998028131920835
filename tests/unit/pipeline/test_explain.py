"""The words for what changed."""

from __future__ import annotations

import pytest

from trimtab.pipeline import explain

BASE = {
    "code:p.work": "blake3:1",
    "code:p.help": "blake3:2",
    "dependency:polars": "2.0",
    "param:n": "1",
    "input:raw": "blake3:3",
    "python": "3.11",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"code:p.work": "blake3:9"}, ["code changed: p.work"]),
        ({"code:p.help": "blake3:9"}, ["code changed: helper p.help"]),
        ({"code:p.new": "blake3:9"}, ["code added: helper p.new"]),
        ({"code:p.help": None}, ["code no longer used: helper p.help"]),
        ({"dependency:polars": "2.1"}, ["dependency changed: polars 2.0 -> 2.1"]),
        (
            {"param:n": "2", "input:raw": "blake3:8"},
            ["param changed: n 1 -> 2", "input changed: raw"],
        ),
        ({"python": "3.12", "code:p.work": "blake3:9"}, ["Python changed: 3.11 -> 3.12"]),
    ],
)
def test_reasons(change, said) -> None:
    now = {name: value for name, value in {**BASE, **change}.items() if value is not None}
    assert explain.reasons(BASE, now, "code:p.work") == said


def test_observed() -> None:
    assert explain.observed(["env:A", "file:b/c.txt", "folder:d"]) == [
        *("environment variable changed: A", "file changed: b/c.txt", "folder changed: d")
    ]
