import pytest

from trimtab.errors import UsageError
from trimtab.serve import contracts
from trimtab.serve.reply import Refusal

TABLE = contracts.table("loans", {})


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        ("/predict", "predict", None),
        ("/invocations", "invocations", None),
        ("/v1/models/loans:predict", "kserve", None),
        ("/v1/models/loans%3Apredict", "kserve", None),
        ("/v2/models/loans/infer", "oip", None),
        ("/v2/models/loans/versions/3/infer", "oip", "3"),
        ("/v2/models/loans/versions/loans%40v3/infer", "oip", "loans@v3"),
    ],
)
def test_paths_have_contracts(path, name, version):
    found = TABLE.find("POST", path)
    assert (found.contract.name, found.version) == (name, version)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("POST", "/"),
        ("POST", "/predict/"),
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v2/models/other/infer"),
        ("POST", "/v2/models/loans/versions//infer"),
        ("POST", "/v2/models/loans/versions/3/infer/more"),
        ("POST", "/v2/models/loans/versions/3"),
        ("POST", "/" + "%41" * 9000),
    ],
)
def test_everything_else_is_looked_up(method, path):
    assert TABLE.find(method, path) is None


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({}, None),
        ({"PORT": ""}, None),
        ({"PORT": "8080"}, 8080),
        ({"PORT": "1", "AIP_HTTP_PORT": "2"}, 2),
        ({"AIP_HTTP_PORT": "2", "SAGEMAKER_BIND_TO_PORT": "3"}, 3),
        ({"AWS_LWA_PORT": "65535"}, 65_535),
    ],
)
def test_the_port_that_a_platform_wants(environment, port):
    assert contracts.port_from(environment) == port


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "8080.0", "²", "9" * 5000])
def test_what_is_no_port_is_a_usage_error(port):
    with pytest.raises(UsageError, match="PORT"):
        contracts.port_from({"PORT": port})


@pytest.mark.parametrize("version", ["loans@v1", "v1", "1"])
def test_a_version_is_its_label_or_the_end_of_it(version, engine):
    assert contracts.route_of(engine.router.table, version).label == "loans@v1"


@pytest.mark.parametrize("version", ["2", "loans", "", "v"])
def test_other_versions_are_404_and_the_hint_lists_ours(version, engine):
    with pytest.raises(Refusal) as refused:
        contracts.route_of(engine.router.table, version)
    assert refused.value.status == 404
    assert "loans@v1" in refused.value.hint
