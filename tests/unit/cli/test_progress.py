import sys

import pytest

from trimtab.cli.plan import Param
from trimtab.cli.progress import Display, told
from trimtab.pipeline import events

STEPS = ("clean", "search")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.FlowStarted("r", "train", STEPS), ""),
        (events.StepCached("clean", "r"), "step 1/2 clean: cached"),
        (events.StepWaiting("clean", "r"), "step 1/2 clean: another run is at it, waiting"),
        (
            events.StepStarted("search", "r", "code of search changed"),
            "step 2/2 search: running, code of search changed",
        ),
        (events.StepFinished("search", "r", "done", 2.5), "step 2/2 search: done in 2.5 s"),
        (events.Progress("search", 3, 20, "depth=4"), "search 3/20 depth=4"),
        (events.Progress("candidate", 0, 0, "gate"), "asking the gate"),
        (events.Progress("candidate", 0, 0, "something new"), "something new"),
        (events.FlowFinished("r", "done", 3.0), ""),
    ],
)
def test_an_event_is_a_line(event, line):
    assert told(event, STEPS) == line


def test_away_from_a_terminal_it_is_plain_lines_on_stderr(capsys):
    with Display() as display:
        display(events.FlowStarted("r", "train", STEPS))
        display(events.StepStarted("clean", "r", "never run"))
        display(events.StepFinished("clean", "r", "done", 0.01))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "step 1/2 clean: running, never run\nstep 1/2 clean: done in 10 ms\n"


def test_on_a_terminal_what_was_done_stays_and_what_goes_on_moves(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Display() as display:
        display(events.StepStarted("clean", "r", "[bold]never[/bold] run"))
        display(events.StepFinished("clean", "r", "done", 0.01))
    assert "step clean: done in 10 ms" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("depth=4", ("depth", 4)),
        ("rate=0.1", ("rate", 0.1)),
        ("name=a=b", ("name", "a=b")),
        ('name="4"', ("name", "4")),
        ("flags=[1,2]", ("flags", [1, 2])),
        ("fast=true", ("fast", True)),
        ("empty=", ("empty", "")),
    ],
)
def test_a_parameter_is_json_or_else_text(text, pair):
    assert Param().convert(text, None, None) == pair
