"""Deleting and restoring runs from the pages: what the forms do, and what they refuse."""

import time

import pytest

from trimtab.server import discarding
from trimtab.store import deleted, runs

OWN = {
    "content-type": "application/x-www-form-urlencoded",
    "origin": "http://127.0.0.1:8746",
}


@pytest.fixture
def some(empty):
    """Three runs that ended, one of them with two inside, and one that goes on."""
    with empty.ws.transaction():
        found = {name: runs.start(empty.ws, "run", name).id for name in ("<a>", "b", "c", "going")}
        for name in ("in", "deep"):
            found[name] = runs.start(empty.ws, "run", name, parent=found["<a>"]).id
        for name in found.keys() - {"going"}:
            runs.finish(empty.ws, found[name], "done")
        runs.update(empty.ws, found["going"], pid=0)  # logged from elsewhere
    return found


@pytest.fixture
def ask(empty, client_of, some):
    client = client_of(empty)

    def post(what, *names, **more):
        fields = [f"run={some.get(name, name)}" for name in names]
        fields += [f"{name}={value}" for name, value in more.items()]
        return client.post(f"/runs/{what}", content="&".join(fields).encode(), headers=OWN)

    post.get = lambda path: client.get(path).text
    return post


def gone(project, some):
    return sorted(name for name, run in some.items() if run in deleted.find(project.ws))


@pytest.mark.slow
def test_the_chosen_are_deleted_with_what_is_inside_and_restored(empty, some, ask):
    text = ask.get("/runs")
    assert text.count('name="run"') == 4
    assert 'aria-label="choose &lt;a&gt;"' in text
    answer = ask("delete", "<a>", "b", sure=1, back="/runs?order=name%26x%3D1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?order=name&x=1")
    assert gone(empty, some) == ["<a>", "b", "deep", "in"]
    text = ask.get("/runs/deleted")
    assert text.count('name="run"') == 2
    assert "2 runs" in text
    assert some["b"] in text
    assert some["in"] not in text
    answer = ask("restore", "<a>", back="/runs/deleted")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/deleted")
    assert gone(empty, some) == ["b"]
    assert ask("restore", "<a>", "b").status_code == 303
    assert gone(empty, some) == []
    assert "None." in ask.get("/runs/deleted")


def test_a_run_s_own_page_deletes_and_restores(empty, some, ask):
    page = f"/runs/{some['c']}"
    text = ask.get(page)
    assert f'name="back" value="{page}"' in text
    assert 'name="force"' not in text
    assert ask("delete", "c", sure=1, back=page).headers["location"] == page
    assert ">Restore</button>" in ask.get(page)
    assert 'action="/runs/delete"' not in ask.get(page)
    assert ask("restore", "c", back=page).headers["location"] == page
    assert gone(empty, some) == []


def test_nothing_goes_by_mistake(empty, some, ask):
    assert ask("delete", "b").status_code == 400
    assert ask("delete", "b", sure=0).status_code == 400
    assert ask("delete", sure=1).status_code == ask("restore").status_code == 400
    assert ask("delete", "b", "nonesuch", sure=1).status_code == 404
    assert ask("drop", "b", sure=1).status_code == 404
    answer = ask("delete", "b", "going", sure=1)
    assert answer.status_code == 403
    assert "nobody has ended it" in answer.text
    assert gone(empty, some) == []
    assert 'name="force"' in ask.get(f"/runs/{some['going']}")
    assert ask("delete", "going", sure=1, force=1).status_code == 303
    assert gone(empty, some) == ["going"]


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/runs//x", "/runs/../x", "/runs%0d%0aX", ""]
)
def test_the_way_back_leads_nowhere_else(ask, back):
    assert ask("restore", "b", back=back).headers["location"] == "/runs"


@pytest.mark.parametrize("headers", [
    {"content-type": OWN["content-type"]},
    {**OWN, "origin": "https://evil.example"},
    {**OWN, "sec-fetch-site": "cross-site"},
    {**OWN, "content-type": "text/plain"},
])  # fmt: skip
def test_a_form_of_another_site_changes_nothing(empty, client_of, some, headers):
    sent = f"run={some['b']}&sure=1".encode()
    answer = client_of(empty).post("/runs/delete", content=sent, headers=headers)
    assert answer.status_code in (403, 415)
    assert gone(empty, some) == []


def test_many_deleted_runs_come_in_pages_the_last_gone_first(empty, some, ask, monkeypatch):
    monkeypatch.setattr(discarding, "SHOWN", 2)
    for name in ("b", "c", "<a>"):
        deleted.delete(empty.ws, deleted.within(empty.ws, [some[name]]))
        time.sleep(0.002)  # a deletion is dated in milliseconds
    places = [ask.get("/runs/deleted").find(some[name]) for name in ("<a>", "c", "b")]
    assert 0 < places[0] < places[1]
    assert places[2] < 0
    text = ask.get("/runs/deleted?from=2")
    assert some["b"] in text
    assert 'rel="next"' not in text
    for odd in ("-1", "x", "9" * 30, "²"):
        assert some["c"] in ask.get(f"/runs/deleted?from={odd}")
