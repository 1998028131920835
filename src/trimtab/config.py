"""The project file: `trimtab.toml` (or `[tool.trimtab]` in pyproject.toml) as frozen structs.

An unknown key is refused with the nearest known one. Requirements are written here once and read
by the gate, the rollout and the monitor alike; `Requirement.digest` is cited by every verdict.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, get_args

import msgspec

from trimtab import hashing
from trimtab.access import AuthConfig, JwtConfig, LimitsConfig, check_limits
from trimtab.errors import ConfigError, NotFoundError

FILE: Final = "trimtab.toml"
_QUANTILE = re.compile(r"p\d{1,2}(\.\d+)?\Z")
_STAGE = re.compile(r"(shadow|\d{1,3}(\.\d+)?%)\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ProjectConfig(_Section, frozen=True, kw_only=True):
    """`[project]`: what this is and who answers for it."""

    name: str
    owner: str = ""
    purpose: str = ""
    timezone: str = "UTC"


class DataConfig(_Section, frozen=True, kw_only=True):
    """`[data.NAME]`: a named source and the roles of its columns."""

    source: str
    key: str = ""
    time: str = ""
    target: str = ""
    protected: tuple[str, ...] = ()
    licence: str = ""
    collector: str = ""
    method: str = ""
    checksum: str = ""
    pii: tuple[str, ...] = ()
    retention_days: int | None = None
    allow: tuple[str, ...] = ()


class ModelConfig(_Section, frozen=True, kw_only=True):
    """`[model]`: the flow that trains it, how its output becomes a decision, and who signs it."""

    flow: str = "pipeline:train"
    name: str = ""
    decide: str = ""
    fit_on: str = ""
    upstream: tuple[str, ...] = ()
    signing_key: str = ""
    verify_key: str = ""


class ServeConfig(_Section, frozen=True, kw_only=True):
    """`[serve]`: rollout stages, price, labels, the endpoint's address, who may ask and how much."""

    rollout: tuple[str, ...] = ("shadow", "5%", "50%", "100%")
    price_per_hour: float = 0.0
    labels: str = ""
    label_policy: Literal["all", "selected"] = "all"
    event_time: Literal["server", "client"] = "server"
    host: str = "127.0.0.1"
    port: int = 0
    max_hold_hours: float = 168.0
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()
    pii: dict[str, Literal["drop", "hash", "mask"]] = {}
    invalid: dict[str, Literal["reject", "impute", "flag"]] = {}
    sample: dict[str, float] = {}
    disk_full: Literal["refuse", "drop"] = "refuse"
    sticky: str = ""
    workers: int = 1
    keep: str = ""
    allow_python: bool = False


class MonitorConfig(_Section, frozen=True, kw_only=True):
    """`[monitor]`: how traffic is cut into windows and how many false pages are acceptable."""

    window: str = "1d"
    lateness: str = "0s"
    false_pages_per_month: float = 0.1
    min_rows: int = 50


class RetrainConfig(_Section, frozen=True, kw_only=True):
    """`[retrain]`: what proposes a new model, and the brakes on it."""

    on: tuple[str, ...] = ()
    at_most: str = "1/day"
    code: Literal["champion", "applied"] = "champion"
    min_rows: int = 500


class StoreConfig(_Section, frozen=True, kw_only=True):
    """`[store]`: where the workspace lives; empty is `.trimtab/` beside the project file."""

    url: str = ""


