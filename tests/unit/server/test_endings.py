import pytest

from trimtab.loop.retiring import retirement


@pytest.mark.slow
def test_an_end_is_planned_announced_shown_and_taken_back(client, project):
    url = "/api/v1/endpoints/loans/retire"
    plan = client.get(url, params={"within": "2w"}).json()
    assert (plan["done"], plan["retirement"], plan["refusal"]) == (False, None, "")
    assert client.get(url, params={"within": "soon"}).status_code == 400
    assert client.get("/api/v1/endpoints/nobody/retire").status_code == 404
    assert client.get("/api/v1/endpoints/loans/consumers").json()["consumers"] == []
    wish = {"within": "2w", "reason": "<b>merged</b>", "successor": "https://new.example.org/"}
    told = client.post(url, json=wish).json()
    assert told["retirement"]["phase"] == "announced"
    assert client.post(url, json=wish).status_code == 409
    page = client.get("/").text
    assert "loans retires on" in page
    assert "&lt;b&gt;merged&lt;/b&gt;" in page
    assert "https://new.example.org/ comes after it" in page
    assert client.post(f"{url}/cancel", json={}).json()["phase"] == "cancelled"
    assert client.get("/api/v1/overview").json()["ending"] == {}
    assert retirement.of(project.ws, "loans").ended_at


def test_an_end_that_was_reached_is_on_the_page(client, project):
    one = retirement.Retirement(id="x", endpoint="loans", phase="retired", gone_at=1, reason="old")
    retirement.put(project.ws, one)
    page = client.get("/").text
    assert "loans was retired on 1970-01-01 00:00 UTC (old)" in page
    found = client.post("/api/v1/endpoints", json={}).json()
    assert found["error"]["code"] == "conflict"
    assert "--revive" in found["error"]["hint"]
