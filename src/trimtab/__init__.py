"""trimtab: the small surface that steers a model back on course.

The public names are loaded when they are first used, so that `import trimtab` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.errors import TrimtabError
    from trimtab.model.brought import function_model, onnx_model, torch_model
    from trimtab.model.signature import Column, Signature
    from trimtab.monitor.embed.embedded import Monitor
    from trimtab.pipeline.flow import flow
    from trimtab.pipeline.handle import Dataset
    from trimtab.pipeline.step import step
    from trimtab.track.autolog.switch import autolog
    from trimtab.track.run import log, start_run
    from trimtab.tune.candidate import Candidate
    from trimtab.tune.search import search

__version__ = "0.1.0"
__all__ = [
    "Candidate",
    "Column",
    "Dataset",
    "Monitor",
    "Signature",
    "TrimtabError",
    "__version__",
    "autolog",
    "flow",
    "function_model",
    "log",
    "onnx_model",
    "search",
    "start_run",
    "step",
    "torch_model",
]

# The codecs that log_model stores an estimator with register there.
_CODECS = "trimtab.pipeline.codecs"
_WHERE = {
    "Candidate": "trimtab.tune.candidate",
    "Column": "trimtab.model.signature",
    "Dataset": "trimtab.pipeline.handle",
    "Monitor": "trimtab.monitor.embed.embedded",
    "Signature": "trimtab.model.signature",
    "TrimtabError": "trimtab.errors",
    "autolog": "trimtab.track.autolog.switch",
    "flow": "trimtab.pipeline.flow",
    "function_model": "trimtab.model.brought",
    "log": "trimtab.track.run",
    "onnx_model": "trimtab.model.brought",
    "search": "trimtab.tune.search",
    "start_run": "trimtab.track.run",
    "step": "trimtab.pipeline.step",
    "torch_model": "trimtab.model.brought",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    if _WHERE[name].startswith("trimtab.track."):
        importlib.import_module(_CODECS)
    found = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
