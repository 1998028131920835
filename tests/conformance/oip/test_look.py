"""tritonclient looks around: health, metadata, versions, repository, statistics, configuration."""

from __future__ import annotations

import pytest
from tritonclient.utils import InferenceServerException


def test_the_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_a_model_is_ready_by_name_and_by_version(client, loans):
    assert client.is_model_ready(loans.name)
    for version in client.get_model_metadata(loans.name)["versions"]:
        assert client.is_model_ready(loans.name, version)


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("loans", "99")])
def test_an_unknown_model_or_version_is_not_ready(client, name, version):
    assert not client.is_model_ready(name, version)


def test_the_server_names_its_extensions(client):
    told = client.get_server_metadata()
    assert told["name"]
    assert told["version"]
    assert set(told["extensions"]) >= {
        "binary_tensor_data",
        "model_repository",
        "statistics",
        "parameters",
    }


def test_the_metadata_name_every_column_and_output(client, loans):
    told = client.get_model_metadata(loans.name)
    assert told["name"] == loans.name
    assert len(told["versions"]) == len(loans.labels)
    assert told["platform"]
    kinds = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}
    assert {tensor["name"]: tensor["datatype"] for tensor in told["inputs"]} == {
        name: kinds[kind] for name, kind in loans.columns.items()
    }
    assert {tensor["name"]: tensor["datatype"] for tensor in told["outputs"]} == {
        "score": "FP32",
        "decision": "BYTES",
        "prediction_id": "BYTES",
    }
    assert all(tensor["shape"][0] == -1 for tensor in told["inputs"] + told["outputs"])


def test_the_metadata_of_a_version_are_the_models(client, loans):
    whole = client.get_model_metadata(loans.name)
    for version in whole["versions"]:
        told = client.get_model_metadata(loans.name, version)
        assert told["name"] == loans.name
        assert told["inputs"] == whole["inputs"]
        assert told["outputs"] == whole["outputs"]


@pytest.mark.parametrize("call", ["get_model_metadata", "get_model_config"])
def test_an_unknown_model_is_not_found_in_words(client, call):
    with pytest.raises(InferenceServerException) as refused:
        getattr(client, call)("nobody")
    assert refused.value.status() == "404"
    assert "nobody" in refused.value.message()


def test_the_repository_holds_every_version(client, loans):
    index = client.get_model_repository_index()
    versions = client.get_model_metadata(loans.name)["versions"]
    assert [(model["name"], model["version"]) for model in index] == [
        (loans.name, version) for version in versions
    ]
    assert {model["state"] for model in index} == {"READY"}
    assert all(isinstance(model["reason"], str) for model in index)


def test_the_configuration_has_the_inputs_and_outputs(client, loans):
    told = client.get_model_config(loans.name)
    whole = client.get_model_metadata(loans.name)
    assert told["name"] == loans.name
    assert [tensor["name"] for tensor in told["input"]] == [x["name"] for x in whole["inputs"]]
    assert [tensor["name"] for tensor in told["output"]] == [x["name"] for x in whole["outputs"]]
    kinds = {"number": "TYPE_FP32", "boolean": "TYPE_BOOL", "text": "TYPE_STRING"}
    assert {tensor["name"]: tensor["data_type"] for tensor in told["input"]} == {
        name: kinds[kind] for name, kind in loans.columns.items()
    }
    assert all(isinstance(tensor["dims"], list) for tensor in told["input"] + told["output"])


def test_statistics_count_rows_and_runs(client, loans, tensors):
    version = client.get_model_metadata(loans.name)["versions"][0]
    rows = loans.rows(7, nulls=False)

    def counted(*which):
        (found,) = [
            x
            for x in client.get_inference_statistics(*which)["model_stats"]
            if (x["name"], x["version"]) == (loans.name, version)
        ]
        return found

    before = counted(loans.name)
    client.infer(loans.name, tensors(loans, rows))
    after = counted(loans.name)
    assert after["inference_count"] - before["inference_count"] == len(rows)
    assert after["execution_count"] - before["execution_count"] == 1
    spent = after["inference_stats"]
    for part in ("success", "queue", "compute_infer"):
        assert spent[part]["count"] >= 1
        assert spent[part]["ns"] >= 0
    assert spent["fail"] == {"count": 0, "ns": 0}
    # Milliseconds, so that one inference may follow another within the same.
    assert after["last_inference"] >= max(before["last_inference"], 1)
    # Of one version and of all models, too.
    assert counted(loans.name, version)["inference_count"] == after["inference_count"]
    assert counted()["inference_count"] == after["inference_count"]


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_who_has_no_right_to_it_loads_and_unloads_nothing(client, loans, call):
    with pytest.raises(InferenceServerException) as refused:
        getattr(client, call)(loans.name)
    assert 400 <= int(refused.value.status()) < 500 or refused.value.status() == "501"
    assert "exception occurred in the client" not in refused.value.message()
    assert client.is_model_ready(loans.name)
