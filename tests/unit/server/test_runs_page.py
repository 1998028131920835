import csv
import io
import random
from html.parser import HTMLParser
from urllib.parse import quote_plus

import pytest

from trimtab.server.scatter import scatter
from trimtab.store import artifacts, metrics, runs, trees
from trimtab.store.records import Artifact, Point
from trimtab.track.search.finding import Wanted


class Read(HTMLParser):
    """The links, texts and elements of a page."""

    def __init__(self, html):
        super().__init__()
        self.links, self.text, self.tags = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs).get("href", ""))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, **attrs):
        return [had for name, had in self.tags if name == tag and attrs.items() <= had.items()]


@pytest.fixture
def many(empty, client_of):
    """A page of 120 runs."""
    draw = random.Random(0)
    with empty.ws.transaction():
        for number in range(120):
            depth = draw.randint(1, 6)
            run = runs.start(
                empty.ws, "run", f"fit {number}", params={"depth": depth, "opt": draw.choice("ab")}
            )
            value = depth + draw.random() / 10
            metrics.append(empty.ws, run.id, [Point(key="auc", step=0, time=0, value=value)])
            runs.finish(empty.ws, run.id, "done")
    client = client_of(empty)

    def get(query=""):
        answer = client.get(f"/runs{query}")
        assert answer.status_code == 200
        return Read(answer.text)

    get.client = client
    return get


def ask(**given):
    return "?" + "&".join(f"{name}={quote_plus(value)}" for name, value in given.items())


def test_runs_are_filtered_ordered_and_shown_in_chosen_columns(many):
    page = many(
        ask(where="metrics.auc > 4", order="metrics.auc desc", columns="metrics.auc, duration")
    )
    heads = page.all("th", scope="col")
    assert len(heads) == 4
    assert [one.get("aria-sort") for one in heads] == [None, None, "descending", None]
    assert page.all("input", name="where")[0]["value"] == "metrics.auc > 4"
    turned = next(one for one in page.links if "order=metrics.auc&" in f"{one}&")
    assert "where=metrics.auc+%3E+4" in turned
    rows = [one for one in page.links if one.startswith("/runs/0")]
    assert len(rows) == 50


def test_pages_go_on_where_the_last_one_ended(many):
    page, seen = many(ask(order="metrics.auc")), []
    for _ in range(3):
        seen += [one for one in page.links if one.startswith("/runs/0")]
        onward = page.all("a", rel="next")
        if onward:
            page = many(onward[0]["href"].removeprefix("/runs"))
    assert len(seen) == len(set(seen)) == 120
    assert "first page" in page.text
    assert not onward


@pytest.mark.parametrize(
    ("given", "field", "what"),
    [
        ({"where": "metrics.auc >> 1"}, "where", "a value is expected here"),
        ({"order": "nothing desc"}, "order", "a run has no 'nothing'"),
        ({"columns": "metrics."}, "columns", "means nothing here"),
        ({"after": "zz"}, "after", "no token"),
        ({"by": "params"}, "by", "a run has no 'params'"),
        ({"by": "kind", "show": "avg(metrics.auc)"}, "show", "no 'avg' of groups"),
        ({"x": "data", "y": "metrics.auc"}, "x", "any number"),
        ({"explain": "acu"}, "explain", "no run has a metric 'acu'"),
        ({"explain": "auc", "where": "params.depth = 1"}, "explain", "too few runs"),
    ],
)
def test_what_is_wrong_is_said_in_its_place(many, given, field, what):
    page = many(ask(**given))
    assert page.all("div", id=f"wrong-{field}", role="alert")
    assert what in page.text


def test_groups_lead_to_their_runs(many):
    page = many(ask(by="params.depth, params.opt", show="mean(metrics.auc) count"))
    groups = [one for one in page.links if "params.depth+%3D" in one]
    assert len(groups) == 12
    inside = many(groups[0].removeprefix("/runs"))
    assert "by=" not in groups[0]
    assert len([one for one in inside.links if one.startswith("/runs/0")]) > 0


@pytest.mark.slow
def test_runs_are_drawn_and_a_metric_is_explained(many):
    page = many(ask(explain="auc", x="params.opt", y="metrics.auc"))
    assert len(page.all("circle", r="3.2")) == 120
    assert len(page.all("rect", height="10")) == 2
    assert "R² on unseen runs, 120 runs" in page.text


