"""Vertex AI's local endpoint, told where the container would be, and the AIP_* variables."""

from __future__ import annotations

import json
import socket

import pytest
import requests
from google.cloud.aiplatform.prediction import LocalEndpoint

SHARED = "/v1/endpoints/7/deployedModels/8:predict"


def attached(served, *, predict, health) -> LocalEndpoint:
    """A LocalEndpoint whose container runs already; its constructor would want Docker."""
    endpoint = LocalEndpoint.__new__(LocalEndpoint)
    endpoint.container = None
    endpoint.container_is_running = True
    endpoint.assigned_host_port = served.port
    endpoint.serving_container_predict_route = predict
    endpoint.serving_container_health_route = health
    return endpoint


@pytest.fixture(
    scope="module",
    params=[("/vertex/predict", "/vertex/health"), ("/predict", "/health"), (SHARED, SHARED), None],
    ids=["own-routes", "the-clients-defaults", "one-route", "no-routes"],
)
def vertex(request, start):
    """An endpoint with the variables that the platform sets, and the client attached to it."""
    predict, health = request.param or (SHARED, SHARED)
    routes = {"AIP_HEALTH_ROUTE": health, "AIP_PREDICT_ROUTE": predict} if request.param else {}
    environment = routes | {
        "AIP_STORAGE_URI": "",
        "AIP_MODE": "PREDICTION",
        "AIP_MODE_VERSION": "1.0.0",
        "AIP_ENDPOINT_ID": "7",
        "AIP_DEPLOYED_MODEL_ID": "8",
    }
    with start("loans", **environment) as served:
        yield served, attached(served, predict=predict, health=health)


def post(endpoint, body, **headers):
    headers = {"Content-Type": "application/json"} | headers
    data = body if isinstance(body, str) else json.dumps(body)
    return endpoint.predict(request=data, headers=headers)


def test_health(vertex):
    _, endpoint = vertex
    assert endpoint.run_health_check().status_code == 200


def test_predict_has_an_answer_for_every_instance(vertex, same):
    served, endpoint = vertex
    reply = post(endpoint, {"instances": served.rows()})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    told = reply.json()
    assert same(told["predictions"], served.answers())


def test_predict_from_a_file(vertex, same, tmp_path):
    served, endpoint = vertex
    stored = tmp_path / "request.json"
    stored.write_text(json.dumps({"instances": served.rows(5)}))
    reply = endpoint.predict(request_file=str(stored), headers={"Content-Type": "application/json"})
    assert same(reply.json()["predictions"], served.answers(5))


def test_instances_as_values_in_the_order_of_the_columns(vertex, same):
    served, endpoint = vertex
    reply = post(endpoint, {"instances": [list(row.values()) for row in served.rows(5)]})
    assert same(reply.json()["predictions"], served.answers(5))


def test_parameters_beside_the_instances(vertex, same):
    served, endpoint = vertex
    reply = post(endpoint, {"instances": served.rows(5), "parameters": {"any": 1}})
    assert same(reply.json()["predictions"], served.answers(5))


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"instances": 1}', '{"instances": [1]}'])
def test_a_bad_body_is_a_readable_4xx(vertex, body):
    _, endpoint = vertex
    reply = post(endpoint, body)
    assert 400 <= reply.status_code < 500
    assert reply.json()["error"]
    assert "Traceback" not in reply.text


def test_other_paths_of_a_container_stay(vertex):
    """`invokeRoutePrefix` lets a caller reach them behind the platform."""
    served, _ = vertex
    assert requests.get(f"{served.url}/v2/health/ready", timeout=30).status_code == 200


def test_the_port_is_the_platforms(start, same):
    """The platform has asked for a key already, and forwards to every address of the container."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"auth": {"anonymous": ["infer"]}}
    with start("loans", settings=settings, AIP_HTTP_PORT=str(port)) as served:
        assert served.port == port
        endpoint = attached(served, predict="/invocations", health="/ping")
        assert endpoint.run_health_check().status_code == 200
        reply = post(endpoint, {"instances": served.rows()})
        assert same(reply.json()["predictions"], served.answers())
