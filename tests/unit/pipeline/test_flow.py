"""Drawing a flow: plain calls outside, handles and edges inside, and clear words for the rest."""

from __future__ import annotations

from typing import Any as Project

import polars as pl
import pytest

from trimtab import config, flow, step
from trimtab.errors import NotFoundError, PipelineError, UsageError
from trimtab.pipeline.flow import Flow
from trimtab.pipeline.graph import Ref, draw
from trimtab.pipeline.handle import Dataset

CONFIG = config.parse(
    {
        "project": {"name": "demo"},
        "data": {"applications": {"source": "a.csv"}, "other": {"source": "b.csv"}},
    }
)


@step
def clean(raw: pl.DataFrame, least: int = 0) -> pl.DataFrame:
    return raw.filter(pl.col("x") > least)


@step
def halves(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows.head(1), rows.tail(1)


@step
def count(*frames: pl.DataFrame, **named: pl.DataFrame) -> int:
    return sum(one.height for one in (*frames, *named.values()))


@step
def join(frames: list[pl.DataFrame], extra: dict[str, pl.DataFrame]) -> int:
    return len(frames) + len(extra)


def test_a_step_and_a_flow_called_directly_are_plain_python() -> None:
    @flow
    def train(applications: Dataset, least: int = 1):
        first, second = halves(clean(applications, least))
        return count(first, last=second)

    rows = pl.DataFrame({"x": [0, 1, 2, 3]})
    assert clean(rows, 1).height == 2
    assert train(rows) == 2
    assert clean.__name__ == "clean"
    assert clean.__wrapped__ is clean.function


def test_a_drawn_flow_has_nodes_edges_and_a_result() -> None:
    @flow
    def train(applications: Dataset, other: Dataset, least: int = 1):
        rows = clean(applications, least=least)
        first, second = halves(rows)
        return {"n": count(first, other, last=second), "all": join([rows, first], {"o": other})}

    graph = draw(train, CONFIG, {"least": "3"})
    assert [node.name for node in graph.nodes] == [
        *("applications", "other", "clean", "halves", "count", "join")
    ]
    assert graph.params == {"least": 3}
    assert graph.nodes[2].arguments == {"raw": Ref(0), "least": 3}
    assert graph.nodes[4].arguments == {
        "frames": (Ref(3, 0), Ref(1)),
        "named": {"last": Ref(3, 1)},
    }
    assert graph.nodes[5].inputs == (Ref(2), Ref(3, 0), Ref(1))
    assert graph.result == {"n": Ref(4), "all": Ref(5)}
    assert graph.datasets(graph.nodes[4]) == ("applications", "other")
    assert graph.datasets(graph.nodes[3]) == ("applications",)


def test_the_same_step_twice_gets_two_names_and_flows_may_nest() -> None:
    @flow
    def inner(rows: Dataset):
        return clean(rows)

    @flow
    def train(applications: Dataset, other: Dataset):
        return [inner(applications), inner(other)]

    graph = draw(train, CONFIG, {})
    assert [node.name for node in graph.steps] == ["clean", "clean-2"]
    assert graph.result == [Ref(2), Ref(3)]


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda h: 1 if h else 2, "be used in `if`"),
        (lambda h: h and 1, "be used in `if`"),
        (lambda h: h + 1, "be used in arithmetic"),
        (lambda h: 1 - h, "be used in arithmetic"),
        (lambda h: -h, "be used in arithmetic"),
        (lambda h: h > 1, "be compared"),
        (lambda h: h == 1, "be compared"),
        (len, "be counted with len()"),
        (list, "cannot be unpacked"),
        (lambda h: h["x"], "be indexed with 'x'"),
        (lambda h: h.height, "be asked for .height"),
        (lambda h: f"{h}", "be put into text"),
        (lambda h: 1 in h, "be searched with `in`"),
        (lambda h: h(), "be called"),
        (float, "be turned into a number"),
    ],
)
def test_a_handle_says_what_to_do_instead(attempt, said) -> None:
    @flow
    def train(applications: Dataset):
        attempt(clean(applications))

    with pytest.raises(PipelineError) as caught:
        draw(train, CONFIG, {})
    assert said in caught.value.message
    assert "test_flow.py:" in caught.value.message
    assert "step" in caught.value.hint