class Requirement(_Section, frozen=True, kw_only=True):
    """A bound on a metric, with its scope. Exactly one bound form is set.

    `min`/`max` bound the value; `quantile` + `max` (written `p99 = 20`) bound a quantile;
    `ratio`/`gap` + `across` bound the disparity between slices (smallest over largest, largest
    minus smallest); `by` asks every slice of a column; `better_than = "baseline"` asks for a gain.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    quantile: str = ""
    ratio: float | None = None
    gap: float | None = None
    across: str = ""
    by: str = ""
    better_than: str = ""
    strict: bool = False
    level: float = 0.95

    @property
    def statistic(self) -> str:
        """What of the metric is bounded: "", "p99", "ratio:group", "gap:group" or "gain:baseline"."""
        if self.quantile:
            return self.quantile
        if self.ratio is not None:
            return f"ratio:{self.across}"
        if self.gap is not None:
            return f"gap:{self.across}"
        return f"gain:{self.better_than}" if self.better_than else ""

    @property
    def bounds(self) -> tuple[float, float]:
        """The closed interval that a satisfying value lies in."""
        if self.ratio is not None:
            return self.ratio, float("inf")
        if self.gap is not None:
            return float("-inf"), self.gap
        if self.better_than:
            return 0.0, float("inf")
        return (
            float("-inf") if self.min is None else self.min,
            float("inf") if self.max is None else self.max,
        )

    @property
    def is_fairness(self) -> bool:
        """Whether this bounds a disparity; such a requirement is always strict."""
        return self.ratio is not None or self.gap is not None

    @property
    def text(self) -> str:
        """The requirement as a person reads it: `roc_auc >= 0.76`."""
        name = self.metric + (f" by {self.by}" if self.by else "")
        if self.ratio is not None:
            return f"{name} ratio across {self.across} >= {self.ratio:g}"
        if self.gap is not None:
            return f"{name} gap across {self.across} <= {self.gap:g}"
        if self.better_than:
            return f"{name} better than {self.better_than}"
        name += f" {self.quantile}" if self.quantile else ""
        if self.min is not None and self.max is not None:
            return f"{self.min:g} <= {name} <= {self.max:g}"
        return f"{name} >= {self.min:g}" if self.min is not None else f"{name} <= {self.max:g}"

    @property
    def digest(self) -> str:
        """The digest of the requirement's canonical text."""
        return hashing.object_digest("config", self)


class Config(_Section, frozen=True, kw_only=True):
    """A whole project file."""

    project: ProjectConfig
    data: dict[str, DataConfig] = {}
    model: ModelConfig = ModelConfig()
    require: tuple[Requirement, ...] = ()
    serve: ServeConfig = ServeConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()
    store: StoreConfig = StoreConfig()

    @property
    def model_name(self) -> str:
        """The registry name of the project's model."""
        return self.model.name or self.project.name

    @property
    def digest(self) -> str:
        """The digest of the parsed file."""
        return hashing.object_digest("config", self)


class _File(_Section, frozen=True, kw_only=True):
    """The shape of the file itself, before requirements are spelled out."""

    project: ProjectConfig
    data: dict[str, DataConfig] = {}
    model: ModelConfig = ModelConfig()
    require: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
    serve: ServeConfig = ServeConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()
    store: StoreConfig = StoreConfig()


def find(start: Path | None = None) -> Path:
    """The project file of `start` (default: the working directory) or of a folder above it."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder / FILE
        pyproject = folder / "pyproject.toml"
        if pyproject.is_file() and "tool.trimtab" in pyproject.read_text(encoding="utf-8"):
            return pyproject
    raise NotFoundError(
        f"no {FILE} in {here} or above it",
        hint="run `trimtab init --from FILE --target COLUMN` to write one",
    )


def load(path: Path) -> Config:
    """Read a project file; raises ConfigError naming the key and the line of thought to fix it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}") from error
    if path.name == "pyproject.toml":
        raw = raw.get("tool", {}).get("trimtab", {})
    return parse(raw, name=path.name)


