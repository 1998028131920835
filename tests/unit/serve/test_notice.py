import email.utils

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.serve import notice
from trimtab.serve.notice import Follower, Notice
from trimtab.serve.tombstone import refusal

from .conftest import ROW

NOTICE = Notice(
    name="loans",
    phase="announced",
    announced_at=1_795_000_000_000_000,
    sunset_at=1_796_000_000_000_000,
    successor="loans-eu",
    link="https://new.example.org/predict",
)


@given(st.integers(0, 4_000_000_000))
def test_dates_are_those_of_http(seconds):
    expected = email.utils.formatdate(seconds, usegmt=True)
    assert notice.http_date(seconds * 1_000_000) == expected


def test_headers_are_those_of_the_three_documents():
    assert notice.headers(NOTICE) == {
        "deprecation": "@1795000000",
        "sunset": "Mon, 30 Nov 2026 00:53:20 GMT",
        "link": '<https://new.example.org/predict>; rel="successor-version"',
    }
    assert "link" not in notice.headers(msgspec.structs.replace(NOTICE, link=""))
    assert notice.headers(None) == {}


def test_a_follower_sees_what_changed_and_nothing_else(tmp_path):
    follower = Follower(tmp_path)
    assert not follower.changed()
    notice.write(tmp_path, NOTICE)
    assert follower.changed()
    assert not follower.changed()
    before = (tmp_path / notice.FILE).stat()
    notice.write(tmp_path, NOTICE)
    assert (tmp_path / notice.FILE).stat().st_ino == before.st_ino
    assert not follower.is_gone
    notice.write(tmp_path, msgspec.structs.replace(NOTICE, phase="gone"))
    assert (follower.changed(), follower.is_gone) == (True, True)
    notice.remove(tmp_path)
    assert (follower.changed(), follower.is_gone) == (True, False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', "\xff"])
def test_what_cannot_be_read_is_no_notice(tmp_path, text):
    (tmp_path / notice.FILE).write_text(text, encoding="latin-1")
    assert notice.read(tmp_path) is None
    assert not notice.is_gone(tmp_path)


def test_every_answer_tells_from_then_on(engine):
    body = msgspec.json.encode({"row": ROW})
    assert "sunset" not in engine.handle("POST", "/predict", {}, body).headers
    engine.announce(NOTICE)
    for sent, status in ((body, 200), (b"{}", 422), (b"{", 400)):
        answer = engine.handle("POST", "/predict", {}, sent)
        assert answer.status == status
        assert answer.headers["deprecation"] == "@1795000000"
        assert "successor-version" in answer.headers["link"]
    engine.announce(None)
    assert "sunset" not in engine.handle("POST", "/predict", {}, body).headers


@pytest.mark.parametrize(
    ("path", "text"),
    [("/predict", False), ("/invocations", False), ("/v2/models/loans/infer", True),
     ("/v1/models/loans:predict", True), ("/v2", True), ("/anything", False)],
)  # fmt: skip
def test_a_refusal_is_in_the_words_of_its_protocol(path, text):
    said = msgspec.json.decode(refusal(path, "loans", NOTICE))
    assert said["successor"] == "https://new.example.org/predict"
    assert isinstance(said["error"], str) is text
    assert "retired on Mon, 30 Nov 2026" in str(said["error"])
    assert ("stack_trace" in said) == (path == "/invocations")
    assert msgspec.json.decode(refusal(path, "loans", None))["successor"] == ""
