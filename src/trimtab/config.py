"""The project file: `trimtab.toml` (or `[tool.trimtab]` in pyproject.toml) as frozen structs.

An unknown key is refused with the nearest known one. Requirements are written here once and read
by the gate, the rollout and the monitor alike; `Requirement.digest` is cited by every verdict.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, get_args

import msgspec

from trimtab import acceptance, freezing, hashing, schedule
from trimtab.acceptance import AcceptConfig
from trimtab.access import AuthConfig, JwtConfig, LimitsConfig, check_limits
from trimtab.alerting import AlertsConfig
from trimtab.bounds import Requirement as Requirement  # noqa: PLC0414 - it is a part of Config
from trimtab.bounds import readable, requirement, unknown
from trimtab.errors import ConfigError, NotFoundError
from trimtab.freezing import FreezeConfig
from trimtab.guarding import GuardConfig, check_guard, check_stages
from trimtab.schedule import RetrainConfig, TriggerConfig

FILE: Final = "trimtab.toml"
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
    guard: GuardConfig = GuardConfig()
    pii: dict[str, Literal["drop", "hash", "mask"]] = {}
    invalid: dict[str, Literal["reject", "impute", "flag"]] = {}
    sample: dict[str, float] = {}
    disk_full: Literal["refuse", "drop"] = "refuse"
    sticky: str = ""
    workers: int = 1
    keep: str = ""
    allow_python: bool = False


class MonitorConfig(_Section, frozen=True, kw_only=True):
    """`[monitor]`: how traffic is cut into windows and how many false pages are acceptable.

    Labels of a window are judged when its end is `label_delay` ago: earlier ones may be of one outcome.
    """

    window: str = "1d"
    lateness: str = "0s"
    label_delay: str = "0s"
    false_pages_per_month: float = 0.1
    min_rows: int = 50
    season: Literal["auto", "none", "day", "week"] = "auto"
    entity: str = ""


class RetireConfig(_Section, frozen=True, kw_only=True):
    """`[retire]`: how long a retired endpoint refuses with 410 (`grace`), for how long nobody may have
    called where it is to go at once (`quiet`), and what is erased when it is gone.
    """

    grace: str = "7d"
    quiet: str = "7d"
    erase: tuple[Literal["log", "keys", "secret", "consumers"], ...] = ("keys",)


class StoreConfig(_Section, frozen=True, kw_only=True):
    """`[store]`: where the workspace lives; empty is `.trimtab/` beside the project file."""

    url: str = ""


class Config(_Section, frozen=True, kw_only=True):
    """A whole project file."""

    project: ProjectConfig
    data: dict[str, DataConfig] = {}
    model: ModelConfig = ModelConfig()
    require: tuple[Requirement, ...] = ()
    serve: ServeConfig = ServeConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()
    accept: AcceptConfig = AcceptConfig()
    alerts: AlertsConfig = AlertsConfig()
    trigger: dict[str, TriggerConfig] = {}
    freeze: FreezeConfig = FreezeConfig()
    retire: RetireConfig = RetireConfig()
    store: StoreConfig = StoreConfig()

    @property
    def model_name(self) -> str:
        """The registry name of the project's model."""
        return self.model.name or self.project.name

    @property
    def written(self) -> bytes:
        """The parsed file as it is stored once it is in force."""
        return msgspec.json.format(hashing.canonical(self))

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
    accept: AcceptConfig = AcceptConfig()
    alerts: AlertsConfig = AlertsConfig()
    trigger: dict[str, TriggerConfig] = {}
    freeze: FreezeConfig = FreezeConfig()
    retire: RetireConfig = RetireConfig()
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
        raise ConfigError(f"{name}: {readable(str(error))}") from error
    requirements = tuple(
        requirement(metric, bound, name)
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
        accept=file.accept,
        alerts=file.alerts,
        trigger=file.trigger,
        freeze=file.freeze,
        retire=file.retire,
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


def _check(config: Config, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", config.project.name):
        raise ConfigError(
            f"{name}: project name {config.project.name!r} must be letters, digits, '_', '.' or '-'"
        )
    check_stages(config.serve.rollout, f"{name}: [serve] rollout")
    check_guard(config.serve.guard, f"{name}: [serve.guard]")
    watched = config.monitor
    spans = (watched.window, watched.lateness, watched.label_delay, *config.alerts.spans)
    for text in (*spans, config.retire.grace, config.retire.quiet):
        duration(text)
    _check_log(config.serve, f"{name}: [serve]")
    if config.serve.auth.jwt is not None:
        _check_jwt(config.serve.auth.jwt, f"{name}: [serve.auth.jwt]")
    _check_triggers(config, name)
    freezing.check(config.freeze, f"{name}: [freeze]")
    acceptance.check(config.accept, config.data, f"{name}: [accept]")
    check_limits(config.serve.limits, f"{name}: [serve.limits]")
    for column in (r.across or r.by for r in config.require if r.across or r.by):
        if not config.data:
            raise ConfigError(
                f"{name}: [require] names column {column!r} but there is no [data.NAME]"
            )


def _check_triggers(config: Config, name: str) -> None:
    triggers: list[tuple[str, RetrainConfig | TriggerConfig]] = [("[retrain]", config.retrain)]
    triggers += [(f"[trigger.{key}]", one) for key, one in config.trigger.items()]
    for label, one in triggers:
        schedule.check(one, f"{name}: {label}")
        for text in (one.cooldown, one.catch_up, one.timeout):
            duration(text)
        if not duration(one.timeout):
            raise ConfigError(f"{name}: {label} timeout = {one.timeout!r} lets no job work")
        for word in one.on:
            flow = word.partition(":")[2]
            if word.startswith("after:") and flow not in {*config.trigger, "retrain"}:
                raise ConfigError(f"{name}: {label} on = {word!r}: there is no [trigger.{flow}]")
    if "retrain" in config.trigger:
        raise ConfigError(f"{name}: [trigger.retrain] is called like [retrain]")


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


_NAMED: Final[dict[str, type[msgspec.Struct]]] = {"data": DataConfig, "trigger": TriggerConfig}


def _refuse_unknown(struct: type[msgspec.Struct], raw: Any, where: str) -> None:
    if not isinstance(raw, dict):
        return
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, value in raw.items():
        if key not in known:
            raise unknown(key, list(known), where)
        inner = known[key].type
        for one in get_args(inner) if isinstance(inner, UnionType) else (inner,):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                _refuse_unknown(one, value, f"{where}: [{key}]")
        named: type[msgspec.Struct] | None = _NAMED.get(key)
        if named is not None and isinstance(value, dict):
            for one_of, body in value.items():
                _refuse_unknown(named, body, f"{where}: [{key}.{one_of}]")
