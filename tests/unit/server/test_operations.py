import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import msgspec
import pytest

from trimtab.errors import NotFoundError
from trimtab.server import disposal, endings, finding, operations, replaying, rollouts, steering

API = Path(__file__).parents[3] / "docs" / "api.md"
each = pytest.mark.parametrize("one", operations.TABLE, ids=lambda one: one.name)


def handler(one):
    module, _, name = one.handler.partition(":")
    return getattr(importlib.import_module(f"trimtab.server.handlers.{module}"), name)


@each
def test_the_handler_takes_and_gives_what_the_table_says(one):
    hints = typing.get_type_hints(handler(one))
    assert list(inspect.signature(handler(one)).parameters) == ["project", "request"]
    assert hints["request"] is one.request
    assert hints["return"] is one.response


@each
def test_what_changes_something_is_no_get(one):
    assert one.method == "POST" or not one.mutates


@each
def test_every_field_of_a_path_is_a_required_text_of_the_request(one):
    fields = {field.name: field for field in msgspec.structs.fields(one.request)}
    for name in re.findall(r"{(\w+)}", one.path):
        assert fields[name].type is str
        assert fields[name].required


@each
def test_every_operation_is_documented(one):
    row = next(
        (
            line
            for line in API.read_text(encoding="utf-8").splitlines()
            if f"| `{one.name}` |" in line
        ),
        "",
    )
    assert f"| {one.method} | `{one.url}` |" in row
    for field in one.request.__struct_fields__:
        assert f"`{field}`" in row
    assert f"`{one.response.__name__}`" in row


def test_names_and_addresses_are_unique():
    assert len({one.name for one in operations.TABLE}) == len(operations.TABLE)
    assert len({(one.method, one.path) for one in operations.TABLE}) == len(operations.TABLE)


def test_the_table_holds_every_operation_of_the_module():
    parts = (operations, disposal, endings, finding, replaying, rollouts, steering)
    modules = [vars(one) for one in parts]
    everything = [one for names in modules for one in names.values()]
    made = [one for one in everything if isinstance(one, operations.Operation)]
    assert {one.name for one in made} == {one.name for one in operations.TABLE}


def test_an_operation_is_found_by_its_name():
    assert operations.get("runs.ls") is operations.RUNS_LS
    with pytest.raises(NotFoundError):
        operations.get("runs.rm")


@pytest.mark.slow
def test_the_table_loads_no_heavy_library():
    heavy = ("numpy", "polars", "sqlalchemy", "starlette", "sklearn", "onnx", "jinja2", "rich")
    code = (
        f"import sys, trimtab.server.operations; print(sorted(set(sys.modules) & set({heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
