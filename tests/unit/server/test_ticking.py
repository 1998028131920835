import threading

from trimtab import config
from trimtab.errors import ConflictError
from trimtab.loop import tick as controller
from trimtab.loop.releases import release
from trimtab.loop.reports import Pass
from trimtab.server.opened import Opened
from trimtab.server.ticking import Ticking
from trimtab.store import operations
from trimtab.store.records import Action, Endpoint


class Idle:
    """Stands for the project."""

    def project(self):
        return None


class Stage:
    """Stands for the loop below: says what a pass gave, counts the passes."""

    def __init__(self, monkeypatch, *passes):
        self.passes, self.count, self.done = list(passes), 0, threading.Event()
        monkeypatch.setattr(controller, "tick", self.tick)
        monkeypatch.setattr(release, "start", lambda _project: [])
        monkeypatch.setattr(Ticking, "_is_bare", lambda _self: False)
        monkeypatch.setattr(Ticking, "_tidy", lambda _self: None)

    def tick(self, _project):
        now = self.passes[min(self.count, len(self.passes) - 1)]
        self.count += 1
        if self.count > len(self.passes) + 1:
            self.done.set()
        if isinstance(now, Exception):
            raise now
        return now


def run(stage):
    said = []
    beside = Ticking(Idle(), 0.001, said.append)
    beside.start()
    assert stage.done.wait(20)
    beside.stop()
    return said


def passed(**fields):
    return Pass(**{"observed": [], "acted": [], "waiting": [], "settled": True, **fields})


def test_what_is_done_is_told_and_what_lasts_is_told_once(monkeypatch):
    action = Action(id="1", kind="retrain", key="k", state="done", result={"said": "drift"})
    waits = passed(waiting=["40 rows more"])
    stage = Stage(monkeypatch, passed(acted=[action]), waits, waits, waits)
    assert run(stage) == ["retrain (done): drift", "40 rows more"]


def test_a_pass_that_fails_is_told_and_the_next_one_comes(monkeypatch):
    stage = Stage(monkeypatch, ConflictError("the store is locked"), KeyError("x"), passed())
    said = run(stage)
    assert said == ["the pass failed: the store is locked", "the pass failed: KeyError: 'x'"]


def test_what_comes_again_is_told_again(monkeypatch):
    stage = Stage(monkeypatch, passed(waiting=["a"]), passed(), passed(waiting=["a"]), passed())
    assert run(stage) == ["a", "a"]


def test_the_controller_comes_once_there_is_something_to_steer(tmp_path, monkeypatch):
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "demo"\n')
    opened = Opened(tmp_path / "trimtab.toml", config.load(tmp_path / "trimtab.toml"))
    passes = []
    monkeypatch.setattr(controller, "tick", lambda project: passes.append(project) or passed())
    beside = Ticking(opened, 60, print)
    beside._tick()
    assert (passes, opened.is_open) == ([], False)
    operations.save_endpoint(
        opened.project().ws, Endpoint(name="demo", target="local", state="ready", created_at=1)
    )
    beside._tick()
    assert passes == [opened.project()]
    opened.project().ws.close()
