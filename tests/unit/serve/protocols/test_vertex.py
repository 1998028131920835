import msgspec
import pytest

from trimtab.errors import UsageError
from trimtab.serve import contracts
from trimtab.serve.protocols import vertex
from trimtab.serve.protocols.vertex import Routes, Vertex

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}
IDS = {"AIP_ENDPOINT_ID": "7", "AIP_DEPLOYED_MODEL_ID": "8"}
USUAL = "/v1/endpoints/7/deployedModels/8:predict"


@pytest.mark.parametrize(
    ("environment", "routes"),
    [
        ({}, None),
        ({"AIP_MODE": "PREDICTION"}, None),
        (IDS, Routes(health=USUAL, predict=USUAL)),
        ({**IDS, "AIP_HEALTH_ROUTE": "/health"}, Routes(health="/health", predict=USUAL)),
        (
            {"AIP_HEALTH_ROUTE": "/ok", "AIP_PREDICT_ROUTE": "/score"},
            Routes(health="/ok", predict="/score"),
        ),
    ],
)
def test_routes_of_the_environment(environment, routes):
    assert vertex.routes(environment) == routes


@pytest.mark.parametrize("route", ["predict", "/pré", "/a\nb"])
def test_a_route_that_is_no_path_is_a_usage_error(route):
    with pytest.raises(UsageError, match="AIP_PREDICT_ROUTE"):
        vertex.routes({"AIP_PREDICT_ROUTE": route})


def test_instances_give_as_many_predictions(speak):
    body = {"instances": [ROW] * 3, "parameters": {"confidence": 0.5}}
    answer = msgspec.json.decode(speak(Vertex(), body).body)
    assert list(answer) == ["predictions"]
    assert len(answer["predictions"]) == 3


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("/score", "vertex"),
        ("/predict", "vertex"),
        ("/invocations", "invocations"),
        ("/v1/models/loans:predict", "kserve"),
        ("/v2/models/loans/infer", "oip"),
    ],
)
def test_a_route_of_ours_keeps_its_tongue_unless_it_reads_no_instances(route, name):
    table = contracts.table("loans", {"AIP_PREDICT_ROUTE": route})
    assert table.find("POST", route).contract.name == name
