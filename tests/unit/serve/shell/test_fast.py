import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serve.conftest import ROW, SIGNED

from trimtab.errors import TrimtabError
from trimtab.serve.answer import Call
from trimtab.serve.protocols import oip, parse, typed
from trimtab.serve.protocols.parse import Checker
from trimtab.serve.shell.fast import Fast

FAST, CHECKER, TYPED = Fast(SIGNED), Checker(SIGNED), typed.Typed("predict")


def slow(body: bytes):
    """What the ordinary way makes of a body: rows that were checked, or None."""
    try:
        rows = TYPED.read(Call("/predict", {}, body), SIGNED)
        return rows, CHECKER.check(rows)
    except TrimtabError:
        return None


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from(["car", "home", "n", "s", "elsewhere", ""]),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=1),
)
good = st.fixed_dictionaries(
    {
        "income": st.none() | st.floats(-1e30, 1e30),
        "debt": st.floats(-1e30, 1e30) | st.integers(-(2**60), 2**60),
        "owner": st.none() | st.booleans(),
        "purpose": st.sampled_from(["car", "home", "boat"]),
        "region": st.sampled_from(["n", "s", None]),
    },
    optional={"group": st.none() | st.text(max_size=3) | st.integers(0, 9)},
)
changed = st.builds(
    lambda row, name, value: {**row, name: value},
    good,
    st.sampled_from(["income", "debt", "owner", "purpose", "region", "group", "other"]),
    cells,
)
rows = good | changed
requests = st.one_of(
    st.fixed_dictionaries({"row": rows}, optional={"id": st.text(max_size=3) | st.integers()}),
    st.fixed_dictionaries(
        {"rows": st.lists(rows, max_size=4)},
        optional={"ids": st.lists(st.sampled_from("abcd"), max_size=4), "event_time": st.none()},
    ),
)


@given(requests)
def test_the_short_way_gives_what_the_ordinary_gives_or_nothing(request):
    body = json.dumps(request).encode()
    taken = FAST.read(body)
    packed = None if taken is None else FAST.pack([taken])
    if packed is None:
        return
    found = slow(body)
    assert found is not None, request
    given_rows, checked = found
    assert taken.ids == (tuple(given_rows.ids) if given_rows.ids else None)
    assert packed.count == checked.count
    np.testing.assert_array_equal(packed.numbers, checked.numbers)
    assert packed.words == checked.words
    assert packed.context == checked.context
    assert packed.unseen == checked.unseen


TENSORS = {
    "income": "FP64",
    "debt": "INT64",
    "owner": "BOOL",
    "purpose": "BYTES",
    "region": "BYTES",
}


def tensors_of(listed):
    return [
        {"name": name, "datatype": kind, "shape": [len(listed)], "data": [x[name] for x in listed]}
        for name, kind in TENSORS.items()
    ]


@st.composite
def inferences(draw):
    """Requests of a tensor per column, one thing in them changed or none."""
    inputs = tensors_of(
        [{**row, "debt": 5} for row in draw(st.lists(good, min_size=1, max_size=3))]
    )
    request = {"inputs": inputs}
    key = draw(st.sampled_from(["", "data", "shape", "datatype", "name", "parameters", "id", "x"]))
    if draw(st.booleans()):
        request["parameters"] = draw(
            st.sampled_from([None, {}, {"content_type": "pd"}, {"binary_data_output": True}, 5])
        )
    if key in ("id", "x"):
        request[key] = draw(st.sampled_from(["a", "", 5, None, "x" * 300]))
    elif key:
        values = {
            "data": st.lists(cells, max_size=3),
            "shape": st.lists(st.integers(-1, 3) | st.floats(0, 3) | st.booleans(), max_size=3),
            "datatype": st.sampled_from([*TENSORS.values(), "FP16", "UINT8", "x", None]),
            "name": st.sampled_from([*TENSORS, "group", "x", "", None]),
            "parameters": st.sampled_from(
                [None, {}, {"content_type": "str"}, {"binary_data_size": 3}, 5, {"x": 1}]
            ),
        }
        draw(st.sampled_from(inputs))[key] = draw(values[key])
    return request


