"""A store with MLflow's interface in front of it, and the same store as another process has it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from trimtab.interop.mlflow import following
from trimtab.interop.mlflow.app import Mlflow
from trimtab.store.workspace import open_workspace


@pytest.fixture
def other(tmp_path):
    """The same store, as another process has it."""
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The interface, which looks before each answer at what others wrote."""
    monkeypatch.setattr(following, "SECONDS", 0.0)
    ws = open_workspace(tmp_path, "demo")
    made = Mlflow(None, ws)
    yield made
    made.following.close()
    ws.close()


@pytest.fixture
def ask(app):
    """`ask("GET", "/path", params={})`: what a client is answered."""

    async def one(method, path, given):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, timeout=60, **given)

    return lambda method, path, **given: asyncio.run(one(method, path, given))
