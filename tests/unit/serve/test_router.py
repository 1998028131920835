import dataclasses
import os

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.model import calibration
from trimtab.model.calibration import Calibration, beside
from trimtab.model.digest import folder_digest
from trimtab.serve import router as module
from trimtab.serve import routes
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile


def write(endpoint, version, *listed, shadow=()):
    routes.write(
        endpoint, RoutesFile(version=version, name="loans", routes=listed, shadow=tuple(shadow))
    )


@pytest.fixture
def router(endpoint):
    made = Router(endpoint)
    assert made.reload(), made.error
    return made


def test_a_change_is_seen_once(router, endpoint, spec):
    assert not router.changed()
    write(endpoint, 2, spec("loans@v2"))
    assert router.changed()
    assert router.reload()
    assert not router.changed()
    assert router.table.version == 2
    assert router.previous.version == 1


def test_a_model_that_is_loaded_is_not_loaded_again(router, endpoint, monkeypatch):
    (current,) = routes.read(endpoint).routes
    loaded = router.table.routes[0].model
    monkeypatch.setattr(module, "load", None)
    write(endpoint, 2, current)
    assert router.reload(), router.error
    assert router.table.routes[0].model is loaded


def test_the_champion_before_comes_back_without_loading(router, endpoint, spec, monkeypatch):
    (first,) = routes.read(endpoint).routes
    write(endpoint, 2, spec("loans@v2", bias=-2.0))
    assert router.reload()
    monkeypatch.setattr(module, "load", None)
    write(endpoint, 3, first)
    assert router.reload(), router.error
    assert router.table.routes[0].label == "loans@v1"


def calibrate(endpoint, model="", **fields):
    (spec,) = routes.read(endpoint).routes
    found = Calibration(
        **{
            "model": model or spec.model,
            "sizes": (1, 2),
            "seconds": (0.1, 0.1),
            "most": 2,
            "slow": True,
        }
        | fields
    )
    place = beside(endpoint / spec.folder)
    place.mkdir(exist_ok=True)
    path = place / calibration.FILE
    path.write_bytes(calibration.encode(found))
    return path


def test_a_route_is_as_its_calibration_says(endpoint, spec):
    calibrate(endpoint)
    made = Router(endpoint)
    assert made.reload(), made.error
    (route,) = made.table.routes
    assert (route.most, route.slow) == (2, True)
    assert route.digest == routes.read(endpoint).routes[0].model


def test_a_model_without_a_calibration_has_the_usual_one(router):
    (route,) = router.table.routes
    assert (route.most, route.slow) == (64, False)


def test_a_calibration_that_says_nothing_of_the_model_is_left_aside_and_said(endpoint, caplog):
    path = calibrate(endpoint)
    for damage in (
        lambda: path.write_bytes(path.read_bytes().replace(b'"most": 2', b'"most": 3')),
        lambda: calibrate(endpoint, model="blake3:" + "0" * 64),
    ):
        damage()
        caplog.clear()
        made = Router(endpoint)
        assert made.reload(), made.error
        (route,) = made.table.routes
        assert (route.most, route.slow) == (64, False)
        assert "loans@v1 is served without" in caplog.text


def broken_json(endpoint, spec):
    (endpoint / routes.FILE).write_text("{")


def no_routes(endpoint, spec):
    write(endpoint, 2)


def no_weight(endpoint, spec):
    write(endpoint, 2, spec("loans@v2", weight=0.0))


def missing_package(endpoint, spec):
    write(endpoint, 2, spec("loans@v2", folder="models/nothing", model="blake3:" + "0" * 64))


def changed_package(endpoint, spec):
    made = spec("loans@v2", bias=1.0)
    path = endpoint / made.folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    write(endpoint, 2, made)


def strange_package(endpoint, spec):
    """Its digest is right, and its golden rows are what no code of ours writes."""
    made = spec("loans@v2", bias=1.0)
    path = endpoint / made.folder / "golden.json"
    rows = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**rows, "scores": [[0.5], [0.5, 0.5], 1.0, "x"]}))
    write(endpoint, 2, msgspec.structs.replace(made, model=folder_digest(path.parent)))


def bad_shadow(endpoint, spec):
    wrong = spec("loans@v3", role="shadow", model="blake3:" + "0" * 64)
    write(endpoint, 2, spec("loans@v2", bias=2.0), shadow=[wrong])


@pytest.mark.parametrize(
    ("breaking", "said"),
    [
        (broken_json, "routes.json cannot be read"),
        (no_routes, "positive weight"),
        (no_weight, "positive weight"),
        (missing_package, "no model package"),
        (changed_package, "delete that folder"),
        (strange_package, "ValueError"),
        (bad_shadow, "has digest"),
    ],
)
def test_what_is_bad_leaves_the_old_routes_serving(breaking, said, router, endpoint, spec):
    before = router.table
    breaking(endpoint, spec)
    assert router.changed()
    assert not router.reload()
    assert router.table is before
    assert said in router.error
    assert not router.changed()
    write(endpoint, 3, spec("loans@v4", bias=3.0))
    assert router.reload()
    assert router.error == ""


def test_a_failure_is_tried_again_later(router, endpoint, spec, monkeypatch):
    missing_package(endpoint, spec)
    router.reload()
    assert not router.changed()
    monkeypatch.setattr(module, "RETRY_SECONDS", -1.0)
    assert router.changed()


def test_without_routes_nothing_is_served(tmp_path):
    router = Router(tmp_path)
    assert not router.reload()
    assert router.table is None
    assert "no routes.json" in router.error


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60),
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_a_key_that_has_the_candidate_keeps_it_as_shares_rise(router, key, shares):
    table = router.table
    champion = dataclasses.replace(table.routes[0], role="champion")
    canary = dataclasses.replace(table.routes[0], role="canary", upto=1.0)
    roles = []
    for share in shares:
        routes = (dataclasses.replace(champion, upto=1.0 - share), canary)
        split = dataclasses.replace(table, routes=routes)
        roles.append(split.pick(key).role)
        assert split.pick(key).role == roles[-1]
    assert roles == sorted(roles, reverse=True), "champion first, and the candidate for good"


def test_shares_follow_the_weights_and_only_grow(router, endpoint, spec):
    champion, canary = spec("loans@v2"), spec("loans@v3", bias=1.0, role="canary", weight=0.05)
    keys = [os.urandom(8).hex() for _ in range(4000)]
    taken = []
    for version, weight in enumerate((0.05, 0.5, 1.0), start=2):
        write(
            endpoint,
            version,
            msgspec.structs.replace(champion, weight=1 - weight),
            msgspec.structs.replace(canary, weight=weight),
        )
        assert router.reload(), router.error
        served = {key for key in keys if router.table.pick(key).role == "canary"}
        assert abs(len(served) / len(keys) - weight) < 0.05
        taken.append(served)
    assert taken[0] < taken[1] < taken[2] == set(keys)