def test_unpacking_needs_a_tuple_annotation_of_that_length() -> None:
    @flow
    def train(applications: Dataset):
        return halves(applications)[2]

    with pytest.raises(PipelineError, match="gives 2 outputs"):
        draw(train, CONFIG, {})


def test_an_unknown_dataset_is_named_with_the_nearest() -> None:
    @flow
    def train(aplications: Dataset):
        return clean(aplications)

    with pytest.raises(NotFoundError, match="did you mean 'applications'"):
        draw(train, CONFIG, {})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"sed": 1}, "did you mean 'seed'"),
        ({"seed": "x", "rate": 1.0}, "must be int, not 'x'"),
        ({"applications": 1}, "is a dataset"),
        ({"seed": 1}, "needs the parameter 'rate'"),
    ],
)
def test_run_parameters_are_checked(params, said) -> None:
    @flow
    def train(applications: Dataset, rate: float, seed: int = 0):
        return clean(applications)

    with pytest.raises(UsageError, match=said):
        draw(train, CONFIG, params)


def test_text_becomes_the_annotated_type() -> None:
    def train(a: int, b: float, c: bool, d: str, e=1.5, f=None):
        return None

    bound = Flow(train).bind({"a": "3", "b": "2", "c": "true", "d": "7", "e": "2", "f": "x"})
    assert bound == {"a": 3, "b": 2.0, "c": True, "d": "7", "e": 2.0, "f": "x"}


def test_an_error_in_the_flow_itself_names_the_line() -> None:
    @flow
    def train(applications: Dataset):
        return {}["nothing"]

    with pytest.raises(PipelineError, match=r"flow train failed \(test_flow.py:\d+: .*KeyError"):
        draw(train, CONFIG, {})


def test_a_wrong_call_of_a_step_is_told() -> None:
    @flow
    def train(applications: Dataset):
        return clean(applications, most=3)

    with pytest.raises(PipelineError, match="step clean: got an unexpected keyword argument"):
        draw(train, CONFIG, {})


def test_what_can_be_no_step_is_refused() -> None:
    async def later():
        return 1

    def many():
        yield 1

    for wrong in (later, many, 3, Project):
        with pytest.raises(PipelineError, match=r"step|@step"):
            step(wrong)
    with pytest.raises(PipelineError, match="@flow goes on a plain function"):
        flow(3)


def test_a_project_module_is_loaded_by_name(project: Project) -> None:
    from trimtab.pipeline.load import load_flow

    project.code("@flow\ndef train():\n    return None\nother = 3\n")
    assert load_flow("pipeline:train", project.folder).name == "train"
    with pytest.raises(NotFoundError, match="no flow 'trian', did you mean 'train'"):
        load_flow("pipeline:trian", project.folder)
    with pytest.raises(PipelineError, match="is a int, not a flow"):
        load_flow("pipeline:other", project.folder)
    with pytest.raises(NotFoundError, match="no module 'pipelin' in .*did you mean 'pipeline'"):
        load_flow("pipelin:train", project.folder)
    with pytest.raises(UsageError, match="does not name a flow"):
        load_flow("pipeline", project.folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "pipeline.py:2 cannot be read"),
        ("1 / 0\n", "cannot be imported at pipeline.py:2: 1 / 0: ZeroDivisionError"),
        ("import nowhere\n", "No module named 'nowhere'"),
    ],
)
def test_a_module_that_cannot_be_imported_names_its_line(project: Project, text, said) -> None:
    from trimtab.pipeline.load import load_flow

    project.code(text)
    with pytest.raises(PipelineError) as caught:
        load_flow("pipeline:train", project.folder)
    assert said in caught.value.message


def test_a_module_named_like_another_is_refused(project: Project) -> None:
    from trimtab.pipeline.load import load_module

    for name in ("statistics", "polars", "string"):
        project.write(f"{name}.py", "x = 1\n")
        with pytest.raises(PipelineError, match="name of another module|loaded already"):
            load_module(name, project.folder)
