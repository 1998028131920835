import json
import threading

import pytest
from tests.unit.serve.conftest import ROW

from trimtab import ids
from trimtab.access import AuthConfig
from trimtab.serve.access import consumers, keys
from trimtab.serve.access.auth import Gate
from trimtab.serve.access.consumers import Counter, Row
from trimtab.serve.engine import Engine
from trimtab.serve.logged.log import Log

DAY = 86_400_000_000
NOON = 20_000 * DAY + DAY // 2


def row(caller="a", *, requests=1, last=NOON, name="", contract="predict", model="loans@v1"):
    return Row(
        caller=caller, name=name, contract=contract, model=model, requests=requests, last=last
    )


def test_counts_of_several_processes_and_days_add_up(tmp_path):
    consumers.add(tmp_path, [row(requests=2), row("b", name="nightly", contract="infer")])
    consumers.add(tmp_path, [row(requests=3, last=NOON + 5)])
    consumers.add(tmp_path, [row(last=NOON + DAY, model="loans@v2")])
    a, b = consumers.read(tmp_path)
    assert (a.caller, a.requests, a.days, a.last) == ("a", 6, 2, NOON + DAY)
    assert a.models == {"loans@v1": 5, "loans@v2": 1}
    assert (b.name, b.contracts) == ("nightly", {"infer": 1})
    assert [one.requests for one in consumers.read(tmp_path, NOON + DAY)] == [1]
    assert consumers.size(tmp_path)[:2] == (2, 3)


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    def write():
        for _ in range(20):
            consumers.add(tmp_path, [row(requests=1)])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert consumers.read(tmp_path)[0].requests == 80


def test_old_days_are_dropped_and_a_broken_file_counts_for_nothing(tmp_path):
    consumers.add(tmp_path, [row(last=NOON - 100 * DAY)])
    consumers.add(tmp_path, [row(last=NOON - 50 * DAY)])
    consumers.add(tmp_path, [row()])
    assert len(list((tmp_path / "consumers").glob("*.json"))) == 2
    (tmp_path / "consumers" / "2024-01-01.json").write_bytes(b"{\xff")
    assert consumers.read(tmp_path)[0].requests == 2


def test_nothing_counted_writes_nothing(tmp_path):
    consumers.add(tmp_path, Counter().take())
    assert consumers.read(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_no_file_took_is_counted_again():
    counter = Counter()
    counter.note("k1", "nightly", "predict", "loans@v1")
    taken = counter.take()
    counter.note("k1", "nightly", "predict", "loans@v1")
    counter.give_back(taken)
    assert [(one.name, one.requests) for one in counter.take()] == [("nightly", 2)]
    assert counter.take() == []


def test_neither_a_tokens_subject_nor_a_replay_is_kept_and_callers_are_bounded(monkeypatch):
    monkeypatch.setattr(consumers, "MAX_KEYS", 3)
    counter = Counter()
    counter.note("token-0123", "maria@example.org", "predict", "loans@v1")
    counter.note("k1", "nightly", "replay", "loans@v1")
    for number in range(9):
        counter.note(f"k{number}", "", "predict", "loans@v1")
    taken = counter.take()
    assert sum(one.requests for one in taken) == 10
    assert {one.caller for one in taken} == {"token-0123", "k0", "k1", "others"}
    assert all("maria" not in one.name and one.contract == "predict" for one in taken)


def test_the_engine_counts_who_asked_in_which_tongue(endpoint, engine):
    made, text = keys.add(endpoint, "nightly")
    gate = Gate.load(endpoint, AuthConfig(anonymous=("infer",)))
    asked = Engine(
        name="loans", router=engine.router, log=Log(endpoint / "log", "loans"), gate=gate
    )
    body = json.dumps({"row": ROW}).encode()
    for headers in ({"x-api-key": text}, {"authorization": f"Bearer {text}"}, {}):
        assert asked.handle("POST", "/predict", headers, body).status == 200
    assert asked.handle("POST", "/predict", {"x-api-key": "tt_wrong"}, body).status == 401
    assert asked.handle("POST", "/predict", {}, b'{"row": {}}').status == 422
    asked.handle("GET", "/ping", {}, b"")
    asked.handle("POST", "/v1/models/loans:predict", {}, json.dumps({"instances": [ROW]}).encode())
    found = {(one.caller, one.contract): one for one in asked.consumers.take()}
    assert found[made.id, "predict"].requests == 2
    assert found[made.id, "predict"].name == "nightly"
    assert found["anonymous", "predict"].requests == 2
    assert len(found) == 3
    assert all(one.model == "loans@v1" and one.last <= ids.now() for one in found.values())


def test_without_a_gate_everybody_is_anonymous(engine, post):
    assert post({"row": ROW})[0] == 200
    assert [one.caller for one in engine.consumers.take()] == ["anonymous"]


@pytest.mark.parametrize("keep", [True, False])
def test_keys_are_revoked_at_once_and_a_file_stays_that_opens_nothing(tmp_path, keep):
    assert keys.revoke(tmp_path) == 0
    assert keys.read(tmp_path) is None
    keys.add(tmp_path, "one")
    if not keep:
        (tmp_path / keys.FILE).write_text("{broken")
    assert keys.revoke(tmp_path) == int(keep)
    assert keys.read(tmp_path) == ()
