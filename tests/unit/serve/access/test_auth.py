import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import AuthConfig, JwtConfig, Rate
from trimtab.errors import TrimtabError, UsageError
from trimtab.serve.access import auth, keys
from trimtab.serve.access.auth import Gate, check_bind, is_loopback, scope_of
from trimtab.serve.reply import Refusal

NOW = 1_800_000_000_000_000
SECOND = 1_000_000


def bearer(text):
    return {"authorization": f"Bearer {text}"}


def refused(gate, headers, scope="infer", now=NOW):
    with pytest.raises(Refusal) as caught:
        gate.check(headers, scope, now)
    return caught.value


@pytest.fixture
def keyed(tmp_path):
    """A gate with one key, and that key."""
    made, text = keys.add(tmp_path, "batch", rate="5/m")
    return Gate.load(tmp_path), made, text


def test_without_keys_this_machine_is_let_in(tmp_path):
    gate = Gate.load(tmp_path)
    assert gate.is_open
    for headers in ({}, {"host": "127.0.0.1:8080"}, {"host": "localhost"}, {"host": "[::1]:80"}):
        assert gate.check(headers, "admin", NOW).id == "anonymous"
    assert gate.check({"origin": "http://localhost:3000"}, "infer", NOW).id == "anonymous"
    assert gate.check(bearer("tt_whatever"), "infer", NOW).id == "anonymous"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "127.0.0.1@evil.example"},
        {"host": "[::1"},
        {"host": ""},
        {"host": "127.0.0.1", "origin": "https://evil.example"},
        {"host": "127.0.0.1", "origin": "null"},
    ],
)
def test_without_keys_a_web_page_is_kept_out(tmp_path, headers):
    refusal = refused(Gate.load(tmp_path), headers)
    assert refusal.status == 403


def test_a_key_is_taken_from_either_header(keyed):
    gate, made, text = keyed
    for headers in (bearer(text), {"x-api-key": text}, {"authorization": f"bEARER  {text} "}):
        for _ in range(2):
            caller = gate.check(headers, "infer", NOW)
            assert (caller.id, caller.name, caller.rate) == (made.id, "batch", Rate(5, 60 * SECOND))


def test_a_key_is_good_from_a_page_and_by_any_name(keyed):
    gate, made, text = keyed
    headers = {"x-api-key": text, "host": "models.example", "origin": "https://app.example"}
    assert gate.check(headers, "infer", NOW).id == made.id


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer tt_"},
        {"authorization": "Basic dHRfOnR0Xw=="},
        {"x-api-key": ""},
        {"x-api-key": "tt_" + "x" * 43},
        {"x-api-key": "tt_\udcff"},
        {"x-api-key": "tt_" + "x" * 30_000},
    ],
)
def test_who_is_unknown_is_told_how_to_ask(keyed, headers):
    refusal = refused(keyed[0], headers)
    assert refusal.status == 401
    assert refusal.headers["www-authenticate"].startswith('Bearer realm="trimtab", error=')
    assert "Bearer KEY" in refusal.hint


def test_who_sends_nothing_is_challenged_without_an_error(keyed):
    refusal = refused(keyed[0], {})
    assert refusal.headers == {"www-authenticate": 'Bearer realm="trimtab"'}


def test_a_key_in_the_wrong_header_stays_wrong_though_seen_in_the_right_one(keyed):
    gate, _, text = keyed
    gate.check(bearer(text), "infer", NOW)
    assert refused(gate, {"x-api-key": f"Bearer {text}"}).status == 401
    assert refused(gate, {"authorization": text}).status == 401


def test_a_scope_that_a_key_lacks_is_named(keyed):
    gate, _, text = keyed
    for _ in range(2):  # found, and seen before
        refusal = refused(gate, bearer(text), "metrics")
        assert refusal.status == 403
        assert 'scope="metrics"' in refusal.headers["www-authenticate"]
        assert "metrics" in refusal.message


def test_a_key_ends_to_the_microsecond_seen_or_not(tmp_path):
    _, text = keys.add(tmp_path, "short", expires_at=NOW)
    gate = Gate.load(tmp_path)
    gate.check(bearer(text), "infer", NOW - 1)
    assert refused(gate, bearer(text), now=NOW).message == "the key has expired"
    assert refused(gate, {"x-api-key": text}, now=NOW).message == "the key has expired"


def test_a_key_added_works_and_one_removed_stops_at_the_next_reload(tmp_path):
    gate = Gate.load(tmp_path)
    assert not gate.changed()
    _, first = keys.add(tmp_path, "first")
    assert gate.changed()
    assert gate.reload()
    assert not gate.changed()
    assert not gate.is_open
    gate.check(bearer(first), "infer", NOW)
    _, second = keys.add(tmp_path, "second")
    assert gate.changed()
    gate.reload()
    gate.check(bearer(second), "infer", NOW)
    keys.remove(tmp_path, "first")
    assert gate.changed()
    gate.reload()
    assert refused(gate, bearer(first)).status == 401
    gate.check(bearer(second), "infer", NOW)


def test_a_file_that_vanishes_opens_nothing(keyed, tmp_path):
    gate, _, text = keyed
    (tmp_path / keys.FILE).unlink()
    assert gate.changed()
    assert gate.reload()
    assert not gate.is_open
    assert refused(gate, {}).status == refused(gate, bearer(text)).status == 401


