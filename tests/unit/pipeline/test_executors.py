"""The two built-in executors keep the contract."""

from __future__ import annotations

from trimtab.pipeline.inline import Inline
from trimtab.pipeline.processes import Processes
from trimtab.testing.executors import ExecutorConformance


class TestInline(ExecutorConformance):
    factory = Inline
    is_async = False


class TestProcesses(ExecutorConformance):
    factory = Processes
