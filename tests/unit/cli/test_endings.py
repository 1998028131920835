import errno
import subprocess
import sys

import pytest

from trimtab.cli import failure
from trimtab.cli.main import main
from trimtab.errors import ConflictError, UndecidedError


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["rum"], "did you mean 'run'"),
        (["data", "ad"], "'ad'"),
        (["run", "--nothing"], "--nothing"),
        (["run", "-p", "depth"], "'depth' is not NAME=VALUE"),
        (["runs", "ls", "--limit", "0"], "limit"),
        (["why"], "what"),
        (["deploy", "--port", "70000"], "port"),
    ],
)
def test_a_wrong_command_is_usage_and_says_what_is_wrong(call, arguments, word):
    ended = call(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert word.lower() in ended.err.lower()
    assert "hint: trimtab" in ended.err


def test_no_command_at_all_is_helped(call):
    ended = call()
    assert ended.code == 2
    assert "init" in ended.out + ended.err


@pytest.mark.parametrize(
    "command",
    ["status", "run", "plan", "apply", "tick", "doctor", "down", "runs ls", "models ls", "data ls"],
)
def test_outside_of_a_project_nothing_is_found_or_made(call, tmp_path, command):
    ended = call(*command.split())
    assert ended.code == 4
    assert "no trimtab.toml" in ended.err
    assert "trimtab init" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_be_named_before_and_after_the_verb(call, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for line in (["-C", project, "config", "show"], ["config", "show", "-C", project]):
        ended = call(*line, "--json")
        assert ended.code == 0
        assert ended.body["config"]["project"]["name"] == "houses"


def test_a_folder_inside_of_the_project_will_do(call, project):
    (project / "deep" / "down").mkdir(parents=True)
    assert call("-C", project / "deep" / "down", "config", "show").code == 0


def test_an_unknown_key_is_refused_with_the_nearest(call, project):
    with (project / "trimtab.toml").open("a", encoding="utf-8") as file:
        file.write("[serve]\nprot = 8080\n")
    ended = call("status", "--json")
    assert ended.code == 2
    assert ended.body["error"]["code"] == "config"
    assert "did you mean 'port'" in ended.body["error"]["message"]
    assert "known keys: rollout" in ended.body["error"]["hint"]
    assert "did you mean 'port'" in ended.err


@pytest.mark.parametrize("command", ["status", "rum", "models show nobody@v1", "why nothing@v1"])
def test_with_json_stdout_is_one_document_whatever_happens(call, project, command):
    ended = call(*command.split(), "--json")
    assert isinstance(ended.body, dict)
    assert ("error" in ended.body) == (ended.code != 0)


def test_what_is_not_there_is_not_found(call, project):
    for command in (
        "models show nobody",
        "runs show abcdefg",
        "endpoints show x",
        "data add hauses",
    ):
        ended = call(*command.split())
        assert ended.code == 4, command
        assert ended.err.startswith("error: ")
    assert "did you mean 'houses'" in ended.err


def raising(monkeypatch, error):
    def broken(*_arguments, **_options):
        raise error

    monkeypatch.setattr("trimtab.cli.main.cli.main", broken)


def test_an_unexpected_error_leaves_its_traceback_in_the_project(call, project, monkeypatch):
    raising(monkeypatch, KeyError("income"))
    ended = call("status", "--json")
    assert ended.code == 1
    assert ended.body["error"]["message"] == "something unexpected happened: KeyError: 'income'"
    kept = list((project / ".trimtab" / "errors").iterdir())
    assert len(kept) == 1
    assert str(kept[0]) in ended.err
    assert "Traceback" not in ended.err
    assert "KeyError: 'income'" in kept[0].read_text(encoding="utf-8")


def test_an_unexpected_error_outside_of_a_project_leaves_nothing_there(call, tmp_path, monkeypatch):
    raising(monkeypatch, ValueError("odd"))
    ended = call("init")
    assert "the traceback is in " in ended.err
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_is_printed_where_it_is_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_DEBUG", "1")
    raising(monkeypatch, KeyError("income"))
    ended = call("status")
    assert "Traceback (most recent call last)" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (ConflictError("busy"), 5, "busy"),
        (UndecidedError("too few"), 6, "too few"),
        (KeyboardInterrupt(), 130, "interrupted: what was finished is kept"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            1,
            "the disk is full (/data/x)",
        ),
    ],
)
def test_each_error_has_its_exit_code(call, monkeypatch, error, code, word):
    raising(monkeypatch, error)
    ended = call("run")
    assert ended.code == code
    assert word in ended.err


@pytest.mark.slow
def test_a_reader_that_has_gone_is_no_error(project):
    code = f"trimtab -C {project} config schema | head -c 1"
    script = code.replace("trimtab", f"{sys.executable} -m trimtab", 1)
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_main_returns_the_code_of_the_command(monkeypatch, project):
    monkeypatch.setattr("trimtab.cli.main.cli.main", lambda *_, **__: 3)
    assert main(["run"]) == 3


def test_sentences_read_on():
    assert failure._sentence("Missing argument 'WHAT'.") == "missing argument 'WHAT'"
    assert failure._sentence("JSON is wrong.") == "JSON is wrong"
