import subprocess
import sys
import tomllib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import config
from trimtab.cli import scaffold
from trimtab.cli.scaffold import Plan

MIXED = pl.DataFrame(
    {
        "id": range(60),
        "taken_at": ["2026-01-01T00:00:00Z"] * 60,
        "rooms": [None if row % 7 == 0 else row % 5 for row in range(60)],
        "garden": [row % 3 == 0 for row in range(60)],
        'the "best" town': ["A", "B", None] * 20,
        "one": ["same"] * 60,
        "group": ["x", "y"] * 30,
        "sold": ["yes", "no", "no"] * 20,
        "price": [100.5 + row for row in range(60)],
    }
)


@pytest.fixture
def table(tmp_path):
    MIXED.write_csv(tmp_path / "my houses.csv")
    return tmp_path / "my houses.csv"


def test_a_project_is_written_that_reads_back(call, table, tmp_path):
    ended = call("init", "--from", "my houses.csv", "--target", "sold", "--protected", "group")
    assert ended.code == 0
    assert "next: trimtab run && trimtab deploy" in ended.out
    read = config.load(tmp_path / "trimtab.toml")
    source = read.data["my_houses"]
    assert read.project.name == "my-houses"
    assert (source.source, source.key, source.time) == ("my houses.csv", "id", "taken_at")
    assert (source.target, source.protected) == ("sold", ("group",))
    assert read.model.decide == "P(yes) >= 0.5"
    assert [one.text for one in read.require] == ["roc_auc better than baseline"]
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        ".gitignore", ".python-version", "my houses.csv", "pipeline.py", "tests/test_pipeline.py",
        "trimtab.toml",
    }  # fmt: skip


def test_json_says_what_the_table_was_taken_for(call, table):
    found = call("init", "--from", table, "--target", "sold", "--protected", "group", "--json").body
    assert (found["task"], found["rows"]) == ("binary", 60)
    assert found["numbers"] == ["rooms", "garden", "price"]
    assert found["words"] == ['the "best" town']
    assert list(found["left_out"]) == ["one"]


@pytest.mark.slow
def test_the_pipeline_is_short_compiles_and_passes_its_test(call, table, tmp_path):
    call("init", "--from", table, "--target", "price")
    text = (tmp_path / "pipeline.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "RandomForestRegressor" in text
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_what_is_there_is_named_and_not_touched(call, table, tmp_path):
    (tmp_path / "pipeline.py").write_text("mine", encoding="utf-8")
    ended = call("init", "--from", table, "--target", "sold")
    assert ended.code == 5
    assert "pipeline.py" in ended.err
    assert (tmp_path / "pipeline.py").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "trimtab.toml").exists()
    assert not (tmp_path / "tests").exists()


def test_a_gitignore_of_yours_stays_yours(call, table, tmp_path):
    (tmp_path / ".gitignore").write_text("*.bak\n", encoding="utf-8")
    assert call("init", "--from", table, "--target", "sold", "--json").body["kept"] == [
        ".gitignore"
    ]
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "*.bak\n"


def test_a_project_is_not_begun_twice(call, table):
    call("init", "--from", table, "--target", "sold")
    ended = call("init", "--from", table, "--target", "sold")
    assert ended.code == 5
    assert "there is a project already" in ended.err


def test_without_a_table_it_says_what_to_give(call):
    ended = call("init")
    assert ended.code == 2
    assert "trimtab init --from houses.csv --target price" in ended.err


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--from", "nothing.csv", "--target", "sold"], 4, "nothing.csv"),
        (["--from", "my houses.csv", "--target", "sould"], 1, "did you mean 'sold'"),
        (["--from", "my houses.csv", "--target", "one"], 1, "one"),
        (["--from", "my houses.csv", "--target", "sold", "--key", "idd"], 4, "idd"),
    ],
)
def test_a_table_or_column_that_cannot_be_is_refused(call, table, tmp_path, options, code, word):
    ended = call("init", *options)
    assert ended.code == code
    assert word in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["my houses.csv"]


def test_an_empty_file_is_refused(call, tmp_path):
    (tmp_path / "empty.csv").touch()
    ended = call("init", "--from", "empty.csv", "--target", "x")
    assert ended.code == 1
    assert "empty" in ended.err


def test_another_folder_gets_a_path_that_leads_back(call, table, tmp_path):
    assert call("-C", "project", "init", "--from", "my houses.csv", "--target", "sold").code == 0
    read = config.load(tmp_path / "project" / "trimtab.toml")
    assert read.data["my_houses"].source == "../my houses.csv"
    ended = call("-C", "absolute", "init", "--from", table, "--target", "sold")
    assert ended.code == 0
    read = config.load(tmp_path / "absolute" / "trimtab.toml")
    assert read.data["my_houses"].source == str(table)


names = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable() and text.strip())


@pytest.mark.slow
@given(
    numbers=st.lists(names, max_size=30, unique=True),
    words=st.lists(names, min_size=1, max_size=5, unique=True),
    target=names,
    key=names | st.just(""),
    task=st.sampled_from(["binary", "multiclass", "regression"]),
    rows=st.sampled_from([100, 100_000]),
)
def test_any_names_give_files_that_parse(numbers, words, target, key, task, rows):
    plan = Plan(
        project="p", data="table", source="a b.csv", target=target, task=task, rows=rows,
        numbers=tuple(numbers), words=tuple(words), key=key,
    )  # fmt: skip
    files = scaffold.files(plan)
    found = {}
    for name in ("pipeline.py", "tests/test_pipeline.py"):
        compile(files[name], name, "exec")
    lists = [
        line for line in files["pipeline.py"].split("\n\n") if line.startswith(("NUMBERS", "WORDS"))
    ]
    exec(lists[0], found)
    assert found.get("NUMBERS", []) == numbers
    assert found["WORDS"] == words
    read = tomllib.loads(files["trimtab.toml"])
    assert read["data"]["table"]["target"] == target
    assert config.parse(read).data["table"].key == key


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("houses", "houses"),
        ("My Houses 2026", "my_houses_2026"),
        ("2026", "table_2026"),
        ("class", "table_class"),
        ("seed", "table_seed"),
        ("日本", "table"),
        ("--", "table"),
    ],
)
def test_a_source_s_name_is_one_that_python_takes(stem, name):
    assert scaffold.argument(stem) == name
    assert name.isidentifier()
