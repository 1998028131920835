"""The project file: what is accepted, and how a mistake is told."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import access, config, hashing
from trimtab.errors import ConfigError, NotFoundError

WHOLE = """
[project]
name = "loans"
owner = "credit-risk@example.org"
[data.applications]
source = "data/applications/*.parquet"
key = "application_id"
time = "applied_at"
target = "repaid"
protected = ["group"]
[model]
flow = "pipeline:train"
decide = "P(yes) >= 0.5"
[require]
roc_auc = { min = 0.76 }
selection_rate = { ratio = 0.80, across = "group" }
latency_ms = { p99 = 20 }
brier = [{ max = 0.2 }, { better_than = "baseline" }]
[serve]
rollout = ["shadow", "5%", "12.5%", "100%"]
price_per_hour = 0.04
[monitor]
window = "1d"
lateness = "15m"
[retrain]
on = ["drift", "rows:10000"]
[store]
url = ""
"""


def minimal(**sections: Any) -> dict[str, Any]:
    data = {"loans": {"source": "loans.csv"}}
    return {"project": {"name": "loans"}, "data": data, **sections}


def refusal(**sections: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(minimal(**sections))
    return caught.value


def one(bound: Any, metric: str = "roc_auc") -> config.Requirement:
    (requirement,) = config.parse(minimal(require={metric: bound})).require
    return requirement


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "trimtab.toml"
    path.write_text(WHOLE, encoding="utf-8")
    loaded = config.load(path)
    assert loaded.project.name == loaded.model_name == "loans"
    assert loaded.data["applications"].protected == ("group",)
    assert [r.text for r in loaded.require] == [
        "roc_auc >= 0.76",
        "selection_rate ratio across group >= 0.8",
        "latency_ms p99 <= 20",
        "brier <= 0.2",
        "brier better than baseline",
    ]
    assert loaded.serve.rollout == ("shadow", "5%", "12.5%", "100%")


def test_a_table_of_pyproject_is_read_alike(tmp_path: Path) -> None:
    plain = tmp_path / "trimtab.toml"
    plain.write_text(WHOLE, encoding="utf-8")
    inside = tmp_path / "pyproject.toml"
    body = WHOLE.replace("\n[", "\n[tool.trimtab.")
    inside.write_text('[project]\nname = "other"\n' + body, encoding="utf-8")
    assert config.load(inside) == config.load(plain)
    assert config.load(inside).digest == config.load(plain).digest


def test_every_section_but_project_has_defaults() -> None:
    loaded = config.parse({"project": {"name": "loans"}})
    assert loaded.require == ()
    assert loaded.serve.rollout == ("shadow", "5%", "50%", "100%")
    assert config.parse({"project": {"name": "x"}, "model": {"name": "y"}}).model_name == "y"


@pytest.mark.parametrize(
    ("sections", "key", "near"),
    [
        ({"requires": {}}, "requires", "require"),
        ({"project": {"name": "x", "ownr": "y"}}, "ownr", "owner"),
        ({"data": {"a": {"source": "s", "taget": "y"}}}, "taget", "target"),
        ({"model": {"flwo": "a:b"}}, "flwo", "flow"),
        ({"serve": {"rolout": []}}, "rolout", "rollout"),
        ({"monitor": {"windows": "1d"}}, "windows", "window"),
        ({"retrain": {"atmost": "1/day"}}, "atmost", "at_most"),
        ({"store": {"ulr": ""}}, "ulr", "url"),
        ({"require": {"roc_auc": {"mim": 0.7}}}, "mim", "min"),
        ({"require": {"roc_auc": [{"min": 0.7}, {"acros": "g", "gap": 1}]}}, "acros", "across"),
        ({"require": {"roc_auc": {"metric": "f1", "min": 1}}}, "metric", None),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(
    sections: dict[str, Any], key: str, near: str | None
) -> None:
    error = refusal(**sections)
    assert f"unknown key {key!r}" in error.message
    if near:
        assert f"did you mean {near!r}?" in error.message
    assert "known keys: " in error.hint


def test_a_key_like_no_other_is_refused_without_a_guess() -> None:
    error = refusal(qqqqqq={})
    assert "did you mean" not in error.message
    assert "require" in error.hint


FORMS = [
    ({"min": 0.7}, "roc_auc >= 0.7", "", (0.7, math.inf)),
    ({"max": 0.2}, "roc_auc <= 0.2", "", (-math.inf, 0.2)),
    ({"min": 0.1, "max": 0.2}, "0.1 <= roc_auc <= 0.2", "", (0.1, 0.2)),
    ({"p99": 20}, "roc_auc p99 <= 20", "p99", (-math.inf, 20.0)),
    ({"p99.9": 20}, "roc_auc p99.9 <= 20", "p99.9", (-math.inf, 20.0)),
    ({"ratio": 0.8, "across": "g"}, "roc_auc ratio across g >= 0.8", "ratio:g", (0.8, math.inf)),
    ({"gap": 0.1, "across": "g"}, "roc_auc gap across g <= 0.1", "gap:g", (-math.inf, 0.1)),
    ({"min": 0.7, "by": "g"}, "roc_auc by g >= 0.7", "", (0.7, math.inf)),
    ({"better_than": "baseline"}, "roc_auc better than baseline", "gain:baseline", (0.0, math.inf)),
    ({"better_than": "champion"}, "roc_auc better than champion", "gain:champion", (0.0, math.inf)),
]


@pytest.mark.parametrize(("bound", "text", "statistic", "bounds"), FORMS)
def test_every_form_of_a_requirement(
    bound: dict[str, Any], text: str, statistic: str, bounds: tuple[float, float]
) -> None:
    requirement = one(bound)
    assert requirement.text == text
    assert requirement.statistic == statistic
    assert requirement.bounds == bounds
    assert requirement.is_fairness == ("across" in bound)
    assert hashing.is_digest(requirement.digest)


def test_requirements_that_differ_have_different_digests() -> None:
    digests = {one(bound).digest for bound, *_ in FORMS}
    digests.add(one({"min": 0.7}, metric="f1").digest)
    digests.add(one({"min": 0.7, "level": 0.9}).digest)
    digests.add(one({"min": 0.7, "strict": True}).digest)
    assert len(digests) == len(FORMS) + 3


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ({}, "exactly one of"),
        ({"by": "g"}, "exactly one of"),
        ({"min": 0.7, "ratio": 0.8, "across": "g"}, "exactly one of"),
        ({"ratio": 0.8, "gap": 0.1, "across": "g"}, "exactly one of"),
        ({"min": 0.7, "better_than": "baseline"}, "exactly one of"),
        ({"p50": 1, "p99": 2}, "more than one quantile"),
        ({"p99": 1, "max": 2}, "more than one quantile"),
        ({"ratio": 0.8}, "across = COLUMN"),
        ({"gap": 0.1}, "across = COLUMN"),
        ({"min": 0.7, "across": "g"}, "across = COLUMN"),
        ({"better_than": "yesterday"}, "'baseline' or 'champion'"),
        ({"min": 0.7, "level": 1.0}, "between 0.5 and 1"),
        ({"min": 0.7, "level": 0.5}, "between 0.5 and 1"),
        ({"min": "high"}, "min"),
        ({"min": True}, "min"),
    ],
)
def test_a_requirement_that_cannot_be_meant(bound: dict[str, Any], message: str) -> None:
    error = refusal(require={"roc_auc": bound})
    assert "roc_auc" in error.message
    assert message in error.message


@pytest.mark.parametrize("bound", [0.7, "0.7", [0.7], True])
def test_a_bare_value_is_no_requirement(bound: Any) -> None:
    assert "require" in refusal(require={"roc_auc": bound}).message


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_bound_is_kept_bit_for_bit(bound: float) -> None:
    assert one({"min": bound}).bounds[0] == bound


@pytest.mark.parametrize("name", ["", "a b", ".hidden", "a/b", "ä", "x" * 101])
def test_a_project_name_is_a_plain_word(name: str) -> None:
    assert "name" in refusal(project={"name": name}).message


@pytest.mark.parametrize("stage", ["dark", "5", "5 %", "%", "-5%", "1000%x"])
def test_a_rollout_stage_is_shadow_or_a_percentage(stage: str) -> None:
    assert "stage" in refusal(serve={"rollout": [stage]}).message


def test_a_slice_needs_a_table_to_be_a_column_of() -> None:
    raw = {"project": {"name": "x"}, "require": {"roc_auc": {"min": 0.5, "by": "group"}}}
    with pytest.raises(ConfigError, match="'group'"):
        config.parse(raw)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"project": {}}, ["name"]),
        ({"data": {"a": {}}}, ["source"]),
        ({"data": {"a": 3}}, ["data"]),
        ({"serve": {"port": "http"}}, ["port", "int"]),
        ({"retrain": {"code": "newest"}}, ["code", "newest"]),
        ({"serve": {"event_time": "never"}}, ["event_time", "never"]),
    ],
)
def test_a_wrong_type_is_told_with_its_key(sections: dict[str, Any], words: list[str]) -> None:
    message = refusal(**sections).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0s", 0),
        ("30s", 30_000_000),
        ("1.5m", 90_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
        ("1w", 604_800_000_000),
    ],
)
def test_durations(text: str, micros: int) -> None:
    assert config.duration(text) == micros


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1 d", "1y", "1d2h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="not a duration"):
        config.duration(text)
    assert "not a duration" in refusal(monitor={"window": text}).message


def test_the_file_is_found_from_a_folder_below(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    path = tmp_path / "trimtab.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert config.find(below) == path.resolve()


def test_a_pyproject_without_our_table_is_passed_by(tmp_path: Path) -> None:
    below = tmp_path / "a"
    below.mkdir()
    (below / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    path = tmp_path / "trimtab.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert config.find(below) == path.resolve()


def test_no_file_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="trimtab.toml") as caught:
        config.find(tmp_path)
    assert "trimtab init" in caught.value.hint


@pytest.mark.parametrize("data", [b"[project\n", b"name = \xff\n"])
def test_a_file_that_is_no_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trimtab.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.load(path)


def test_the_digest_is_of_the_meaning_not_the_text(tmp_path: Path) -> None:
    path = tmp_path / "trimtab.toml"
    path.write_text(WHOLE, encoding="utf-8")
    before = config.load(path).digest
    path.write_text("# a comment\n" + WHOLE.replace(" = ", "  =  "), encoding="utf-8")
    assert config.load(path).digest == before
    path.write_text(WHOLE.replace("0.76", "0.77"), encoding="utf-8")
    assert config.load(path).digest != before


def test_the_schema_names_every_section_and_key() -> None:
    schema = config.schema()
    assert schema["$schema"].endswith("2020-12/schema")
    defined = {name.split(".")[-1]: body for name, body in schema["$defs"].items()}
    for struct in (config.ProjectConfig, config.DataConfig, config.ServeConfig):
        known = {field.encode_name for field in msgspec.structs.fields(struct)}
        assert set(defined[struct.__name__]["properties"]) == known
        assert defined[struct.__name__]["additionalProperties"] is False
    msgspec.json.encode(schema)


JWT = {"issuer": "https://login.example", "audience": "loans", "key": "jwks.json"}


def test_who_may_ask_and_how_much() -> None:
    raw = minimal(
        serve={
            "auth": {"anonymous": ["metrics"], "jwt": {**JWT, "algorithms": ["ES256"]}},
            "limits": {"max_body": "1MiB", "rate": "600/m"},
        }
    )
    serve = config.parse(raw).serve
    assert serve.auth.anonymous == ("metrics",)
    assert serve.auth.jwt is not None
    assert serve.auth.jwt.leeway == "30s"
    assert serve.limits.max_rows == 10_000
    assert config.parse(minimal()).serve.auth == access.AuthConfig()


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        ({"auth": {"jtw": {}}}, ["[serve]", "[auth]", "'jtw'", "'jwt'"]),
        ({"auth": {"jwt": {**JWT, "isuer": "x"}}}, ["[jwt]", "'isuer'", "'issuer'"]),
        ({"limits": {"max_bdy": "1MiB"}}, ["[limits]", "'max_bdy'", "'max_body'"]),
        ({"auth": {"anonymous": ["root"]}}, ["anonymous", "root"]),
        ({"auth": {"jwt": {"issuer": "x"}}}, ["audience"]),
        ({"auth": {"jwt": {**JWT, "audience": ""}}}, ["audience", "empty"]),
        ({"auth": {"jwt": {**JWT, "algorithms": []}}}, ["algorithms", "empty"]),
        ({"auth": {"jwt": {**JWT, "algorithms": ["none"]}}}, ["algorithms", "none"]),
        ({"auth": {"jwt": {**JWT, "leeway": "1h"}}}, ["leeway", "5m"]),
        ({"limits": {"max_body": "16MB"}}, ["max_body", "not a size"]),
        ({"limits": {"max_body": ""}}, ["max_body", "at least 1"]),
        ({"limits": {"max_body": "0B"}}, ["max_body", "at least 1"]),
        ({"limits": {"max_headers": 0}}, ["max_headers", "at least 1"]),
        ({"limits": {"rate": "fast"}}, ["rate", "not a rate"]),
        ({"limits": {"max_rows": 60_000}}, ["in_flight_rows", "max_rows"]),
        ({"limits": {"max_body": "1GiB"}}, ["max_inflated", "max_body"]),
    ],
)
def test_a_mistake_in_auth_or_limits_is_told(serve: dict[str, Any], words: list[str]) -> None:
    message = refusal(serve=serve).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("section", "struct"),
    [
        ("serve.auth", access.AuthConfig),
        ("serve.auth.jwt", access.JwtConfig),
        ("serve.limits", access.LimitsConfig),
    ],
)
def test_who_may_ask_and_how_much_is_on_its_page(
    section: str, struct: type[msgspec.Struct]
) -> None:
    page = Path(__file__).parents[2] / "docs" / "formats" / "project-file.md"
    rows = [
        line.split("|")[1]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `[{section}] ")
    ]
    told = " ".join(rows).replace(f"[{section}] ", "")
    keys = [field.name for field in msgspec.structs.fields(struct) if field.name != "jwt"]
    assert [key for key in keys if f"`{key}`" not in told] == []
