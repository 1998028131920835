import msgspec

from trimtab.serve.protocols.kserve import Kserve, path

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}


def test_one_prediction_per_instance(speak):
    response = speak(Kserve(), {"instances": [ROW, {**ROW, "debt": -5}]}, path=path("loans"))
    answer = msgspec.json.decode(response.body)
    assert list(answer) == ["predictions"]
    assert [(x["id"], x["decision"]) for x in answer["predictions"]] == [
        ("p0", "yes"),
        ("p1", "no"),
    ]


def test_an_error_is_one_text(speak):
    response = speak(Kserve(), {"instances": [ROW, {**ROW, "debt": "x"}]})
    assert response.status == 422
    expected = {"error": "column 'debt' is a text (row 1); send a number"}
    assert msgspec.json.decode(response.body) == expected


def test_positional_booleans_may_be_zero_and_one(speak):
    assert speak(Kserve(), {"instances": [[10.0, 1.0, 1.0, "car", "n"]]}).status == 200
    assert speak(Kserve(), {"instances": [[10.0, 1.0, 2.0, "car", "n"]]}).status == 422
