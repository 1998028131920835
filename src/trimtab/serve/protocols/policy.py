"""What becomes of a cell that training knew nothing like: `[serve] invalid`, column by column.

Invalid is a null where training saw none, and a category that training did not see. `reject`
answers 422, `impute` lets the model see what training saw most (the median of numbers), `flag`
hands the cell over as it is; both of them are counted and told in the header `x-invalid`. A
column without a policy takes what the model itself takes. The log keeps what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model.load import LoadedModel, Words
from trimtab.model.signature import Column, Signature
from trimtab.serve.protocols.parse import Checked

Policy = Literal["reject", "impute", "flag"]
ALL: Final = "*"
HEADER: Final = "x-invalid"


class Invalid(NamedTuple):
    """Cells of one column that were let through: how many, why invalid, and what was done."""

    column: str
    reason: str
    policy: Policy
    cells: int


@dataclass(frozen=True)
class Policies:
    """The policies of one model's columns; empty where no column has one."""

    signature: Signature
    by_column: Mapping[str, Policy]

    @classmethod
    def compile(cls, wanted: Mapping[str, Policy], signature: Signature) -> Policies:
        """The policies that concern a model; raises ModelError where it cannot follow one."""
        own = wanted.get(ALL)
        chosen = {c.name: wanted.get(c.name, own) for c in signature.inputs}
        found = {name: policy for name, policy in chosen.items() if policy is not None}
        for column in signature.inputs:
            policy = found.get(column.name)
            if policy == "impute" and column.fill is None:
                raise ModelError(
                    f"{column.name!r} cannot be imputed: the package does not say by what",
                    hint="package the model again with `trimtab run`",
                )
            if policy == "flag" and column.closed:
                raise ModelError(
                    f"{column.name!r} cannot be flagged: the estimator itself refuses categories "
                    "that it did not see",
                    hint=f"[serve] invalid = {{ {column.name} = 'impute' }} or 'reject'",
                )
        return cls(signature, found)

    def govern(self, model: LoadedModel) -> LoadedModel:
        """The model with the signature that clients meet, and with cells imputed before it runs."""
        if not self.by_column:
            return model
        inputs = tuple(_met(c, self.by_column.get(c.name)) for c in model.signature.inputs)
        signed = msgspec.structs.replace(model.signature, inputs=inputs)

        def run(numbers: NDArray[np.float64], words: Words) -> NDArray[np.float32]:
            return model.scores(*self.imputed(numbers, words))

        return replace(model, signature=signed, run_packed=run, single=None, several=None)

    def imputed(
        self, numbers: NDArray[np.float64], words: Words
    ) -> tuple[NDArray[np.float64], Words]:
        """Packed inputs with the invalid cells of columns to impute replaced."""
        found, texts = numbers, list(words)
        place = {name: i for i, name in enumerate(self.signature.numbers)}
        spot = {name: i for i, name in enumerate(self.signature.words)}
        for column in self._with("impute"):
            if column.name in place:
                row = numbers[place[column.name]]
                gone = np.isnan(row)
                if not column.nullable and gone.any():
                    found = found.copy() if found is numbers else found
                    found[place[column.name], gone] = column.fill
            else:
                values = words[spot[column.name]]
                wrong = [_reason(column, value) for value in values]
                if any(wrong):
                    texts[spot[column.name]] = [
                        str(column.fill) if why else value
                        for why, value in zip(wrong, values, strict=True)
                    ]
        return found, texts

    def told(self, checked: Checked, start: int = 0, end: int | None = None) -> list[Invalid]:
        """The invalid cells of rows that were let through."""
        return [one for one in self._found(checked, start, end) if one.cells]

    def _found(self, checked: Checked, start: int, end: int | None) -> Iterator[Invalid]:
        place = {name: i for i, name in enumerate(self.signature.numbers)}
        for policy in ("impute", "flag"):
            for column in self._with(policy):
                if column.name in place:
                    if not column.nullable:
                        gone = np.isnan(checked.numbers[place[column.name], start:end])
                        yield Invalid(column.name, "null", policy, int(gone.sum()))
                    continue
                why = [_reason(column, value) for value in checked.words[column.name][start:end]]
                for reason in ("null", "unseen"):
                    yield Invalid(column.name, reason, policy, why.count(reason))

    def _with(self, policy: Policy) -> Sequence[Column]:
        return [c for c in self.signature.inputs if self.by_column.get(c.name) == policy]


def header(found: Sequence[Invalid]) -> str:
    """`income=null;imputed, region=unseen;flagged`: names are percent-encoded."""
    done = {"impute": "imputed", "flag": "flagged", "reject": "rejected"}
    return ", ".join(f"{quote(one.column)}={one.reason};{done[one.policy]}" for one in found)


def _met(column: Column, policy: Policy | None) -> Column:
    if policy is None:
        return column
    if policy == "reject":
        return msgspec.structs.replace(column, closed=bool(column.categories))
    return msgspec.structs.replace(column, nullable=True, closed=False)


def _reason(column: Column, value: Any) -> str:
    """Why a text is invalid, "" where it is not."""
    if value is None:
        return "" if column.nullable else "null"
    return "unseen" if column.categories and value not in column.categories else ""
