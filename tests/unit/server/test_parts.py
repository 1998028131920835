"""Parts are made for the first request that they answer; what cannot be made says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from trimtab import config
from trimtab.server.app import build
from trimtab.server.opened import Opened
from trimtab.store import place


@pytest.fixture
def opened(tmp_path: Path):
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "demo"\n')
    found = Opened(tmp_path / "trimtab.toml", config.load(tmp_path / "trimtab.toml"))
    yield found
    if found.is_open:
        found.project().ws.close()


def ask(app, *requests):
    async def all_of_them():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(client.request(how, path) for how, path in requests))

    return asyncio.run(all_of_them())


def test_nothing_is_opened_for_a_look_at_the_health(opened) -> None:
    app = build(opened)
    read, head, wrong, refused = ask(
        app, ("GET", "/healthz"), ("HEAD", "/healthz"), ("DELETE", "/healthz"), ("PUT", "/healthz")
    )
    assert (read.status_code, read.json()["ok"], head.status_code) == (200, True, 200)
    assert head.content == b""
    assert {wrong.status_code, refused.status_code} <= {405, 415}
    assert "error" in wrong.json()
    assert not opened.is_open


@pytest.mark.slow
def test_the_first_requests_of_all_parts_at_once_open_one_project(opened) -> None:
    app = build(opened)
    paths = ["/", "/api/v1/overview", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/runs"]
    found = ask(app, *(("GET", path) for path in paths * 3))
    assert {one.status_code for one in found} == {200}
    assert opened.is_open
    assert opened.project() is opened.project()


def test_a_store_that_cannot_be_opened_is_told_and_tried_again(opened, tmp_path: Path) -> None:
    root = place.made(tmp_path)
    (root / place.FILE).write_bytes(b"no database" * 1000)
    app = build(opened)
    for found in ask(app, ("GET", "/api/v1/overview"), ("GET", "/api/2.0/mlflow/server-info")):
        assert found.status_code >= 500
        assert "damaged" in found.json()["error"]["message"]
    (root / place.FILE).unlink()
    assert ask(app, ("GET", "/api/v1/overview"))[0].status_code == 200
