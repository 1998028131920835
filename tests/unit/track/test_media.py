"""Figures, tables, models, printed output, the machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import trimtab
from trimtab.errors import NotFoundError, UsageError
from trimtab.pipeline import codecs
from trimtab.store import artifacts, runs, trees
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.track.run import start_run
from trimtab.track.system import Sampler


@pytest.fixture
def ws(tmp_path: Path):
    found = open_workspace(tmp_path, "demo")
    yield found
    found.close()


class Figure:
    """What matplotlib's has."""

    def savefig(self, stream, format) -> None:  # noqa: A002 - its name there
        if format == "xyz":
            raise ValueError("Format 'xyz' is not supported")
        stream.write(format.encode())


class Axes:
    figure = Figure()


Plotly = type("Plotly", (), {"__module__": "plotly.graph_objs", "to_json": lambda self: "{}"})


def test_figures_are_stored_as_their_library_saves_them(ws: Workspace) -> None:
    with start_run("f", ws=ws, capture=False) as run:
        made = [
            run.log_figure(Figure(), "loss.svg"),
            run.log_figure(Axes(), "axes"),
            run.log_figure(Plotly(), "web.png"),
            run.log_figure(b"bytes"),
            run.log_figure(np.array([[Axes(), Axes()]], dtype=object), "grid"),
            run.log_figure([Axes()], "lines"),
        ]
        with pytest.raises(UsageError, match="loss.xyz could not be drawn"):
            run.log_figure(Figure(), "loss.xyz")
        with pytest.raises(UsageError, match="int is no figure"):
            run.log_figure(3)
    files = [next(iter(trees.walk(ws.blobs, one))) for one in made]
    assert files == [
        "loss.svg",
        "axes.png",
        "web.plotly.json",
        "figure.png",
        "grid.png",
        "lines.png",
    ]
    assert trees.file(ws.blobs, made[0], "loss.svg").read_bytes() == b"svg"
    assert artifacts.get(ws, made[0]).meta == {"shows": "figure"}


def test_tables_of_every_kind(ws: Workspace) -> None:
    with start_run("t", ws=ws, capture=False) as run:
        plain = run.log_table({"a": [1, 2], "b": np.array([0.5, float("nan")])}, "plain")
        rows = run.log_table([{"a": np.int64(1)}, {"b": "x"}], "rows")
        frame = run.log_table(pl.DataFrame({"a": [1, 2]}), "frame")
        for wrong in ({"a": [1], "b": [1, 2]}, 7, {"a": 1}):
            with pytest.raises(UsageError):
                run.log_table(wrong)
    read = trees.file(ws.blobs, plain, "plain.json").read_bytes()
    assert json.loads(read) == {"columns": {"a": [1, 2], "b": [0.5, None]}}
    read = trees.file(ws.blobs, rows, "rows.json").read_bytes()
    assert json.loads(read) == {"columns": {"a": [1, None], "b": [None, "x"]}}
    kept = pl.read_parquet(trees.file(ws.blobs, frame, "frame.parquet"))
    assert kept["a"].to_list() == [1, 2]


class Frame:
    """What pandas' has, and what its series has."""

    def __init__(self, columns, index=(None,)) -> None:
        self.cells, self.columns = columns, list(columns)
        self.index = type("Index", (), {"names": list(index)})()
        self.iloc = self

    def __getitem__(self, place):
        return np.array(self.cells[self.columns[place[1]]], dtype=object)

    def reset_index(self):
        names = {name: [0] for name in self.index.names}
        return Frame(names | self.cells)


Frame.__module__ = "pandas.core"
Series = type("Series", (Frame,), {"to_frame": lambda self: Frame(self.cells)})
Gap = type("NaTType", (), {"__str__": lambda self: "NaT"})


def test_tables_of_pandas_keep_a_named_index_and_lose_no_column(ws: Workspace) -> None:
    with start_run("p", ws=ws, capture=False) as run:
        made = [
            run.log_table(Frame({"a": [np.float32(1.5)], 2: [Gap()]}, index=["day"]), "frame"),
            run.log_table(Series({"a": [1, None]}), "series"),
        ]
        twice = Frame({"1": [1], 1: [2]})
        with pytest.raises(UsageError, match="several columns '1'"):
            run.log_table(twice)
    read = [
        json.loads(trees.file(ws.blobs, one, f"{name}.json").read_bytes())["columns"]
        for one, name in zip(made, ("frame", "series"), strict=True)
    ]
    assert read == [{"day": [0], "a": [1.5], "2": [None]}, {"a": [1, None]}]


def test_models_are_stored_without_pickle(ws: Workspace, tmp_path: Path) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    assert callable(trimtab.start_run)
    with start_run("m", ws=ws, capture=False) as run:
        digest = run.log_model(model)
        given = run.log_model(b"onnx", "given")
        file = tmp_path / "m.txt"
        file.write_text("m")
        path = run.log_model(file, "path")
        with pytest.raises(UsageError, match="type int cannot be stored"):
            run.log_model(3)
        with pytest.raises(NotFoundError):
            run.log_model("nowhere.onnx")
    assert list(trees.walk(ws.blobs, given)) == ["model.onnx"]
    assert list(trees.walk(ws.blobs, path)) == ["m.txt"]
    trees.checkout(ws.blobs, digest, tmp_path / "out")
    read = codecs.get("estimator").read(tmp_path / "out")
    assert read.predict([[2.0]]).tolist() == model.predict([[2.0]]).tolist()
    assert artifacts.get(ws, digest).kind == "model"


def test_what_is_printed_is_kept(ws: Workspace, capsys) -> None:
    with start_run("o", ws=ws, capture=False, output=True) as run:
        print("hello")
    print("after")
    (link,) = runs.links(ws, run.id)
    assert trees.file(ws.blobs, link.digest, "output.log").read_bytes() == b"hello\n"
    assert capsys.readouterr().out == "hello\nafter\n"


def test_the_machine_is_looked_at(ws: Workspace, tmp_path: Path) -> None:
    sampler = Sampler(1000.0, tmp_path)
    sum(range(200_000))
    assert sampler.due() == {}
    found = sampler.sample()
    assert found["system/process_memory_bytes"] > 1_000_000
    assert 0 < found["system/memory_percent"] < 100
    assert 0 < found["system/disk_used_percent"] < 100
    assert found["system/process_cpu_percent"] > 0
    assert Sampler(0.0, tmp_path).due()