def parse(raw: dict[str, Any], *, name: str = FILE) -> Config:
    """A parsed TOML table to a Config; raises ConfigError."""
    _refuse_unknown(_File, raw, name)
    try:
        file = msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_readable(str(error))}") from error
    requirements = tuple(
        _requirement(metric, bound, name)
        for metric, bounds in file.require.items()
        for bound in (bounds if isinstance(bounds, list) else [bounds])
    )
    config = Config(
        project=file.project,
        data=file.data,
        model=file.model,
        require=requirements,
        serve=file.serve,
        monitor=file.monitor,
        retrain=file.retrain,
        store=file.store,
    )
    _check(config, name)
    return config


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the project file."""
    document = msgspec.json.schema(_File)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = FILE
    return document


def _requirement(metric: str, bound: dict[str, Any], name: str) -> Requirement:
    where = f"{name}: [require] {metric}"
    if not isinstance(bound, dict):
        raise ConfigError(f"{where} must be a table such as {{ min = 0.8 }}")
    fields = dict(bound)
    quantiles = [key for key in fields if _QUANTILE.match(key)]
    if quantiles:
        if len(quantiles) > 1 or "max" in fields:
            raise ConfigError(
                f"{where} bounds more than one quantile", hint="write a list of bounds"
            )
        fields["quantile"] = quantiles[0]
        fields["max"] = fields.pop(quantiles[0])
    known = [f for f in Requirement.__struct_fields__ if f not in ("metric", "quantile")]
    for key in fields:
        if key not in known and key != "quantile":
            raise _unknown(key, [*known, "p99"], where)
    try:
        requirement = msgspec.convert({"metric": metric, **fields}, Requirement)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_readable(str(error))}") from error
    forms = [
        requirement.min is not None or requirement.max is not None,
        requirement.ratio is not None,
        requirement.gap is not None,
        bool(requirement.better_than),
    ]
    if sum(forms) != 1:
        raise ConfigError(
            f"{where} needs exactly one of min/max, a quantile such as p99, ratio, gap or better_than"
        )
    if requirement.is_fairness != bool(requirement.across):
        raise ConfigError(f"{where}: ratio and gap go with across = COLUMN, and only they do")
    if requirement.better_than not in ("", "baseline", "champion"):
        raise ConfigError(f"{where}: better_than is 'baseline' or 'champion'")
    if not 0.5 < requirement.level < 1:
        raise ConfigError(f"{where}: level must lie between 0.5 and 1")
    return requirement


def _check(config: Config, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", config.project.name):
        raise ConfigError(
            f"{name}: project name {config.project.name!r} must be letters, digits, '_', '.' or '-'"
        )
    for stage in config.serve.rollout:
        if not _STAGE.match(stage):
            raise ConfigError(
                f"{name}: [serve] rollout stage {stage!r} must be 'shadow' or a percentage"
            )
    for text in (config.monitor.window, config.monitor.lateness):
        duration(text)
    _check_log(config.serve, f"{name}: [serve]")
    if config.serve.auth.jwt is not None:
        _check_jwt(config.serve.auth.jwt, f"{name}: [serve.auth.jwt]")
    check_limits(config.serve.limits, f"{name}: [serve.limits]")
    for column in (r.across or r.by for r in config.require if r.across or r.by):
        if not config.data:
            raise ConfigError(
                f"{name}: [require] names column {column!r} but there is no [data.NAME]"
            )


def _check_log(serve: ServeConfig, where: str) -> None:
    for key, share in serve.sample.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"{where} sample: the share of {key!r} is {share:g}, not 0 to 1")
    if serve.keep and duration(serve.keep) < duration("1d"):
        raise ConfigError(f"{where} keep = {serve.keep!r} is less than 1d")


def _check_jwt(jwt: JwtConfig, where: str) -> None:
    for key in ("issuer", "audience", "key", "algorithms", "scope_claim"):
        if not getattr(jwt, key):
            raise ConfigError(f"{where} {key} is empty")
    if duration(jwt.leeway) > duration("5m"):
        raise ConfigError(f"{where} leeway = {jwt.leeway!r} is more than 5m")


def duration(text: str) -> int:
    """A duration such as "30s", "15m", "1h", "1d" or "1w" in microseconds; raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d|w)", text)
    if not match:
        raise ConfigError(f"{text!r} is not a duration", hint="write it as 30s, 15m, 1h, 1d or 1w")
    return int(float(match[1]) * _SECONDS[match[2]] * 1_000_000)


def _refuse_unknown(struct: type[msgspec.Struct], raw: Any, where: str) -> None:
    if not isinstance(raw, dict):
        return
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, value in raw.items():
        if key not in known:
            raise _unknown(key, list(known), where)
        inner = known[key].type
        for one in get_args(inner) if isinstance(inner, UnionType) else (inner,):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                _refuse_unknown(one, value, f"{where}: [{key}]")
        if key == "data" and isinstance(value, dict):
            for dataset, body in value.items():
                _refuse_unknown(DataConfig, body, f"{where}: [data.{dataset}]")


def _unknown(key: str, known: list[str], where: str) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return ConfigError(
        f"{where}: unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"known keys: {', '.join(known)}",
    )


def _readable(message: str) -> str:
    return message.replace("`$.", "`").replace("Object", "The table")
