"""The page in a real browser, over a project that is live."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(cancer):
    """`trimtab up` over the live project."""
    cancer("predict", "cancer", "cancer.csv", "--limit", "200", "--json")
    cancer("monitor", "cancer.csv", "--against", "cancer@v1", "--record", "--json")
    subprocess.run([sys.executable, "-c", DRIFTED], cwd=cancer.folder, check=True)
    command = [sys.executable, "-m", "trimtab", "up", "--port", "0", "--every", "1", "--json"]
    with subprocess.Popen(command, cwd=cancer.folder, stdout=subprocess.PIPE, text=True) as child:
        try:
            said = ""
            while not said.endswith("}\n"):
                line = child.stdout.readline()
                assert line, f"it ended with {child.wait()}"
                said += line
            yield json.loads(said)["url"]
        finally:
            child.terminate()
            child.wait(30)


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    """A page whose every complaint is a failure, and that may speak to nobody but the server."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    found, complaints = context.new_page(), []
    found.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:")) or complaints.append(request.url)
        ),
    )
    yield found
    context.close()
    assert complaints == []


def test_the_loop_is_shown_at_a_glance(page, tmp_path):
    page.goto("/")
    loop = page.get_by_role("region", name="The loop")
    for text in ("cancer@v1", "train", "monitor"):
        assert loop.get_by_text(text).first.is_visible()
    assert page.get_by_role("rowheader", name="roc_auc better than baseline").is_visible()
    assert page.locator("svg.bar").first.is_visible()
    page.screenshot(path=tmp_path / "loop.png", full_page=True)
    assert (tmp_path / "loop.png").stat().st_size > 20_000


def test_the_five_stages_stand_around_the_sentence(page):
    page.goto("/")
    boxes = [node.bounding_box() for node in page.locator(".node").all()]
    data, run, model, endpoint, monitor = boxes
    assert data["x"] < run["x"] < model["x"]
    assert data["y"] == run["y"] == model["y"] < endpoint["y"] == monitor["y"]
    assert endpoint["x"] == model["x"]
    assert monitor["x"] == data["x"]
    middle = page.locator(".sentence").bounding_box()
    assert model["y"] + model["height"] <= middle["y"]
    assert middle["y"] + middle["height"] <= endpoint["y"]


def test_from_the_loop_to_a_run_and_its_trials_by_keyboard(page):
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("link", name="Runs", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs")
    page.get_by_role("link", name="train").first.click()
    page.wait_for_url("**/runs/*")
    assert page.get_by_role("heading", level=1).inner_text().startswith("train")
    assert page.get_by_text("Read and made").is_visible()


def test_a_trial_shows_its_series(page):
    page.goto("/runs?kind=trial")
    page.locator("tbody a").first.click()
    page.wait_for_url("**/runs/*")
    assert page.locator("figure polyline").first.is_visible()


def test_a_link_of_a_model_explains_it(page):
    page.goto("/")
    page.get_by_role("link", name="cancer@v1").first.click()
    page.wait_for_url("**/why?**")
    assert page.get_by_text("passed the gate").is_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_width_and_both_schemes(browser, address, width, scheme):
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    page = context.new_page()
    for path in ("/", "/runs", "/why?what=cancer@v1", "/monitor", "/timeline"):
        page.goto(path)
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, f"{path} is {wide} px too wide"
        for text, paper in page.evaluate(COLOURS):
            assert contrast(text, paper) >= 4.5, (path, text, paper)
    context.close()


def test_the_timeline_draws_and_tells_what_happened(page, tmp_path):
    page.goto("/")
    page.get_by_role("link", name="Timeline", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/timeline")
    picture = page.locator("svg.lanes")
    assert picture.is_visible()
    assert "told one by one below" in picture.get_attribute("aria-label")
    assert picture.locator("rect.piece").count() >= 1
    assert page.get_by_text("cancer@v1 passed the gate").is_visible()
    page.screenshot(path=tmp_path / "timeline.png", full_page=True)
    page.get_by_role("link", name="2 weeks").click()
    page.wait_for_url("**/timeline?since=2w")
    assert page.get_by_role("link", name="2 weeks").get_attribute("aria-current") == "page"
    page.locator("#told").get_by_role("link", name="why").first.click()
    page.wait_for_url("**/why?**")


def test_the_monitor_shows_where_inputs_moved_and_lets_a_person_take_it_in_hand(page, tmp_path):
    page.goto("/monitor")
    page.get_by_text("data drift at cancer-embedded").first.wait_for(timeout=60_000)
    assert page.get_by_role("heading", name="file:cancer.csv against cancer@v1").is_visible()
    alarmed = page.locator("svg.heat .cell.alarm")
    assert alarmed.count() > 5
    page.screenshot(path=tmp_path / "monitor.png", full_page=True)
    first = page.locator("svg.heat").first.locator("a").first
    first.focus()
    page.keyboard.press("ArrowDown")
    name = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert name != first.get_attribute("aria-label")
    page.keyboard.press("Enter")
    page.wait_for_url("**/monitor?**#detail")
    assert page.locator("tr.chosen").is_visible()
    incident = page.locator("article.incident", has_text="data drift at cancer-embedded").first
    incident.get_by_label("Your name").fill("maria")
    incident.get_by_role("button", name="Acknowledge").click()
    page.get_by_text("in hand of maria").wait_for()
    incident = page.locator("article.incident", has_text="in hand of maria")
    incident.get_by_label("What was done").fill("a new scanner")
    incident.get_by_role("button", name="Resolve").click()
    page.get_by_role("cell", name="a new scanner").wait_for()


def test_it_keeps_itself_up_to_date_and_what_was_opened_stays_open(page):
    page.goto("/")
    before = page.locator(".stamp time").inner_text()
    page.wait_for_function(
        "before => document.querySelector('.stamp time').innerText !== before", arg=before
    )


def test_the_style_and_the_script_are_ours_alone(page):
    page.goto("/")
    assert page.evaluate("document.styleSheets.length") == 1
    assert Path(page.evaluate("document.styleSheets[0].href")).name == "style.css"


DRIFTED = """
import csv, trimtab
with open("cancer.csv", newline="") as stream:
    rows = list(csv.DictReader(stream))
with trimtab.Monitor("cancer@v1", window="1s") as monitor:
    for row in rows:
        row.pop("diagnosis")
        monitor.log({name: 1.5 * float(value) for name, value in row.items()}, 0.9)
"""
COLOURS = """() => {
  const solid = colour => !/rgba\\(.*, 0\\)|transparent/.test(colour);
  const found = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, svg")) continue;
    let at = element, paper = "";
    while (at && !solid(paper = getComputedStyle(at).backgroundColor)) at = at.parentElement;
    const text = getComputedStyle(element).color;
    found.set(text + paper, [text, paper]);
  }
  return [...found.values()];
}"""


def luminance(colour):
    """WCAG 2.2 relative luminance of `rgb(...)` or `color(srgb ...)`."""
    parts = colour[colour.index("(") + 1 : -1].replace(",", " ").replace("srgb", " ").split()[:3]
    scale = 1 if colour.startswith("color(") else 255
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (float(part) / scale for part in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2 contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
