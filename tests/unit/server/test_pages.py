import re
from html.parser import HTMLParser

import pytest

from trimtab.server import views
from trimtab.store import deleted, metrics, runs
from trimtab.store.records import Point

VOID = {"meta", "link", "path", "circle", "line", "rect", "br", "polyline", "input"}


class Document(HTMLParser):
    """Open elements must close in order; addresses and text are kept."""

    def __init__(self, html):
        super().__init__()
        self.open, self.addresses, self.text, self.names = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names.append(tag)
        self.addresses += [given[name] for name in ("href", "src", "action") if name in given]
        assert "style" not in given, "the policy forbids it"
        assert not any(name.startswith("on") for name in given), "the policy forbids it"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page(client, path):
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    document = Document(answer.text)
    assert document.open == []
    return answer, document


def test_the_loop_shows_every_part(client):
    answer, document = page(client, "/")
    assert answer.status_code == 200
    for text in (
        "applications@v1",
        "loans@v1",
        "The same inputs now have other outcomes",
        "roc_auc ≥ 0.76",
        "selection_rate ratio across group ≥ 0.8",
        "[0.764, 0.798]",
        "undecided",
        "champion, 95%",
        "open_rollout because roc_auc",
        "error_rate ≤ the champion's + 0.01",
        "[-0.004, 0.06]",
    ):
        assert text in document.text
    assert "income moved" not in document.text, "resolved incidents are no trouble"
    assert len(re.findall(r'<svg class="bar"', answer.text)) == 10


@pytest.mark.slow
def test_every_page_has_landmarks_and_one_heading(client, project):
    run = runs.find(project.ws, kind="flow")[-1].id
    for path in ("/", "/runs", f"/runs/{run}", "/why", "/nothing"):
        _, document = page(client, path)
        for name in ("header", "nav", "main", "footer", "h1"):
            assert document.names.count(name) == 1, (path, name)


def test_nothing_is_loaded_from_elsewhere(client, project):
    run = runs.find(project.ws, kind="flow")[-1].id
    for path in ("/", "/runs", f"/runs/{run}", "/why"):
        _, document = page(client, path)
        assert all(address.startswith(("/", "#")) for address in document.addresses)


@pytest.mark.slow
def test_every_link_of_the_loop_is_answered(client):
    _, document = page(client, "/")
    own = {address for address in document.addresses if not address.startswith(("#", "/why?"))}
    for address in own:
        assert client.get(address).status_code == 200, address


def test_runs_are_listed_with_status_metrics_and_cause(client):
    _, document = page(client, "/runs")
    assert "roc_auc 0.7848" in document.text
    assert "retrain: incident drift" in document.text
    assert "trial" not in document.text.replace("trials", "")
    _, document = page(client, "/runs?all=1")
    assert "trial 1" in document.text


def test_a_run_shows_params_series_and_what_it_read_and_made(client, project):
    run = runs.find(project.ws, kind="flow")[-1]
    answer, document = page(client, f"/runs/{run.id}")
    for text in ("seed", "412 MB", "applications", "trial 1", "steps 0 to 59"):
        assert text in document.text
    assert answer.text.count("<polyline") == 2


def test_an_error_is_shown_and_escaped(client, project):
    run = next(one for one in runs.find(project.ws) if one.status == "failed")
    answer, document = page(client, f"/runs/{run.id}")
    assert "no column 'income' <b>" in document.text
    assert "<b>" not in answer.text.replace("</b>", "").split("no column")[1][:40]
    assert "pipeline.py, line 12" in document.text


def test_what_there_is_not_is_a_page_that_says_so(client):
    for path in ("/nothing", "/runs/zzzzzzzz", "/static/secret.txt", "/static/..%2Fapp.py"):
        answer, document = page(client, path)
        assert answer.status_code == 404
        assert "Back to the loop" in document.text


def test_a_broken_project_file_is_told_above_the_page(client, project):
    (project.folder / "trimtab.toml").write_text("[project", encoding="utf-8")
    answer, document = page(client, "/")
    assert answer.status_code == 200
    assert "The project file cannot be read" in document.text
    assert "loans@v1" in document.text


def test_an_empty_project_says_what_to_do(empty, client_of):
    _, document = page(client_of(empty), "/")
    for command in ("trimtab data add", "trimtab run", "trimtab deploy"):
        assert command in document.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [("style.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_the_files_of_the_page_are_served(client, name, kind):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.slow
def test_a_deleted_run_says_so_and_is_not_listed(client, project):
    run = runs.find(project.ws, kind="flow")[-1].id
    deleted.delete(project.ws, [run])
    _, document = page(client, f"/runs/{run}")
    assert "trimtab runs restore" in " ".join(document.text.split())
    _, document = page(client, "/runs")
    assert f"/runs/{run}" not in document.addresses


def test_a_run_of_very_many_series_shows_some_at_a_time(client, project, monkeypatch):
    monkeypatch.setattr(views, "SERIES", 3)
    run = runs.start(project.ws, "run", "many").id
    points = [Point(key=f"k{n}", step=s, time=s, value=n) for n in range(5) for s in (0, 1)]
    metrics.append(project.ws, run, [*points, Point(key="one", step=0, time=0, value=7.5)])
    runs.finish(project.ws, run, "done")

    def shown(asked=""):
        text = client.get(f"/runs/{run}{asked}").text
        return [key for key in ("k0", "k2", "k3", "k4") if f"<figcaption>{key} " in text], text

    for asked in ("", "?series=x", "?series=-1", "?series=99999999999", "?series=6"):
        keys, text = shown(asked)
        assert keys == ["k0", "k2"]
        assert "series 1 to 3 of 6" in text
        assert 'rel="prev"' not in text
    keys, text = shown("?series=3")
    assert keys == ["k3", "k4"]
    assert "<dt>one</dt><dd>7.5</dd>" in text
    assert "series 4 to 6 of 6" in text
    assert 'rel="next"' not in text
    assert f'href="/runs/{run}?series=0#metrics"' in text


def test_params_keep_their_names_and_long_ones_fold(client, project):
    given = {"max_depth": "", "note": "x" * 401, "<b>": 0}
    run = runs.start(project.ws, "run", "fit", params=given).id
    answer, document = page(client, f"/runs/{run}")
    text = answer.text
    assert "max_depth" in document.text
    assert "&lt;b&gt;" in text
    assert f"<summary>{'x' * 200}…</summary>{'x' * 401}</details>" in text