def test_the_runs_of_a_page_are_there_as_files(many):
    page = many(ask(where="params.depth = 3", columns="metrics.auc"))
    href = next(one for one in page.links if one.startswith("/runs/export.csv"))
    answer = many.client.get(href)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows
    assert all(3 <= float(row["metrics.auc"]) < 4 for row in rows)
    assert many.client.get("/runs/export.parquet").content.startswith(b"PAR1")
    assert many.client.get("/runs/export.exe").status_code == 404
    assert many.client.get("/runs/export.csv?where=((").status_code == 400


def test_markup_in_a_filter_is_text(many):
    page = many(ask(where="params.depth = '<script>alert(1)</script>'", columns="tags.`<b>`"))
    assert [one for one in page.all("script") if "src" not in one] == []


@pytest.mark.slow
@pytest.mark.parametrize("far", [1.7e308, -1.7e308, float("inf"), float("nan")])
def test_runs_without_a_place_are_not_drawn(many, empty, far):
    for value in (far, -far):
        run = runs.start(empty.ws, "run", "fit", params={"depth": 1})
        metrics.append(empty.ws, run.id, [Point(key="auc", step=0, time=0, value=value)])
    page = many(ask(x="params.depth", y="metrics.auc"))
    assert len(page.all("circle", r="3.2")) == 120
    assert "2 runs lack one of them" in page.text


def test_words_that_some_runs_have_as_numbers_are_words_all_the_same(many, empty):
    for value in "12345aaa":  # the places of 2, 3 and a among the words are numbers of other runs
        runs.start(empty.ws, "run", "fit", params={"mixed": value, "n": 1})
    where = "params.mixed IN ('2', '3', 'a')"
    html = many.client.get("/runs" + ask(x="params.mixed", y="params.n", where=where)).text
    assert all(f'text-anchor="middle">{name}</text>' in html for name in "23a")


def test_groups_of_what_no_filter_names_lead_nowhere(many, empty):
    run = runs.start(empty.ws, "run", "fit")
    for key, value in (("nan", float("nan")), ("inf", float("inf"))):
        metrics.append(empty.ws, run.id, [Point(key=key, step=0, time=0, value=value)])
        page = many(ask(by=f"metrics.{key}", where=f"metrics.{key} IS NOT NULL"))
        assert "1 runs by" in page.text
        assert not [one for one in page.links if f"metrics.{key}+%3D" in one]


@pytest.mark.slow
def test_the_operations_answer_over_http(many):
    client = many.client
    found = client.get("/api/v1/runs", params={"where": "params.depth = 3", "limit": 2}).json()
    assert len(found["runs"]) == len(found["metrics"]) == 2
    assert found["next"]
    groups = client.get("/api/v1/runs/groups", params={"by": "params.depth"}).json()
    assert groups["matched"] == 120
    told = client.get("/api/v1/runs/importance", params={"metric": "auc"}).json()
    assert told["shares"][0]["param"] == "depth"
    a, b = (run["id"] for run in found["runs"])
    assert client.get(f"/api/v1/runs/{a}/diff/{b}").json()["a"]["id"] == a
    wrong = client.get("/api/v1/runs", params={"where": "((("})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "query")
    few = client.get(
        "/api/v1/runs/importance", params={"metric": "auc", "where": "params.depth = 1"}
    )
    assert few.status_code == 409


def test_a_run_leads_to_the_one_before_it_however_many_came_since(many, empty):
    with empty.ws.transaction():
        made = [runs.start(empty.ws, "run", "nightly").id for _ in range(203)]
    for place in (1, 202):
        page = Read(many.client.get(f"/runs/{made[place]}").text)
        assert f"/runs/{made[place - 1]}/diff/{made[place]}" in page.links
    first = Read(many.client.get(f"/runs/{made[0]}").text)
    assert not [one for one in first.links if "/diff/" in one]


def test_two_runs_are_shown_side_by_side(many):
    client = many.client
    found = client.get("/api/v1/runs", params={"order_by": "params.depth", "limit": 1000}).json()
    a, b = (found["runs"][at]["id"] for at in (0, -1))
    page = Read(client.get(f"/runs/{a}/diff/{b}").text)
    assert {"params", "metrics"} <= {one.get("id") for name, one in page.tags if name == "h2"}
    assert f"/runs/{b}/diff/{a}" in page.links
    assert client.get(f"/runs/{a}/diff/nothing").status_code == 404
    run = Read(client.get(f"/runs/{a}").text)
    assert not [one for one in run.links if "/diff/" in one]


