"""Digests against committed vectors: these bytes are on disks, so they never change."""

import datetime as dt
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from trimtab import hashing

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests/golden/digests.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/formats/digests.md").read_text(encoding="utf-8")


class Pair(msgspec.Struct, frozen=True):
    right: int
    left: str


# The values behind the "canonical" vectors; JSON itself cannot write some of them.
VALUES: dict[str, Any] = {
    "empty": {},
    "sorted keys": {"b": 1, "a": None, "Z": True},
    "keys sort by UTF-8 bytes": {"𝔘": 1, "\uffff": 2, "é": 3, "z": 4},
    "nested": {"x": [{"b": [], "a": {}}, (1, 2)]},
    "integers": [0, -1, 2**53, 2**64 + 1],
    "floats": [1.0, -0.0, 0.1, 123456789.123, 1e15, 1e16, 1e-5, 1e-7, 1e22, 5e-324],
    "not finite": [math.nan, math.inf, -math.inf],
    "text": 'é " \\ / \n \x00 \u2028',
    "bytes": b"ab",
    "set": {"c", "a", "b"},
    "integer keys": {2: "two", 10: "ten"},
    "time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "record": Pair(right=1, left="l"),
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_library_computes_blake3() -> None:
    official = "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"
    context = "BLAKE3 2019-12-27 16:29:52 test vectors context"
    assert blake3(b"", derive_key_context=context).hexdigest() == official


def test_contexts_never_change() -> None:
    assert GOLDEN["contexts"] == hashing.CONTEXTS
    assert len(set(hashing.CONTEXTS.values())) == len(hashing.CONTEXTS)


@pytest.mark.parametrize("vector", GOLDEN["bytes"], ids=lambda v: f"{v['kind']}-{v['length']}")
def test_byte_vectors(vector: dict[str, Any], tmp_path: Path) -> None:
    data = bytes(i % 251 for i in range(vector["length"]))
    assert hashing.digest(vector["kind"], data) == vector["digest"]
    state = hashing.hasher(vector["kind"])
    for at in range(0, len(data), 1000):
        state.update(data[at : at + 1000])
    assert hashing.text(state) == vector["digest"]
    if vector["kind"] == "blob":
        (tmp_path / "file").write_bytes(data)
        assert hashing.file_digest(tmp_path / "file") == vector["digest"]


def test_every_kind_has_a_vector() -> None:
    assert {vector["kind"] for vector in GOLDEN["bytes"]} == set(hashing.CONTEXTS)


@pytest.mark.parametrize("name", VALUES)
def test_canonical_vectors(name: str) -> None:
    vector = GOLDEN["canonical"][name]
    assert hashing.canonical(VALUES[name]).decode() == vector["json"]
    assert hashing.object_digest("config", VALUES[name]) == vector["digest"]


def test_no_canonical_vector_is_left_out() -> None:
    assert set(GOLDEN["canonical"]) == set(VALUES)


def test_the_page_shows_the_vectors() -> None:
    for kind, context in hashing.CONTEXTS.items():
        assert f"| `{kind}` | `{context}` |" in PAGE
    for vector in GOLDEN["bytes"]:
        assert f"| `{vector['kind']}` | {vector['length']:,} | `{vector['digest']}` |" in PAGE
    for name, vector in GOLDEN["canonical"].items():
        assert f"| {name} | `{vector['digest']}` |" in PAGE


@pytest.mark.slow
@given(values)
def test_canonical_is_json_with_sorted_keys_and_no_spaces(value: Any) -> None:
    data = hashing.canonical(value)
    again = json.loads(data)
    assert hashing.canonical(again) == data

    def keys_in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name.encode() for name, _ in pairs]
        assert names == sorted(set(names))
        return dict(pairs)

    json.loads(data, object_pairs_hook=keys_in_order)


@given(st.dictionaries(st.text(), st.integers()), st.randoms())
def test_the_order_of_insertion_does_not_matter(value: dict[str, int], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert hashing.canonical(dict(items)) == hashing.canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_bit_for_bit(value: float) -> None:
    again = json.loads(hashing.canonical(value))
    assert math.copysign(1, again) == math.copysign(1, value)
    assert again == value


@pytest.mark.slow
def test_a_set_has_one_digest_in_every_process() -> None:
    code = "from trimtab.hashing import canonical; print(canonical(set('abcdefgh')).decode())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert seen == {'["a","b","c","d","e","f","g","h"]\n'}


def test_what_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError):
        hashing.canonical(object())
    with pytest.raises(UnicodeEncodeError):
        hashing.canonical("\ud800")


@given(st.binary())
def test_kinds_keep_equal_bytes_apart(data: bytes) -> None:
    digests = {hashing.digest(kind, data) for kind in hashing.CONTEXTS}
    assert len(digests) == len(hashing.CONTEXTS)
    assert all(hashing.is_digest(one) for one in digests)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blake3:",
        "a" * 64,
        "sha256:" + "a" * 64,
        "blake3:" + "a" * 63,
        "blake3:" + "a" * 65,
        "blake3:" + "A" * 64,
        "blake3:" + "a" * 64 + "\n",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    assert not hashing.is_digest(text)
