"""Whole numbers of tensors on the shortest way: what their datatype does not hold goes the ordinary one."""

import json

import pytest
from tests.unit.serve.conftest import ROW

from .test_hot import OIP, talk, tensors
from .test_http import answers, request


def of_debt(value, datatype, order=None):
    body = json.loads(tensors(ROW, order))
    for one in body["inputs"]:
        if one["name"] == "debt":
            one |= {"datatype": datatype, "data": [value]}
    return request(json.dumps(body).encode(), OIP)


@pytest.mark.parametrize("order", [None, [*ROW][::-1]], ids=["as signed", "turned"])
@pytest.mark.parametrize(
    ("datatype", "good", "bad"), [("INT8", "100", "300"), ("UINT8", "100", "-10")]
)
def test_a_number_that_is_none_of_its_datatype_is_refused_there_too(
    engine, order, datatype, good, bad
):
    fits, other = of_debt(int(good), datatype, order), of_debt(int(bad), datatype, order)
    (_, (again,), (wrong,)), taken = talk(engine, (fits,), (fits,), (other,))
    assert answers(again)[0][0] == 200
    assert taken == 1
    status, _, body = answers(wrong)[0]
    assert status == 400
    assert f"holds {bad} at place 0" in json.loads(body)["error"]
