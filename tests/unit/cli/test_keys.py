"""Keys of an endpoint, made and removed as a person does it."""

import json

import pytest

from trimtab.deploy import local
from trimtab.serve.access import keys
from trimtab.serve.access.auth import Gate
from trimtab.serve.reply import Refusal
from trimtab.store import ledger

NOW = 1_800_000_000_000_000


def test_a_key_goes_to_stdout_alone_and_opens_the_running_gate(call, loans):
    folder = local.folder(loans.ws, "loans")
    gate = Gate.load(folder)
    made = call("endpoints", "keys", "add", "batch")
    assert made.code == 0
    assert made.out.startswith("tt_")
    assert made.out.count("\n") == 1
    assert "batch may use infer of loans" in made.err
    assert "cannot be shown again" in made.err
    assert gate.changed()
    gate.reload()
    headers = {"x-api-key": made.out.strip()}
    assert gate.check(headers, "infer", NOW).name == "batch"
    gone = call("endpoints", "keys", "rm", "batch")
    assert "batch opens nothing of loans any more" in gone.out
    assert "no key is left" in gone.err
    assert gate.changed()
    gate.reload()
    with pytest.raises(Refusal):
        gate.check(headers, "infer", NOW)


def test_keys_are_listed_and_never_shown(call, loans):
    assert "asks for none" in call("endpoints", "keys", "ls").out
    line = ("batch", "--scope", "infer,metrics", "--expires", "90d", "--rate", "100/s")
    made = call("endpoints", "keys", "add", *line)
    assert "it lapses: " in made.err
    out = call("endpoints", "keys", "ls").out
    for text in ("batch", "infer, metrics", "100/s", "20"):
        assert text in out
    listed = call("endpoints", "keys", "ls", "--endpoint", "loans", "--json")
    (key,) = listed.body["keys"]
    assert key["expires_at"] - key["created_at"] == pytest.approx(90 * 86_400_000_000, rel=1e-6)
    kept = (local.folder(loans.ws, "loans") / keys.FILE).read_text()
    for told in (out, listed.out, kept):
        assert made.out.strip() not in told
    assert kept.count("sha256:") == 1
    assert "sha256:" not in listed.out
    call("endpoints", "keys", "rm", key["id"])
    assert "nobody but a bearer of tokens" in call("endpoints", "keys", "ls").out


def test_a_lapsed_key_is_listed_as_that(call, loans):
    folder = local.folder(loans.ws, "loans")
    folder.mkdir(parents=True)
    keys.add(folder, "old", expires_at=1)
    assert "1970-01-01" in call("endpoints", "keys", "ls").out
    assert "(it has)" in call("endpoints", "keys", "ls").out


def test_json_tells_the_key_once(call, loans):
    body = call("endpoints", "keys", "add", "batch", "--json").body
    assert body["secret"].startswith("tt_")
    assert body["key"]["scopes"] == ["infer"]
    assert "secret" not in call("endpoints", "keys", "rm", "batch", "--json").out


def test_every_change_is_in_the_ledger_by_id_alone(call, loans):
    body = call("endpoints", "keys", "add", "someone", "--json").body
    call("endpoints", "keys", "rm", "someone")
    entries = [json.loads(entry.body) for entry in ledger.find(loans.ws, kind="key")]
    assert [entry["change"] for entry in entries] == ["removed", "added"]
    assert {entry["key"] for entry in entries} == {body["key"]["id"]}
    text = str(entries)
    assert "someone" not in text
    assert body["secret"] not in text
    assert keys.hash_of(body["secret"]) not in text
    assert call("doctor").code == 0


def test_what_fails_changes_neither_file_nor_ledger(call, loans):
    call("endpoints", "keys", "add", "batch")
    before = keys.read(local.folder(loans.ws, "loans"))
    assert call("endpoints", "keys", "add", "batch").code == 5
    assert call("endpoints", "keys", "rm", "nobody").code == 4
    assert keys.read(local.folder(loans.ws, "loans")) == before
    assert len(ledger.find(loans.ws, kind="key")) == 1


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (("add", "a b"), 2, "letters, digits"),
        (("add", "a", "--scope", "root"), 2, "infer, metrics, admin"),
        (("add", "a", "--scope", ""), 2, "opens nothing"),
        (("add", "a", "--expires", "soon"), 2, "30s, 15m"),
        (("add", "a", "--rate", "fast"), 2, "100/s"),
        (("add", "a", "--endpoint", "nowhere"), 4, "there is: loans"),
        (("add", "a", "--endpoint", "../../x"), 4, "there is: loans"),
        (("ls", "--endpoint", "nowhere"), 4, "nowhere"),
        (("rm", "a"), 4, "none yet"),
    ],
)
def test_what_is_wrong_is_said_in_words(call, loans, line, code, words):
    ended = call("endpoints", "keys", *line)
    assert ended.code == code
    assert words in ended.err
    assert ended.out == ""


def test_an_endpoint_that_is_not_deployed_yet_can_have_keys(call, project):
    assert call("endpoints", "keys", "add", "first").code == 0
    assert "first" in call("endpoints", "keys", "ls").out
    assert "no endpoints yet" in call("endpoints", "ls").out
