from __future__ import annotations

import pytest

from trimtab.loop.replay import kept
from trimtab.loop.replay.engine import Ask
from trimtab.loop.replay.source import Wish, of_file
from trimtab.store import runs
from trimtab.testing import histories


@pytest.fixture
def replay(project, tmp_path):
    """The id of a kept replay whose source has a name that must be escaped."""
    path = tmp_path / "<b>&t.csv"
    histories.history("sudden", 1, 2000).write_csv(path)
    wish = Wish(target="y", in_order=True)
    found = kept.replay(
        project,
        lambda _: of_file(path, wish, tmp_path),
        Ask(policies=("never", "schedule")),
        {"source": path.name},
        lambda *_: None,
    )
    return found.run


def test_the_page_of_a_replay_draws_it_and_says_why(client, replay):
    html = client.get(f"/runs/{replay}").text
    assert "Dynamic training: schedule</h2>" in html
    assert html.count("<polyline") == 3  # two policies and the majority
    assert "<b>&t" not in html
    assert "&lt;b&gt;&amp;t.csv" in html or "&lt;b>&amp;t.csv" in html
    assert "<style" not in html  # the page's policy would ignore it
    assert "no-change" in html


def test_the_api_gives_the_report(client, project, replay):
    found = client.get(f"/api/v1/runs/{replay}/replay").json()
    assert found["recommends"] == "schedule"
    assert [one["policy"] for one in found["policies"]] == ["never", "schedule"]
    flow = runs.find(project.ws, kind="flow")[0]
    refused = client.get(f"/api/v1/runs/{flow.id}/replay")
    assert refused.status_code == 404
    assert "it is a flow" in refused.text
