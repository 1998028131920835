"""What keys, values and names may be: MLflow's own limits, in its own words.

Values that are too long are cut where stock MLflow cuts them, so that a client that logs a long text
goes on.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import Final

from trimtab.interop.mlflow.fault import Fault, invalid, missing

KEY: Final = 250
PARAM: Final = 6_000
TAG: Final = 8_000
EXPERIMENT_NAME: Final = 500
EXPERIMENT_TAG: Final = 20_000
REGISTRY_TAG: Final = 100_000
ALIAS: Final = 255
REGISTERED_NAME: Final = 256
METRICS: Final = 1_000
PAIRS: Final = 100
BATCH_BYTES: Final = 1_000_000
GREATEST_MS: Final = (2**63 - 1) // 1000

_NAME = re.compile(r"[/\w.\- :]*\Z")
_ALIAS = re.compile(r"[\w\-]*\Z")
_VERSION_ALIAS = re.compile(r"[vV]\d+\Z")
_RUN = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}\Z")
_CHARACTERS: Final = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.),"
    " spaces ( ), colon(:) and slashes (/)."
)


@lru_cache(maxsize=16_384)
def is_name(value: str) -> bool:
    """Whether a text can be the key of a metric, param or tag."""
    try:
        return bool(value) and name(value, "", "") == value
    except Fault:
        return False


def name(value: str, path: str, what: str) -> str:
    """The key of a metric, param or tag; returns it."""
    if _NAME.match(value) is None:
        raise invalid(path, value, _CHARACTERS)
    normal = posixpath.normpath(value)
    if normal != value or normal == "." or normal.startswith(("..", "/")):
        raise invalid(
            path,
            value,
            "Names may be treated as files in certain cases, and must not resolve to other names"
            f" when treated as such. This name would resolve to {normal!r}",
        )
    return length(value, KEY, what)


def length(value: str, most: int, what: str) -> str:
    """A text of at most so many characters; returns it."""
    if len(value) > most:
        raise Fault(f"'{what}' exceeds the maximum length of {most} characters")
    return value


def run_id(value: str) -> str:
    """A run's id; returns it."""
    if _RUN.match(value) is None:
        raise Fault(f"Invalid run ID: '{value[:300]}'")
    return value


def alias(value: str) -> str:
    """An alias of a registered model; returns it."""
    if not value:
        raise Fault("Registered model alias name cannot be empty.")
    if _ALIAS.match(value) is None:
        raise Fault(
            f"Invalid alias name: '{value[:300]}'. Names may only contain alphanumerics,"
            " underscores (_), and dashes (-)."
        )
    length(value, ALIAS, "Registered model alias name")
    if value.lower() == "latest":
        raise Fault("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.match(value) is not None:
        raise Fault(f"Version alias name '{value}' is reserved.")
    return value


def moment(value: int, path: str) -> int:
    """Milliseconds since 1970 that microseconds can hold; returns them."""
    if abs(value) > GREATEST_MS:
        raise invalid(path, value, f"Times lie within {GREATEST_MS} ms of 1970.")
    return value


def registered_name(value: str) -> str:
    """The name of a registered model; returns it."""
    if not value.strip():
        raise missing("name")
    if "/" in value or ":" in value:
        raise Fault(f"Invalid model name '{value[:300]}'. Names cannot contain '/' or ':'.")
    normal = posixpath.normpath(value)
    if normal != value or normal in (".", "..") or "\0" in value:
        raise invalid("name", value, f"This name would resolve to {normal!r}")
    return length(value, REGISTERED_NAME, "Registered model name")


def registry_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags of the registry; returns them."""
    for key, value in tags.items():
        name(key, "name", "key")
        length(value, REGISTRY_TAG, "value")
    return tags
