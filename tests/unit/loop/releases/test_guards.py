"""A candidate beside its champion, from the frames of the log to a decision."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.errors import ConfigError
from trimtab.evaluate.scored import Scored
from trimtab.guarding import check_stages
from trimtab.loop.project import Project
from trimtab.loop.releases import guards
from trimtab.loop.releases import rollout as rollouts
from trimtab.model import registry, signature
from trimtab.model.signature import Column, Signature
from trimtab.monitor import basis
from trimtab.monitor.log import catalogue, progress, tally, traffic
from trimtab.monitor.log.history import Piece
from trimtab.monitor.outcomes import joined
from trimtab.profile import reference
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged import log as logs
from trimtab.serve.logged.frame import Frame
from trimtab.serve.logged.log import Log
from trimtab.store import operations, versions
from trimtab.store.records import Label, Rollout
from trimtab.store.workspace import open_workspace

SIGNED = Signature(
    task="binary", engine="onnx", inputs=(Column(name="x", kind="number"),), target="good",
    context=(Column(name="group", kind="text", nullable=True),), classes=("no", "yes"),
    positive="yes", threshold=0.5,
)  # fmt: skip
STAGES = ("shadow", "50%", "100%")
TOML = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[serve]
rollout = ["shadow", "50%", "100%"]
{serve}
[require]
{require}
"""


class World:
    """A rollout of b over a, and the log that both write to."""

    def __init__(self, folder, *, require: str = "", serve: str = "") -> None:
        (folder / "trimtab.toml").write_text(TOML.format(require=require, serve=serve))
        self.config = project_file.load(folder / "trimtab.toml")
        self.ws = open_workspace(folder, "goods")
        self.noise = np.random.default_rng(7)
        self.models = {name: self._model(folder / name) for name in "ab"}
        self.project = Project(ws=self.ws, config=self.config, path=folder / "trimtab.toml")
        self.log = Log(self.ws.root / "endpoints" / "goods" / "log", "goods")
        self.index = self.ws.root / "endpoints" / "goods"
        self.taken: dict[str, int] = {}
        self.now = 1_700_000_000_000_000
        self.rollout = Rollout(
            id=ids.new_id(), endpoint="goods", candidate=self.models["b"].digest,
            champion=self.models["a"].digest, stages=list(STAGES), opened_at=self.now,
            staged_at=self.now,
        )  # fmt: skip
        assert operations.open_rollout(self.ws, self.rollout)

    def _model(self, folder):
        """Two models that differ in nothing but their name."""
        folder.mkdir()
        (folder / signature.FILE).write_bytes(
            signature.encode(msgspec.structs.replace(SIGNED, target=f"good_{folder.name}"))
        )
        score = np.random.default_rng(1).random(3_000)
        truth = np.where(np.random.default_rng(2).random(3_000) < score, "yes", "no").tolist()
        said = np.where(score >= 0.5, "yes", "no").tolist()
        table = {"x": score} | traffic.outputs(score, said, SIGNED)
        known = reference.fit_reference(table, kinds={"x": "number"})
        (folder / "reference.profile").write_bytes(reference.encode(known))
        found = basis.fit(SIGNED, known, table, score, said, truth)
        (folder / basis.FILE).write_bytes(basis.encode(found))
        return versions.add(self.ws, "model", "goods", registry.put(self.ws, folder))

    def answer(
        self, who: str, role: str, score, *, names=None, spent=1000, group=None, said=None
    ) -> list[str]:
        names = names or [ids.new_id() for _ in score]
        spent = np.broadcast_to(spent, len(score))
        frames = []
        for at, name in enumerate(names):
            self.now += 1000
            one = np.array([score[at]], dtype="<f4")
            frames.append(Frame(
                ids=(name,), request=name, received_at=self.now, endpoint="goods", role=role,
                model=self.models[who].digest, label=who, contract="predict",
                numbers=bytes_of.pack_numbers({"x": np.array([score[at]])}),
                context={"group": [group[at]]} if group is not None else {},
                score=one.tobytes(), latency_us=int(spent[at]),
                decision=[said[at] if said is not None else "yes" if score[at] >= 0.5 else "no"],
            ))  # fmt: skip
        self.log.append(frames)
        return names

    def fail(self, who: str, role: str, count: int, status: int = 500) -> None:
        frames = []
        for _ in range(count):
            self.now += 1000
            frames.append(Frame(
                ids=(), request=ids.new_id(), received_at=self.now, endpoint="goods", role=role,
                model=self.models[who].digest, label=who, contract="predict", status=status,
                error="model",
            ))  # fmt: skip
        self.log.append(frames)

    def label(self, names, truth) -> None:
        with catalogue.open_catalogue(self.index) as index:
            joined.queue(index, names)
            operations.add_labels(self.ws, [
                Label(prediction=name, value=value, labelled_at=self.now, received_at=self.now)
                for name, value in zip(names, truth, strict=True)
            ])  # fmt: skip

    def stage(self, number: int) -> None:
        self.take()
        self.now += 1000
        self.rollout = msgspec.structs.replace(self.rollout, stage=number, staged_at=self.now)
        operations.update_rollout(self.ws, self.rollout)

    def take(self) -> None:
        with catalogue.open_catalogue(self.index) as index:
            for path in logs.segments(index.log):
                start = self.taken.get(path.name, 0)
                frames, stop = logs.read_segment(path, start, 1 << 30)
                if not frames:
                    continue
                joined.take(
                    index, self.ws, [Piece(catalogue.Block(path.name, start, stop), frames)]
                )
                with self.ws.transaction():
                    progress.add(self.ws, "goods", frames, joined.columns(self.config))
                self.taken[path.name] = stop
            joined.settle(
                index, self.ws, "goods", self.config,
                lambda digest: registry.signature_of(self.ws, digest),
            )  # fmt: skip

    def look(self) -> rollouts.Step:
        self.take()
        return rollouts.look(self.project, self.rollout, self.now)

    def both(self, count: int, **how) -> None:
        """Requests of clients, half of them to each."""
        for who, role in (("a", "champion"), ("b", "canary")):
            self.answer(who, role, self.noise.random(count), **how.get(who, {}))


