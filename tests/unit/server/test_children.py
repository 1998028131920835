import sys
import time
from pathlib import Path

import pytest

from trimtab.errors import ConflictError, TrimtabError
from trimtab.server.handlers import children
from trimtab.server.requests import Params


def child(monkeypatch, code):
    """Stand a small program in the command line's place."""
    monkeypatch.setattr(children, "_argv", lambda *_: [sys.executable, "-c", code])


def test_the_child_is_the_command_line_with_the_same_parameters(empty):
    argv = children._argv(empty, "plan", Params(params={"depth": 4, "name": "a b"}))
    assert argv[1:] == [
        "-m", "trimtab", "-C", str(empty.folder), "plan", "--json",
        "-p", "depth=4", "-p", 'name="a b"',
    ]  # fmt: skip


def test_a_plan_is_what_the_child_printed(empty, monkeypatch):
    child(monkeypatch, """print('{"flow":"train","steps":[],"data":{},"nothing_to_do":true}')""")
    assert children.plan(empty, Params()).nothing_to_do


def test_the_child_s_error_is_raised_as_it_was(empty, monkeypatch):
    child(
        monkeypatch,
        """print('{"error":{"code":"conflict","message":"busy","hint":"wait"}}'); exit(5)""",
    )
    with pytest.raises(ConflictError, match="busy") as raised:
        children.plan(empty, Params())
    assert raised.value.hint == "wait"


def test_a_child_that_dies_without_a_word_is_reported(empty, monkeypatch):
    child(monkeypatch, "import sys; print('no memory', file=sys.stderr); exit(137)")
    with pytest.raises(TrimtabError) as raised:
        children.plan(empty, Params())
    assert "no memory" in raised.value.hint


def test_a_run_goes_on_in_a_process_of_its_own_and_leaves_a_log(empty, monkeypatch):
    child(monkeypatch, "print('trained')")
    begun = children.run(empty, Params())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if Path(begun.log).read_text(encoding="utf-8") == "trained\n":
            return
        time.sleep(0.02)
    raise AssertionError("the child wrote nothing")
