"""Training rows replayed through a throwaway endpoint, before a model is let near a real one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trimtab.model import signature
from trimtab.model.load import LoadedModel, load
from trimtab.serve.folder import Settings
from trimtab.serve.measured import bench, replay
from trimtab.serve.measured.skew import Answer, Predict, Skew, Training


def rehearse(package: Path, training: Training, settings: Settings | None = None) -> Skew:
    """Replay through an endpoint of a package; raises ModelError where it does not start."""
    signed = signature.read(package)
    # A package that runs code of its own is asked by its endpoint alone, which may refuse to.
    model = load(package, verify=False) if signed.engine != "python" else None
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-replay-") as folder,
        bench.running(Path(folder), package, settings=settings) as state,
    ):
        return replay.run(
            training, state.host, state.port, Path(folder) / "log", signed,
            path=bench.PATH, predict=_asker(model) if model else None,
        )  # fmt: skip


def _asker(model: LoadedModel) -> Predict:
    def ask(columns: dict[str, NDArray[Any]]) -> list[Answer]:
        found = model.predict(columns)
        return list(zip(found.decision, found.score.tolist(), strict=True))

    return ask