def test_a_file_that_broke_leaves_the_keys_before_in_force(keyed, tmp_path):
    gate, made, text = keyed
    (tmp_path / keys.FILE).write_text("{")
    assert not gate.reload()
    assert "keys.json" in gate.error
    assert not gate.changed()
    assert gate.check(bearer(text), "infer", NOW).id == made.id
    keys_file = keys.KeysFile(keys=())
    (tmp_path / keys.FILE).write_bytes(msgspec.json.encode(keys_file))
    assert gate.reload()
    assert gate.error == ""
    assert refused(gate, bearer(text)).status == 401


def test_a_broken_file_is_refused_at_start(tmp_path):
    (tmp_path / keys.FILE).write_text("{")
    with pytest.raises(UsageError, match=r"keys\.json"):
        Gate.load(tmp_path)


def test_what_is_anonymous_needs_no_key_and_the_rest_does(tmp_path):
    _, text = keys.add(tmp_path, "ops", scopes=("admin",))
    gate = Gate.load(tmp_path, AuthConfig(anonymous=("metrics",)), "0.0.0.0")
    assert gate.check({}, "metrics", NOW).id == "anonymous"
    assert refused(gate, {}, "infer").status == 401
    assert refused(gate, bearer("tt_wrong"), "metrics").status == 401
    assert gate.check(bearer(text), "admin", NOW).name == "ops"


def test_behind_a_proxy_of_this_machine_anonymous_is_let_in_by_any_name(tmp_path):
    gate = Gate.load(tmp_path, AuthConfig(anonymous=("infer",)))
    assert gate.check({"host": "models.example"}, "infer", NOW).scopes == {"infer"}
    assert refused(gate, {"host": "models.example"}, "admin").status == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.7", "models.example"])
def test_other_machines_are_not_answered_without_keys(tmp_path, host):
    with pytest.raises(UsageError) as caught:
        check_bind(host, tmp_path)
    assert "trimtab endpoints keys add" in caught.value.hint
    with pytest.raises(UsageError):
        Gate.load(tmp_path, None, host)
    check_bind(host, tmp_path, AuthConfig(anonymous=("infer",)))
    check_bind(host, tmp_path, AuthConfig(jwt=JwtConfig(issuer="i", audience="a", key="k")))
    with pytest.raises(UsageError):
        check_bind(host, tmp_path, AuthConfig(anonymous=("metrics",)))
    keys.add(tmp_path, "first")
    check_bind(host, tmp_path)
    keys.remove(tmp_path, "first")
    with pytest.raises(UsageError):
        check_bind(host, tmp_path)


def test_loopback_needs_nothing(tmp_path):
    for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"):
        check_bind(host, tmp_path)
        assert is_loopback(host)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/ping", None),
        ("/v2/health/ready", None),
        ("/v2/models/loans/ready", None),
        ("/v2/models/loans/versions/3/ready", None),
        ("/predict", "infer"),
        ("/v2/models/loans/infer", "infer"),
        ("/v2/models/loans", "infer"),
        ("/ready", "infer"),
        ("/metrics", "metrics"),
        ("/v2/models/loans/stats", "metrics"),
        ("/v2/repository/models/loans/load", "admin"),
        ("/v2/repository/index", "infer"),
        ("/admin/reload", "admin"),
    ],
)
def test_what_a_path_asks_for(path, scope):
    assert scope_of(path) == scope


def test_a_platform_names_its_own_health(tmp_path):
    assert scope_of("/isalive", frozenset({"/isalive"})) is None


def test_what_was_seen_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(auth, "MAX_SEEN", 8)
    texts = [keys.add(tmp_path, f"k{i}")[1] for i in range(20)]
    gate = Gate.load(tmp_path)
    for text in texts * 2:
        gate.check(bearer(text), "infer", NOW)
        assert len(gate._state.seen) <= 8
    for i in range(50):
        refused(gate, bearer(f"tt_{i}"))
    assert len(gate._state.seen) <= 8


def test_what_was_seen_is_looked_at_again_after_a_while(keyed, monkeypatch):
    gate, _, text = keyed
    asked = []
    monkeypatch.setattr(auth, "_by_key", lambda *given: asked.append(given) or auth.ANYBODY)
    for now in (NOW, NOW + auth.SEEN_FOR - 1, NOW + auth.SEEN_FOR):
        gate.check(bearer(text), "infer", now)
    assert len(asked) == 2


@given(st.text(max_size=80), st.sampled_from(["authorization", "x-api-key"]), st.booleans())
def test_no_text_gets_in_and_none_comes_back(tmp_path_factory, text, header, is_key):
    folder = tmp_path_factory.mktemp("gate")
    _, real = keys.add(folder, "real")
    gate = Gate.load(folder)
    sent = f"tt_{text}" if is_key else text
    with pytest.raises(TrimtabError) as caught:
        gate.check({header: sent}, "infer", NOW)
    told = "".join(traceback.format_exception_only(caught.value)) + caught.value.hint
    assert real not in told
    if len(text) > 20:
        assert text not in told


def test_nothing_of_a_key_is_told(keyed, caplog):
    gate, _, text = keyed
    nearly = text[:-1] + ("a" if text[-1] != "a" else "b")
    for headers in ({"x-api-key": nearly}, bearer(nearly), bearer(text)):
        refusal = refused(gate, headers, "admin")
        told = f"{refusal.message}{refusal.hint}{refusal.headers}{refusal!r}"
        assert text[3:20] not in told
    caller = gate.check(bearer(text), "infer", NOW)
    assert text not in repr(caller)
    assert text[3:20] not in caplog.text
