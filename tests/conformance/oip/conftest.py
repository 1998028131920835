"""Tensors of the held-back rows, and the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

DATATYPES = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}
DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": bool, "BYTES": object}


@pytest.fixture
def client(loans) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(loans.address, concurrency=4)
    yield made
    made.close()


@pytest.fixture(scope="session")
def tensors() -> Callable[..., list[triton.InferInput]]:
    """`tensors(served, rows, binary=..., flat=..., NAME="FP64")`: one input per column.

    `flat` tensors are [N], others [N, 1]; a keyword gives a column another datatype.
    """

    def make(
        served: Any,
        rows: list[dict[str, Any]],
        *,
        binary: bool = True,
        flat: bool = True,
        **other: str,
    ) -> list[triton.InferInput]:
        made = []
        for name, kind in served.columns.items():
            datatype = other.get(name, DATATYPES[kind])
            values = np.array([row[name] for row in rows], dtype=DTYPES[datatype])
            values = values if flat else values[:, None]
            tensor = triton.InferInput(name, list(values.shape), datatype)
            made.append(tensor.set_data_from_numpy(values, binary_data=binary))
        return made

    return make


@pytest.fixture(scope="session")
def outputs() -> Callable[..., list[triton.InferRequestedOutput]]:
    """`outputs("score", ..., binary=...)`."""

    def make(*names: str, binary: bool = True) -> list[triton.InferRequestedOutput]:
        return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]

    return make
