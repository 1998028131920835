from __future__ import annotations

import json
import sys

import pytest

from trimtab.demo.command import Answer, Command, Failure


def python(tmp_path, script, **settings):
    return Command(tmp_path, program=(sys.executable, "-c", script), **settings)


def test_a_call_gives_the_printed_document(tmp_path):
    echo = python(tmp_path, "import sys, json; print(json.dumps({'args': sys.argv[1:]}))")
    assert echo.call("data", "add") == {"args": ["data", "add", "--json"]}


def test_it_runs_in_the_projects_folder(tmp_path):
    where = python(tmp_path, "import os, json; print(json.dumps({'at': os.getcwd()}))")
    assert where.call() == {"at": str(tmp_path.resolve())}


def test_a_list_and_silence_are_documents_too(tmp_path):
    assert python(tmp_path, "print('[1, 2]')").call() == {"items": [1, 2]}
    assert python(tmp_path, "").call() == {}


def test_an_expected_refusal_is_an_answer(tmp_path):
    refuse = python(tmp_path, "import sys; print('{\"no\": 1}'); sys.exit(3)")
    assert refuse.ask("gate", codes=(3,)) == Answer(3, {"no": 1})


def test_an_unexpected_code_shows_what_was_said(tmp_path):
    broken = python(tmp_path, "import sys; sys.exit('port 80 is taken')")
    with pytest.raises(
        Failure, match=r"`trimtab deploy` ended with exit code 1:\nport 80 is taken"
    ):
        broken.call("deploy")


def test_a_gate_that_refuses_unexpectedly_says_why(tmp_path):
    """Progress goes to standard error, the reason is in the document."""
    slow = {"status": "fail", "reason": "latency_ms p99 is 31 [24, 40] on 200 rows, must be <= 20"}
    found = {"decision": {"verdicts": [{"status": "pass", "reason": "fine"}, slow]}}
    said = "print('asking the gate', file=sys.stderr); sys.exit(3)"
    script = f"import sys; print({json.dumps(found)!r}); {said}"
    with pytest.raises(Failure) as refused:
        python(tmp_path, script).call("run")
    assert str(refused.value).endswith(f"asking the gate\nfail: {slow['reason']}")


def test_words_where_json_was_asked_for(tmp_path):
    with pytest.raises(Failure, match="`trimtab run --json` printed no JSON document:\nhello"):
        python(tmp_path, "print('hello')").call("run")


def test_a_command_that_never_ends(tmp_path):
    with pytest.raises(Failure, match=r"`trimtab up` has not answered within 0\.2 s"):
        python(tmp_path, "import time; time.sleep(60)", patience=0.2).call("up")