@pytest.fixture
def world(tmp_path):
    made: list[World] = []

    def build(**how) -> World:
        made.append(World(tmp_path, **how))
        return made[-1]

    yield build
    for one in made:
        one.log.close()


def of(step: rollouts.Step, metric: str):
    return next(one for one in step.verdicts if one.metric == metric)


@pytest.mark.slow
def test_a_candidate_that_fails_requests_is_rolled_back_without_any_requirement(world) -> None:
    one = world()
    one.stage(1)
    one.both(200)
    assert of(one.look(), "error_rate").status == "undecided"
    one.fail("b", "canary", 20)
    step = one.look()
    assert step.decision == "roll back"
    assert "failed to answer 20 of 220 requests and the champion 0 of 200" in step.reason


@pytest.mark.slow
def test_a_required_error_rate_is_judged_on_live_requests(world) -> None:
    one = world(require="error_rate = { max = 0.02 }")
    one.stage(1)
    one.both(300)
    one.fail("b", "canary", 20)
    one.fail("a", "champion", 20)
    step = one.look()
    assert step.decision == "roll back"
    assert step.reason.startswith("error_rate <= 0.02 failed: error_rate is 0.062 [")


@pytest.mark.slow
def test_what_fails_alike_is_no_fault_of_the_candidate(world) -> None:
    one = world(serve="guard = { agreement = 0 }")
    one.stage(1)
    one.both(2000)
    for who, role in (("a", "champion"), ("b", "canary")):
        one.fail(who, role, 300)
    step = one.look()
    assert step.decision == "advance"
    assert of(step, "error_rate").status in ("pass", "undecided")


def test_a_shadow_that_fails_never_answers_a_client(world) -> None:
    one = world()
    one.answer("a", "champion", one.noise.random(100))
    one.fail("b", "shadow", 100, status=422)
    step = one.look()
    assert step.decision == "roll back"
    assert "failed to answer 100 of 100" in step.reason


def test_what_a_client_got_wrong_is_nobodys_failure(world) -> None:
    one = world()
    one.stage(1)
    one.both(100)
    one.fail("b", "canary", 100, status=422)
    assert one.look().decision == "advance"


@pytest.mark.slow
@pytest.mark.parametrize(("times", "expected"), [(1.0, "advance"), (2.0, "roll back")])
def test_twice_the_champions_latency_is_too_slow(world, times, expected) -> None:
    one = world()
    one.stage(1)
    for _ in range(10):
        spent = one.noise.lognormal(9, 0.3, (2, 200))  # about 8 ms
        one.both(200, a={"spent": spent[0]}, b={"spent": times * spent[1]})
        step = one.look()
        if step.decision == "roll back":
            break
    assert step.decision == expected
    found = of(step, "latency_ms")
    assert found.value == pytest.approx(times, rel=0.2)
    assert (found.status == "fail") == (times == 2.0)
    if times == 2.0:
        assert "latency p95" in step.reason


