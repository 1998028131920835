import subprocess
import sys
from pathlib import Path

import click
import pytest

from trimtab.cli.lazy import summary
from trimtab.cli.main import SECTIONS, cli
from trimtab.cli.verb import Verb

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


def commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(commands())
each = pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])


@each
def test_help_explains_itself_and_ends_in_an_example(call, path, command):
    ended = call(*path, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert f"trimtab {' '.join(path)}" in ended.out.partition("Example")[2]
    assert "--json" in ended.out
    assert "--project DIR" in ended.out
    assert ended.err == ""


@each
def test_a_command_says_what_it_does_in_one_short_line(path, command):
    assert isinstance(command, Verb)
    assert 10 < len(summary(command)) <= 66
    assert "\n" not in summary(command)


@each
def test_every_option_has_a_help_text(path, command):
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@each
def test_every_command_and_option_is_documented(path, command):
    text = DOCS.read_text(encoding="utf-8")
    heading = f"\n### trimtab {' '.join(path)}\n"
    assert heading in text
    section = text.partition(heading)[2].partition("\n###")[0]
    assert summary(command) in section
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("folder", "as_json"):
            assert f"`{option.opts[-1]}`" in section, option.name


def test_every_documented_command_is_there():
    documented = {
        line.removeprefix("### trimtab ").strip()
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("### trimtab ")
    }
    assert documented == {" ".join(path) for path, _ in ALL}


def test_the_help_of_all_lists_every_command_on_one_line_each(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = call("--help").out
    for section in SECTIONS.values():
        for name in section:
            assert any(line.split()[:1] == [name] and len(line) <= 80 for line in out.splitlines())


def test_the_version_loads_no_heavy_library():
    heavy = (
        "numpy",
        "polars",
        "sqlalchemy",
        "sklearn",
        "onnx",
        "rich",
        "starlette",
    )
    code = (
        "import sys; from trimtab.cli.main import main; main(['--version']);"
        f"print(sorted(set(sys.modules) & set({heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("trimtab 0.")
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.slow
def test_the_help_of_all_loads_no_heavy_library():
    heavy = ("numpy", "polars", "sqlalchemy", "sklearn", "onnx", "starlette")
    code = (
        "import sys; from trimtab.cli.main import main; main(['--help']);"
        f"print(sorted(set(sys.modules) & set({heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
