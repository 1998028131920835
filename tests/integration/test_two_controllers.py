"""Two controllers of one project, as `trimtab up` and `trimtab tick` beside it: each act happens once.

Two rollouts, one promoted and one rolled back, are carried through by whichever comes first. The
models are signatures and nothing else: what they answered is written to the log.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop.project import apply, open_project
from trimtab.loop.releases import rollout as rollouts
from trimtab.model import registry, signature
from trimtab.model.signature import Column, Signature
from trimtab.serve.logged.frame import Frame, pack_numbers
from trimtab.serve.logged.log import Log
from trimtab.store import ledger, operations, versions

TOML = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
accuracy = { min = 0.6 }
[serve]
rollout = ["shadow", "50%"]
labels = "outcomes/*.csv"
"""
# Each line asks for a pass; the answer is what it did, or that another was at work.
SCRIPT = """
import json, sys
from pathlib import Path
from trimtab.loop.project import open_project
from trimtab.loop.tick import tick

project = open_project(Path(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    done = tick(project)
    beside = "another pass is at work" in done.waiting
    print(json.dumps([[one.key for one in done.acted], beside]), flush=True)
"""


def controller(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip


def model(project, name):
    """A package that nothing loads."""
    folder = project.folder / name
    folder.mkdir()
    signed = Signature(
        task="binary", engine="onnx", inputs=(Column(name="x", kind="number"),), target="good",
        classes=("no", "yes"), positive="yes", threshold=0.5, reason=name,
    )  # fmt: skip
    (folder / signature.FILE).write_bytes(signature.encode(signed))
    return versions.add(project.ws, "model", "goods", registry.put(project.ws, folder))


class Traffic:
    """Answers of the models that the routes name, and what became of them."""

    def __init__(self, project, right):
        self.project, self.right, self.files = project, right, 0
        self.log = Log(local.log_folder(project.ws, "goods"), "goods")
        self.noise = np.random.default_rng(0)

    def flow(self, rows=120):
        told = operations.endpoint(self.project.ws, "goods").routes
        lines = ["prediction_id,good"]
        names = [ids.new_id() for _ in range(rows)]
        truth = self.noise.random(rows) < 0.5
        for place, one in enumerate([*told["routes"], *told.get("shadow", [])]):
            mine = names if one["role"] == "shadow" else names[place::2]
            truths = truth if one["role"] == "shadow" else truth[place::2]
            said = truths == (self.noise.random(len(truths)) < self.right[one["model"]])
            self.log.append([self.frame(one, mine, said)])
        lines += [
            f"{name},{'yes' if good else 'no'}" for name, good in zip(names, truth, strict=True)
        ]
        folder = self.project.folder / "outcomes"
        folder.mkdir(exist_ok=True)
        (folder / f"{self.files}.csv").write_text("\n".join(lines))
        self.files += 1

    def frame(self, one, names, said):
        return Frame(
            ids=tuple(names), request=ids.new_id(), received_at=ids.now(), endpoint="goods",
            role=one["role"], model=one["model"], label="", contract="predict",
            numbers=pack_numbers({"x": np.zeros(len(names))}),
            score=np.where(said, 0.9, 0.1).astype("<f4").tobytes(),
            decision=np.where(said, "yes", "no").tolist(),
        )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trimtab.toml").write_text(TOML)
    found = open_project(tmp_path)
    apply(found)
    yield found
    found.ws.close()


@pytest.mark.slow
def test_two_controllers_do_everything_once(project):
    ws, chance, acted, beside = project.ws, random.Random(1), [], 0
    first, good, bad = (model(project, name) for name in ("first", "good", "bad"))
    local.set_routes(ws, "goods", [local.spec(ws, first, "champion", 1.0)])
    versions.set_alias(ws, "model", "goods", "champion", first.digest)
    traffic = Traffic(project, {first.digest: 0.8, good.digest: 0.9, bad.digest: 0.3})
    both = [controller(project.folder) for _ in range(2)]
    try:
        assert [one.stdout.readline() for one in both] == ["ready\n", "ready\n"]
        for candidate in (good, bad):
            champion = versions.get(ws, "model", "goods@champion")
            opened = rollouts.open_for(project, "goods", candidate, champion, cause={})
            deadline = time.monotonic() + 60
            while operations.rollouts(ws)[0].state == "open":
                assert time.monotonic() < deadline
                traffic.flow()
                chance.shuffle(both)
                for one in both:
                    one.stdin.write("pass\n")
                    one.stdin.flush()
                    time.sleep(chance.uniform(0, 0.02))
                for one in both:
                    did, was_beside = json.loads(one.stdout.readline())
                    acted += did
                    beside += was_beside
            assert operations.rollouts(ws)[0].id == opened.id
    finally:
        traffic.log.close()
        for one in both:
            one.stdin.close()
            one.wait()
            one.stdout.close()
    promoted, back = sorted(operations.rollouts(ws), key=lambda one: one.opened_at)
    assert (promoted.state, back.state) == ("promoted", "rolled_back")
    assert versions.get(ws, "model", "goods@champion").digest == good.digest
    (route,) = operations.endpoint(ws, "goods").routes["routes"]
    assert (route["role"], route["model"]) == ("champion", good.digest)
    rows = operations.actions(ws)
    kinds = {"advance": 2, "promote": 1, "roll back": 1, "incident": 1}
    assert Counter(one.kind for one in rows) == kinds
    assert {one.state for one in rows} == {"done"}
    assert sorted(acted) == sorted(one.key for one in rows if one.kind != "incident")
    told = Counter(one.kind for one in ledger.find(ws, limit=10_000))
    assert told["rollout"] == 6  # opened, moved on twice and promoted; opened and rolled back
    assert told["deploy"] == 1
    assert told["incident"] == 1
    ledger.verify(ws)
    assert beside <= traffic.files  # of two passes at once one is made