def test_a_shadows_latency_is_not_held_against_the_champions(world) -> None:
    one = world()
    score = one.noise.random(400)
    names = one.answer("a", "champion", score)
    one.answer("b", "shadow", score, names=names, spent=90_000)
    step = one.look()
    assert step.decision == "advance"
    assert all(found.metric != "latency_ms" for found in step.verdicts)


@pytest.mark.slow
def test_fairness_is_judged_without_a_single_label(world) -> None:
    one = world(require='selection_rate = { ratio = 0.8, across = "group" }')
    one.stage(1)
    group = one.noise.choice(["u", "v"], 3000).tolist()
    score = np.where(np.array(group) == "u", one.noise.random(3000), one.noise.random(3000) * 0.7)
    one.answer("b", "canary", score, group=group)
    one.answer("a", "champion", score, group=group)
    step = one.look()
    assert step.decision == "roll back"
    assert step.reason.startswith("selection_rate ratio across group >= 0.8 failed")
    assert of(step, "selection_rate").n == 3000


@pytest.mark.slow
def test_a_candidate_that_labels_show_to_be_worse_is_rolled_back(world) -> None:
    one = world(require="accuracy = { min = 0.5 }", serve='labels = "labels.csv"')
    one.stage(1)
    for who, role, right in (("a", "champion", 0.9), ("b", "canary", 0.8)):
        score = one.noise.random(3000)
        names = one.answer(who, role, score)
        hit = one.noise.random(3000) < right
        one.label(names, np.where((score >= 0.5) == hit, "yes", "no").tolist())
    step = one.look()
    assert step.decision == "roll back"
    assert "accuracy not worse than the champion's by 0.02 failed" in step.reason
    found = next(v for v in step.verdicts if v.statistic == "gain:champion")
    assert found.value == pytest.approx(-0.1, abs=0.03)
    assert next(v for v in step.verdicts if not v.statistic).status == "pass"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "expected"), [(0.9, "advance"), (0.8, "hold"), (0.6, "roll back")]
)
def test_better_than_the_champion_is_shown_on_live_labels(world, ours, expected) -> None:
    one = world(require='accuracy = { better_than = "champion" }', serve='labels = "labels.csv"')
    one.stage(1)
    for who, role, right in (("a", "champion", 0.8), ("b", "canary", ours)):
        score = one.noise.random(2000)
        names = one.answer(who, role, score)
        hit = np.arange(2000) < right * 2000  # just so many, so that equal is equal
        one.label(names, np.where((score >= 0.5) == hit, "yes", "no").tolist())
    assert one.look().decision == expected


@pytest.mark.slow
def test_in_shadow_the_same_requests_make_a_narrower_comparison(world) -> None:
    one = world(require='accuracy = { better_than = "champion" }', serve='labels = "labels.csv"')
    score = one.noise.random(1500)
    names = one.answer("a", "champion", score)
    hit = one.noise.random(1500) < 0.7
    mine = score.copy()
    mine[~hit & (one.noise.random(1500) < 0.3)] *= -1  # mends some of the wrong ones
    mine = np.where(mine < 0, 1 - np.abs(mine), mine)
    one.answer("b", "shadow", mine, names=names)
    one.label(names, np.where((score >= 0.5) == hit, "yes", "no").tolist())
    found = of(one.look(), "accuracy")
    assert found.status == "pass"
    apart = 3 * np.sqrt(2 * 0.21 / 1500)  # two arms of their own would be that wide
    assert found.hi - found.lo < 1.5 * apart


@pytest.mark.slow
def test_without_labels_agreement_and_the_scores_decide_and_the_reason_says_so(world) -> None:
    one = world(require="accuracy = { min = 0.6 }")
    score = one.noise.random(400)
    names = one.answer("a", "champion", score)
    one.answer("b", "shadow", score, names=names)
    step = one.look()
    assert step.decision == "advance"
    assert "agrees with the champion on 1.00" in step.reason
    assert "accuracy is expected at" in step.reason
    assert "a change of what the truth means cannot be seen without labels" in step.reason
    assert of(step, "accuracy").value == pytest.approx(0.75, abs=0.05)


@pytest.mark.slow
def test_without_labels_a_candidate_that_answers_otherwise_goes_back(world) -> None:
    one = world()
    score = one.noise.random(400)
    names = one.answer("a", "champion", score)
    one.answer("b", "shadow", 1 - score, names=names)
    step = one.look()
    assert step.decision == "roll back"
    assert "agreement with the champion >= 0.8 failed" in step.reason