@given(inferences())
def test_tensors_the_short_way_are_what_they_are_the_ordinary_way(request):
    call = Call("/v2/models/m/infer", {}, json.dumps(request).encode())
    taken, asked = oip.Oip().short(call, FAST)
    packed = None if taken is None else FAST.pack([taken])
    if packed is None:
        return
    given_rows = oip.Oip().read(call, SIGNED)
    checked = CHECKER.check(given_rows)
    assert asked == given_rows.options
    assert packed.count == checked.count
    np.testing.assert_array_equal(packed.numbers, checked.numbers)
    assert (packed.words, packed.context, packed.unseen) == (
        checked.words,
        checked.context,
        checked.unseen,
    )


def test_plain_tensors_take_the_short_way():
    listed = [{**ROW, "debt": 2.5}, {**ROW, "debt": 10**400}]
    for number, few in enumerate((listed[:1], listed[:1] * 3, listed)):
        inputs = tensors_of(few)
        inputs[1]["datatype"] = "FP32"
        inputs[0]["shape"] = [len(few), 1]
        body = json.dumps({"inputs": inputs, "id": "a"}).encode()
        taken, asked = oip.Oip().short(Call("", {}, body), FAST)
        assert asked.id == "a"
        assert len(taken.rows) == len(few)
        assert (FAST.pack([taken]) is None) is (number == 2)


@given(st.lists(good, min_size=1, max_size=5))
def test_good_rows_take_the_short_way_and_join_in_their_order(listed):
    alone = [FAST.read(json.dumps({"row": row}).encode()) for row in listed]
    assert None not in alone
    together = FAST.pack(alone)
    at_once = FAST.pack([FAST.read(json.dumps({"rows": listed}).encode())])
    joined = parse.join([FAST.pack([one]) for one in alone])
    for other in (at_once, joined):
        np.testing.assert_array_equal(together.numbers, other.numbers)
        assert together.words == other.words
        assert together.unseen == other.unseen
        assert {k: v for k, v in together.context.items() if any(v)} == {
            k: v for k, v in other.context.items() if any(v)
        }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"row": null}',
        b'{"row": {}}',
        b'{"rows": []}',
        b'{"row": {}, "rows": []}',
        b'\xff{"row"',
        b'{"row": ' * 5000,
        json.dumps({"row": ROW, "ids": ["a"]}).encode(),
        json.dumps({"row": ROW, "id": None}).encode(),
        json.dumps({"row": ROW, "id": "a\nb"}).encode(),
        json.dumps({"rows": [ROW] * 2, "ids": ["a", "a"]}).encode(),
        json.dumps({"rows": [ROW] * 2, "ids": ["a"]}).encode(),
        json.dumps({"row": ROW, "event_time": 5}).encode(),
        json.dumps({"row": {**ROW, "debt": 1e39}}).encode(),
        json.dumps({"row": {**ROW, "region": "nowhere"}}).encode(),
        json.dumps({"row": {**ROW, "purpose": "x" * 70_000}}).encode(),
    ],
)
def test_what_needs_a_closer_look_does_not_take_the_short_way(body):
    taken = FAST.read(body)
    assert taken is None or FAST.pack([taken]) is None


def test_columns_may_have_any_name():
    import msgspec

    from trimtab.model.signature import Column

    names = ["class", "a b", "ä", "", "c0", "row"]
    signed = msgspec.structs.replace(
        SIGNED, inputs=tuple(Column(name=name, kind="number") for name in names), context=()
    )
    taken = Fast(signed).read(json.dumps({"row": dict.fromkeys(names, 2)}).encode())
    assert taken.rows == ((2.0,) * len(names),)
    odd = msgspec.structs.replace(
        SIGNED, inputs=(Column(name='say "x"', kind="number"),), context=()
    )
    assert Fast(odd).read(b'{"row": {"say \\"x\\"": 2}}') is None
