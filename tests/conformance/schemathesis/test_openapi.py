"""Schemathesis holds a live endpoint against the OpenAPI document that it publishes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

EXAMPLES = 60
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module", params=["loans", "grades", "losses"])
def served(request, start):
    with start(request.param) as endpoint:
        yield endpoint


def test_the_document_names_every_contract(served):
    reply = requests.get(f"{served.url}/openapi.json", timeout=30)
    assert reply.status_code == 200
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    document = reply.json()
    assert document["openapi"].startswith("3.")
    assert {
        "/predict",
        "/invocations",
        "/ping",
        "/health",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
    } <= set(document["paths"])


def test_what_is_published_is_what_is_done(served, tmp_path):
    """Every check: statuses, types and schemas of answers, good bodies taken, bad ones refused."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{served.url}/openapi.json"),
            *("--checks", "all", "--seed", "1"),
            *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-color"),
        ],
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