def test_answers_of_one_request_are_paired_across_looks(world) -> None:
    one = world()
    score = one.noise.random(200)
    names = one.answer("a", "champion", score)
    one.look()
    one.answer("b", "shadow", score, names=names)
    assert of(one.look(), "agreement").n == 200


def test_a_shadow_without_the_champions_answers_beside_it_holds(world) -> None:
    one = world()
    one.answer("b", "shadow", one.noise.random(100))
    step = one.look()
    assert step.decision == "hold"
    assert "no row that champion and shadow both answered" in step.reason


def test_with_labels_awaited_the_agreement_is_told_and_decides_nothing(world) -> None:
    one = world(require="accuracy = { min = 0.6 }", serve='labels = "labels.csv"')
    score = one.noise.random(200)
    names = one.answer("a", "champion", score)
    one.answer("b", "shadow", 1 - score, names=names)
    step = one.look()
    assert step.decision == "hold"
    assert "no answer of the candidate has its label yet; so far it agrees" in step.reason


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (["50%", "5%"], "comes after '50%'"),
        (["5%", "5%", "100%"], "comes twice"),
        (["0%", "100%"], "not above 0"),
        (["5%", "150%"], "at most 100 %"),
        (["5%", "shadow", "100%"], "'shadow' comes after '5%'"),
        (["shadow", "shadow"], "'shadow' comes after 'shadow'"),
        (["half"], "must be 'shadow' or a percentage"),
        ([], "has no stage"),
    ],
)
def test_contradictory_stages_are_refused(stages, said) -> None:
    with pytest.raises(ConfigError, match=said):
        check_stages(stages, "trimtab.toml: [serve] rollout")


@pytest.mark.parametrize(
    "guard",
    [
        {"latency_ratio": 1.0}, {"error_margin": -0.1}, {"agreement": 1.0}, {"level": 0.2},
        {"latency_quantile": "p0"}, {"latency_quantile": "fast"}, {"quality_margin": -1.0},
    ],
)  # fmt: skip
def test_guards_that_make_no_sense_are_refused(guard) -> None:
    with pytest.raises(ConfigError, match="serve.guard"):
        project_file.parse({"project": {"name": "loans"}, "serve": {"guard": guard}})


def ever_rolled_back(random, *, errs, spent, right, rows=2000, every=250) -> bool:
    """One rollout over two equal arms, looked at after every so many requests of each."""
    config = project_file.parse({
        "project": {"name": "goods"}, "require": {"accuracy": {"min": 0.1}},
        "data": {"goods": {"source": "goods.csv"}}, "serve": {"labels": "labels.csv"},
    })  # fmt: skip
    rollout = Rollout(
        id="r", endpoint="goods", candidate="b", champion="a", stages=["50%", "100%"],
        opened_at=0, staged_at=0,
    )  # fmt: skip
    failed = random.random((2, rows)) < np.array(errs)[:, None]
    micro = (random.lognormal(9, 0.5, (2, rows)) * np.array(spent)[:, None]).astype(np.int64)
    wrong = random.random((2, rows)) >= np.array(right)[:, None]
    truth = np.arange(rows) % 2 == 0
    for n in range(every, rows + 1, every):
        ours, theirs = (
            tally.Arm(n, int(failed[at, :n].sum()), *np.unique(micro[at, :n], return_counts=True))
            for at in (0, 1)
        )
        tables = [
            Scored(task="binary", truth=truth[:n], score=None, decision=(truth ^ wrong[at])[:n])
            for at in (0, 1)
        ]
        none = np.empty(0, np.int64)
        seen = progress.Progress(n, none, none, candidate=ours, champion=theirs)
        arms = guards.Arms(*tables, np.full(n, -1))
        if any(one.verdict.status == "fail" for one in guards.look(config, rollout, seen, arms)):
            return True
    return False


@pytest.mark.slow
def test_an_equal_candidate_passes_all_guards_and_each_harm_is_found() -> None:
    random = np.random.default_rng(12)
    equal = {"errs": (0.02, 0.02), "spent": (1.0, 1.0), "right": (0.9, 0.9)}
    assert sum(ever_rolled_back(random, **equal) for _ in range(60)) <= 3
    for harm in ({"errs": (0.08, 0.02)}, {"spent": (2.0, 1.0)}, {"right": (0.8, 0.9)}):
        assert sum(ever_rolled_back(random, **equal | harm) for _ in range(20)) >= 19, harm