def test_what_runs_are_ordered_and_filtered_by_is_shown_first(many, empty):
    run = runs.start(empty.ws, "run", "wide")
    points = [Point(key=key, step=0, time=0, value=float(at)) for at, key in enumerate("abcdefg")]
    metrics.append(empty.ws, run.id, points)
    page = many(ask(where="metrics.f > 0", order="metrics.g desc"))
    assert page.text.index("g 6") < page.text.index("f 5") < page.text.index("a 0")
    assert "b 1" not in page.text


def test_the_loop_lists_what_was_logged_too(many):
    assert "fit 119" in many.client.get("/").text


def make(ws, run, name, files):
    digest = trees.put_files(ws.blobs, {path: ws.blobs.put(data) for path, data in files.items()})
    made = Artifact(digest=digest, kind="file", size=1, run=run, created_at=1)
    artifacts.record(ws, made)
    runs.link(ws, run, "out", name, digest)


@pytest.mark.slow
def test_what_a_run_made_is_shown_and_given(empty, client_of):
    run = runs.start(empty.ws, "run", "fit", params={"model": {"lr": 0.1, "layers": [1, 2]}}).id
    make(empty.ws, run, "plots/roc.svg", {"roc.svg": b"<svg/>"})
    make(empty.ws, run, "page.html", {"page.html": b"<script>alert(1)</script>"})
    make(empty.ws, run, "model", {f"part {n}": b"x" for n in range(25)})
    make(empty.ws, run, "../up?&é", {"x": b"far"})
    runs.finish(empty.ws, run, "done")
    client = client_of(empty)
    page = Read(client.get(f"/runs/{run}").text)
    links = {one for one in page.links if one.startswith(f"/runs/{run}/file")}
    got = {one: client.get(one) for one in links}
    assert [one.status_code for one in got.values()] == [200] * len(links)
    assert sorted({one.content for one in got.values()}) == [
        b"<script>alert(1)</script>", b"<svg/>", b"far", b"x",
    ]  # fmt: skip
    for one in got.values():
        assert one.headers["content-disposition"].startswith("attachment")
        assert one.headers["x-content-type-options"] == "nosniff"
    (picture,) = page.all("img")
    assert client.get(picture["src"]).headers["content-type"] == "image/svg+xml"
    assert "25 files" in page.text
    assert "and 5 more" in page.text
    assert "model.lr" in page.text
    assert client.get(f"/runs/{run}/file?path=nothing").status_code == 404
    assert client.get("/runs/none/file?path=x").status_code == 404
    empty.ws.blobs.remove(trees.walk(empty.ws.blobs, _digest(empty.ws, run))["roc.svg"].digest)
    assert client.get(f"/runs/{run}/file?path=plots/roc.svg").status_code == 404


def _digest(ws, run):
    return next(one.digest for one in runs.links(ws, run) if one.name == "plots/roc.svg")


def test_points_that_cannot_be_drawn_are_counted(empty, client_of):
    run = runs.start(empty.ws, "run", "fit").id
    values = [1.0, float("nan"), float("inf"), float("nan"), float("-inf"), 2.0]
    points = [Point(key="odd", step=at, time=at, value=one) for at, one in enumerate(values)]
    metrics.append(empty.ws, run, points)
    runs.finish(empty.ws, run, "done")
    page = Read(client_of(empty).get(f"/runs/{run}").text)
    assert "1 to 2, 2 × NaN, 1 × ∞, 1 × -∞" in page.text


@pytest.mark.parametrize(
    ("apart", "told"),
    [(86_400 * 20, "2026-01-09"), (3_600 * 4, "01-01 02:36"), (120, "00:01:40")],
    ids=["weeks", "hours", "minutes"],
)
def test_an_axis_of_moments_tells_them_apart(empty, apart, told):
    begin = 1_767_225_600_000_000  # 2026-01-01
    for number in range(2):
        run = runs.start(empty.ws, "run", "fit", params={"x": number}).id
        runs.update(empty.ws, run, started_at=begin + number * apart * 1_000_000)
    ticks = [one.text for one in scatter(empty.ws, Wanted(), "started", "params.x").across]
    assert told in ticks
    assert len(set(ticks)) == len(ticks) > 2
