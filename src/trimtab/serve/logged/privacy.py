"""What of an answer may be kept: column rules for personal data, and which answers are logged at all.

Both act on the prediction log alone, never on what is scored. A rule that was compiled for a
signature does no work for columns that it does not name. The secret behind `hash` is a file in the
endpoint's folder; whoever has both it and the log can guess values, so keep them apart in copies.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError, UsageError
from trimtab.model.signature import Signature

Rule = Literal["drop", "hash", "mask"]
Numbers = Mapping[str, NDArray[np.float64]]
Words = Mapping[str, list[str | None]]
Context = Mapping[str, list[Any]]
V = TypeVar("V")

KEY: Final = "pii.key"
_KEY_BYTES: Final = 32
_SAMPLE: Final = b"trimtab sample"  # another hash than the router's, so shares do not coincide


@dataclass(frozen=True)
class Rules:
    """Column rules of one signature: compile once per loaded model, apply to what is logged.

    `drop` leaves a column out. `hash` replaces a value by 32 hex digits of a BLAKE2b keyed with the
    endpoint's secret: equal values stay equal, in every column and every model of the endpoint.
    `mask` keeps a text's first characters (a third of it, at most three) and its punctuation, and
    rounds a number to one significant digit. Null stays null.
    """

    number: Mapping[str, Rule] = field(default_factory=dict)
    word: Mapping[str, Rule] = field(default_factory=dict)
    context: Mapping[str, Rule] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def compile(cls, settings: Mapping[str, Rule], signature: Signature, key: bytes = b"") -> Rules:
        """The rules that concern a signature's columns; others are left to other models.

        Raises UsageError for a boolean that is to be hashed or masked, which would hide nothing,
        and for `hash` without a key.
        """
        for column in (*signature.inputs, *signature.context):
            if column.kind == "boolean" and settings.get(column.name, "drop") != "drop":
                raise UsageError(
                    f"column {column.name!r} is true or false: {settings[column.name]} hides nothing",
                    hint=f'write {column.name} = "drop" in [serve] pii',
                )
        found = cls(
            number={n: settings[n] for n in signature.numbers if n in settings},
            word={n: settings[n] for n in signature.words if n in settings},
            context={c.name: settings[c.name] for c in signature.context if c.name in settings},
            key=key,
        )
        if "hash" in {*found.number.values(), *found.word.values(), *found.context.values()} and (
            len(key) != _KEY_BYTES
        ):
            raise UsageError("hashed columns need the endpoint's secret", hint=f"see {KEY}")
        return found

    def __bool__(self) -> bool:
        return bool(self.number or self.word or self.context)

    def apply(
        self, numbers: Numbers, words: Words, context: Context
    ) -> tuple[Numbers, Words, Context]:
        """The columns as they may be logged. A hashed number becomes a text."""
        if not self:
            return numbers, words, context
        kept = {name: x for name, x in numbers.items() if name not in self.number}
        texts = _each(words, self.word, self._word)
        for name, rule in self.number.items():
            if name not in numbers or rule == "drop":
                continue
            if rule == "mask":
                kept[name] = _rounded(numbers[name])
            else:
                texts[name] = [
                    None if value != value else self._hash(value)  # noqa: PLR0124  NaN is null
                    for value in numbers[name].tolist()
                ]
        return kept, texts, _each(context, self.context, self._any)

    def _word(self, rule: Rule, value: str) -> str:
        return self._hash(value) if rule == "hash" else _masked(value)

    def _any(self, rule: Rule, value: Any) -> Any:
        if rule == "hash":
            return self._hash(value)
        if isinstance(value, str):
            return _masked(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(_rounded(np.array([value], dtype=np.float64))[0])
        return None

    def _hash(self, value: Any) -> str:
        """The same for 7, 7.0 and "7", so that columns of different types still join."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return blake2b(str(value).encode(), digest_size=16, key=self.key).hexdigest()


@dataclass(frozen=True)
class Sampling:
    """Which answers are logged; decided by the request's id, so again and by anyone the same."""

    shares: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def compile(cls, settings: Mapping[str, float]) -> Sampling:
        """Shares from 0 to 1 by `LABEL` (loans@v3), `NAME@ROLE` (loans@canary) or `ROLE`.

        The first of these that is set decides; everything is logged where none is. Raises
        UsageError.
        """
        for name, share in settings.items():
            if not 0 <= share <= 1:
                raise UsageError(f"[serve] sample: the share of {name!r} is {share:g}, not 0 to 1")
        return cls(dict(settings))

    def __bool__(self) -> bool:
        return bool(self.shares)

    def share(self, role: str, label: str) -> float:
        """The share of a route's requests that is logged."""
        model = label.partition("@")[0]
        for name in (label, f"{model}@{role}", role):
            if name in self.shares:
                return self.shares[name]
        return 1.0

    def keeps(self, role: str, label: str, request: str) -> bool:
        """Whether a request's answer is logged; a larger share keeps what a smaller one kept."""
        if not self.shares:
            return True
        share = self.share(role, label)
        if share >= 1:
            return True
        place = blake2b(request.encode(), digest_size=8, person=_SAMPLE).digest()
        return int.from_bytes(place) < share * 2**64


def misspelt(names: Iterable[str], signature: Signature) -> dict[str, str]:
    """Names that are no column of a model but nearly so, with the column that each is like."""
    known = [c.name for c in (*signature.inputs, *signature.context)]
    found = {}
    for name in names:
        near = [] if name in known else difflib.get_close_matches(name, known, n=1)
        if near:
            found[name] = near[0]
    return found


def read_key(folder: Path) -> bytes:
    """The secret of an endpoint's folder, made where there is none; raises IntegrityError."""
    path = folder / KEY
    with contextlib.suppress(FileExistsError):
        staged = path.with_name(f".{KEY}.{os.getpid()}")
        staged.unlink(missing_ok=True)
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, secrets.token_bytes(_KEY_BYTES))
        finally:
            os.close(handle)
        try:
            os.link(staged, path)  # whole or not at all, and never over another's
        finally:
            staged.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise IntegrityError(
            f"{path} holds {len(key)} bytes, not {_KEY_BYTES}",
            hint="bring back the file: with another secret, hashed values no longer join",
        )
    return key


def _each(
    columns: Mapping[str, list[V]],
    rules: Mapping[str, Rule],
    change: Callable[[Rule, Any], V],
) -> dict[str, list[V]]:
    found = {}
    for name, values in columns.items():
        rule = rules.get(name)
        if rule is None:
            found[name] = values
        elif rule != "drop":
            found[name] = [one if one is None else change(rule, one) for one in values]
    return found


def _masked(text: str) -> str:
    shown = min(3, len(text) // 3)
    return text[:shown] + "".join("*" if one.isalnum() else one for one in text[shown:])


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To one significant digit; NaN stays."""
    return np.array([float(f"{value:.0e}") for value in values.tolist()])
